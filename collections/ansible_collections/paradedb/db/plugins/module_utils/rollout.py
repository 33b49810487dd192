"""Bring the instances to what was applied, one step a pass: number, pods, primary, settings, certificates."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import conditions, disk, editions, steps, topology
from ansible_collections.paradedb.db.plugins.module_utils.conditions import HIBERNATED, REPLICAS_LIMITED
from ansible_collections.paradedb.db.plugins.module_utils.decision import decide
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    FIELD_MANAGER,
    ExecFailed,
    Kube,
    KubeError,
    Object,
)
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, scope
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology
from ansible_collections.paradedb.db.plugins.module_utils.world import World


def reconcile(
    kube: Kube,
    namespace: str,
    name: str,
    spec: dict[str, Any],
    database: dict[str, Any],
    check_mode: bool,
    certificate: str = "",
    resizing: str = "",
) -> dict[str, Any]:
    """One step towards the applied state. Raises Refused when an instance cannot get there by itself."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    seen = topology.observe(kube, namespace, name)
    connected = bool(database.get("connected"))
    limited = editions.limit(spec, database["search_version"]) if connected else None
    known_limit = conditions.holds(conditions.of(resource), REPLICAS_LIMITED)
    world = World(
        seen,
        spec,
        _wanted(spec, bool(limited) if connected else known_limit or None),
        datetime.now(UTC),
        nodes=_nodes(kube, seen),
        database=database,
        resource=resource,
        certificate=certificate,
        resizing=resizing,
        settings_age=_settings_age(kube, seen, database),
        kept=_kept(kube, seen),
        full=_disks(kube, seen),
    )
    if certificate and not check_mode:
        _load_certificates(kube, world)
    step = decide(world)
    if step and step.act and not check_mode:
        step.act(kube)
    return _result(world, step) | {"checks": _checks(world, limited, connected)}


def look(kube: Kube, resource: Object, limited: bool) -> dict[str, Any]:
    """What a pass would find, as far as it shows without asking the database. Writes nothing.

    Raises Refused as ``reconcile`` does.
    """
    metadata, spec = resource["metadata"], resource["spec"]
    seen = topology.observe(kube, metadata["namespace"], metadata["name"])
    world = World(
        seen,
        spec,
        _wanted(spec, limited),
        datetime.now(UTC),
        nodes=_nodes(kube, seen),
        kept=_kept(kube, seen),
        full=_disks(kube, seen),
    )
    step = decide(world)
    if step and step.act:
        step = Step(step.reason, step.message, 0)
    return _result(world, step) | {"seen": seen}


def _wanted(spec: dict[str, Any], limited: bool | None) -> int | None:
    """How many instances shall run; None while nothing is known of the image's pg_search."""
    replicas = int(spec.get("replicas", 1))
    if spec.get("hibernate"):
        return 0
    if replicas == 1 or limited:
        return 1
    return None if limited is None else replicas


def _result(world: World, step: Step | None) -> dict[str, Any]:
    replicas = world.replicas if world.replicas is not None else max(world.seen.size, 1)
    result: dict[str, Any] = {
        "changed": bool(step and step.act),
        "settled": step is None,
        "reason": step.reason if step else "Reconciled",
        "message": step.message if step else "",
        "replicas": replicas,
        "events": [],
    }
    if step:
        result["requeue_after"] = step.requeue_after
        if step.act and step.event:
            result["events"] = [
                {
                    "type": "Warning" if step.warning else "Normal",
                    "reason": step.reason,
                    "message": step.event,
                }
            ]
    return result


def _checks(world: World, limited: dict[str, str] | None, known: bool) -> list[dict[str, Any]]:
    """The conditions that are this module's to tell."""
    asleep = world.replicas == 0
    made = [
        {
            "type": HIBERNATED,
            "ok": asleep and not (world.seen.size or world.seen.present or world.seen.going),
            "reason": "HibernatedBySpec" if asleep else "NotHibernated",
            "message": "No instance runs; the data are kept" if asleep else "",
        }
    ]
    if known:
        reason, message = (limited["reason"], limited["message"]) if limited else ("NotLimited", "")
        made.append({"type": REPLICAS_LIMITED, "ok": bool(limited), "reason": reason, "message": message})
    return made


def _nodes(kube: Kube, seen: Topology) -> dict[str, Object]:
    """The instances' nodes, where they matter: for one that is ready and alone they do not."""
    alone = len(seen.present) == 1 and not seen.going and seen.present[0].ready
    return {} if alone else topology.node_states(kube, seen)


def _kept(kube: Kube, seen: Topology) -> int:
    return 0 if seen.size else topology.kept_instances(kube, seen.namespace, seen.name)


def _settings_age(kube: Kube, seen: Topology, database: dict[str, Any]) -> float:
    """Seconds since the operator changed the settings, by the API server's record; where it matters."""
    if not database.get("pending_restart") and not any(item.pending_restart for item in seen.present):
        return float("inf")
    config_map = kube.get("v1", "ConfigMap", seen.namespace, f"{scope(seen.name)}-config") or {}
    fields = (config_map.get("metadata") or {}).get("managedFields") or []
    times = [item["time"] for item in fields if item.get("manager") == FIELD_MANAGER and item.get("time")]
    if not times:
        return float("inf")
    return (datetime.now(UTC) - datetime.fromisoformat(max(times))).total_seconds()


def _disks(kube: Kube, seen: Topology) -> Callable[[Instance], Refused | None]:
    """What the disk of an instance has to say, asked once for each."""
    told: dict[str, Refused | None] = {}

    def full(item: Instance) -> Refused | None:
        if item.name not in told:
            told[item.name] = disk.full(kube, seen.namespace, item.pod)
        return told[item.name]

    return full


def _load_certificates(kube: Kube, world: World) -> None:
    """Whatever else the instances wait for, a renewed certificate must not. One out of reach is left."""
    for item in world.seen.present:
        if item.running and not world.lost(item) and not steps.has_loaded(item, world.certificate):
            with contextlib.suppress(KubeError, ExecFailed):
                steps.reload_certificate(kube, item, world.certificate)

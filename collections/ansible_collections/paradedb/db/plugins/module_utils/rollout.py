"""Bring the instances to what was applied, one step a pass: number, pods, primary, settings, certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import disk, editions, topology
from ansible_collections.paradedb.db.plugins.module_utils.decision import CLONING, World, decide
from ansible_collections.paradedb.db.plugins.module_utils.kube import FIELD_MANAGER, Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, scope
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.topology import Topology

# Seconds after which the disk of an instance that is not ready is looked at; the primary's is at any time,
# because PostgreSQL may go on for long with statements that fail.
LOOK_AT_DISK_AFTER = 10


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
    seen = topology.observe(kube, namespace, name)
    limited = editions.limit(spec, database["search_version"]) if database.get("connected") else None
    world = World(
        seen,
        spec,
        _wanted(spec, limited, database.get("connected", False)),
        datetime.now(UTC),
        nodes=_nodes(kube, seen),
        database=database,
        resource=kube.get(API_VERSION, KIND, namespace, name),
        certificate=certificate,
        resizing=resizing,
        settings_age=_settings_age(kube, seen),
    )
    _raise_full_disk(kube, world)
    step = decide(world)
    if step and step.act and not check_mode:
        step.act(kube)
    return _result(world, step) | {"checks": _checks(world, limited, database.get("connected", False))}


def look(kube: Kube, resource: Object, limited: bool) -> dict[str, Any]:
    """What a pass would find, as far as it shows without asking the database. Writes nothing.

    Raises Refused as ``reconcile`` does.
    """
    metadata, spec = resource["metadata"], resource["spec"]
    seen = topology.observe(kube, metadata["namespace"], metadata["name"])
    limit = {"reason": "", "message": ""} if limited else None
    world = World(seen, spec, _wanted(spec, limit, True), datetime.now(UTC), nodes=_nodes(kube, seen))
    _raise_full_disk(kube, world)
    step = decide(world)
    if step and step.act:
        step = Step(step.reason, step.message, 0)
    return _result(world, step) | {"seen": seen}


def _wanted(spec: dict[str, Any], limited: dict[str, str] | None, known: bool) -> int | None:
    """How many instances shall run; None while nothing is known of the image's pg_search."""
    replicas = int(spec.get("replicas", 1))
    if spec.get("hibernate"):
        return 0
    if replicas == 1 or limited:
        return 1
    return replicas if known else None


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
            "type": "Hibernated",
            "ok": asleep and not (world.seen.size or world.seen.present or world.seen.going),
            "reason": "HibernatedBySpec" if asleep else "NotHibernated",
            "message": "No instance runs; the data are kept" if asleep else "",
        }
    ]
    if known:
        reason, message = (limited["reason"], limited["message"]) if limited else ("NotLimited", "")
        made.append({"type": "ReplicasLimited", "ok": bool(limited), "reason": reason, "message": message})
    return made


def _nodes(kube: Kube, seen: Topology) -> dict[str, Object]:
    """The instances' nodes, where they matter: for one that is ready and alone they do not."""
    alone = len(seen.present) == 1 and not seen.going and seen.present[0].ready
    return {} if alone else topology.node_states(kube, seen)


def _settings_age(kube: Kube, seen: Topology) -> float:
    """Seconds since the operator last changed the settings, by the API server's own record."""
    if len(seen.present) < 2:
        return float("inf")
    config_map = kube.get("v1", "ConfigMap", seen.namespace, f"{scope(seen.name)}-config") or {}
    fields = (config_map.get("metadata") or {}).get("managedFields") or []
    times = [item["time"] for item in fields if item.get("manager") == FIELD_MANAGER and item.get("time")]
    if not times:
        return float("inf")
    return (datetime.now(UTC) - datetime.fromisoformat(max(times))).total_seconds()


def _raise_full_disk(kube: Kube, world: World) -> None:
    """A full volume stops an instance for good: say so, before anything else is tried. Raises Refused."""
    for item in world.seen.present:
        stuck = topology.unready_for(item, world.now) >= LOOK_AT_DISK_AFTER and item.state != CLONING
        if item.running and (stuck or item == world.seen.primary):
            full = disk.full(kube, world.seen.namespace, item.pod)
            if full:
                raise full

"""Who becomes the primary, and how Patroni is asked for it. Electing, demoting and promoting is Patroni's.

A request is an object of Patroni's own (https://patroni.readthedocs.io/en/latest/kubernetes.html): the leader
hands over within one of its loops, or takes the request away when nobody can follow it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.labels import SCOPE, instance_labels, scope
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology, observe

# On a ParadeDB: which instance shall be the primary, or "any". The operator takes it away when it is done.
ANNOTATION = "database.paradedb.io/switchover"
ANY = "any"

# On Patroni's object: who was to hand over to whom, since when, and when that was asked last.
_ASKED = "database.paradedb.io/asked"
# Seconds without asking again after which the same wish counts as a new one.
FORGET_AFTER = 300
# Seconds for which Patroni may turn a request down before that is an error.
REFUSED_AFTER = 120


def candidate(topology: Topology, suits: Callable[[Instance], bool] = lambda _item: True) -> Instance | None:
    """The replica to hand over to: a synchronous one if there is any, else the one that has the most."""
    replicas = [item for item in topology.replicas if item.ready and item.streaming and suits(item)]
    if any(item.synchronous for item in topology.present):
        # With synchronous replication Patroni promotes no other: it could lack what was acknowledged.
        replicas = [item for item in replicas if item.synchronous]
    return max(replicas, key=lambda item: (item.position, -item.ordinal), default=None)


def chosen(topology: Topology, asked: str) -> Instance:
    """The instance that a person asked for. Raises Refused when it cannot take over."""
    if asked == ANY:
        found = candidate(topology)
        if found is None:
            raise _refusal("no replica is ready to take over")
        return found
    named = next((item for item in topology.present if item.name == asked), None)
    if named is None:
        names = ", ".join(item.name for item in topology.replicas) or "none"
        raise _refusal(f"there is no instance {asked!r}; the replicas are: {names}")
    if named is topology.primary:
        return named
    if candidate(topology, lambda item: item.name == asked) is None:
        lacking = "is not a synchronous replica" if named.ready else "is not ready"
        raise _refusal(f"{asked} {lacking}, so it cannot take over; name another, or {ANY}")
    return named


def request(kube: Kube, topology: Topology, leader: Instance, to: str, wish: str) -> None:
    """Ask Patroni to hand over from ``leader``, which it checks, to ``to``.

    Notes since when that is asked for, by ``wish``: the instance that a person named, or any.
    """
    now = datetime.now(UTC)
    since = first_asked(topology, leader, wish, now) or now
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{scope(topology.name)}-failover",
                "namespace": topology.namespace,
                # Patroni finds its objects by exactly these.
                "labels": {**instance_labels(topology.name), SCOPE: scope(topology.name)},
                "annotations": {
                    "leader": leader.name,
                    "member": to,
                    _ASKED: f"{leader.name} {leader.timeline} {wish} {since.isoformat()} {now.isoformat()}",
                },
            },
        }
    )


def check_patience(topology: Topology, leader: Instance, to: Instance, wish: str, now: datetime) -> None:
    """Raises Refused when Patroni has been asked for a while and turned it down each time."""
    since = first_asked(topology, leader, wish, now)
    if since and (now - since).total_seconds() > REFUSED_AFTER:
        raise Refused(
            "SwitchoverTimeout",
            "",
            f"Patroni does not make {to.name} the primary in place of {leader.name}; "
            f"see kubectl logs {leader.name}",
        )


def first_asked(topology: Topology, leader: Instance, wish: str, now: datetime) -> datetime | None:
    """Since when Patroni is asked for this; None when it is not, or was not for a while.

    One that was done has raised the timeline, and counts no more.
    """
    try:
        *about, first, last = str(annotations(topology.failover).get(_ASKED, "")).split()
        fresh = (now - datetime.fromisoformat(last)).total_seconds() < FORGET_AFTER
        same = about == [leader.name, str(leader.timeline), wish]
        return datetime.fromisoformat(first) if fresh and same else None
    except ValueError:
        return None


def perform(
    kube: Kube, namespace: str, name: str, asked: str, timeout: int, check_mode: bool
) -> dict[str, Any]:
    """Ask, and wait until the new primary serves. ``timeout``: seconds; 0 does not wait.

    Raises Refused when nobody can take over, and when none has in time.
    """
    seen = observe(kube, namespace, name)
    if seen.primary is None:
        raise Refused("NoPrimary", "metadata.name", f"{name!r} in namespace {namespace!r} has no primary now")
    leader, to = seen.primary, chosen(seen, asked)
    result = {"changed": to is not leader, "before": leader.name, "primary": to.name}
    if to is leader or check_mode:
        return result
    request(kube, seen, leader, to.name, asked)
    deadline = time.monotonic() + timeout
    while timeout and not _leads(observe(kube, namespace, name), to.name):
        if time.monotonic() > deadline:
            raise Refused(
                "SwitchoverTimeout",
                "metadata.name",
                f"{to.name} has not become the primary within {timeout} s; see kubectl logs {leader.name}",
            )
        time.sleep(0.5)
    return result


def _leads(seen: Topology, name: str) -> bool:
    return seen.primary is not None and seen.primary.name == name


def annotate(kube: Kube, resource: Object, value: str | None) -> None:
    """Write down which instance a person's wish has come to mean; None when the wish is dealt with.

    A wish that has changed since it was read is left to the next pass.
    """
    version = resource["metadata"].get("resourceVersion")
    patch = {"metadata": {"resourceVersion": version, "annotations": {ANNOTATION: value}}}
    try:
        kube.merge_patch(resource, patch)
    except KubeError as error:
        if error.status != 409:
            raise


def _refusal(message: str) -> Refused:
    return Refused("SwitchoverRefused", f"metadata.annotations[{ANNOTATION}]", message)

"""Who becomes the primary, and how Patroni is asked for it. Electing, demoting and promoting is Patroni's.

A request is an object of Patroni's own (https://patroni.readthedocs.io/en/latest/kubernetes.html): the leader
hands over within one of its loops, or takes the request away when nobody can follow it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import SCOPE, instance_labels, scope
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology, observe

# On a ParadeDB: which instance shall be the primary, or "any". The operator takes it away when it is done.
ANNOTATION = "database.paradedb.io/switchover"
ANY = "any"


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


def request(kube: Kube, topology: Topology, leader: str, to: str) -> None:
    """Ask Patroni to hand over from ``leader``, which it checks, to ``to``."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{scope(topology.name)}-failover",
                "namespace": topology.namespace,
                # Patroni finds its objects by exactly these.
                "labels": {**instance_labels(topology.name), SCOPE: scope(topology.name)},
                "annotations": {"leader": leader, "member": to},
            },
        }
    )


def perform(
    kube: Kube, namespace: str, name: str, asked: str, timeout: int, check_mode: bool
) -> dict[str, Any]:
    """Ask, and wait until the new primary serves. ``timeout``: seconds; 0 does not wait.

    Raises Refused when nobody can take over, and when none has in time.
    """
    seen = observe(kube, namespace, name)
    if seen.primary is None:
        raise Refused("NoPrimary", "metadata.name", f"{name!r} in namespace {namespace!r} has no primary now")
    leader, to = seen.primary.name, chosen(seen, asked)
    result = {"changed": to is not seen.primary, "before": leader, "primary": to.name}
    if to is seen.primary or check_mode:
        return result
    request(kube, seen, leader, to.name)
    deadline = time.monotonic() + timeout
    while timeout and not _leads(observe(kube, namespace, name), to.name):
        if time.monotonic() > deadline:
            raise Refused(
                "SwitchoverTimeout",
                "metadata.name",
                f"{to.name} has not become the primary within {timeout} s; see kubectl logs {leader}",
            )
        time.sleep(0.5)
    return result


def _leads(seen: Topology, name: str) -> bool:
    return seen.primary is not None and seen.primary.name == name


def annotate(kube: Kube, resource: Object, value: str | None) -> None:
    """Write down which instance a person's wish has come to mean; None when the wish is dealt with."""
    kube.merge_patch(resource, {"metadata": {"annotations": {ANNOTATION: value}}})


def _refusal(message: str) -> Refused:
    return Refused("SwitchoverRefused", f"metadata.annotations[{ANNOTATION}]", message)

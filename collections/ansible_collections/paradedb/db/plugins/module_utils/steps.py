"""The steps that bring instances to what was applied: what is said about each, and how it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.paradedb.db.plugins.module_utils import switchover
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import scope
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology

PATRONICTL = ["/opt/patroni/patronictl", "-c", "/run/paradedb/patroni"]

# An annotation of a database pod: the checksum of the certificate that PostgreSQL has loaded in it.
LOADED = "database.paradedb.io/certificate"
_CERTIFICATES = "/etc/postgresql/tls"


@dataclass(frozen=True)
class Step:
    """What comes next, or what is waited for. ``requeue_after``: seconds until a look is worth while."""

    reason: str
    message: str
    requeue_after: int
    act: Callable[[Kube], None] | None = None
    event: str = ""  # for kubectl describe, when the step is taken
    warning: bool = False  # the kind of that event


def hand_over(seen: Topology, to: Instance, why: str) -> Step:
    """Have Patroni make another instance the primary; wait for it when it was asked already."""
    assert seen.primary
    leader = seen.primary.name
    message = f"Making {to.name} the primary in place of {leader}"
    if seen.requested:
        return Step("SwitchingOver", message, 1)

    def act(kube: Kube) -> None:
        switchover.request(kube, seen, leader, to.name)

    return Step("SwitchingOver", message, 1, act, f"{message}, {why}")


def replacement(item: Instance) -> Step:
    """Delete a pod in order; the StatefulSet makes it anew with the present template."""
    return Step(
        "RollingUpdate",
        f"Replacing pod {item.name} by one with the new template",
        2,
        lambda kube: _delete(kube, item.pod),
    )


def elsewhere(item: Instance) -> Step:
    """Give up a pod on a node that is lost."""
    return Step(
        "NodeLost",
        f"Starting {item.name} elsewhere: its node {item.node} is lost",
        2,
        lambda kube: _delete(kube, item.pod, at_once=True),
        f"Deleted pod {item.name} by force, because node {item.node} is lost",
        warning=True,
    )


def scale(seen: Topology, size: int) -> Step:
    """Have the StatefulSet hold another number of instances."""
    stateful_set: Object = seen.stateful_set or {}
    message = f"From {seen.size} instances to {size}"
    return Step(
        "ScalingUp" if size > seen.size else "ScalingDown",
        message,
        2,
        lambda kube: _patch(kube, stateful_set, {"spec": {"replicas": size}}),
        message,
    )


def restart(seen: Topology, item: Instance) -> Step:
    """Restart PostgreSQL in its pod."""
    words = ["restart", scope(seen.name), item.name, "--pending", "--force"]
    return Step(
        "RestartingInstances",
        f"Restarting PostgreSQL in {item.name}, as changed settings need it",
        1,
        lambda kube: _patronictl(kube, seen, item, words),
    )


def clone(seen: Topology, item: Instance, why: str) -> Step:
    """Have Patroni throw a replica's data away and copy the primary's."""
    words = ["reinit", scope(seen.name), item.name, "--force"]
    message = f"Cloning {item.name} from the primary: {why}"
    return Step(
        "CloningInstance",
        message,
        5,
        lambda kube: _patronictl(kube, seen, item, words),
        message,
        warning=True,
    )


def reload_certificate(item: Instance, checksum: str) -> Step:
    """Have PostgreSQL read a renewed certificate, as soon as it has arrived in the pod."""
    return Step(
        "ReloadingCertificate",
        f"Having {item.name} read its certificate",
        2,
        lambda kube: _reload(kube, item, checksum),
    )


def _reload(kube: Kube, item: Instance, checksum: str) -> None:
    """The first note on the pod makes the kubelet look at its volumes at once, not in a minute or two."""
    namespace = item.pod["metadata"]["namespace"]
    files = f"cat {_CERTIFICATES}/tls.crt {_CERTIFICATES}/ca.crt 2>/dev/null | sha256sum"
    arrived = kube.execute(namespace, item.name, ["sh", "-c", files]).split()[0] == checksum
    if arrived:
        kube.execute(namespace, item.name, ["sh", "-c", 'kill -HUP "$(head -n 1 "$PGDATA/postmaster.pid")"'])
    note = checksum if arrived else f"{checksum[:16]} is on its way"
    _patch(kube, item.pod, {"metadata": {"annotations": {LOADED: note}}})


def _patronictl(kube: Kube, seen: Topology, item: Instance, words: list[str]) -> None:
    """Ask Patroni in its own pod. What it refuses now, because it is busy, the next pass asks again."""
    try:
        kube.execute(seen.namespace, item.name, [*PATRONICTL, *words])
    except ExecFailed:
        return


def _delete(kube: Kube, pod: Object, at_once: bool = False) -> None:
    kube.delete(pod, at_once=at_once)


def _patch(kube: Kube, target: Object, patch: Object) -> None:
    kube.merge_patch(target, patch)

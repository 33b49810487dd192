"""The steps that bring instances to what was applied: what is said about each, and how it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.paradedb.db.plugins.module_utils import switchover
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, Kube, Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.labels import scope
from ansible_collections.paradedb.db.plugins.module_utils.topology import HIBERNATED, Instance, Topology

PATRONICTL = ["/opt/patroni/patronictl", "-c", "/run/paradedb/patroni"]

# An annotation of a database pod: the checksum of the certificate that PostgreSQL has loaded in it.
LOADED = "database.paradedb.io/certificate"
_CERTIFICATES = "/etc/postgresql/tls"
# Annotations of a database pod: when it was cloned anew, and where and when a replica was seen to be stuck.
_CLONED = "database.paradedb.io/cloned"
_STUCK = "database.paradedb.io/stuck"


@dataclass(frozen=True)
class Step:
    """What comes next, or what is waited for. ``requeue_after``: seconds until a look is worth while."""

    reason: str
    message: str
    requeue_after: int
    act: Callable[[Kube], None] | None = None
    event: str = ""  # for kubectl describe, when the step is taken
    warning: bool = False  # the kind of that event


def hand_over(
    seen: Topology, leader: Instance, to: Instance, why: str, now: datetime, wish: str = switchover.ANY
) -> Step:
    """Have Patroni make another instance the primary; wait for it when it was asked already.

    ``wish``: the instance that a person named; any where the choice is ours, and may change.
    Raises Refused when Patroni has been asked for a while, and turned it down each time.
    """
    switchover.check_patience(seen, leader, to, wish, now)
    message = f"Making {to.name} the primary in place of {leader.name}"
    if seen.requested:
        return Step("SwitchingOver", message, 1)

    def act(kube: Kube) -> None:
        switchover.request(kube, seen, leader, to.name, wish)

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
    note = {HIBERNATED: "true" if size == 0 else None}
    return Step(
        "ScalingUp" if size > seen.size else "ScalingDown",
        message,
        2,
        lambda kube: _patch(
            kube, stateful_set, {"metadata": {"annotations": note}, "spec": {"replicas": size}}
        ),
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


def clone(seen: Topology, item: Instance, why: str, now: datetime) -> Step:
    """Have Patroni throw a replica's data away and copy the primary's; and note that on the pod."""
    words = ["reinit", scope(seen.name), item.name, "--force"]
    message = f"Cloning {item.name} from the primary: {why}"

    def act(kube: Kube) -> None:
        _patch(kube, item.pod, {"metadata": {"annotations": {_CLONED: now.isoformat(), _STUCK: None}}})
        _patronictl(kube, seen, item, words)

    return Step("CloningInstance", message, 5, act, message, warning=True)


def was_cloned(item: Instance) -> bool:
    """Whether it was cloned since its pod was made: what that did not mend, a second time will not."""
    return _CLONED in annotations(item.pod)


def watch(item: Instance, now: datetime) -> Step:
    """Note how far a replica is that seems to be stuck."""
    message = f"Watching whether {item.name} finds the write-ahead log that it lacks"
    if stuck_for(item, now):
        return Step("InstancesStarting", message, 10)
    note = f"{item.position} {now.isoformat()}"
    return Step(
        "InstancesStarting",
        message,
        10,
        lambda kube: _patch(kube, item.pod, {"metadata": {"annotations": {_STUCK: note}}}),
    )


def stuck_for(item: Instance, now: datetime) -> float:
    """Seconds since the replica was noted to be where it still is; 0 when it was not."""
    position, _, since = annotations(item.pod).get(_STUCK, "").partition(" ")
    try:
        if position != str(item.position):
            return 0.0
        return max((now - datetime.fromisoformat(since)).total_seconds(), 1.0)
    except ValueError:
        return 0.0


def has_loaded(item: Instance, checksum: str) -> bool:
    """Whether an instance serves this certificate."""
    return bool(annotations(item.pod).get(LOADED) == checksum)


def reload_certificate(kube: Kube, item: Instance, checksum: str) -> None:
    """Have PostgreSQL read a renewed certificate, as soon as it has arrived in the pod; it disturbs nothing.

    The first note on the pod makes the kubelet look at its volumes at once, not in a minute or two.
    """
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

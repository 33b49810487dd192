"""What to do next with the instances of a ParadeDB, decided from what is seen of them and nothing else.

A pass takes one step at most. So one that is killed leaves nothing behind that the next would not see, and
whoever may only look comes to the same decision as who acts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances, steps, switchover, topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object
from ansible_collections.paradedb.db.plugins.module_utils.patroni import LOOP_WAIT
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology

# Seconds after which pods of a node that is not ready may be given up, where nodeLossPolicy allows it: far
# more than Patroni's ttl, after which an instance that is cut off has stopped taking writes by itself.
NODE_LOST_AFTER = 120
# Seconds that an instance which cannot start is given to find its own way, before it is cloned anew.
CLONE_AFTER = 60
# Patroni's words for an instance that it cannot start.
DOWN = ("start failed", "restart failed", "crashed", "stopped", "stop failed")
CLONING = "creating replica"

# A standby needs at least the primary's value of these, so a smaller one reaches the primary first:
# https://www.postgresql.org/docs/17/hot-standby.html#HOT-STANDBY-ADMIN
HOT_STANDBY_SENSITIVE = (
    "max_connections",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
    "max_locks_per_transaction",
)


@dataclass
class World:
    """All that a decision is made of."""

    seen: Topology
    spec: dict[str, Any]
    replicas: int | None  # how many instances shall run; None while that is not known yet
    now: datetime
    nodes: dict[str, Object] = field(default_factory=dict)
    database: dict[str, Any] | None = None  # None for who only looks
    resource: Object | None = None
    certificate: str = ""  # checksum; empty without TLS
    resizing: str = ""  # what the volumes still wait for
    settings_age: float = 3600  # seconds since the settings were last changed


def decide(world: World) -> Step | None:
    """The next step; None when everything is as it was asked for. Raises Refused for what needs a person."""
    for stage in _STAGES:
        step = stage(world)
        if step:
            return step
    return None


def _controller(world: World) -> Step | None:
    if not topology.is_current(world.seen.stateful_set):
        return Step("InstancesStarting", "Waiting for the StatefulSet controller", 2)
    return None


def _lost_node(world: World) -> Step | None:
    for item in world.seen.present + world.seen.going:
        since = topology.lost_since(world.nodes.get(item.node))
        if since is None or (item.ready and not item.going):
            continue
        lost_for = (world.now - since).total_seconds()
        if lost_for < NODE_LOST_AFTER:
            continue
        if world.spec.get("nodeLossPolicy", "Manual") != "ForceDelete":
            return Step(
                "NodeLost",
                f"{item.name} is on node {item.node}, which is not ready. Once you know that the node is "
                "off, delete the pod by force, or set spec.nodeLossPolicy: ForceDelete",
                30,
            )
        return steps.elsewhere(item)
    return None


def _outdated_and_down(world: World) -> Step | None:
    """What was applied last may mend an instance that does not run, or take back what broke it.

    One whose PostgreSQL runs may only be waiting for an election, which it may win.
    """
    for item in world.seen.present:
        elected = len(world.seen.present) > 1 and (item.primary or item.state == "running")
        patience = CLONE_AFTER if elected else 0
        down = not item.ready and topology.unready_for(item, world.now) >= patience
        if item.outdated and down:
            return steps.replacement(item)
    return None


def _asked(world: World) -> Step | None:
    """A person's wish for another primary."""
    metadata = (world.resource or {}).get("metadata") or {}
    wish = (metadata.get("annotations") or {}).get(switchover.ANNOTATION)
    if not wish or world.seen.primary is None:
        return None
    resource: Object = world.resource or {}
    try:
        to = switchover.chosen(world.seen, wish)
    except Refused as refused:
        return _wish_ends(resource, refused.reason, str(refused), warning=True)
    if to is world.seen.primary:
        return _wish_ends(resource, "SwitchoverDone", f"{to.name} is the primary")
    if wish == switchover.ANY:  # from here on it is this one, whatever comes between
        said = f"{to.name} is to be the primary"
        return Step("SwitchingOver", said, 0, lambda kube: switchover.annotate(kube, resource, to.name))
    return steps.hand_over(world.seen, to, "as was asked for")


def _wish_ends(resource: Object, reason: str, said: str, warning: bool = False) -> Step:
    return Step(reason, said, 0, lambda kube: switchover.annotate(kube, resource, None), said, warning)


def _fewer(world: World) -> Step | None:
    """Take instances away: never the primary, and for hibernation the primary as the last."""
    seen, wanted = world.seen, world.replicas
    if wanted is None or seen.size <= wanted:
        return None
    size = 1 if wanted == 0 and seen.size > 1 else wanted
    if size > 0:
        if seen.primary is None:
            return Step("ScalingDown", "Waiting for a primary before instances are taken away", 3)
        if seen.primary.ordinal >= size:
            to = switchover.candidate(seen, lambda item: item.ordinal < size)
            if to is None:
                waits = f"Waiting for an instance below number {size} that can be the primary"
                return Step("ScalingDown", waits, 3)
            return steps.hand_over(world.seen, to, "before the present primary is taken away")
    elif len(seen.present) > 1 or any(item.ordinal > 0 for item in seen.going):
        return Step("ScalingDown", "Waiting for the replicas to end", 2)
    return steps.scale(world.seen, size)


def _awake(world: World) -> Step | None:
    """One that wakes up starts alone: the instance that slept last has the data."""
    return steps.scale(world.seen, 1) if world.seen.size == 0 and world.replicas != 0 else None


def _asleep(world: World) -> Step | None:
    if world.replicas == 0 and (world.seen.present or world.seen.going):
        return Step("ScalingDown", "Waiting for the last instance to end", 2)
    return None


def _clone(world: World) -> Step | None:
    """A replica that cannot follow the primary any more gets its data anew."""
    if world.seen.primary is None:
        return None
    for item in world.seen.replicas:
        why = _lost_contact(world, item) if item.running and not item.ready else ""
        if why:
            return steps.clone(world.seen, item, why)
    return None


def _lost_contact(world: World, item: Instance) -> str:
    """Why a replica cannot come back by itself; empty while it may."""
    oldest = (world.database or {}).get("oldest_wal") or 0
    if item.state == "running" and not item.streaming and 0 < item.position < oldest:
        return "the primary no longer has the write-ahead log that it needs"
    if item.state in DOWN and topology.unready_for(item, world.now) >= CLONE_AFTER:
        return f"it does not start ({item.state})"
    return ""


def _trouble(world: World) -> Step | None:
    """An instance of the present template that will not come: nothing more is changed until it is mended."""
    for item in world.seen.present:
        found = instances.trouble(item.pod, world.now, cloning=item.state == CLONING)
        if found and not item.outdated:
            raise Refused(found["reason"], "", found["message"])
    return None


def _unready(world: World) -> Step | None:
    seen = world.seen
    if world.replicas == 0:
        return None
    unready = [item for item in seen.present if not item.ready]
    if len(seen.present) >= seen.size and not unready:
        if seen.primary is None:
            return Step("NoPrimary", "Waiting for a primary", 1)
        return None
    blocked = next((reason for item in unready if (reason := instances.unscheduled(item.pod))), "")
    if blocked:
        return Step("Unschedulable", blocked, 10)
    if seen.primary is None and len(seen.present) > 1:
        return Step("NoPrimary", "Waiting for a primary", 1)
    cloning = [item.name for item in unready if item.state == CLONING]
    if cloning:
        return Step("CloningInstance", f"Cloning {', '.join(cloning)} from the primary", 3)
    return Step("InstancesStarting", "Waiting for the instances to become ready", 3)


def _answering(world: World) -> Step | None:
    if world.replicas != 0 and world.database is not None and not world.database.get("connected"):
        return Step("InstancesStarting", "Waiting for the primary", 2)
    return None


def _drained(world: World) -> Step | None:
    """A primary on a node that is being drained moves off before its pod is asked to leave."""
    primary = world.seen.primary
    if primary is None or not topology.is_cordoned(world.nodes.get(primary.node)):
        return None
    to = switchover.candidate(
        world.seen, lambda item: not topology.is_cordoned(world.nodes.get(item.node)) and not item.outdated
    )
    return steps.hand_over(world.seen, to, f"because node {primary.node} is being drained") if to else None


def _outdated(world: World) -> Step | None:
    """Replicas first, then the primary after it has handed over; one at a time, each waited for."""
    outdated = [item for item in world.seen.present if item.outdated]
    replicas = [item for item in outdated if item is not world.seen.primary]
    if replicas:
        return steps.replacement(replicas[-1])
    if not outdated:
        return None
    to = switchover.candidate(world.seen, lambda item: not item.outdated)
    if to is None and len(world.seen.present) > 1:
        return Step("RollingUpdate", "Waiting for a replica that can take over", 2)
    behind = _behind(world)
    if behind:
        return steps.restart(world.seen, behind)
    return (
        steps.hand_over(world.seen, to, "before its pod is replaced")
        if to
        else steps.replacement(outdated[0])
    )


def _more(world: World) -> Step | None:
    if world.replicas is not None and world.seen.size < world.replicas:
        return steps.scale(world.seen, world.replicas)
    return None


def _settings(world: World) -> Step | None:
    database = world.database
    if database is None or world.replicas == 0:
        return None
    if database.get("hba_problem"):
        raise Refused(
            "InvalidHBARule",
            "spec.auth.pgHBA",
            f"PostgreSQL kept the previous rules: {database['hba_problem']}",
        )
    if not database["settings_applied"]:
        return Step("ApplyingSettings", "Waiting for Patroni to apply the settings", 1)
    return _restart(world, database["pending_restart"])


def _restart(world: World, pending: bool) -> Step | None:
    """Restart PostgreSQL where a setting waits for it, in an order that no replica stops over."""
    primary = world.seen.primary
    if primary is None:
        return None
    waits = pending or any(item.pending_restart for item in world.seen.present)
    if waits and world.seen.replicas and world.settings_age < LOOP_WAIT + 2:
        return Step("ApplyingSettings", "Waiting for every instance to take the settings over", 2)
    if any(map(_shrinks, primary.pending.items())):
        return steps.restart(world.seen, primary)
    replica = next((item for item in world.seen.replicas if item.pending_restart), None)
    if replica:
        return steps.restart(world.seen, replica)
    if not pending and not primary.pending_restart:
        return None
    to = switchover.candidate(world.seen)
    return steps.hand_over(world.seen, to, "before it restarts") if to else steps.restart(world.seen, primary)


def _behind(world: World) -> Instance | None:
    """A replica that must restart before another leads, which may have larger settings than it can follow."""
    for item in world.seen.replicas:
        if item.pending_restart and not any(map(_shrinks, item.pending.items())):
            return item
    return None


def _shrinks(pending: tuple[str, Any]) -> bool:
    """Whether a setting that replicas depend on becomes smaller."""
    name, values = pending
    try:
        return name in HOT_STANDBY_SENSITIVE and int(values["new_value"]) < int(values["old_value"])
    except (KeyError, TypeError, ValueError):
        return False


def _resizing(world: World) -> Step | None:
    return Step("VolumesResizing", world.resizing, 5) if world.resizing else None


def _certificates(world: World) -> Step | None:
    """Have PostgreSQL read a renewed certificate, which the kubelet brings into the pods."""
    if not world.certificate:
        return None
    for item in world.seen.present:
        loaded = (item.pod["metadata"].get("annotations") or {}).get(steps.LOADED)
        if loaded != world.certificate:
            return steps.reload_certificate(item, world.certificate)
    return None


_STAGES = (
    *(
        _controller,
        _lost_node,
        _outdated_and_down,
        _asked,
        _awake,
        _fewer,
        _asleep,
        _clone,
        _trouble,
        _unready,
    ),
    *(_answering, _drained, _outdated, _more, _settings, _resizing, _certificates),
)

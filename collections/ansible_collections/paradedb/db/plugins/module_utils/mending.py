"""Instances that do not serve: what brings them back, or says that a person must. Stages of ``decision``."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils import instances, steps, switchover, topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance
from ansible_collections.paradedb.db.plugins.module_utils.world import World

# Seconds after which pods of a node that is not ready may be given up, where nodeLossPolicy allows it: far
# more than Patroni's ttl, after which an instance that is cut off has stopped taking writes by itself.
NODE_LOST_AFTER = 120
# Seconds that an instance which does not come up is given to find its own way.
PATIENCE = 60
# Seconds after its container's start in which Patroni may already be at work and not have said so.
SILENCE = 20
# Patroni's words for an instance that it cannot start, for one that copies the primary's data, and for those
# that are on their way up: https://patroni.readthedocs.io/en/latest/rest_api.html
DOWN = ("start failed", "restart failed", "crashed", "stopped", "stop failed")
CLONING = "creating replica"
_COMING = (
    *("initializing new cluster", "running custom bootstrap script", "starting after custom bootstrap"),
    *("starting", "restarting", "stopping", CLONING),
)


def lost_node(world: World) -> Step | None:
    """A primary whose node does not answer, but which lives, hands over; other pods may be given up."""
    for item in world.seen.present + world.seen.going:
        if not world.lost(item) or (item.ready and not item.going):
            continue
        if item.name == world.seen.holder:
            to = switchover.candidate(world.seen)
            if to:
                return steps.hand_over(
                    world.seen, item, to, f"because its node {item.node} does not answer", world.now
                )
        elif world.lost(item) >= NODE_LOST_AFTER and world.spec.get("nodeLossPolicy") == "ForceDelete":
            return steps.elsewhere(item)
    return None


def outdated_and_down(world: World) -> Step | None:
    """What was applied last may mend an instance that does not run, or take back what broke it.

    One that is on its way up is left alone, and so is for a while one whose PostgreSQL runs: it may only be
    waiting for an election, which it may win.
    """
    for item in world.seen.present:
        if item.outdated and not item.ready and _may_be_broken(world, item):
            return steps.replacement(item)
    return None


def _may_be_broken(world: World, item: Instance) -> bool:
    if instances.recovers(item.pod):
        return False  # it would begin anew
    if instances.trouble(item.pod, world.now, cloning=True):
        return True
    if item.state in _COMING:
        return False
    if item.primary and item.state == "running":
        return bool(instances.trouble(item.pod, world.now))
    patience = 0
    if item.running and item.state in ("", "stopped"):
        patience = SILENCE
    elif len(world.seen.present) > 1 and item.state == "running":
        patience = PATIENCE
    return topology.unready_for(item, world.now) >= patience


def clone(world: World) -> Step | None:
    """A replica that cannot follow the primary any more gets its data anew."""
    primary = world.seen.primary
    if primary is None:
        return None
    for item in world.seen.replicas:
        if not item.running or item.ready or world.lost(item) or world.full(item):
            continue
        unready = topology.unready_for(item, world.now)
        same = item.outdated == primary.outdated
        if item.state in DOWN and unready >= PATIENCE and same and not steps.was_cloned(item):
            return steps.clone(world.seen, item, f"it does not start ({item.state})", world.now)
        if _lacks_wal(world, item):
            if min(unready, steps.stuck_for(item, world.now)) < PATIENCE:
                return steps.watch(item, world.now)
            why = "the primary no longer has the write-ahead log that it needs"
            return steps.clone(world.seen, item, why, world.now)
    return None


def _lacks_wal(world: World, item: Instance) -> bool:
    """Whether what the replica has ends before what the primary still has.

    Also one that goes through its own log after a start looks so, but its position moves.
    """
    oldest = (world.database or {}).get("oldest_wal") or 0
    follows = item.state == "running" and not item.streaming and not item.pending_restart
    return follows and 0 < item.position < oldest


def trouble(world: World) -> Step | None:
    """An instance of the present template that will not come: nothing more is changed until it is mended."""
    leader = world.seen.primary
    for item in world.seen.present:
        if item.state == CLONING or world.lost(item):
            continue
        # One that holds the lock and finds no room for its promotion is ready, and no primary.
        stuck = leader is None or not item.ready
        full = world.full(item) if item.running and (stuck or item is leader) else None
        if full:
            raise full
    for item in world.seen.present:
        found = instances.trouble(item.pod, world.now, cloning=item.state == CLONING)
        if not found and item.state in DOWN and topology.unready_for(item, world.now) >= PATIENCE:
            name = item.name
            found = {
                "reason": "InstanceCrashing",
                "message": f"PostgreSQL does not start in {name} ({item.state}); see kubectl logs {name}",
            }
        if found and not item.outdated and not world.lost(item):
            raise Refused(found["reason"], "", found["message"])
    return None


def unready(world: World) -> Step | None:
    seen = world.seen
    if seen.size == 0:
        return None
    unready = [item for item in seen.present if not item.ready]
    if len(seen.present) >= seen.size and not unready:
        return None if seen.primary else Step("NoPrimary", "Waiting for a primary", 1)
    lost = next((item for item in unready + seen.going if world.lost(item) >= NODE_LOST_AFTER), None)
    if lost:
        return Step(
            "NodeLost",
            f"{lost.name} is on node {lost.node}, which does not answer. Once you know that the node is off, "
            "delete the pod by force, or set spec.nodeLossPolicy: ForceDelete",
            30,
        )
    blocked = next((reason for item in unready if (reason := instances.unscheduled(item.pod))), "")
    if blocked:
        return Step("Unschedulable", blocked, 10)
    if seen.primary is None and len(seen.present) > 1:
        return Step("NoPrimary", "Waiting for a primary", 1)
    cloning = [item.name for item in unready if item.state == CLONING]
    if cloning:
        return Step("CloningInstance", f"Cloning {', '.join(cloning)} from the primary", 3)
    recovering = [item.name for item in unready if instances.recovers(item.pod)]
    if recovering:
        return Step("Recovering", f"Making the data of {recovering[0]} from a backup", 10)
    return Step("InstancesStarting", "Waiting for the instances to become ready", 3)

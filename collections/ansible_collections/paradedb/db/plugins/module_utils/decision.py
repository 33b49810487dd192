"""What to do next with the instances of a ParadeDB, decided from what is seen of them and nothing else.

A pass takes one step at most. So one that is killed leaves nothing behind that the next would not see, and
whoever may only look comes to the same decision as who acts. What needs a memory (a position that does not
move, a clone that was made) is noted on the object that it is about.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import mending, sizing, steps, switchover, topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.patroni import LOOP_WAIT
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance
from ansible_collections.paradedb.db.plugins.module_utils.world import World

# A standby needs at least the primary's value of these, so a smaller one reaches the primary first:
# https://www.postgresql.org/docs/17/hot-standby.html#HOT-STANDBY-ADMIN
HOT_STANDBY_SENSITIVE = (
    "max_connections",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
    "max_locks_per_transaction",
)


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


def _asked(world: World) -> Step | None:
    """A person's wish for another primary."""
    wish = annotations(world.resource).get(switchover.ANNOTATION)
    primary = world.seen.primary
    if not wish or primary is None:
        return None
    resource: Object = world.resource or {}
    try:
        to = switchover.chosen(world.seen, wish)
        if to is primary:
            return _wish_ends(resource, "SwitchoverDone", f"{to.name} is the primary")
        if wish == switchover.ANY:  # from here on it is this one, whatever comes between
            said = f"{to.name} is to be the primary"
            return Step("SwitchingOver", said, 0, lambda kube: switchover.annotate(kube, resource, to.name))
        return steps.hand_over(world.seen, primary, to, "as was asked for", world.now, wish)
    except Refused as refused:
        return _wish_ends(resource, refused.reason, str(refused), warning=True)


def _wish_ends(resource: Object, reason: str, said: str, warning: bool = False) -> Step:
    return Step(reason, said, 0, lambda kube: switchover.annotate(kube, resource, None), said, warning)


def _drained(world: World) -> Step | None:
    """A primary on a node that is being drained moves off before its pod is asked to leave."""
    primary = world.seen.primary
    if primary is None or not topology.is_cordoned(world.nodes.get(primary.node)):
        return None

    def suits(item: Instance) -> bool:
        cordoned = topology.is_cordoned(world.nodes.get(item.node))
        return not cordoned and (primary.outdated or not item.outdated)

    to = switchover.candidate(world.seen, suits)
    if to is None:
        return None
    why = f"because node {primary.node} is being drained"
    return steps.hand_over(world.seen, primary, to, why, world.now)


def _answering(world: World) -> Step | None:
    if world.replicas != 0 and world.database is not None and not world.database.get("connected"):
        return Step("InstancesStarting", "Waiting for the primary", 2)
    return None


def _outdated(world: World) -> Step | None:
    """Replicas first, then the primary after it has handed over; one at a time, each waited for."""
    primary = world.seen.primary
    outdated = [item for item in world.seen.present if item.outdated]
    replicas = [item for item in outdated if item is not primary]
    if replicas:
        return steps.replacement(replicas[-1])
    if not outdated or primary is None:
        return None
    if len(world.seen.present) == 1:
        return steps.replacement(primary)
    to = switchover.candidate(world.seen, lambda item: not item.outdated)
    if to is None:
        return Step("RollingUpdate", "Waiting for a replica that can take over", 2)
    behind = _behind(world)
    if behind:
        return steps.restart(world.seen, behind)
    return steps.hand_over(world.seen, primary, to, "to be replaced", world.now)


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
    """Restart PostgreSQL where a setting waits for it, in an order that no replica stops over.

    What waits is Patroni's to say, for it is Patroni who restarts. PostgreSQL may know of more, as after an
    ALTER SYSTEM of somebody: that one's restart is not ours to decide.
    """
    primary = world.seen.primary
    if primary is None:
        return None
    waits = pending or any(item.pending_restart for item in world.seen.present)
    if waits and world.settings_age < 2 * LOOP_WAIT + 2:  # taken over in one loop, told in the next
        return Step("ApplyingSettings", "Waiting for every instance to take the settings over", 2)
    if any(map(_shrinks, primary.pending.items())):
        return steps.restart(world.seen, primary)
    replica = next((item for item in world.seen.replicas if item.pending_restart), None)
    if replica:
        return steps.restart(world.seen, replica)
    if not primary.pending_restart:
        return None
    to = switchover.candidate(world.seen)
    if to is None:
        return steps.restart(world.seen, primary)
    return steps.hand_over(world.seen, primary, to, "to restart", world.now)


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
    late = [item.name for item in world.seen.present if not steps.has_loaded(item, world.certificate)]
    if world.certificate and late:
        return Step("ReloadingCertificate", f"Waiting for the certificate in {', '.join(late)}", 2)
    return None


_STAGES = (
    # What must not wait for anything else.
    *(_controller, mending.lost_node, mending.outdated_and_down, _asked),
    *(sizing.awake, sizing.fewer, sizing.asleep, _drained),
    # What brings broken instances back, or says that they are.
    *(mending.clone, mending.trouble, mending.unready, sizing.still_too_many, _answering),
    # What changes a database that is whole.
    *(_outdated, sizing.more, _settings, _resizing, _certificates),
)

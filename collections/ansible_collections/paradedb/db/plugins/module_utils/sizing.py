"""How many instances run: more, fewer, none, and again. Stages of ``decision``."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils import conditions, steps, switchover
from ansible_collections.paradedb.db.plugins.module_utils.steps import Step
from ansible_collections.paradedb.db.plugins.module_utils.world import World


def awake(world: World) -> Step | None:
    """Start the instances again.

    After our own hibernation instance 0 alone: it slept last and has the data. Where somebody else took all
    instances away, any may have the newest, so all that have data take part in the election.
    """
    if world.seen.size > 0 or world.replicas == 0:
        return None
    if world.seen.hibernated or conditions.holds(conditions.of(world.resource), conditions.HIBERNATED):
        return steps.scale(world.seen, 1)
    most = world.replicas or int(world.spec["replicas"])
    return steps.scale(world.seen, max(min(world.kept, most), 1))


def fewer(world: World) -> Step | None:
    """Take instances away from the top, never the primary; for hibernation the primary is the last.

    The topmost instance can always hand over to another that stays, also in synchronous mode, where only a
    synchronous replica may follow. What stays must serve first. Where this cannot act, a later stage waits.
    """
    seen, wanted = world.seen, world.replicas
    if wanted is None or seen.size <= wanted:
        return None
    primary, size = seen.primary, max(wanted, 1)
    if seen.size == 1:
        alone = not any(item.ordinal > 0 for item in seen.present + seen.going)
        return steps.scale(seen, 0) if alone else None
    staying = [item for item in seen.present if item.ordinal < size]
    whole = len(staying) == size and all(item.ready for item in staying)
    if primary is None or (size > 1 and not whole):
        return None
    if primary.ordinal < seen.size - 1:
        return steps.scale(seen, max(size, primary.ordinal + 1))
    lower = switchover.candidate(seen, lambda item: item.ordinal < primary.ordinal)
    if lower is None:
        return None
    if lower.outdated and not primary.outdated:  # or it would have to hand back
        return steps.replacement(lower)
    return steps.hand_over(seen, primary, lower, "before the present primary is taken away", world.now)


def asleep(world: World) -> Step | None:
    if world.replicas == 0 and world.seen.size == 0 and (world.seen.present or world.seen.going):
        return Step("ScalingDown", "Waiting for the last instance to end", 2)
    return None


def still_too_many(world: World) -> Step | None:
    if world.replicas is not None and world.seen.size > world.replicas:
        return Step("ScalingDown", "Waiting for an instance that can be the primary", 3)
    ending = [item.name for item in world.seen.going if not world.lost(item)]
    return Step("ScalingDown", f"Waiting for {', '.join(ending)} to end", 2) if ending else None


def more(world: World) -> Step | None:
    if world.replicas is not None and world.seen.size < world.replicas:
        return steps.scale(world.seen, world.replicas)
    return None

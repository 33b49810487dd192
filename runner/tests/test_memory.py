"""What is remembered over a restart, and what can go wrong with that."""

import asyncio

import pytest
from fakeapi import Fault
from paradedb_runner.control.fingerprint import Fingerprint
from paradedb_runner.control.memory import PassMemory
from support import key

A, B = key("a"), key("b")
ONE, TWO = Fingerprint("uid-a", "c1", "v1"), Fingerprint("uid-b", "c2", "v2")


def memory(api, part=1.0, resync=3600.0, refresh=0.0):
    return PassMemory(
        *(api, "ns", "id-passes", resync, lambda _: refresh),
        uniform=lambda low, high: low + part * (high - low),
    )


def stored(fake):
    return {name: obj["data"] for (kind, _, name), obj in fake.objects.items() if kind == "configmaps"}


def lines(fake):
    return {uid: line for data in stored(fake).values() for uid, line in data.items()}


async def test_what_was_written_is_read_again(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    first.put(B, TWO)
    assert await first.flush()
    assert lines(fake) == {"uid-a": "c1 v1", "uid-b": "c2 v2"}
    assert all(name.startswith("id-passes-") for name in stored(fake))
    second = memory(api)
    await second.load({"uid-a": A, "uid-b": B})
    assert (second.get(A).fingerprint, second.get(B).fingerprint) == (ONE, TWO)
    writes = len(fake.requests)
    assert await second.flush()
    assert len(fake.requests) == writes, "what was read needs no writing"


async def test_resources_that_no_longer_exist_are_pruned(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    first.put(B, TWO)
    await first.flush()
    second = memory(api)
    await second.load({"uid-b": B})
    assert second.get(A) is None
    await second.flush()
    assert lines(fake) == {"uid-b": "c2 v2"}


async def test_what_is_forgotten_is_forgotten_there_too(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    await first.flush()
    first.drop(A)
    first.drop(B)
    await first.flush()
    assert lines(fake) == {}


async def test_a_renewed_fingerprint_keeps_the_time_of_the_resync(served):
    _, api = served
    first = memory(api)
    first.put(A, ONE)
    due = first.get(A).due
    await asyncio.sleep(0.01)
    first.renew(A, ONE._replace(versions="v9"))
    assert first.get(A) == (ONE._replace(versions="v9"), due, float("inf"))


async def test_a_refresh_is_a_period_after_the_last_one_and_after_a_restart_anywhere_within_one(served):
    _, api = served
    now = asyncio.get_running_loop().time()
    first = memory(api, part=0.5, refresh=300.0)
    first.put(A, ONE)
    assert first.get(A).stale - now == pytest.approx(270, abs=5)
    await asyncio.sleep(0.01)
    before = first.get(A)
    first.renew(A, ONE)
    assert first.get(A).stale > before.stale
    assert first.get(A).due == before.due
    await first.flush()
    second = memory(api, part=0.25, refresh=300.0)
    await second.load({"uid-a": A})
    assert second.get(A).stale - now == pytest.approx(75, abs=5)


async def test_a_refresh_that_found_everything_as_it_was_writes_nothing(served):
    fake, api = served
    first = memory(api, refresh=300.0)
    first.put(A, ONE)
    await first.flush()
    requests = len(fake.requests)
    first.renew(A, ONE)
    await first.flush()
    assert len(fake.requests) == requests


async def test_the_next_resync_is_at_most_a_period_away_and_after_a_restart_anywhere_within_one(served):
    _, api = served
    now = asyncio.get_running_loop().time()
    first = memory(api, part=1.0)
    first.put(A, ONE)
    assert first.get(A).due - now == pytest.approx(3600, abs=5)
    await first.flush()
    second = memory(api, part=0.25)
    await second.load({"uid-a": A})
    assert second.get(A).due - now == pytest.approx(900, abs=5)


async def test_a_period_of_zero_is_no_resync(served):
    _, api = served
    never = memory(api, resync=0.0)
    never.put(A, ONE)
    assert never.get(A).due == float("inf")


@pytest.mark.parametrize("damage", ["", "c1", "c1 v1 x1"])
async def test_damaged_lines_are_ignored_and_removed(served, damage):
    fake, api = served
    fake.put("configmaps", "id-passes-0", data={"uid-a": damage})
    first = memory(api)
    await first.load({"uid-a": A})
    assert first.get(A) is None
    await first.flush()
    assert lines(fake) == {}


async def test_a_write_of_somebody_else_is_never_overwritten_unseen(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    await first.flush()
    ((name, _),) = stored(fake).items()
    fake.put("configmaps", name, data={"uid-x": "c v"})
    first.put(A, ONE._replace(content="c9"))
    assert not await first.flush()
    assert lines(fake) == {"uid-x": "c v"}
    assert await first.flush(), "having looked, the leader's word counts"
    assert lines(fake) == {"uid-a": "c9 v1"}


async def test_a_write_that_failed_is_tried_again(served, caplog):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    fake.faults.append(Fault("POST", 500))
    assert not await first.flush()
    assert await first.flush()
    assert lines(fake) == {"uid-a": "c1 v1"}
    assert len([record for record in caplog.records if "a restart will repeat" in record.message]) == 1


async def test_a_write_that_was_cut_short_is_not_taken_for_done(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)

    async def hang(request):
        if request.method == "POST":
            await asyncio.sleep(60)

    fake.on_request = hang
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first.flush(), 0.1)
    fake.on_request = None
    assert await first.flush()
    assert lines(fake) == {"uid-a": "c1 v1"}


async def test_changes_are_gathered_before_they_are_written(served):
    fake, api = served
    first = memory(api)
    task = asyncio.create_task(first.keep_written())
    for number in range(20):
        first.put(A, ONE._replace(content=str(number)))
        await asyncio.sleep(0.005)
    assert fake.writes("POST") == []
    task.cancel()


async def test_one_shard_that_cannot_be_read_does_not_take_the_others_along(served):
    fake, api = served
    first = memory(api)
    first.put(A, ONE)
    await first.flush()
    ((name, _),) = stored(fake).items()
    broken = next(number for number in range(8) if not name.endswith(str(number)))
    fake.faults.append(Fault("GET", 500, f"id-passes-{broken}"))
    second = memory(api)
    await second.load({"uid-a": A})
    assert second.get(A).fingerprint == ONE

"""The queue, lines 9, 10, 11 and 17 of the checklist, in fake time."""

import asyncio

import pytest
from paradedb_runner.control.workqueue import Lane, TokenBucket, WorkQueue
from paradedb_runner.kube.objects import GroupVersionKind
from support import DEMO, key

pytestmark = pytest.mark.looptime
OTHER = GroupVersionKind("example.com", "v1", "Other")
A, B = key("a"), key("b")


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(uniform=lambda low, high: high)


async def taken(queue: WorkQueue) -> str:
    got, _ = await asyncio.wait_for(queue.get(), 0.001)
    return got.name


async def nothing(queue: WorkQueue) -> bool:
    try:
        await taken(queue)
    except TimeoutError:
        return True
    return False


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_key_waits_once_however_often_it_is_added(queue):
    for _ in range(10):
        queue.add(A)
    queue.add(A, Lane.PERIODIC)
    assert await taken(queue) == "a"
    assert await nothing(queue)


async def test_a_key_in_flight_is_not_handed_out_again(queue):
    queue.add(A)
    await taken(queue)
    queue.add(A)
    queue.add(B)
    assert await taken(queue) == "b"
    assert await nothing(queue)


async def test_adds_while_running_give_exactly_one_more_pass(queue):
    queue.add(A)
    await taken(queue)
    for _ in range(5):
        queue.add(A)
    queue.done(A)
    assert await taken(queue) == "a"
    queue.done(A)
    assert await nothing(queue)


async def test_keys_of_other_kinds_with_the_same_name_are_others(queue):
    queue.add(A)
    queue.add(key("a", OTHER))
    assert [await taken(queue), await taken(queue)] == ["a", "a"]


async def test_of_delayed_adds_the_earliest_deadline_stays(queue):
    queue.add_after(A, 50)
    queue.add_after(A, 20)
    queue.add_after(A, 90)
    started = now()
    await queue.get()
    assert now() - started == pytest.approx(20)
    queue.done(A)
    await asyncio.sleep(200)
    assert await nothing(queue), "the later deadlines are gone"


async def test_a_pass_that_starts_earlier_uses_the_deadline_up(queue):
    queue.add_after(A, 20)
    queue.add(A)
    assert await taken(queue) == "a"
    queue.done(A)
    await asyncio.sleep(100)
    assert await nothing(queue)


async def test_deadlines_of_many_keys_fire_in_order(queue):
    queue.add_after(A, 30)
    queue.add_after(B, 10)
    assert [(await queue.get())[0].name, (await queue.get())[0].name] == ["b", "a"]


async def test_retries_wait_30_s_doubling_to_10_min_until_forgotten(queue):
    assert [queue.retry(A) for _ in range(7)] == [30, 60, 120, 240, 480, 600, 600]
    queue.forget(A)
    assert queue.retry(A) == 30
    assert queue.retry(B) == 30, "every key counts for itself"


async def test_retries_are_spread_by_jitter():
    queue = WorkQueue(uniform=lambda low, high: low)
    assert queue.retry(A) == pytest.approx(27)


async def test_a_bucket_over_all_keys_spreads_a_common_failure(queue):
    delays = [queue.retry(key(str(number))) for number in range(1000)]
    assert delays[0] == 30
    assert delays[-1] == pytest.approx(90), "900 more than the burst of 100, ten a second"


async def test_the_bucket_fills_again():
    bucket = TokenBucket(rate=10, burst=2)
    assert [bucket.reserve(0), bucket.reserve(0), bucket.reserve(0)] == pytest.approx([0, 0, 0.1])
    assert bucket.reserve(10) == 0


async def test_an_event_does_not_wait_for_the_back_off(queue):
    queue.retry(A)
    queue.add(A)
    assert await taken(queue) == "a"


async def test_events_go_before_periodic_work(queue):
    queue.add(A, Lane.PERIODIC)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == ["b", "a"]


async def test_an_event_lifts_a_periodic_key(queue):
    queue.add(A, Lane.PERIODIC)
    queue.add(B, Lane.PERIODIC)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == ["b", "a"]


async def test_periodic_work_does_not_starve(queue):
    queue.add(A, Lane.PERIODIC)
    order = []
    for number in range(20):
        queue.add(key(f"event{number}"))
        order.append(await taken(queue))
    assert order.index("a") == 8


async def test_a_kind_at_its_limit_does_not_hold_up_others(queue):
    queue.add(A)
    queue.add(key("o", OTHER))
    got, _ = await queue.get(lambda gvk: gvk == DEMO)
    assert got.name == "o"


async def test_a_kind_that_is_free_again_wakes_the_waiter(queue):
    limits = {DEMO}
    queue.add(A)
    waiting = asyncio.create_task(queue.get(lambda gvk: gvk in limits))
    await asyncio.sleep(1)
    assert not waiting.done()
    limits.clear()
    queue.done(B)
    assert (await waiting)[0] == A


async def test_counts_for_metrics(queue):
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert (queue.adds[DEMO], queue.depths()[DEMO]) == (2, 2)
    queue.retry(A)
    assert queue.retries[DEMO] == 1


async def test_how_long_a_key_waited_is_told(queue):
    queue.add(A)
    await asyncio.sleep(3)
    assert (await queue.get())[1] == pytest.approx(3)

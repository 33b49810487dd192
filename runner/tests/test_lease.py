"""Leader election, line 12 of the checklist, in fake time against a Lease in memory."""

import asyncio
import copy
from typing import Any

import pytest
from paradedb_runner.kube.api import ApiError
from paradedb_runner.kube.lease import LeaderElector

pytestmark = pytest.mark.looptime


class LeaseApi:
    """One Lease with conditional writes; ``down`` makes requests fail, ``slow`` is how long they take."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False
        self.slow = 0.0
        self.writes = 0

    async def _request(self) -> None:
        await asyncio.sleep(self.slow)
        if self.down:
            raise ApiError(500, "down")

    def _store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    async def get(self, path: str) -> dict[str, Any]:
        await self._request()
        if self.lease is None:
            raise ApiError(404, "no lease")
        return copy.deepcopy(self.lease)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        await self._request()
        if self.lease is not None:
            raise ApiError(409, "exists")
        return self._store(body)

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        await self._request()
        assert self.lease
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "modified")
        return self._store(body)


@pytest.fixture
def api() -> LeaseApi:
    return LeaseApi()


def candidate(api: LeaseApi, name: str) -> LeaderElector:
    return LeaderElector(api, "ns", "leader", name, uniform=lambda low, high: low)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_candidate_leads_at_once(api):
    elector = candidate(api, "a")
    await elector.acquire()
    assert elector.is_leader
    assert api.lease["spec"]["holderIdentity"] == "a"
    assert api.lease["spec"]["leaseDurationSeconds"] == 15


async def test_of_two_candidates_one_leads_while_it_renews(api):
    first, second = candidate(api, "a"), candidate(api, "b")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.acquire(), 300)
    assert not holding.done()
    assert api.lease["spec"]["leaseTransitions"] == 0
    holding.cancel()


async def test_a_dead_leader_is_followed_after_the_lease_duration(api):
    first, second = candidate(api, "a"), candidate(api, "b")
    await first.acquire()
    started = now()
    await second.acquire()
    assert 15 <= now() - started <= 15 + 2
    assert api.lease["spec"]["leaseTransitions"] == 1


async def test_clocks_of_others_do_not_matter(api):
    await candidate(api, "a").acquire()
    api.lease["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    started = now()
    await candidate(api, "b").acquire()
    assert now() - started >= 15, "what looks stale by its own time may be a leader with a wrong clock"


async def test_a_released_lease_is_taken_at_once(api):
    first, second = candidate(api, "a"), candidate(api, "b")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(3)
    await first.release()
    released = now()
    await waiting
    assert now() - released <= 2
    assert not first.is_leader


async def test_a_leader_that_cannot_renew_gives_up_before_others_may_start(api):
    first = candidate(api, "a")
    await first.acquire()
    renewed = now()
    holding = asyncio.create_task(first.hold())
    api.down = True
    await holding
    assert now() - renewed == pytest.approx(10)
    assert not first.is_leader


async def test_a_request_that_hangs_does_not_outlast_the_deadline(api):
    first = candidate(api, "a")
    await first.acquire()
    renewed = now()
    api.slow = 1000
    await first.hold()
    assert now() - renewed == pytest.approx(10)


async def test_a_short_outage_is_survived(api):
    first = candidate(api, "a")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    api.down = True
    await asyncio.sleep(7)
    api.down = False
    await asyncio.sleep(60)
    assert not holding.done()
    holding.cancel()


async def test_a_lease_taken_away_is_noticed(api):
    first = candidate(api, "a")
    await first.acquire()
    api.lease["spec"]["holderIdentity"] = "thief"
    api.lease["metadata"]["resourceVersion"] = "999"
    started = now()
    await first.hold()
    assert now() - started <= 5


async def test_a_write_of_our_own_that_seemed_lost_is_recognised(api):
    first = candidate(api, "a")
    await first.acquire()
    api.lease["metadata"]["resourceVersion"] = "999"  # it arrived, its answer did not
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(60)
    assert not holding.done()
    holding.cancel()


async def test_renewing_costs_one_request(api):
    first = candidate(api, "a")
    await first.acquire()
    api.get = None  # would raise
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(20)
    assert not holding.done()
    assert api.writes == pytest.approx(11, abs=1)
    holding.cancel()


async def test_the_lease_counts_from_the_start_of_the_attempt_that_took_it(api):
    first = candidate(api, "a")
    api.slow = 3.0  # for each of the two requests
    started = now()
    await first.acquire()
    api.down = True
    await first.hold()
    assert now() - started == pytest.approx(10)


async def test_an_attempt_that_hangs_does_not_hang_the_candidate(api):
    first = candidate(api, "a")
    api.slow = 1000
    acquiring = asyncio.create_task(first.acquire())
    await asyncio.sleep(11)
    api.slow = 0
    await asyncio.sleep(5)
    assert acquiring.done()


async def test_a_leader_knows_when_it_is_overdue(api):
    first = candidate(api, "a")
    assert not first.overdue()
    await first.acquire()
    await asyncio.sleep(14)
    assert not first.overdue()
    await asyncio.sleep(2)
    assert first.overdue(), "nobody holds it, so it may be somebody else's by now"

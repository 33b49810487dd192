"""Dependents that change without end, in fake time."""

import asyncio

import pytest
from paradedb_runner.control.storm import StormBreaker
from support import CONFIG_MAP, key

pytestmark = pytest.mark.looptime
A = key("a")
C, D = key("c", CONFIG_MAP), key("d", CONFIG_MAP)


class Began(list):
    """Remembers which storms began."""

    def __call__(self, resource, cause):
        self.append((resource.name, cause.name))


@pytest.fixture
def began():
    return Began()


@pytest.fixture
def storm(began):
    return StormBreaker(began)


def one_pass(storm, cause=C, *, failed=False):
    """A dependent changes and the pass it asks for runs at once."""
    delay = storm.triggered(A, cause)
    storm.begin(A)
    storm.ended(A, failed=failed)
    return delay


async def stormy(storm):
    for _ in range(21):
        assert one_pass(storm) == 0
        await asyncio.sleep(1)


async def test_20_passes_a_minute_are_normal(storm, began):
    for _ in range(200):
        assert one_pass(storm) == 0
        await asyncio.sleep(3.1)
    assert began == []


async def test_more_begin_a_storm_that_names_what_changed_most(storm, began):
    storm.triggered(A, D)
    await stormy(storm)
    assert began == [("a", "c")]
    assert storm.holds(A)
    assert storm.triggered(A, C) == 60


async def test_many_changes_that_one_pass_answers_count_once(storm, began):
    for _ in range(5):
        for _ in range(100):
            storm.triggered(A, C)
        storm.begin(A)
        storm.ended(A, failed=False)
        await asyncio.sleep(1)
    assert began == []


async def test_passes_that_no_dependent_asked_for_do_not_count(storm, began):
    for _ in range(50):
        storm.begin(A)
        storm.ended(A, failed=False)
    assert began == []


async def test_refreshes_do_not_count(storm, began):
    for _ in range(50):
        storm.triggered(A, C)
        storm.begin(A, counts=False)
        storm.ended(A, failed=False)
    assert began == []


async def test_while_it_lasts_the_pauses_double_to_ten_minutes(storm, began):
    await stormy(storm)
    pauses = []
    for _ in range(6):
        pauses.append(storm.triggered(A, C))
        await asyncio.sleep(pauses[-1] + 1)  # the pass, after which the dependent changes again
        storm.begin(A)
        storm.ended(A, failed=False)
    assert pauses == [60, 120, 240, 480, 600, 600]
    assert len(began) == 1, "one event for one storm"


async def test_changes_within_a_pause_wait_for_its_end(storm):
    await stormy(storm)
    assert storm.triggered(A, C) == 60
    await asyncio.sleep(20)
    assert storm.triggered(A, C) == 40


async def test_a_quiet_minute_after_the_pause_ends_it(storm, began):
    await stormy(storm)
    assert storm.triggered(A, C) == 60
    await asyncio.sleep(60 + 61)
    assert storm.triggered(A, C) == 0
    assert not storm.holds(A)
    await stormy(storm)
    assert len(began) == 2


async def test_a_storm_is_over_after_a_quiet_minute_even_if_nothing_changes_ever_again(storm):
    await stormy(storm)
    await asyncio.sleep(58)
    assert storm.holds(A)
    await asyncio.sleep(2)
    assert not storm.holds(A)


@pytest.mark.parametrize("most", [0, 20])
async def test_a_pass_that_waited_for_a_free_slot_longer_than_a_storm_lasts_does_not_count(
    storm, began, monkeypatch, most
):
    monkeypatch.setattr("paradedb_runner.control.storm._PASSES", most)
    storm.triggered(A, C)
    await asyncio.sleep(61)
    assert not storm.holds(A), "asked at the end of another pass over the same resource, say"
    storm.begin(A)
    assert began == []


async def test_what_is_held_back_keeps_a_storm_going_until_its_turn_and_a_minute_more(storm):
    await stormy(storm)
    assert storm.triggered(A, C) == 60
    await asyncio.sleep(119)
    assert storm.holds(A)
    await asyncio.sleep(2)
    assert not storm.holds(A)


async def test_the_pause_itself_is_not_the_quiet_minute(storm):
    await stormy(storm)
    storm.triggered(A, C)
    await asyncio.sleep(61)
    assert storm.triggered(A, C) == 120


async def test_a_failing_pass_that_moves_a_dependent_does_not_bypass_the_back_off_for_ever(storm):
    delays = []
    for _ in range(5):
        storm.begin(A)
        await asyncio.sleep(10)
        delays.append(storm.triggered(A, C))
        assert storm.ended(A, failed=True) is False
    assert delays == [0, 0, 0, None, None]


async def test_an_echo_after_a_failing_pass_is_its_own_work_too(storm):
    for _ in range(4):
        storm.begin(A)
        storm.triggered(A, C)
        storm.ended(A, failed=True)
    await asyncio.sleep(1)
    assert storm.triggered(A, C) is None
    await asyncio.sleep(5)
    assert storm.triggered(A, C) == 0, "this one comes from somebody else"


async def test_what_was_held_back_during_a_pass_that_then_succeeds_is_not_lost(storm):
    for _ in range(3):
        storm.begin(A)
        storm.triggered(A, C)
        storm.ended(A, failed=True)
    storm.begin(A)
    assert storm.triggered(A, C) is None
    assert storm.ended(A, failed=False) is True
    storm.begin(A)
    assert storm.triggered(A, C) == 0
    assert storm.ended(A, failed=False) is False


async def test_a_resource_that_is_gone_is_forgotten(storm):
    await stormy(storm)
    storm.forget(A)
    assert storm.triggered(A, C) == 0

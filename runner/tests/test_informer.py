"""The reflector and its store, lines 1 to 6 of the checklist, against a server that misbehaves."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakeapi import Fault, until
from paradedb_runner.kube.backoff import Backoff
from paradedb_runner.kube.informer import Informer
from support import DEMO


class Recorder:
    """Remembers what an informer told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Any, Any, bool]] = []

    def __call__(self, name: tuple[str, str], old: Any, new: Any, *, first: bool) -> None:
        self.changes.append((name[1], old, new, first))

    def kinds(self) -> list[tuple[str, str]]:
        return [
            (name, "add" if old is None else "delete" if new is None else "update")
            for name, old, new, _ in self.changes
        ]


@asynccontextmanager
async def informing(api: Any, **options: Any) -> Iterator[tuple[Informer[Any], Recorder]]:
    recorder = Recorder()
    options.setdefault("backoff", Backoff(0.01, 0.05))
    informer = Informer(api, DEMO, "ns", lambda obj: obj.get("spec"), recorder, **options)
    task = asyncio.create_task(informer.run())
    try:
        yield informer, recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_lists_in_pages_of_500_then_watches_from_the_version_of_the_list(served):
    fake, api = served
    for number in range(1203):
        fake.put("demos", f"d{number:04}")
    listed_at = fake.version
    async with informing(api) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        assert len(informer) == len(recorder.changes) == 1203
        assert all(first for *_, first in recorder.changes)
        pages = [dict(request.query) for request in fake.listing("demos")]
        assert pages == [
            {"limit": "500"},
            {"limit": "500", "continue": "500"},
            {"limit": "500", "continue": "1000"},
        ]
        assert fake.watching("demos")[0].query["resourceVersion"] == str(listed_at)


async def test_asks_for_bookmarks_and_resumes_from_them(served):
    fake, api = served
    async with informing(api) as (_, recorder):
        await until(lambda: fake.watching("demos"))
        assert fake.watching("demos")[0].query["allowWatchBookmarks"] == "true"
        fake.version = 4711
        fake.send_raw({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "4711"}}})
        await asyncio.sleep(0.05)
        fake.disconnect()
        await until(lambda: len(fake.watching("demos")) == 2)
        assert fake.watching("demos")[1].query["resourceVersion"] == "4711"
        assert recorder.changes == []


async def test_server_timeout_is_random_between_5_and_10_minutes(served):
    fake, api = served
    async with informing(api):
        for wanted in range(1, 9):
            await until(lambda wanted=wanted: len(fake.watching("demos")) == wanted)
            fake.disconnect()
    timeouts = [int(request.query["timeoutSeconds"]) for request in fake.watching("demos")]
    assert all(300 <= seconds <= 600 for seconds in timeouts)
    assert len(set(timeouts)) > 1


async def test_a_half_open_stream_is_noticed_by_the_client(served):
    fake, api = served
    async with informing(api, read_timeout=0.2) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        fake.silent = True  # the connection stays, but nothing arrives any more
        fake.put("demos", "missed")
        await until(lambda: len(fake.watching("demos")) >= 2)
        fake.silent = False
        await until(lambda: informer.get(("ns", "missed")) is not None or len(informer) == 1)
        assert recorder.kinds() == [("missed", "add")]


async def test_resumes_from_the_last_version_after_a_disconnect(served):
    fake, api = served
    async with informing(api) as (_, recorder):
        await until(lambda: fake.watching("demos"))
        fake.put("demos", "one")
        await until(lambda: recorder.changes)
        seen = fake.version
        fake.disconnect()
        fake.put("demos", "two")
        await until(lambda: len(recorder.changes) == 2)
        assert len(fake.listing("demos")) == 1, "a disconnect needs no new list"
        assert fake.watching("demos")[1].query["resourceVersion"] == str(seen)
        assert recorder.kinds() == [("one", "add"), ("two", "add")]


@pytest.mark.parametrize("form", ["http", "event"])
async def test_after_410_it_lists_again_and_makes_up_for_missed_deletes(served, form):
    fake, api = served
    for name in ("kept", "changed", "removed", "reborn"):
        fake.put("demos", name, spec={"n": 1})
    async with informing(api) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        recorder.changes.clear()
        fake.silent = True
        fake.put("demos", "changed", spec={"n": 2})
        fake.delete("demos", "removed")
        fake.delete("demos", "reborn")
        fake.put("demos", "reborn", spec={"n": 3})
        fake.put("demos", "born", spec={"n": 4})
        await asyncio.sleep(0.05)
        fake.silent = False
        if form == "http":
            fake.forget_history()
            fake.disconnect()
        else:
            fake.send_raw({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
        await until(lambda: len(recorder.changes) >= 5)
        assert sorted(recorder.kinds()) == [
            ("born", "add"),
            ("changed", "update"),
            ("reborn", "add"),
            ("reborn", "delete"),
            ("removed", "delete"),
        ]
        reborn = [(old, new) for name, old, new, _ in recorder.changes if name == "reborn"]
        assert reborn == [({"n": 1}, None), (None, {"n": 3})], "another uid is another object"
        assert not any(first for *_, first in recorder.changes), "these are news"
        assert len(informer) == 4
        await until(lambda: len(fake.watching("demos")) >= 2)


async def test_a_page_token_that_expires_falls_back_to_one_large_list(served):
    fake, api = served
    for number in range(600):
        fake.put("demos", f"d{number}")

    async def expire(request: Any) -> None:
        if "continue" in request.query:
            fake.faults.append(Fault("GET", 410, "/demos"))

    fake.on_request = expire
    async with informing(api) as (informer, _):
        await until(lambda: informer.synced.is_set())
        assert len(informer) == 600
        assert "limit" not in fake.listing("demos")[-1].query


def test_pauses_grow_from_800_ms_to_30_s_with_jitter():
    shortest = Backoff(uniform=lambda low, high: low)
    longest = Backoff(uniform=lambda low, high: high)
    assert [shortest.next() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    assert [longest.next() for _ in range(3)] == pytest.approx([1.2, 2.4, 4.8])
    assert max(longest.next() for _ in range(9)) == 30
    shortest.reset()
    assert shortest.next() == 0.8


@pytest.mark.looptime
async def test_a_watch_that_ends_at_once_is_never_a_tight_loop():
    class Closing:
        """An API that accepts every watch and ends it without a word."""

        watches = 0

        async def resource(self, gvk: Any) -> Any:
            return type("R", (), {"collection": lambda self, namespace: "/x", "plural": "demos"})()

        async def pages(self, path: str, **_: Any) -> Any:
            yield {"metadata": {"resourceVersion": "1"}, "items": []}

        async def watch(self, *_: Any, **__: Any) -> Any:
            self.watches += 1
            for nothing in ():
                yield nothing

    api = Closing()
    task = asyncio.create_task(Informer(api, DEMO, "", dict, Recorder()).run())
    await asyncio.sleep(300)
    task.cancel()
    assert 5 <= api.watches <= 20


async def test_the_pause_a_429_asks_for_is_kept(served, monkeypatch):
    fake, api = served
    fake.faults += [Fault("GET", 429, "/demos", watch=True, headers={"Retry-After": "7"})]
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    async with informing(api):
        monkeypatch.setattr("paradedb_runner.kube.informer.asyncio.sleep", sleep)
        await until(lambda: len(fake.watching("demos")) >= 2)
        monkeypatch.undo()
    assert 7 in slept


async def test_lines_longer_than_any_buffer_arrive_whole(served):
    fake, api = served
    async with informing(api) as (informer, _):
        await until(lambda: fake.watching("demos"))
        fake.put("demos", "large", spec={"text": "x" * 900_000})
        await until(lambda: len(informer) == 1)
        assert len(informer.get(("ns", "large"))["text"]) == 900_000


async def test_a_kind_that_is_not_installed_is_waited_for(served):
    fake, api = served
    demos = fake.kinds.pop("/apis/example.com/v1")
    fake.put("demos", "early")
    async with informing(api) as (informer, recorder):
        await until(lambda: len(fake.requests) >= 3)
        assert not informer.synced.is_set()
        fake.kinds["/apis/example.com/v1"] = demos
        await until(lambda: informer.synced.is_set())
        assert recorder.kinds() == [("early", "add")]


async def test_an_optional_kind_that_is_not_installed_holds_nobody_up(served):
    fake, api = served
    fake.kinds.pop("/apis/example.com/v1")
    async with informing(api, optional=True) as (informer, _):
        await until(lambda: informer.synced.is_set())


async def test_an_optional_kind_is_waited_for_with_one_line_in_the_log(served, caplog):
    caplog.set_level("INFO", "paradedb_runner")
    fake, api = served
    demos, flips = fake.kinds.pop("/apis/example.com/v1"), []
    fake.put("demos", "early", spec={})
    async with informing(api, optional=True, came_or_went=lambda: flips.append(1)) as (informer, recorder):
        await until(lambda: len(fake.requests) >= 5)
        assert (informer.served, recorder.changes, len(flips)) == (False, [], 1)
        assert len(caplog.records) == 1
        fake.kinds["/apis/example.com/v1"] = demos
        await until(lambda: informer.served)
        assert recorder.changes == [("early", None, {}, False)], "this is news"
        fake.put("demos", "late", spec={})
        await until(lambda: len(informer) == 2)
        fake.kinds.pop("/apis/example.com/v1")
        fake.disconnect()
        await until(lambda: not informer.served)
        polls = len(fake.requests) + 3
        await until(lambda: len(fake.requests) >= polls)
        assert informer.synced.is_set()
        assert recorder.kinds()[2:] == [("early", "delete"), ("late", "delete")]
        fake.kinds["/apis/example.com/v1"] = demos
        await until(lambda: len(informer) == 2)
    assert len(flips) == 4
    told = [record.message for record in caplog.records if record.levelname == "INFO"]
    assert [words.split()[0] for words in told] == ["not", "listed", "not", "listed"]


async def test_what_came_and_went_in_a_gap_is_told_as_a_gap(served):
    fake, api = served
    gaps = []
    async with informing(api, gap=gaps.append, read_timeout=100.0) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        fake.disconnect()
        await until(lambda: len(fake.watching("demos")) == 2)
        fake.put("demos", "one")
        await until(lambda: len(informer) == 1)
        seen = asyncio.get_running_loop().time()
        assert gaps == [], "a watch that goes on where it was misses nothing"
        fake.silent = True
        fake.put("demos", "phantom")
        fake.delete("demos", "phantom")
        await asyncio.sleep(0.05)
        fake.silent = False
        fake.forget_history()
        fake.disconnect()
        await until(lambda: gaps)
        assert len(recorder.changes) == 1, "no list shows the other one"
        assert gaps == pytest.approx([seen - 100], abs=1), "so long an event may have been on its way"
        await until(lambda: len(fake.watching("demos")) == 4)
        fake.kinds.pop("/apis/example.com/v1")
        fake.disconnect()
        await until(lambda: len(gaps) == 2)
        polls = len(fake.requests) + 3
        await until(lambda: len(fake.requests) >= polls)
        assert len(gaps) == 2, "what is not there cannot come and go"


async def test_a_kind_that_is_removed_takes_its_objects_along(served):
    fake, api = served
    fake.put("demos", "one", spec={})
    async with informing(api) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        fake.kinds.pop("/apis/example.com/v1")
        fake.disconnect()
        await until(lambda: len(recorder.changes) == 2)
        assert recorder.kinds() == [("one", "add"), ("one", "delete")]
        assert not informer.synced.is_set()


async def test_expired_credentials_are_read_again(served):
    fake, api = served
    fake.faults += [Fault("GET", 401, "/demos")]
    async with informing(api) as (informer, _):
        await until(lambda: informer.synced.is_set())
    assert api.credentials.reloads == 1


async def test_expired_credentials_are_read_again_by_a_watch_too(served):
    fake, api = served
    async with informing(api) as (_, recorder):
        await until(lambda: fake.watching("demos"))
        fake.faults += [Fault("GET", 401, "/demos", watch=True)]
        fake.disconnect()
        fake.put("demos", "one")
        await until(lambda: recorder.changes)
    assert api.credentials.reloads == 1


async def test_a_kind_we_may_not_list_holds_nobody_up_if_optional_and_is_complained_about_once(
    served, caplog
):
    fake, api = served
    fake.faults += [Fault("GET", 403, "/demos") for _ in range(5)]
    fake.put("demos", "one")
    async with informing(api, optional=True) as (informer, recorder):
        await until(lambda: informer.synced.is_set())
        assert recorder.changes == []
        await until(lambda: recorder.changes)
        assert recorder.changes[0][3], "what the first list finds is not news, however late it comes"
    assert len([record for record in caplog.records if "may not watch" in record.message]) == 1


async def test_a_refusal_is_a_sign_of_life(served):
    fake, api = served
    fake.faults += [Fault("GET", 403, "/demos")]
    async with informing(api, optional=True, backoff=Backoff(60, 60)) as (informer, _):
        await until(lambda: informer.synced.is_set())
        assert asyncio.get_running_loop().time() - informer.heard < 60


async def test_rights_that_are_taken_away_for_a_while_delete_nothing(served):
    fake, api = served
    fake.put("demos", "one")
    async with informing(api) as (informer, recorder):
        await until(lambda: fake.watching("demos"))
        recorder.changes.clear()
        fake.faults += [Fault("GET", 403, "/demos", watch=True)]
        fake.disconnect()
        await until(lambda: not informer.synced.is_set())
        await until(lambda: informer.synced.is_set())
        assert (recorder.changes, len(informer)) == ([], 1)

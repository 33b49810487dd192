"""Watches over what resources own and name: what is asked, who is told, kinds added at run time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakeapi import Fault, until
from paradedb_runner.control.dependents import Effect
from paradedb_runner.control.references import ReferenceIndex, named_objects, names_at, values_at
from paradedb_runner.control.related import RelatedWatches
from paradedb_runner.kube.backoff import Backoff
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.watches.model import DependentKind, Reference, Role, Watch
from support import CONFIG_MAP, DEMO, key

OTHER = GroupVersionKind("example.com", "v1", "Other")
SECRET = GroupVersionKind("", "v1", "Secret")
SERVICE = GroupVersionKind("", "v1", "Service")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
OURS = DependentKind(CONFIG_MAP, "ours=yes")
NAMES = Reference(SECRET, "spec.auth.secretRef.name")


MONITOR = GroupVersionKind("monitoring.example.com", "v1", "Monitor")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paradedb_runner.kube.informer.Backoff", lambda: Backoff(0.005, 0.02))


def watch(gvk: GroupVersionKind = DEMO, **options: Any) -> Watch:
    return Watch(gvk, Role("demo", Path("/roles")), **options)


def owner(name: str, kind: str = "Demo", **labels: str) -> dict[str, Any]:
    reference = {"apiVersion": "example.com/v1", "kind": kind, "name": name, "uid": "1"}
    return {"ownerReferences": [reference], "labels": labels}


class Heard:
    """Remembers what was told, in short."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str, Effect]] = []
        self.first: list[tuple[str, str, Effect]] = []
        self.kinds: list[GroupVersionKind] = []
        self.gaps: list[GroupVersionKind] = []

    def related_changed(self, key: Key, cause: Key, effect: Effect, *, first: bool) -> None:
        (self.first if first else self.news).append((key.name, cause.name, effect))

    def kinds_changed(self, gvk: GroupVersionKind) -> None:
        self.kinds.append(gvk)

    def missed(self, gvk: GroupVersionKind, since: float) -> None:
        self.gaps.append(gvk)


@asynccontextmanager
async def related(api: Any, *watches: Watch, namespaces: Any = ("ns",)) -> AsyncIterator[Any]:
    heard = Heard()
    watching = RelatedWatches(api, {each.gvk: each for each in watches}, namespaces, heard)
    task = asyncio.create_task(watching.follow())
    try:
        for informer in watching.informers:
            await informer.synced.wait()
        await asyncio.sleep(0.05)
        yield watching, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# What is asked


async def test_only_metadata_is_asked_for_and_only_what_the_selector_wants(served):
    fake, api = served
    fake.put("configmaps", "mine", metadata=owner("a", ours="yes"), data={"x": "1"})
    fake.put("configmaps", "other", metadata=owner("a"))
    async with related(api, watch(dependents=(OURS,))) as (watching, heard):
        assert heard.first == [("a", "mine", Effect.APPEARED)]
        assert len(watching.informers[0]) == 1
        for request in (*fake.listing("configmaps"), *fake.watching("configmaps")):
            assert request.query["labelSelector"] == "ours=yes"
            assert "as=PartialObjectMetadata" in request.headers["Accept"]


async def test_core_kinds_with_a_status_are_watched_whole(served):
    fake, api = served
    fake.put("services", "s", metadata=owner("a"), spec={"port": 1})
    async with related(api, watch(dependents=(DependentKind(SERVICE),))) as (_, heard):
        fake.put("services", "s", status={"loadBalancer": 1})
        fake.put("services", "s", spec={"port": 2})
        await until(lambda: len(heard.news) == 2)
    assert heard.news == [("a", "s", Effect.VERSION), ("a", "s", Effect.CONTENT)]


async def test_what_a_report_says_is_status(served):
    fake, api = served
    fake.put("configmaps", "mine", metadata=owner("a", ours="yes"), data={"done": "1 %"})
    report = DependentKind(CONFIG_MAP, "ours=yes", report=True)
    async with related(api, watch(dependents=(report,))) as (_, heard):
        fake.put("configmaps", "mine", data={"done": "2 %"})
        await until(lambda: len(heard.news) == 1)
    assert heard.news == [("a", "mine", Effect.VERSION)]


@pytest.mark.parametrize("early", [True, False])
async def test_other_kinds_whose_metadata_hides_the_status_are_watched_whole_as_well(served, early):
    fake, api = served
    scaler = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")
    if early:
        fake.put("horizontalpodautoscalers", "h", metadata=owner("a"))
    async with related(api, watch(dependents=(DependentKind(scaler),))) as (watching, heard):
        if not early:
            fake.put("horizontalpodautoscalers", "h", metadata=owner("a"))
        await until(lambda: len(watching.informers[0]) == 1)
        heard.news.clear()
        fake.put("horizontalpodautoscalers", "h", status={"currentReplicas": 1})
        fake.put("horizontalpodautoscalers", "h", spec={"maxReplicas": 2})
        await until(lambda: len(heard.news) == 2)
    assert heard.news == [("a", "h", Effect.VERSION), ("a", "h", Effect.CONTENT)]


async def test_watches_share_a_kind_unless_they_select_differently(served):
    fake, api = served
    watches = (
        watch(dependents=(OURS, DependentKind(SECRET)), references=(NAMES,)),
        watch(OTHER, dependents=(OURS, DependentKind(CONFIG_MAP))),
    )
    async with related(api, *watches):
        await until(lambda: fake.watching("secrets") and len(fake.watching("configmaps")) == 2)
        await asyncio.sleep(0.05)
    assert len(fake.watching("secrets")) == 1, "dependents and references share one"
    selectors = [request.query.get("labelSelector") for request in fake.watching("configmaps")]
    assert sorted(selectors, key=str) == [None, "ours=yes"]


# Who is told


async def test_what_a_selector_leaves_out_does_not_reach_who_selected(served):
    fake, api = served
    both = watch(dependents=(OURS,)), watch(OTHER, dependents=(DependentKind(CONFIG_MAP),))
    async with related(api, *both) as (watching, heard):
        fake.put("configmaps", "plain", metadata=owner("a"))
        fake.put("configmaps", "theirs", metadata=owner("b", "Other"))
        await until(lambda: heard.news)
        await asyncio.sleep(0.05)
    assert heard.news == [("b", "theirs", Effect.APPEARED)]
    assert not watching.dependents.of(key("a"))


async def test_a_dependent_that_no_longer_matches_is_as_good_as_gone(served):
    fake, api = served
    fake.put("configmaps", "c", metadata=owner("a", ours="yes"))
    async with related(api, watch(dependents=(OURS,))) as (watching, heard):
        assert len(watching.dependents.of(key("a"))) == 1
        fake.put("configmaps", "c", metadata={"labels": {}})
        await until(lambda: heard.news)
        assert heard.news == [("a", "c", Effect.CONTENT)]
        assert not watching.dependents.of(key("a"))


async def test_the_index_follows_a_dependent_from_owner_to_owner(served):
    fake, api = served
    async with related(api, watch(dependents=(DependentKind(CONFIG_MAP),))) as (watching, heard):
        fake.put("configmaps", "c", metadata=owner("a"))
        fake.put("configmaps", "c", metadata=owner("b"))
        await until(lambda: len(heard.news) == 3)
        assert heard.news[1:] == [("a", "c", Effect.CONTENT), ("b", "c", Effect.CONTENT)]
        assert not watching.dependents.of(key("a"))
        assert len(watching.dependents.of(key("b"))) == 1
        fake.delete("configmaps", "c")
        await until(lambda: len(heard.news) == 4)
        assert not watching.dependents.of(key("b"))


async def test_a_named_object_concerns_those_that_name_it_from_before_it_exists(served):
    fake, api = served
    async with related(api, watch(references=(NAMES,))) as (watching, heard):
        target = key("password", SECRET)
        watching.references.put(key("a"), frozenset([target]))
        watching.references.put(key("b"), frozenset([target]))
        watching.references.put(key("b"), frozenset())
        fake.put("secrets", "unknown")
        fake.put("secrets", "password", data={"p": "1"})
        await until(lambda: len(heard.news) == 1)
        first = watching.find(target)
        fake.put("secrets", "password", data={"p": "2"})
        await until(lambda: len(heard.news) == 2)
        assert watching.find(target).content != first.content
        fake.delete("secrets", "password")
        await until(lambda: len(heard.news) == 3)
        assert watching.find(target) is None
    assert heard.news == [("a", "password", Effect.CONTENT)] * 3


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("spec.auth.secretRef.name", ["one"]),
        ("spec.users[].secretRef.name", ["two", "three"]),
        ("spec.names[]", ["four"]),
        ("spec.none.at.all", []),
        ("spec.auth[].name", []),
        ("spec.auth", []),
        ("spec.port", []),
        ("spec.empty", []),
    ],
)
def test_names_in_a_spec(field, names):
    users = [{"secretRef": {"name": "two"}}, {}, {"secretRef": None}, {"secretRef": {"name": "three"}}, "x"]
    auth = {"secretRef": {"name": "one"}}
    spec = {"auth": auth, "users": users, "names": ["four", 5], "port": 5, "empty": ""}
    assert list(names_at({"spec": spec}, field)) == names


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("spec.unschedulable", [True]),
        ("spec.taints[].key", ["a", None]),
        ("spec.taints", [[{"key": "a"}, {}, {"key": None}]]),
        ("spec.nothing", []),
        ("spec.unschedulable[]", []),
        ("spec.unschedulable.more", []),
    ],
)
def test_values_of_any_type_at_a_path(field, values):
    spec = {"unschedulable": True, "taints": [{"key": "a"}, {}, {"key": None}]}
    assert list(values_at({"spec": spec}, field)) == values


def test_named_objects_are_in_the_namespace_of_the_resource():
    obj = {"spec": {"auth": {"secretRef": {"name": "x"}}}}
    assert named_objects(watch(references=(NAMES,)), obj, "ns") == {key("x", SECRET)}


def test_an_index_of_references_forgets_what_nobody_names():
    index = ReferenceIndex()
    index.put(key("a"), frozenset([key("x", SECRET)]))
    index.put(key("a"), frozenset([key("y", SECRET)]))
    assert (index.namers(key("x", SECRET)), index.namers(key("y", SECRET))) == (frozenset(), {key("a")})
    index.put(key("a"), frozenset())
    assert not any(vars(index).values())


# Kinds that come and go


@pytest.mark.parametrize("namespaces", [("ns",), ("ns", "other")], ids=["one", "two"])
async def test_a_declared_kind_that_comes_or_goes_concerns_all_owners_once(served, namespaces):
    fake, api = served
    kinds = fake.kinds.pop("/apis/monitoring.example.com/v1")
    watches = (
        watch(dependents=(DependentKind(MONITOR), OURS)),
        watch(OTHER, references=(Reference(MONITOR, "spec.monitor"),)),
    )
    async with related(api, *watches, namespaces=namespaces) as (watching, heard):
        await until(lambda: watching.absent(DEMO) == {MONITOR} == watching.absent(OTHER))
        heard.kinds.clear()
        fake.kinds["/apis/monitoring.example.com/v1"] = kinds
        await until(lambda: len(fake.watching("monitors")) >= len(namespaces))
        assert sorted(heard.kinds) == [DEMO, OTHER]
        assert watching.absent(DEMO) == watching.absent(OTHER) == set()
        fake.put("monitors", "m", metadata=owner("a"))
        await until(lambda: heard.news == [("a", "m", Effect.APPEARED)])
        fake.kinds.pop("/apis/monitoring.example.com/v1")
        fake.disconnect()
        await until(lambda: len(heard.kinds) == 4)
        assert heard.news[1:] == [("a", "m", Effect.CONTENT)]
        assert sorted(set(heard.gaps)) == [DEMO, OTHER]


# Kinds added at run time


async def test_a_kind_that_a_run_touched_is_watched_from_then_on_once(served):
    fake, api = served
    fake.put("statefulsets", "old", metadata=owner("a"))
    async with related(api, watch(), watch(OTHER)) as (watching, heard):
        for _ in range(3):
            watching.depend_on(DEMO, STATEFUL_SET)
        await until(lambda: fake.watching("statefulsets"))
        assert heard.first == [("a", "old", Effect.APPEARED)], "what its first list finds is no news"
        fake.put("statefulsets", "old", spec={"n": 1})
        await until(lambda: heard.news == [("a", "old", Effect.CONTENT)])
        fake.put("statefulsets", "more", metadata=owner("b", "Other"))
        await until(lambda: len(watching.informers[0]) == 2)
        watching.depend_on(OTHER, STATEFUL_SET)
        await until(lambda: ("b", "more", Effect.APPEARED) in heard.first)
        assert len(watching.dependents.of(key("b", OTHER))) == 1
        await asyncio.sleep(0.05)
    assert len(fake.watching("statefulsets")) == 1


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"watch_dependent_resources": False}, STATEFUL_SET),
        ({"blacklist": (GroupVersionKind("apps", "v1beta1", "StatefulSet"),)}, STATEFUL_SET),
        ({"dependents": (DependentKind(STATEFUL_SET, "a=b"),)}, STATEFUL_SET),
        ({}, NAMESPACE),
    ],
)
async def test_kinds_that_are_not_watched_though_a_run_touched_them(served, options, kind):
    _, api = served
    async with related(api, watch(**options)) as (watching, _):
        before = len(watching.informers)
        watching.depend_on(DEMO, kind)
        await asyncio.sleep(0.1)
        assert len(watching.informers) == before


async def test_cluster_scoped_kinds_are_watched_where_the_watch_wants_them(served):
    fake, api = served
    names = {
        "operator-sdk/primary-resource": "ns/a",
        "operator-sdk/primary-resource-type": "Demo.example.com",
    }
    fake.put("namespaces", "n", "", metadata={"annotations": names})
    async with related(api, watch(watch_cluster_scoped_resources=True), namespaces=("ns", "more")) as both:
        watching, heard = both
        watching.depend_on(DEMO, NAMESPACE)
        await until(lambda: heard.first == [("a", "n", Effect.APPEARED)])
        assert len(watching.informers) == 1, "one for all namespaces"


async def test_a_kind_that_could_not_be_found_out_about_is_tried_again_by_the_next_run(served):
    fake, api = served
    async with related(api, watch()) as (watching, _):
        fake.faults.append(Fault("GET", 500, "/apis/apps/v1"))
        watching.depend_on(DEMO, STATEFUL_SET)
        await until(lambda: not fake.faults)
        await asyncio.sleep(0.05)
        assert watching.informers == []
        watching.depend_on(DEMO, STATEFUL_SET)
        await until(lambda: fake.watching("statefulsets"))

"""Metrics that show fields of resources: what becomes of a field, who has series, which names are free."""

import re
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from fakeengine import FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.engine.interface import RunOutcome, Stats
from paradedb_runner.observe.field_metrics import measure
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.observe.user_metrics import Invalid, UserMetrics
from paradedb_runner.watches.metrics import RESERVED
from paradedb_runner.watches.model import FieldMetric, Reading, Role, Watch
from paradedb_runner.watches.selector import Requirement, Selector
from support import DEMO, key, make_settings, working

REST = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
SIZE = FieldMetric("demo_size", "How large it is.", "spec.size", Reading.NUMBER)
EXPIRY = FieldMetric("demo_expiry", "When it ends.", "status.tls.expires", Reading.TIMESTAMP)
PHASE = FieldMetric("demo_phase", "Where it is.", "status.phase", Reading.STATE, ("Off", "On"))
CONDITIONS = FieldMetric("demo_condition", "How it is.", "status.conditions", Reading.CONDITIONS)
ALL = (SIZE, EXPIRY, PHASE, CONDITIONS)
READY = {"type": "Ready", "status": "True", "message": "all of it is ready"}
STATUS = {"phase": "On", "tls": {"expires": "2027-01-01T00:00:00Z"}, "conditions": [READY]}


def at(field: str, value: Any) -> dict[str, Any]:
    """An object with a value at a path."""
    for step in reversed(field.split(".")):
        value = {step: value}
    return value


@pytest.fixture
def make(served, tmp_path):
    fake, api = served

    def build(page: Metrics, **options: Any) -> Controller:
        given = {"metrics": ALL, "manage_status": False, "skip_unchanged": True} | options
        watch = Watch(DEMO, Role("demo", Path("/roles")), **given)
        settings = make_settings(environ={"ANSIBLE_COLLECTIONS_PATH": "/none"})
        return Controller(api, FakeEngine(REST), [watch], settings, page, tmp_path)

    return fake, build


def series(metrics: Metrics) -> dict[str, float]:
    """All series of resources on the page."""
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("demo_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


# What becomes of a field


@pytest.mark.parametrize(
    ("metric", "found", "value"),
    [
        (SIZE, 3, 3.0),
        (SIZE, 0, 0.0),
        (SIZE, -0.5, -0.5),
        (SIZE, True, 1.0),
        (SIZE, "3", None),
        (SIZE, [3], None),
        (SIZE, None, None),
        (EXPIRY, "1970-01-02T00:00:00Z", 86400.0),
        (EXPIRY, "1970-01-01T01:00:01.5+01:00", 1.5),
        (EXPIRY, "1970-01-02", None),
        (EXPIRY, "soon", None),
        (EXPIRY, "", None),
        (EXPIRY, 86400, None),
        (PHASE, "On", "On"),
        (PHASE, "Odd", "Odd"),
        (PHASE, 1, None),
        (CONDITIONS, [READY, {"type": "Odd", "status": "Unknown"}], {"Ready": 1, "Odd": -1}),
        (CONDITIONS, [{"type": "Ready", "status": "False"}], {"Ready": 0}),
        (CONDITIONS, [{"type": "A"}, {"status": "True"}, {"type": "B", "status": "Maybe"}, "C"], {}),
        (CONDITIONS, {"type": "Ready", "status": "True"}, None),
    ],
)
def test_a_field_becomes_a_value_or_none(metric, found, value):
    assert measure([metric], at(metric.field, found)) == (value,)


@pytest.mark.parametrize("obj", [{}, {"status": None}, {"status": {"tls": None}}, {"status": {"tls": []}}])
def test_a_field_that_is_not_there_is_none(obj):
    assert measure(ALL, obj) == (None,) * 4


# Who has series


async def test_a_resource_has_its_series_as_long_as_it_is_there_and_they_follow_its_fields(make):
    fake, build = make
    metrics = Metrics()
    async with working(build(metrics)):
        fake.put("demos", "a", spec={"size": 3}, status=STATUS)
        fake.put("demos", "b", spec={"size": 4})
        await until(lambda: len(series(metrics)) == 6)
        assert series(metrics) == {
            'demo_size{name="a",namespace="ns"}': 3.0,
            'demo_size{name="b",namespace="ns"}': 4.0,
            'demo_expiry{name="a",namespace="ns"}': 1798761600.0,
            'demo_phase{name="a",namespace="ns",state="Off"}': 0.0,
            'demo_phase{name="a",namespace="ns",state="On"}': 1.0,
            'demo_condition{condition="Ready",name="a",namespace="ns"}': 1.0,
        }
        fake.put("demos", "a", status={"phase": "Off"})
        await until(lambda: len(series(metrics)) == 4)
        assert series(metrics)['demo_phase{name="a",namespace="ns",state="Off"}'] == 1.0
        fake.delete("demos", "a")
        await until(lambda: series(metrics) == {'demo_size{name="b",namespace="ns"}': 4.0})
    assert "# HELP demo_size How large it is.\n# TYPE demo_size gauge\n" in metrics.render().decode()


async def test_a_value_that_is_none_of_the_states_is_0_for_each_of_them(make):
    fake, build = make
    metrics = Metrics()
    async with working(build(metrics)):
        fake.put("demos", "a", status={"phase": "Odd"})
        await until(lambda: series(metrics))
        assert list(series(metrics).values()) == [0.0, 0.0]


async def test_a_restart_forgets_nothing(make):
    fake, build = make
    fake.put("demos", "a", spec={"size": 3}, status=STATUS)
    pages = []
    for _ in range(2):
        metrics = Metrics()
        async with working(build(metrics)):
            pages.append(series(metrics))
    assert len(pages[0]) == 5
    assert pages[0] == pages[1]


async def test_only_the_leader_shows_them(make):
    fake, build = make
    fake.put("demos", "a", spec={"size": 3})
    metrics, leads = Metrics(), False
    metrics.watch_leader("lease", lambda: leads)
    async with working(build(metrics)):
        assert series(metrics) == {}
        leads = True
        assert len(series(metrics)) == 1


async def test_what_the_selector_leaves_out_has_none(make):
    fake, build = make
    fake.put("demos", "a", spec={"size": 3})
    fake.put("demos", "b", spec={"size": 4}, metadata={"labels": {"ours": "yes"}})
    metrics = Metrics()
    selector = Selector((Requirement.of("ours", "In", ["yes"]),))
    async with working(build(metrics, selector=selector)):
        assert series(metrics) == {'demo_size{name="b",namespace="ns"}': 4.0}


async def test_of_spec_and_status_nothing_else_is_kept(make):
    fake, build = make
    fake.put("demos", "a", spec={"size": 3, "password": "secret"}, status=STATUS)
    controller = build(Metrics())
    async with working(controller):
        kept = controller.watched.find(key("a"))
    assert kept.keys() == {"metadata", "named", "measured"}
    assert kept["measured"] == (3.0, 1798761600.0, "On", {"Ready": 1})


# Names


async def test_a_playbook_cannot_publish_under_such_a_name_even_before_there_is_a_resource(make):
    _, build = make
    metrics = Metrics()
    async with working(build(metrics)):
        user = UserMetrics(metrics.registry)
        with pytest.raises(Invalid, match="demo_size is the name of another metric"):
            user.apply({"name": "demo_size", "gauge": {"set": 1}})


async def test_every_metric_of_the_runner_begins_as_no_other_may(make):
    fake, build = make
    fake.put("demos", "a")
    metrics = Metrics()
    metrics.watch_leader("lease", lambda: True)
    metrics.request("GET", 200)
    async with working(build(metrics, metrics=())):
        await until(lambda: b"workqueue_adds_total{" in metrics.render())
        names = re.findall(r"^# TYPE (\S+)", metrics.render().decode(), re.MULTILINE)
    assert len(names) > 25
    assert [name for name in names if not name.startswith(RESERVED)] == []
    assert [start for start in RESERVED if not any(name.startswith(start) for name in names)] == []

"""Metrics of playbooks: what is taken, what it looks like to a reader, and what is refused with words."""

import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from paradedb_runner.observe import user_metrics
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.observe.user_metrics import (
    Invalid,
    UserMetrics,
    loopback_address,
    serving_user_metrics,
)
from prometheus_client.parser import text_string_to_metric_families
from support import DEMO

JSON = {"Content-Type": "application/json"}


class Page:
    """The runner's metrics with those of playbooks among them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.user = UserMetrics(self.metrics.registry)

    def send(self, name: str, description: str = "words", **kind: Any) -> None:
        self.user.apply({"name": name, "description": description, **kind})

    def __getitem__(self, name: str) -> str:
        """The value of the one sample of that name."""
        (line,) = [line for line in self.text().splitlines() if line.startswith(f"{name} ")]
        return line.split(" ")[1]

    def text(self) -> str:
        return self.metrics.render().decode()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("kind", "operation", "value"),
    [
        ("counter", {"increment": True}, "1.0"),
        ("counter", {"add": 2}, "2.0"),
        ("counter", {"add": 0.5}, "0.5"),
        ("gauge", {"set": 5}, "5.0"),
        ("gauge", {"increment": True}, "1.0"),
        ("gauge", {"decrement": True}, "-1.0"),
        ("gauge", {"add": 7}, "7.0"),
        ("gauge", {"subtract": 7}, "-7.0"),
    ],
)
def test_an_operation_changes_the_value(page, kind, operation, value):
    page.send("mine", **{kind: operation})
    assert page["mine"] == value


@pytest.mark.parametrize("kind", ["counter", "gauge"])
def test_no_operation_makes_a_metric_of_zero(page, kind):
    page.send("mine", **{kind: {}})
    assert page["mine"] == "0.0"


@pytest.mark.parametrize("nothing", [{"add": None, "increment": None}, {"increment": False}])
def test_options_that_were_not_given_do_not_count(page, nothing):
    """Ansible fills in null for every option that a task leaves out."""
    page.send("mine", counter={"add": 3})
    page.send("mine", counter=nothing)
    assert page["mine"] == "3.0"


def test_kinds_that_are_null_do_not_count(page):
    page.send("mine", counter=None, gauge={"set": 1}, histogram=None)
    assert page["mine"] == "1.0"


def test_a_gauge_can_be_set_to_zero(page):
    page.send("mine", gauge={"set": 5})
    page.send("mine", gauge={"set": 0})
    assert page["mine"] == "0.0"


def test_a_gauge_of_the_current_time(page, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1234.5)
    page.send("mine", gauge={"set_to_current_time": True})
    assert page["mine"] == "1234.5"


def test_observations_of_a_summary(page):
    page.send("mine", summary={})
    assert (page["mine_count"], page["mine_sum"]) == ("0.0", "0.0")
    page.send("mine", summary={"observe": 2})
    page.send("mine", summary={"observe": -0.5})
    assert (page["mine_count"], page["mine_sum"]) == ("2.0", "1.5")


def test_observations_of_a_histogram_are_in_buckets_up_to_their_bound(page):
    for value in (0.25, 0.5, 100):
        page.send("mine", histogram={"observe": value})
    text = page.text()
    assert 'mine_bucket{le="0.1"} 0.0' in text
    assert 'mine_bucket{le="0.25"} 1.0' in text
    assert 'mine_bucket{le="0.5"} 2.0' in text
    assert 'mine_bucket{le="10"} 2.0' in text
    assert 'mine_bucket{le="+Inf"} 3.0' in text
    assert (page["mine_count"], page["mine_sum"]) == ("3.0", "100.75")


def test_a_reader_finds_the_types_and_the_first_description(page):
    for name, kind in (
        ("a_total", "counter"),
        ("b", "counter"),
        ("c", "gauge"),
        ("d", "histogram"),
        ("e", "summary"),
    ):
        page.send(name, f"first of {name}", **{kind: {}})
        page.send(name, "second", **{kind: {}})
    found = {family.name: family for family in text_string_to_metric_families(page.text())}
    assert [found[name].type for name in "abcde"] == ["counter", "unknown", "gauge", "histogram", "summary"]
    assert found["a"].documentation == "first of a_total"
    assert found["c"].documentation == "first of c"


@pytest.mark.parametrize(
    "text", ["two\nlines", "tab\t", "\x00", "\ud800", "back\\slash", "# TYPE x gauge", "ü"]
)
def test_no_description_breaks_the_page(page, text):
    page.send("mine", f"{text}.", gauge={"set": 4})
    found = {family.name: family for family in text_string_to_metric_families(page.text())}
    assert found["mine"].samples[0].value == 4
    assert "process_cpu_seconds" in found


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"gauge": {}}, "name must be"),
        ({"name": 5, "gauge": {}}, "name must be"),
        ({"name": "", "gauge": {}}, "name must be"),
        ({"name": "1a", "gauge": {}}, "name must be"),
        ({"name": "a b", "gauge": {}}, "name must be"),
        ({"name": "a\n", "gauge": {}}, "name must be"),
        ({"name": "a{b='c'}", "gauge": {}}, "name must be"),
        ({"name": "ä", "gauge": {}}, "name must be"),
        ({"name": "a" * 201, "gauge": {}}, "name must be"),
        ({"name": "a", "description": 5, "gauge": {}}, "description must be"),
        ({"name": "a", "description": "x" * 1025, "gauge": {}}, "description must be"),
        ({"name": "a"}, "exactly one of"),
        ({"name": "a", "gauge": {}, "counter": {}}, "exactly one of"),
        ({"name": "a", "gauge": 5}, "gauge is not an object"),
        ({"name": "a", "gauge": []}, "gauge is not an object"),
        ({"name": "a", "gauge": {"observe": 1}}, "gauge has no 'observe'"),
        ({"name": "a", "gauge": {"\ud800" * 100: 1}}, "gauge has no"),
        ({"name": "a", "gauge": {"set": 1, "add": 1}}, "one of"),
        ({"name": "a", "gauge": {"set": "1"}}, "must be a number"),
        ({"name": "a", "gauge": {"set": True}}, "must be a number"),
        ({"name": "a", "gauge": {"set": [1]}}, "must be a number"),
        ({"name": "a", "gauge": {"set": float("nan")}}, "finite number"),
        ({"name": "a", "gauge": {"set": float("inf")}}, "finite number"),
        ({"name": "a", "gauge": {"set": 10**400}}, "finite number"),
        ({"name": "a", "gauge": {"increment": 1}}, "true or false"),
        ({"name": "a", "gauge": {"increment": "yes"}}, "true or false"),
        ({"name": "a", "counter": {"add": -1}}, "cannot decrease"),
    ],
)
def test_what_is_refused_leaves_no_metric(page, body, complaint):
    with pytest.raises(Invalid, match=complaint):
        page.user.apply(body)
    assert list(page.user.collect()) == []


@pytest.mark.parametrize("kind", ["gauge", "histogram", "summary"])
def test_a_name_never_changes_its_type(page, kind):
    page.send("mine", counter={"add": 1})
    with pytest.raises(Invalid, match="mine is a counter and cannot become a"):
        page.send("mine", **{kind: {}})
    assert page["mine"] == "1.0"


@pytest.mark.parametrize(
    ("kind", "operation"),
    [("counter", "add"), ("gauge", "add"), ("histogram", "observe"), ("summary", "observe")],
)
def test_no_sum_grows_beyond_all_numbers(page, kind, operation):
    page.send("mine", **{kind: {operation: 1.7e308}})
    before = page.text().split("mine", 1)[1]
    with pytest.raises(Invalid, match="finite"):
        page.send("mine", **{kind: {operation: 1.7e308}})
    assert page.text().split("mine", 1)[1] == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("process_cpu_seconds_total", "counter"),
        ("python_gc_objects_collected_total", "counter"),
        ("ansible_operator_build_info", "gauge"),
        ("ansible_operator_reconciles", "gauge"),
        ("ansible_operator_reconciles_sum", "gauge"),
        ("controller_runtime_reconcile", "gauge"),
        ("controller_runtime_reconcile_total", "gauge"),
        ("resource_created_at_seconds", "gauge"),
        ("workqueue_queue_duration_seconds_bucket", "gauge"),
    ],
)
def test_the_names_of_the_runner_are_taken(page, name, kind):
    page.metrics.watching(DEMO, 1)
    with pytest.raises(Invalid, match="is the name of another metric"):
        page.send(name, **{kind: {}})


def test_the_series_of_a_metric_do_not_become_those_of_another(page):
    page.send("mine", summary={})
    with pytest.raises(Invalid, match="mine_sum is the name of another metric"):
        page.send("mine_sum", gauge={})
    page.send("yours_count", gauge={})
    with pytest.raises(Invalid, match="yours_count is the name of another metric"):
        page.send("yours", histogram={})


def test_the_number_of_metrics_has_a_limit(page, monkeypatch):
    monkeypatch.setattr(user_metrics, "_MOST_METRICS", 2)
    page.send("a", gauge={})
    page.send("b", gauge={})
    with pytest.raises(Invalid, match="2 metrics already"):
        page.send("c", gauge={})
    page.send("b", gauge={"set": 1})
    assert page["b"] == "1.0"


async def test_what_osdk_metric_sends_is_taken(page, client, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    body = {
        "name": "counter_add_test",
        "description": "create counter to be incremented",
        "counter": {"increment": None, "add": 2.0},
    }
    registry = page.metrics.registry
    registry.unregister(page.user)
    async with serving_user_metrics(registry, address) as serves:
        assert serves
        async with client.post(f"http://{address}/metrics", json=body) as response:
            assert (response.status, await response.text()) == (200, "")
    assert page["counter_add_test"] == "2.0"


@pytest.mark.parametrize(
    ("raw", "headers", "status", "words"),
    [
        (b"", JSON, 400, "not JSON"),
        (b"{", JSON, 400, "not JSON"),
        (b"\xff\xfe\xfd", JSON, 400, "not JSON"),
        (b"[" * 60000, JSON, 400, "not JSON"),
        (b"9" * 60000, JSON, 400, "JSON"),
        (b"[]", JSON, 400, "not a JSON object"),
        (b"null", JSON, 400, "not a JSON object"),
        (b'{"name": "a", "gauge": {"set": NaN}}', JSON, 400, "finite"),
        (b'{"name": "a", "gauge": {"set": 1e999}}', JSON, 400, "finite"),
        (b'{"name": "a", "gauge": {"\\ud800": 1}}', JSON, 400, "gauge has no"),
        (b'{"name": "a", "gauge": {}}', {"Content-Type": "text/plain"}, 415, "application/json"),
        (b'{"name": "%s"}' % (b"a" * 70000), JSON, 413, "65536"),
        (gzip.compress(b" " * 10_000_000), JSON | {"Content-Encoding": "gzip"}, 413, "65536"),
        (b"no gzip", JSON | {"Content-Encoding": "gzip"}, 400, "cannot be read"),
    ],
)
async def test_a_hostile_body_is_answered_with_words(client, unused_tcp_port, raw, headers, status, words):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serving_user_metrics(Metrics().registry, address),
        client.post(f"http://{address}/metrics", data=raw, headers=headers) as response,
    ):
        text = await response.text()
    assert response.status == status
    assert words in text
    assert "Traceback" not in text


async def test_nothing_can_be_read(client, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serving_user_metrics(Metrics().registry, address),
        client.get(f"http://{address}/metrics") as response,
    ):
        assert response.status == 405


async def test_a_port_that_is_taken_is_only_logged(caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with serving_user_metrics(Metrics().registry, f"127.0.0.1:{other.getsockname()[1]}") as serves:
            assert not serves
    assert "playbooks cannot publish metrics" in caplog.text


async def test_it_can_be_turned_off(caplog):
    async with serving_user_metrics(Metrics().registry, "0") as serves:
        assert not serves
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["127.0.0.1:5050", "127.1.2.3:1", "[::1]:5050", "localhost:5050", "0"])
def test_addresses_of_this_machine_alone(text):
    assert loopback_address(text) == text


@pytest.mark.parametrize(
    "text", [":5050", "0.0.0.0:5050", "[::]:5050", "10.0.0.1:5050", "example.com:1", "x"]
)
def test_no_other_machine_may_reach_it(text):
    with pytest.raises(ValueError, match="address"):
        loopback_address(text)


async def test_an_address_for_others_is_never_served():
    with pytest.raises(ValueError, match="loopback"):
        async with serving_user_metrics(Metrics().registry, ":0"):
            pass

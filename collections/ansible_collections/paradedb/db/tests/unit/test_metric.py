"""What the module sends to the runner, and what it says when the runner refuses or is not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import execution
from ansible_collections.paradedb.db.plugins.modules.metric import ARGUMENT_SPEC, run


class Runner:
    """Takes every metric, or answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, bytes, dict[str, str]] = (200, b"", {})
        runner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                runner.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
                status, text, headers = runner.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/metrics"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    made = Runner()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("PARADEDB_RUNNER_METRICS_URL", made.url)
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def send(check_mode: bool = False, **options: Any) -> dict[str, Any]:
    given = {"name": "mine", "description": "words"} | options
    return execution.run_in_process(run, ArgumentSpecValidator(ARGUMENT_SPEC), given, check_mode)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"counter": {}}, {"counter": {}}),
        ({"counter": {"increment": True}}, {"counter": {"increment": True}}),
        ({"counter": {"increment": "yes"}}, {"counter": {"increment": True}}),
        ({"counter": {"add": "3.14"}}, {"counter": {"add": 3.14}}),
        ({"gauge": {"set": 0}}, {"gauge": {"set": 0}}),
        ({"gauge": {"set": -5, "increment": False}}, {"gauge": {"set": -5}}),
        ({"gauge": {"decrement": True}}, {"gauge": {"decrement": True}}),
        ({"gauge": {"subtract": 2}}, {"gauge": {"subtract": 2}}),
        ({"gauge": {"set_to_current_time": True}}, {"gauge": {"set_to_current_time": True}}),
        ({"histogram": {"observe": 2}}, {"histogram": {"observe": 2}}),
        ({"summary": {"observe": 2}}, {"summary": {"observe": 2}}),
    ],
)
def test_the_body_is_that_of_osdk_metric(runner: Runner, given: Any, sent: Any) -> None:
    assert send(**given) == {"changed": True, "address": runner.url}
    assert runner.taken == [("/metrics", "application/json", {"name": "mine", "description": "words"} | sent)]


def test_check_mode_sends_nothing(runner: Runner) -> None:
    assert send(check_mode=True, counter={})["changed"] is True
    assert runner.taken == []


def test_the_address_is_an_option_too(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARADEDB_RUNNER_METRICS_URL", "http://127.0.0.1:1/none")
    send(counter={}, address=runner.url + "/x")
    assert runner.taken[0][0] == "/metrics/x"


def test_the_default_is_where_ansible_operator_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARADEDB_RUNNER_METRICS_URL", raising=False)
    assert send(check_mode=True, counter={})["address"] == "http://localhost:5050/metrics"


def test_no_proxy_comes_between(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(counter={})["changed"] is True


def test_the_runners_words_are_the_message(runner: Runner) -> None:
    runner.answer = (400, b"mine is a gauge and cannot become a counter\n", {})
    found = send(counter={})
    assert (found["failed"], found["reason"]) == (True, "MetricRefused")
    assert found["msg"] == "mine is a gauge and cannot become a counter"


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"x" * 1_000_000])
def test_odd_answers_are_told(runner: Runner, text: bytes) -> None:
    runner.answer = (500, text, {})
    found = send(counter={})
    assert found["reason"] == "MetricRefused"
    assert 0 < len(found["msg"]) <= 2000


def test_a_redirection_is_not_followed(runner: Runner) -> None:
    runner.answer = (302, b"", {"Location": runner.url})
    assert send(counter={})["msg"] == "the runner answered with HTTP 302"
    assert len(runner.taken) == 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "give exactly one of counter, gauge, histogram, summary"),
        ({"counter": {}, "gauge": {}}, "give exactly one of"),
        ({"gauge": {"set": "nan"}}, "gauge: is not a finite number"),
        ({"gauge": {"set": "1e999"}}, "gauge: is not a finite number"),
        ({"gauge": {"set": "many"}}, "float"),
        ({"gauge": {"observe": 1}}, "observe"),
        ({"counter": 5}, "another type than it takes"),
        ({"counter": "x"}, "dict"),
    ],
)
def test_a_wrong_task_is_refused_before_anything_is_sent(runner: Runner, given: Any, complaint: str) -> None:
    found = send(**given)
    assert found["failed"] is True
    assert complaint in found["msg"]
    assert runner.taken == []


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "localhost:5050", "http://[", "http://", "http://a b/"],
)
def test_an_address_that_is_none(address: str) -> None:
    found = send(counter={}, address=address)
    assert (found["failed"], found["reason"], found["field"]) == (True, "RunnerUnavailable", "address")


def test_a_runner_that_is_not_there_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/metrics"
    found = send(counter={}, address=address)
    assert found["reason"] == "RunnerUnavailable"
    assert f"no runner takes metrics at {address} (option address, variable" in found["msg"]


def test_no_connection_to_a_cluster_is_opened(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(auth: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(execution, "Kube", connect)
    assert send(counter={})["changed"] is True

"""The programs of the scenario `backup`: the gate, what they wait for and compare, and the table."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Program = Callable[[str, str], ModuleType]
FILES = Path(__file__).parents[2] / "molecule/backup/files"


@pytest.fixture(scope="module")
def fingerprint(program: Program) -> ModuleType:
    return program("backup", "fingerprint")


@pytest.fixture(scope="module")
def wait(program: Program) -> ModuleType:
    return program("backup", "wait")


@pytest.fixture(scope="module")
def table(program: Program) -> ModuleType:
    return program("backup", "table")


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        ({"a": [1, 2]}, {"a": [2, 1]}, []),  # in any order
        ({"a": [1]}, {"a": [1, 2]}, ["/a: 2 is new"]),
        ({"a": ["x"], "b": 1}, {"a": []}, ['/a: "x" is gone', "/b: 1 has become null"]),
    ],
)
def test_differences_name_where_they_are(
    fingerprint: ModuleType, one: Any, other: Any, lines: list[str]
) -> None:
    assert fingerprint.differences(one, other) == lines


DUMP = """-- Dumped by pg_dump version {version}
\\restrict {key}
--
-- Name: a; Type: TABLE; Schema: public; Owner: x
--

CREATE TABLE a (i int);
--
-- Name: b; Type: TABLE; Schema: public; Owner: x
--

CREATE TABLE b ({column} int);
"""


def test_definitions_are_compared_in_any_order_and_without_what_changes(fingerprint: ModuleType) -> None:
    first = fingerprint.definitions(DUMP.format(version="17.1", key="k1", column="i"))
    again = fingerprint.definitions(DUMP.format(version="17.2", key="k2", column="i"))
    changed = fingerprint.definitions(DUMP.format(version="17.1", key="k1", column="j"))
    assert first == again
    assert len(fingerprint.differences(first, changed)) == 2


def test_a_name_adds_nothing_to_a_connection_string(fingerprint: ModuleType) -> None:
    assert fingerprint.conninfo("a' host='b\\").startswith("dbname='a\\' host=\\'b\\\\' ")


def status(**fields: Any) -> dict[str, Any]:
    return {"phase": "Running", **fields}


def test_what_is_waited_for_is_told(wait: ModuleType) -> None:
    assert wait.missing(status(), ["running"]) == ""
    assert "Failed" in wait.missing({"phase": "Failed"}, ["running"])
    recovered = {"type": "Recovered", "status": "True"}
    assert wait.missing(status(conditions=[recovered]), ["recovered"]) == ""
    made = status(backup={"dump": {"finished": "2026-01-02T00:00:00Z"}})
    assert wait.missing(made, ["dump", "2026-01-01T00:00:00Z"]) == ""
    assert "no new dump" in wait.missing(made, ["dump", "2026-01-02T00:00:00Z"])


def test_what_has_failed_is_not_waited_for(wait: ModuleType) -> None:
    condition = {"type": "Recovered", "status": "False", "reason": "WALMissing"}
    failed = {"phase": "Creating", "conditions": [condition], "recovery": {"state": "failed"}}
    with pytest.raises(SystemExit, match="WALMissing"):
        wait.missing(failed, ["recovered"])


def test_the_table_tells_what_differs(table: ModuleType, tmp_path: Path) -> None:
    moment = {"name": "time", "from": "orders", "moment": "time", "text": "to a time"}
    recovery = {"durationSeconds": 7}
    result = {**moment, "recovery": recovery, "expected": ["a"], "found": ["a", "b"]}
    (tmp_path / "time.json").write_text(json.dumps(result))
    found = table.read(tmp_path, ["dump", "time"])
    assert found[0]["differs"] == ['rows: "b" is new']
    heading, row = table.lines(found)
    assert len(heading) == len(row)
    assert row.endswith("7 s")


class Sink(socketserver.BaseRequestHandler):
    """Counts what it gets, and answers each piece."""

    got = 0

    def handle(self) -> None:
        while piece := self.request.recv(65536):
            type(self).got += len(piece)
            self.request.sendall(b"!")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a gate before a sink, and the file with its orders."""
    Sink.got = 0
    with socket.socket() as free, socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink) as server:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        orders = tmp_path / "orders"
        target = ("127.0.0.1", str(server.server_address[1]))
        command = [sys.executable, str(FILES / "gate.py"), str(port), *target, str(orders)]
        process = subprocess.Popen(command)
        try:
            eventually(lambda: connects(port))
            yield port, orders
        finally:
            process.kill()
            process.wait()
            server.shutdown()


def eventually(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def send(client: socket.socket, size: int) -> bytes:
    client.sendall(b"x" * size)
    return client.recv(1)


def test_an_open_gate_lets_everything_pass(gate: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", gate[0]), 20) as client:
        assert send(client, 1000) == b"!"
    assert Sink.got == 1000


def test_a_cut_resets_everybody_until_the_next_order(gate: tuple[int, Path]) -> None:
    port, orders = gate
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        assert send(client, 10) == b"!"
        orders.write_text("cut 100")
        with pytest.raises(ConnectionResetError):
            send(client, 1000)
    assert orders.with_name("orders.done").exists()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", port), 20) as client:
        send(client, 1)
    orders.write_text("open")
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        assert send(client, 1) == b"!"
    assert not orders.with_name("orders.done").exists()
    assert Sink.got == 11


def test_what_is_held_goes_on(gate: tuple[int, Path]) -> None:
    port, orders = gate
    orders.write_text("hold 100")
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(b"x" * 1000)
        eventually(orders.with_name("orders.done").exists)
        assert Sink.got == 0
        orders.write_text("open")
        assert client.recv(1) == b"!"
    assert Sink.got == 1000

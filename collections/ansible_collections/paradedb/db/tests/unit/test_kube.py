"""The API client against a web server of our own: paths, bodies, and what becomes of each answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import kube as kube_module
from ansible_collections.paradedb.db.plugins.module_utils.execution import run_in_process
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, Kube, KubeError
from ansible_collections.paradedb.db.plugins.modules import preflight

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "prod", "uid": "u"},
}


QUESTION = {"name": "orders", "namespace": "prod"}

DISCOVERY = {
    "/version": '{"gitVersion": "v1.35.4"}',
    "/apis": '{"kind": "APIGroupList", "groups": []}',
    "/api/v1": '{"kind": "APIResourceList", "resources": []}',
}


class Server:
    """Records requests and gives the answers put into it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, Any]] = []
        self.answers: list[tuple[int, str]] = []
        recorded, answers = self.requests, self.answers

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode()
                kind = self.headers.get("Content-Type", "")
                recorded.append((self.command, self.path, kind, json.loads(body) if body else None))
                status, text = answers.pop(0) if answers else (200, DISCOVERY.get(self.path, "{}"))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, status: int, body: Any = None) -> None:
        self.answers.append((status, body if isinstance(body, str) else json.dumps(body or {})))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path) -> str:
    file = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    file.write_text(json.dumps(config))
    return str(file)


@pytest.fixture
def kube(server: Server, kubeconfig: str) -> Kube:
    made = Kube({"kubeconfig": kubeconfig})
    server.requests.clear()
    return made


def test_a_second_connection_asks_the_server_nothing(kube: Kube, kubeconfig: str, server: Server) -> None:
    Kube({"kubeconfig": kubeconfig})
    assert server.requests == []


def test_a_server_that_is_down_is_named_so_by_every_module(kubeconfig: str, server: Server) -> None:
    server.http.socket.close()
    found = run_in_process(
        preflight.run,
        ArgumentSpecValidator(preflight.ARGUMENT_SPEC),
        QUESTION | {"kubeconfig": kubeconfig},
        False,
    )
    assert found["failed"] is True
    assert found["reason"] == "KubernetesUnavailable"


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    given = QUESTION | {"kubeconfig": str(tmp_path / "none")}
    found = run_in_process(preflight.run, ArgumentSpecValidator(preflight.ARGUMENT_SPEC), given, False)
    assert found["failed"] is True
    assert found["reason"] == "KubernetesUnavailable"
    assert "kube-config" in found["msg"]


def test_get(kube: Kube, server: Server) -> None:
    server.answer(200, SECRET)
    server.answer(404, {"message": "not found"})
    assert kube.get("v1", "Secret", "prod", "s") == SECRET
    assert kube.get("apps/v1", "StatefulSet", "prod", "x") is None
    assert [request[:2] for request in server.requests] == [
        ("GET", "/api/v1/namespaces/prod/secrets/s"),
        ("GET", "/apis/apps/v1/namespaces/prod/statefulsets/x"),
    ]


def test_list_names_what_it_found(kube: Kube, server: Server) -> None:
    server.answer(200, {"items": [{"metadata": {"name": "s"}}]})
    server.answer(200, {"items": []})
    found = kube.list("v1", "Secret", "prod", "a=b,c/d=e")
    assert found == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}]
    assert kube.list("v1", "Secret", "prod", "a=b") == []
    path, query = server.requests[0][1].split("?")
    assert path == "/api/v1/namespaces/prod/secrets"
    assert parse_qs(query) == {"labelSelector": ["a=b,c/d=e"]}


def test_apply(kube: Kube, server: Server) -> None:
    kube.apply(SECRET)
    kube.apply(SECRET, dry_run=True)
    (method, path, kind, body), (_method, dry_path, _kind, _body) = server.requests
    assert (method, kind, body) == ("PATCH", "application/apply-patch+yaml", SECRET)
    assert path == "/api/v1/namespaces/prod/secrets/s?fieldManager=paradedb-operator&force=true"
    assert dry_path == path + "&dryRun=All"


def test_merge_patch_and_create(kube: Kube, server: Server) -> None:
    kube.merge_patch(SECRET, {"status": {"x": 1}}, "status")
    kube.create(SECRET)
    assert server.requests[0] == (
        "PATCH",
        "/api/v1/namespaces/prod/secrets/s/status?fieldManager=paradedb-operator",
        "application/merge-patch+json",
        {"status": {"x": 1}},
    )
    assert server.requests[1][:2] == ("POST", "/api/v1/namespaces/prod/secrets")


@pytest.mark.parametrize(("status", "gone"), [(200, True), (202, True), (404, False), (409, False)])
def test_delete_names_the_very_object(kube: Kube, server: Server, status: int, gone: bool) -> None:
    server.answer(status, {"message": "x"})
    assert kube.delete(SECRET) is gone
    method, _path, _kind, body = server.requests[0]
    assert method == "DELETE"
    assert body == {"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 429, 500, 503])
def test_an_error_carries_the_servers_own_words(kube: Kube, server: Server, status: int) -> None:
    server.answer(status, {"kind": "Status", "message": "admission said no"})
    with pytest.raises(KubeError) as caught:
        kube.create(SECRET)
    assert (caught.value.status, str(caught.value)) == (status, "admission said no")


def test_an_error_that_is_no_json(kube: Kube, server: Server) -> None:
    server.answer(502, "<html>bad gateway</html>")
    with pytest.raises(KubeError) as caught:
        kube.create(SECRET)
    assert caught.value.status == 502
    assert "502" in str(caught.value)


def test_an_answer_that_is_no_json(kube: Kube, server: Server) -> None:
    server.answer(200, "<html>proxy</html>")
    with pytest.raises(KubeError):
        kube.get("v1", "Secret", "prod", "s")


def test_a_server_that_is_not_there(kube: Kube, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.http.socket.close()
    monkeypatch.setattr(kube_module, "REQUEST_TIMEOUT", (0.2, 0.2))
    with pytest.raises(KubeError) as caught:
        kube.get("v1", "Secret", "prod", "s")
    assert caught.value.status == 0


@pytest.mark.parametrize("name", ["a/b", "../../nodes/x", "a?b=c", "a#b", "a%2fb", "\u00fc"])
def test_a_name_never_leaves_its_place_in_the_path(kube: Kube, server: Server, name: str) -> None:
    kube.get("v1", "Secret", name, name)
    path = server.requests[0][1]
    assert path.count("/") == 6
    assert "?" not in path
    assert path.startswith("/api/v1/namespaces/")


def test_every_kind_that_the_roles_write_has_a_path() -> None:
    from ansible_collections.paradedb.db.plugins.module_utils.teardown import OWNED_KINDS

    for api_version, kind in OWNED_KINDS:
        plural = kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")
        assert kube_module._path(api_version, kind, "n", "x").endswith(f"/{plural}/x")


# exec


class Session:
    """What kubernetes.stream hands out."""

    def __init__(self, code: Any, output: str = "", errors: str = "", hangs: bool = False) -> None:
        self._code, self.output, self.errors, self.hangs = code, output, errors, hangs
        self.written: list[str] = []
        self.closed = False

    def write_stdin(self, text: str) -> None:
        self.written.append(text)

    def run_forever(self, timeout: float) -> None:
        assert timeout > 0

    def is_open(self) -> bool:
        return self.hangs

    def read_stdout(self, timeout: float) -> str:
        return self.output

    def read_stderr(self, timeout: float) -> str:
        return self.errors

    @property
    def returncode(self) -> int | None:
        if isinstance(self._code, Exception):
            raise self._code
        return self._code

    def close(self) -> None:
        self.closed = True


def execute(kube: Kube, monkeypatch: pytest.MonkeyPatch, session: Session, stdin: str = "") -> str:
    asked: dict[str, Any] = {}

    def stream(call: Any, pod: str, namespace: str, **options: Any) -> Session:
        asked.update(options, pod=pod, namespace=namespace)
        return session

    monkeypatch.setattr(kube_module, "stream", stream)
    try:
        return kube.execute("prod", "orders-0", ["psql", "-f", "-"], stdin)
    finally:
        assert asked["container"] == "paradedb"
        assert asked["command"] == ["psql", "-f", "-"]
        assert asked["stdin"] is bool(stdin)
        assert asked["tty"] is False
        assert session.closed


def test_exec_returns_what_the_command_printed(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(0, "out", "a warning")
    assert execute(kube, monkeypatch, session, "SELECT 1;\n") == "out"
    assert session.written == ["SELECT 1;\n"]


def test_exec_that_failed_tells_why(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExecFailed) as caught:
        execute(kube, monkeypatch, Session(3, "", "psql: error"))
    assert (caught.value.code, caught.value.stderr) == (3, "psql: error")


@pytest.mark.parametrize(
    ("hangs", "words"), [(False, "lost its connection"), (True, "took longer than 120 s")]
)
@pytest.mark.parametrize("code", [None, TypeError("None"), KeyError("details"), ValueError("x")])
def test_a_command_that_does_not_end_is_told_from_a_lost_connection(
    kube: Kube, monkeypatch: pytest.MonkeyPatch, code: Any, hangs: bool, words: str
) -> None:
    with pytest.raises(KubeError) as caught:
        execute(kube, monkeypatch, Session(code, hangs=hangs))
    assert caught.value.status == 0
    assert words in str(caught.value)


def test_exec_that_the_server_refuses(kube: Kube, server: Server) -> None:
    server.answer(403, {"message": "no"})
    with pytest.raises(KubeError) as caught:
        kube.execute("prod", "orders-0", ["true"])
    assert "orders-0" in str(caught.value)

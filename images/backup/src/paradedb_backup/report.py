"""Tells what a run does and what came of it, in the ConfigMap `<name>-backup-state`: one key, one JSON
document."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from paradedb_backup import times
from paradedb_backup.config import Config, root
from paradedb_backup.problems import Problem

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The API server's name in every cluster.
_HOST = "kubernetes.default.svc"
# Every change of the ConfigMap is looked at by the operator, which slows down for a database with more than
# 20 a minute.
_INTERVAL = 10.0
_REQUEST_SECONDS = 10.0
_MESSAGE_CHARACTERS = 1000

Document = dict[str, Any]
Write = Callable[[str, Document], None]


class Report:
    """One run's document. `key` is dump, base, verify or recovery; `write` stores it (see `writer`)."""

    def __init__(
        self, key: str, run: str, write: Write, last: Mapping[str, Any] | None, **fields: Any
    ) -> None:
        self._key = key
        self._write = write
        self._started = times.now()
        self._begun = time.monotonic()
        self._written = 0.0
        self._document: Document = {
            "state": "running",
            "id": run,
            "started": times.text(self._started),
            "phase": "starting",
            "bytes": 0,
            "percent": None,
            **fields,
        }
        if last:
            self._document["last"] = dict(last)
        self._send()

    def progress(self, phase: str, size: int | None = None, percent: int | None = None) -> None:
        """The phase, the bytes moved since the start and how much that is of all. Written now and then."""
        self._document.update(phase=phase, percent=percent)
        if size is not None:
            self._document["bytes"] = size
        if time.monotonic() - self._written >= _INTERVAL:
            self._send()

    def add(self, **fields: Any) -> None:
        """More fields of the document, such as checks; written with the next progress or the end."""
        self._document.update(fields)

    def succeeded(self, run: str, size: int, message: str = "") -> None:
        """The run made, verified or restored the backup `run` of `size` bytes; `message` is a warning, if
        any."""
        finished = times.text(times.now())
        seconds = round(time.monotonic() - self._begun)
        last = {"id": run, "finished": finished, "bytes": size, "durationSeconds": seconds}
        if "place" in self._document:
            last["place"] = self._document["place"]
        self._document.update(state="succeeded", id=run, phase="", bytes=size, percent=100, last=last)
        self._end(finished, "", message)

    def failed(self, problem: Problem) -> None:
        """The run ended without its purpose; the last success stays."""
        self._document["state"] = "failed"
        self._end(times.text(times.now()), problem.reason, problem.message)

    def _end(self, finished: str, reason: str, message: str) -> None:
        self._document.update(finished=finished, reason=reason, message=message[:_MESSAGE_CHARACTERS])
        self._send()

    def _send(self) -> None:
        self._written = time.monotonic()
        self._write(self._key, self._document)


@contextmanager
def reported(report: Report, reason: str) -> Iterator[None]:
    """Whatever ends the block is reported and raised as a Problem; `reason` is for what has none of its
    own."""
    try:
        yield
    except Problem as problem:
        report.failed(problem)
        raise
    except Exception as error:
        other = Problem(reason, f"{type(error).__name__}: {error}")
        report.failed(other)
        raise other from error


def writer(config: Config) -> Write:
    """Writes to the state's ConfigMap; to files below the root where there is no Kubernetes. Every document
    is a line of the log as well. A report that cannot be written never ends a run: an end is tried for half a
    minute, progress once."""

    def write(key: str, document: Document) -> None:
        print(json.dumps({key: document}), flush=True)
        for seconds in (1, 3, 9, 17, 0) if "finished" in document else (0,):
            try:
                return _store(config, key, document)
            except (OSError, HTTPException, ValueError) as error:
                print(f"the report could not be written: {error}", file=sys.stderr, flush=True)
                time.sleep(seconds)
        return None

    return write


def last(config: Config, key: str) -> Document | None:
    """The last success that the state knows of, or nothing when there is none or it cannot be read."""
    try:
        document = read(config).get(key, {})
    except (OSError, HTTPException, ValueError) as error:
        print(f"the last report could not be read: {error}", file=sys.stderr, flush=True)
        return None
    found = document.get("last")
    return found if isinstance(found, dict) else None


def read(config: Config) -> dict[str, Document]:
    """All documents of the state by their keys; OSError or ValueError when they cannot be read."""
    if not _in_kubernetes():
        return {file.stem: json.loads(file.read_text()) for file in _folder().glob("*.json")}
    data = _request(config, "GET", None).get("data") or {}
    return {key: json.loads(document) for key, document in data.items()}


def _store(config: Config, key: str, document: Document) -> None:
    if _in_kubernetes():
        _request(config, "PATCH", {"data": {key: json.dumps(document)}})
        return
    _folder().mkdir(parents=True, exist_ok=True)
    part = _folder() / f".{key}.{os.getpid()}"
    part.write_text(json.dumps(document))
    part.replace(_folder() / f"{key}.json")


def _in_kubernetes() -> bool:
    """Not by the environment: a program that PostgreSQL starts for Patroni does not get all of the pod's."""
    return root() == Path("/") and (_ACCOUNT / "token").exists()


def _folder() -> Path:
    return root() / "var/state"


def _request(config: Config, method: str, body: Mapping[str, Any] | None) -> Any:
    """Asks the API server about the state's ConfigMap with the pod's own, always current, token."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST", _HOST),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    address = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{address}:{port}/api/v1/namespaces/{config.namespace}/configmaps/{config.state}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": f"Bearer {(_ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/merge-patch+json",
        },
    )
    context = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    # Without a proxy, which a pod may have for a store outside of the cluster.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(request, timeout=_REQUEST_SECONDS) as response:
        return json.load(response)

"""`python -m paradedb_backup.remote`: has the primary's container make a base backup, follows it and reports.

Runs in a pod of the operator image. What goes through the API server is progress; the data goes from the
database's container to the store.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_incluster_config
from kubernetes.stream import stream

from paradedb_backup import config, report, times
from paradedb_backup.config import Config
from paradedb_backup.problems import REASONS, Problem, interruptible
from paradedb_backup.report import Report

_COMMAND = ["/opt/backup/paradedb-backup", "base"]
_CONTAINER = "paradedb"
_PRIMARY = "database.paradedb.io/role=primary"
# base.py ends after 60 s without a line, and tells something every 2 s.
_HEARTBEAT_SECONDS = 10.0
_SILENCE_SECONDS = 120.0
# How long a failover may take until there is a primary to ask.
_PRIMARY_SECONDS = 120.0
_LINE_CHARACTERS = 65536


def main() -> int:
    """The exit code: 0 only for a backup that is done."""
    interruptible()
    settings = config.for_backup()
    told = Report(
        "base",
        times.new_id(times.now()),
        report.writer(settings),
        report.last(settings, "base"),
        place=config.where(settings),
    )
    try:
        with report.reported(told, "BaseBackupFailed"):
            load_incluster_config()
            done = _follow(settings, told)
            told.succeeded(done["succeeded"], done["bytes"], done["message"])
    except Problem as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    return 0


def _follow(settings: Config, told: Report) -> dict[str, Any]:
    """Runs the backup to its end; what it said last. Raises Problem unless it said that it is done."""
    api = client.CoreV1Api()
    pod = primary(api, settings)
    told.progress(f"in the pod {pod}")
    for line in _lines(api, settings, pod):
        try:
            said = json.loads(line)
        except ValueError:
            print(f"{pod}: {line}", flush=True)
            continue
        if "succeeded" in said:
            return dict(said)
        if "failed" in said:
            raise Problem(
                said["failed"] if said["failed"] in REASONS else "BaseBackupFailed",
                f"{pod}: {said['message']}",
            )
        told.progress(said["phase"], said["bytes"], said["percent"])
    raise Problem("Interrupted", f"the backup in the pod {pod} ended without a word: was it restarted?")


def primary(api: Any, settings: Config) -> str:
    """The name of the primary's pod. Waits out a failover. Problem DatabaseUnreachable when there is none."""
    labels = f"app.kubernetes.io/instance={settings.name},{_PRIMARY}"
    until = time.monotonic() + _PRIMARY_SECONDS
    while True:
        try:
            pods = api.list_namespaced_pod(
                settings.namespace, label_selector=labels, _request_timeout=30
            ).items
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise Problem("DatabaseUnreachable", f"the pods cannot be listed: {_words(error)}") from error
        ready = [pod for pod in pods if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp]
        if len(ready) == 1:
            return str(ready[0].metadata.name)
        if time.monotonic() > until:
            raise Problem(
                "DatabaseUnreachable", f"{len(ready)} pods of {settings.name} are its primary; one has to be"
            )
        time.sleep(2)


def _lines(api: Any, settings: Config, pod: str) -> Iterator[str]:
    """What the program in the pod prints, while it is told that someone listens. Its stderr goes to ours."""
    try:
        connection = stream(
            api.connect_get_namespaced_pod_exec,
            pod,
            settings.namespace,
            container=_CONTAINER,
            command=_COMMAND,
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
            _request_timeout=30,
        )
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Problem(
            "DatabaseUnreachable", f"{pod}: the backup cannot be started there: {_words(error)}"
        ) from error
    try:
        yield from _until_closed(connection, pod)
    except Problem:
        raise
    except Exception as error:  # websocket-client's errors are its own and OSError's
        raise Problem("Interrupted", f"the connection to {pod} broke: {_words(error)}") from error
    finally:
        connection.close()


def _until_closed(connection: Any, pod: str) -> Iterator[str]:
    rest, beat, heard = "", 0.0, time.monotonic()
    while True:
        if time.monotonic() - beat > _HEARTBEAT_SECONDS:
            beat = time.monotonic()
            connection.write_stdin("\n")
        connection.update(timeout=1)
        if connection.peek_stderr():
            print(f"{pod}: {connection.read_stderr()}", end="", file=sys.stderr, flush=True)
        if connection.peek_stdout():
            heard = time.monotonic()
            *lines, rest = (rest + connection.read_stdout()).split("\n")
            yield from lines
        if not connection.is_open() and not connection.peek_stdout():
            return
        if time.monotonic() - heard > _SILENCE_SECONDS or len(rest) > _LINE_CHARACTERS:
            raise Problem(
                "Interrupted", f"nothing was heard of the backup in {pod} for {_SILENCE_SECONDS:.0f} s"
            )


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:300] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())

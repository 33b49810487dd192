"""When the objects of a namespace come, change and go, as watches of our own see it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from urllib3.exceptions import HTTPError

from bench.api import Api, Object
from bench.kinds import COLLECTIONS
from bench.waiting import TookTooLong

Name = tuple[str, str]  # kind, name


class Arrivals:
    """The present objects of one namespace, and a way to wait for them without asking the server again."""

    def __init__(self) -> None:
        self.objects: dict[Name, Object] = {}
        self._news = threading.Condition()

    def put(self, kind: str, event: str, obj: Object) -> None:
        """Take in one event of a watch."""
        with self._news:
            name = kind, obj["metadata"]["name"]
            if event == "DELETED":
                self.objects.pop(name, None)
            else:
                self.objects[name] = obj
            self._news.notify_all()

    def wait(self, look: Callable[[dict[Name, Object]], bool], patience: float, what: str) -> float:
        """Wait until ``look`` is content; the time.monotonic of that moment. Raises TookTooLong."""
        with self._news:
            if not self._news.wait_for(lambda: look(self.objects), patience):
                raise TookTooLong(f"waited {patience:.0f} s for {what}")
            return time.monotonic()


def follow(api: Api, namespace: str) -> Arrivals:
    """Watch all kinds in a namespace from now on. The threads end with the server or with us."""
    arrivals = Arrivals()
    for kind, collection in COLLECTIONS.items():
        path = collection.format(namespace)
        version = api.request("GET", path)["metadata"]["resourceVersion"]
        threading.Thread(target=_follow, args=(api, path, version, kind, arrivals), daemon=True).start()
    return arrivals


def _follow(api: Api, path: str, version: str, kind: str, arrivals: Arrivals) -> None:
    with contextlib.suppress(HTTPError):
        for event in api.watch(path, version):
            arrivals.put(kind, event["type"], event["object"])

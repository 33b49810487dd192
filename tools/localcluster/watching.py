"""Lists of objects kept current by watching the API server."""

from __future__ import annotations

import http.client
import logging
import threading
import time

from .api import ApiError, Client, Object

RETRY_SECONDS = 1.0


class Cache:
    """The present objects of one list, kept current by a thread of its own."""

    def __init__(self, client: Client, path: str, changed: threading.Event, log: logging.Logger) -> None:
        self._client = client
        self._path = path
        self._changed = changed
        self._log = log
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self.filled = threading.Event()

    def objects(self) -> list[Object]:
        """All objects as last seen."""
        with self._lock:
            return list(self._objects.values())

    def run(self) -> None:
        """List, watch, and list again whenever the watch is lost. Does not return."""
        while True:
            try:
                self._follow(self._list())
            except ApiError as error:
                if error.code != 410:  # the version watched from is gone: just list again
                    self._log.warning("watching %s: %s", self._path, error)
                    time.sleep(RETRY_SECONDS)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._log.warning("watching %s: %r", self._path, error)
                time.sleep(RETRY_SECONDS)

    def _list(self) -> str:
        found = self._client.get(self._path)
        with self._lock:
            self._objects = {item["metadata"]["uid"]: item for item in found["items"]}
        self.filled.set()
        self._changed.set()
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        while True:
            for event in self._client.watch(self._path, version):
                metadata = event["object"]["metadata"]
                version = metadata["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._note(event["type"], event["object"])

    def _note(self, kind: str, item: Object) -> None:
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(item["metadata"]["uid"], None)
            else:
                self._objects[item["metadata"]["uid"]] = item
        self._changed.set()


def follow(*caches: Cache) -> None:
    """Start following lists; returns when each has been read once."""
    for cache in caches:
        threading.Thread(target=cache.run, daemon=True).start()
    for cache in caches:
        cache.filled.wait()

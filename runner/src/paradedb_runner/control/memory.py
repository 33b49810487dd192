"""
What is remembered of resources that came to rest, kept over restarts in a few ConfigMaps.

A ConfigMap holds one line for every resource of its shard: uid, and the two digests of the fingerprint. It is
only an aid: whoever cannot read or write it runs one pass more for every resource after a restart.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple
from zlib import crc32

import aiohttp

from paradedb_runner.control.fingerprint import Fingerprint
from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, metadata

log = logging.getLogger(__name__)

_SHARDS = 8  # of at most 1 MiB, which is some 9000 resources each
_JITTER, _ANYWHERE = (0.8, 1.0), (0.0, 1.0)  # parts of a period
_DEBOUNCE = 2.0  # seconds that changes are gathered
_TRY_AGAIN = 30.0
_FAILURES = (ApiError, aiohttp.ClientError, TimeoutError, OSError)

_Parts = tuple[float, float]


class Remembered(NamedTuple):
    """
    A resource at rest; at loop time ``due`` a pass runs whatever the fingerprint says, and at ``stale`` a
    refresh.
    """

    fingerprint: Fingerprint
    due: float
    stale: float


class PassMemory:
    """
    Fingerprints by resource. ``resync_period`` is the longest a resource goes without a pass, in seconds, and
    ``refresh_period`` of its kind without a refresh; 0 is for ever. Load once, before anything is put, and
    let ``keep_written`` run while we lead.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        prefix: str,
        resync_period: float,
        refresh_period: Callable[[GroupVersionKind], float] = lambda _: 0.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api, self._uniform = api, uniform
        self._resync, self._refresh = resync_period, refresh_period
        self._namespace, self._prefix = namespace, prefix
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._shards: list[dict[Key, Remembered]] = [{} for _ in range(_SHARDS)]
        self._objects: dict[int, Object] = {}
        self._dirty: set[int] = set()
        self._wake = asyncio.Event()
        self._complained = self._disabled = False

    def get(self, key: Key) -> Remembered | None:
        """What is remembered of a resource."""
        return self._shards[_shard(key)].get(key)

    def put(self, key: Key, fingerprint: Fingerprint) -> None:
        """A pass found nothing to do: remember what the resource was, until the next resync."""
        self._put(key, fingerprint, self._within(self._resync, _JITTER), _JITTER)

    def renew(self, key: Key, fingerprint: Fingerprint) -> None:
        """A refresh ended: remember what the resource was at its start, without putting the resync off."""
        self._put(key, fingerprint, self._shards[_shard(key)][key].due, _JITTER)

    def drop(self, key: Key) -> None:
        """Forget a resource."""
        if self._shards[_shard(key)].pop(key, None):
            self._mark(_shard(key))

    async def load(self, resources: Mapping[str, Key]) -> None:
        """
        Read what an earlier leader remembered. ``resources`` are those that exist, by uid. Their next resync
        and refresh are anywhere within the periods, since nobody knows when the last ones were.
        """
        for problem in await asyncio.gather(*map(self._read, range(_SHARDS)), return_exceptions=True):
            if isinstance(problem, _FAILURES):
                self._complain("read", problem)
        for number, obj in self._objects.items():
            for uid, value in (obj.get("data") or {}).items():
                digests = value.split()
                if uid in resources and len(digests) == 2:
                    due = self._within(self._resync, _ANYWHERE)
                    self._put(resources[uid], Fingerprint(uid, *digests), due, _ANYWHERE, mark=False)
                else:
                    self._mark(number)

    async def keep_written(self) -> None:
        """Write changes shortly after they were made, for ever."""
        while not self._disabled:
            await self._wake.wait()
            await asyncio.sleep(_DEBOUNCE)
            if not await self.flush():
                await asyncio.sleep(_TRY_AGAIN)

    async def flush(self) -> bool:
        """Write what has changed; whether all of it was written. Failures are only logged."""
        self._wake.clear()
        for number in sorted(self._dirty):
            self._dirty.discard(number)
            try:
                await self._write(number)
            except BaseException as error:
                self._objects.pop(number, None)  # it may have been written, by us or by somebody else: look
                self._mark(number)
                if not isinstance(error, _FAILURES):
                    raise
                self._complain("write", error)
                return False
        self._complained = False
        return True

    def _put(
        self, key: Key, fingerprint: Fingerprint, due: float, parts: _Parts, *, mark: bool = True
    ) -> None:
        old, number = self.get(key), _shard(key)
        stale = self._within(self._refresh(key.gvk), parts)
        self._shards[number][key] = Remembered(fingerprint, due, stale)
        if mark and (old is None or old.fingerprint != fingerprint):
            self._mark(number)

    def _within(self, period: float, parts: _Parts) -> float:
        """A loop time between these parts of a period from now; never for a period of 0."""
        return asyncio.get_running_loop().time() + period * self._uniform(*parts) if period else math.inf

    def _mark(self, number: int) -> None:
        if not self._disabled:
            self._dirty.add(number)
            self._wake.set()

    async def _read(self, number: int) -> None:
        try:
            self._objects[number] = await self._api.get(f"{self._collection}/{self._prefix}-{number}")
        except ApiError as error:
            if error.status != 404:
                raise

    async def _write(self, number: int) -> None:
        """Conditional on what was read: a former leader that does not know it yet harms nobody."""
        if number not in self._objects:
            await self._read(number)
        name = f"{self._prefix}-{number}"
        lines = (each.fingerprint for each in self._shards[number].values())
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self._namespace},
            "data": {line.uid: f"{line.content} {line.versions}" for line in lines},
        }
        if old := self._objects.get(number):
            meta = metadata(old)
            body["metadata"] = {name: meta[name] for name in ("name", "namespace", "uid", "resourceVersion")}
            self._objects[number] = await self._api.replace(f"{self._collection}/{name}", body)
        else:
            self._objects[number] = await self._api.create(self._collection, body)

    def _complain(self, what: str, error: Exception) -> None:
        if isinstance(error, ApiError) and error.status == 409:
            return
        if isinstance(error, ApiError) and error.status == 403:
            self._disabled = True
            self._dirty.clear()
        if not self._complained:
            log.warning("cannot %s what passes found, a restart will repeat them: %r", what, error)
        self._complained = True


def _shard(key: Key) -> int:
    return crc32(str(key).encode()) % _SHARDS

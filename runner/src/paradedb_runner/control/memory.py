"""
What is remembered of resources that came to rest, kept over restarts in a few ConfigMaps.

A ConfigMap holds one line for every resource of its shard: uid, and the two digests of the fingerprint. It is
only an aid: whoever cannot read or write it runs one pass more for every resource after a restart.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple
from zlib import crc32

import aiohttp

from paradedb_runner.control.fingerprint import Fingerprint
from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import Key, Object, metadata

log = logging.getLogger(__name__)

_SHARDS = 8  # of at most 1 MiB, which is some 9000 resources each
_JITTER = (0.8, 1.0)
_DEBOUNCE = 2.0  # seconds that changes are gathered
_TRY_AGAIN = 30.0
_FAILURES = (ApiError, aiohttp.ClientError, TimeoutError, OSError)


class Remembered(NamedTuple):
    """A resource at rest; at loop time ``due`` a pass runs whatever the fingerprint says."""

    fingerprint: Fingerprint
    due: float


class PassMemory:
    """
    Fingerprints by resource. ``resync_period`` is the longest a resource goes without a pass, in seconds; 0
    is for ever. Load once, before anything is put, and let ``keep_written`` run while we lead.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        prefix: str,
        resync_period: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api, self._resync, self._uniform = api, resync_period, uniform
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
        self._put(key, fingerprint, self._uniform(*_JITTER))

    def renew(self, key: Key, fingerprint: Fingerprint) -> None:
        """Remember a newer fingerprint without putting the resync off."""
        shard = self._shards[_shard(key)]
        shard[key] = shard[key]._replace(fingerprint=fingerprint)
        self._mark(_shard(key))

    def drop(self, key: Key) -> None:
        """Forget a resource."""
        if self._shards[_shard(key)].pop(key, None):
            self._mark(_shard(key))

    async def load(self, resources: Mapping[str, Key]) -> None:
        """
        Read what an earlier leader remembered. ``resources`` are those that exist, by uid. Their next resync
        is anywhere within the period, since nobody knows when the last one was.
        """
        for problem in await asyncio.gather(*map(self._read, range(_SHARDS)), return_exceptions=True):
            if isinstance(problem, _FAILURES):
                self._complain("read", problem)
        for number, obj in self._objects.items():
            for uid, value in (obj.get("data") or {}).items():
                digests = value.split()
                if uid in resources and len(digests) == 2:
                    self._put(resources[uid], Fingerprint(uid, *digests), self._uniform(0.0, 1.0), mark=False)
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

    def _put(self, key: Key, fingerprint: Fingerprint, part: float, *, mark: bool = True) -> None:
        due = asyncio.get_running_loop().time() + self._resync * part if self._resync else float("inf")
        old, number = self.get(key), _shard(key)
        self._shards[number][key] = Remembered(fingerprint, due)
        if mark and (old is None or old.fingerprint != fingerprint):
            self._mark(number)

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

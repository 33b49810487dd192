"""
Leader election by a Lease, so that of several replicas one runs passes.

Times of others are never compared with our clock: a holder counts as gone when its record did not change for
its own lease duration, measured here. Every write carries the resourceVersion it was based on.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import Object

log = logging.getLogger(__name__)

_FAILURES = (ApiError, aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class LeaseTimes:
    """
    Seconds. retry < renew_deadline < duration: a leader that cannot renew stops before another may start.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


class LeaderElector:
    """One candidate. Call ``acquire``, then ``hold`` until it returns, then ``release``."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name, self.identity = name, identity
        self._api, self._namespace = api, namespace
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._times, self._uniform = times or LeaseTimes(), uniform
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed = 0.0
        self.is_leader = False

    async def acquire(self) -> None:
        """Wait until we are the leader. An attempt that hangs is given up like one that fails."""
        while not await self._attempt_until(_now() + self._times.renew_deadline):  # noqa: ASYNC110
            await asyncio.sleep(self._times.retry * self._uniform(1.0, 1.2))
        self.is_leader = True
        log.info("became the leader as %s", self.identity)

    async def hold(self) -> None:
        """Keep the lease; returns when it is lost, before another candidate may take it."""
        while self.is_leader:
            deadline = self._renewed + self._times.renew_deadline
            await asyncio.sleep(min(self._times.retry, max(0.0, deadline - _now())))
            renewed = await self._attempt_until(deadline)
            if not renewed and (self._other_holder() or _now() >= deadline):
                break
        self.is_leader = False
        log.error("lost the lease %s", self.name)

    def overdue(self) -> bool:
        """Whether we still take ourselves for the leader though another may lead by now."""
        return self.is_leader and _now() > self._renewed + self._times.duration

    async def release(self) -> None:
        """Let the next candidate in at once instead of after the lease duration."""
        if not self.is_leader or self._seen is None:
            return
        self.is_leader = False
        lease = self._record("", self._seen)
        lease["spec"]["leaseDurationSeconds"] = 1
        try:
            await self._api.replace(f"{self._collection}/{self.name}", lease)
        except _FAILURES as error:
            log.warning("could not release the lease: %s", error)

    async def _attempt_until(self, deadline: float) -> bool:
        """
        Try once, at most until then. The lease counts from the start of the attempt: when the server wrote it
        within the attempt is unknown.
        """
        started = _now()
        try:
            async with asyncio.timeout_at(deadline):
                if not await self._attempt():
                    return False
        except TimeoutError:
            self._seen = None  # the write may have arrived: look before the next one
            return False
        self._renewed = started
        return True

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease. Any failure is only a lost attempt."""
        try:
            return await self._take_or_renew()
        except _FAILURES as error:
            if isinstance(error, ApiError) and error.status == 409:
                self._seen = None  # somebody wrote in between, perhaps an earlier try of ours: look again
            else:
                log.warning("cannot write the lease %s: %s", self.name, error or type(error).__name__)
            return False

    async def _take_or_renew(self) -> bool:
        if not self.is_leader or self._seen is None:
            await self._observe()
        if self._seen is None:
            self._saw(await self._api.create(self._collection, self._record(self.identity, None)))
            return True
        seconds = (self._seen.get("spec") or {}).get("leaseDurationSeconds", self._times.duration)
        if self._other_holder() and _now() < self._seen_at + seconds:
            return False
        path = f"{self._collection}/{self.name}"
        self._saw(await self._api.replace(path, self._record(self.identity, self._seen)))
        return True

    async def _observe(self) -> None:
        try:
            lease = await self._api.get(f"{self._collection}/{self.name}")
        except ApiError as error:
            if error.status != 404:
                raise
            self._seen = None
            return
        self._saw(lease)

    def _saw(self, lease: Object) -> None:
        """Remember a record, and when: an unchanged record keeps the moment it was first seen."""
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != version:
            self._seen_at = _now()
        self._seen = lease

    def _other_holder(self) -> bool:
        holder = self._seen and (self._seen.get("spec") or {}).get("holderIdentity")
        return bool(holder) and holder != self.identity

    def _record(self, holder: str, old: Object | None) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (old or {}).get("spec") or {}
        same = before.get("holderIdentity") == holder
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": old["metadata"] if old else {"name": self.name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(self._times.duration),
                "acquireTime": before.get("acquireTime", now) if same else now,
                "renewTime": now,
                "leaseTransitions": before.get("leaseTransitions", 0) + bool(old and holder and not same),
            },
        }


def _now() -> float:
    return asyncio.get_running_loop().time()

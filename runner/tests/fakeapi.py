"""A small API server in memory: real HTTP, real resource versions, and faults on demand."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web
from paradedb_runner.kube.api import Api

Object = dict[str, Any]
KINDS = {
    "/api/v1": [
        ("ConfigMap", "configmaps"),
        ("Secret", "secrets"),
        ("Event", "events"),
        ("Service", "services"),
        ("Namespace", "namespaces"),
        ("Node", "nodes"),
    ],
    "/apis/example.com/v1": [("Demo", "demos"), ("Other", "others")],
    "/apis/apps/v1": [("StatefulSet", "statefulsets"), ("Deployment", "deployments")],
    "/apis/networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies")],
    "/apis/monitoring.example.com/v1": [("Monitor", "monitors"), ("Rule", "rules")],
    "/apis/autoscaling/v2": [("HorizontalPodAutoscaler", "horizontalpodautoscalers")],
    "/apis/coordination.k8s.io/v1": [("Lease", "leases")],
}
WITH_STATUS = {
    *("demos", "others", "statefulsets", "deployments", "monitors"),
    *("services", "namespaces", "nodes", "horizontalpodautoscalers"),
}
WITH_GENERATION = {
    *("demos", "others", "statefulsets", "deployments", "networkpolicies", "monitors", "rules"),
}
CLUSTER_SCOPED = {"namespaces", "nodes"}


@dataclass
class Fault:
    """Answer the next matching request with this status, before anything happens."""

    method: str
    status: int
    path: str = ""
    watch: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi:
    """Holds objects by collection path and name; ``requests`` remembers what was asked."""

    def __init__(self) -> None:
        self.kinds = {prefix: dict(kinds) for prefix, kinds in KINDS.items()}
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.history: list[tuple[int, str, str, Object | None, Object]] = []
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[Any] = []
        self.faults: list[Fault] = []
        self.oldest = 0
        self.version = 100
        self.silent = False
        self.on_request: Any = None
        self._streams: set[_Stream] = set()

    # What a test does behind the runner's back

    def put(self, plural: str, name: str, namespace: str = "ns", **content: Any) -> Object:
        """Create or change an object and tell all watches."""
        old = self.objects.get((plural, namespace, name))
        meta = {"uid": uuid4().hex, "creationTimestamp": "2026-01-01T00:00:00Z"}
        if old:
            meta = {**old["metadata"]}
        meta |= {"name": name, "namespace": namespace} | content.pop("metadata", {})
        if plural in WITH_GENERATION:
            if old and content.get("spec", old.get("spec")) != old.get("spec"):
                meta["generation"] = old["metadata"].get("generation", 0) + 1
            meta.setdefault("generation", 1)
        obj = {**(old or {}), **content, "metadata": meta}
        self._store(plural, namespace, name, obj, "MODIFIED" if old else "ADDED")
        return obj

    def delete(self, plural: str, name: str, namespace: str = "ns") -> None:
        """Delete an object, or mark it if it has finalizers."""
        obj = copy.deepcopy(self.objects[plural, namespace, name])
        if obj["metadata"].get("finalizers"):
            obj["metadata"].setdefault("deletionTimestamp", "2026-01-01T01:00:00Z")
            self._store(plural, namespace, name, obj, "MODIFIED")
        else:
            self._remove(plural, namespace, name, obj)

    def get(self, plural: str, name: str, namespace: str = "ns") -> Object:
        return self.objects[plural, namespace, name]

    def forget_history(self) -> None:
        """Make every resource version so far too old to watch from."""
        self.oldest = self.version
        self.history.clear()

    def disconnect(self) -> None:
        """Break all watch connections."""
        for stream in self._streams:
            stream.put_nowait(None)

    def send_raw(self, event: Object) -> None:
        """Put an event on all watches as it is."""
        for stream in self._streams:
            stream.put_nowait(json.dumps(event).encode() + b"\n")

    def watching(self, plural: str) -> list[web.BaseRequest]:
        """All watch requests for a kind so far."""
        return [r for r in self.requests if "watch" in r.query and r.path.endswith(f"/{plural}")]

    def listing(self, plural: str) -> list[web.BaseRequest]:
        """All list requests for a kind so far."""
        return [
            r
            for r in self.requests
            if r.method == "GET" and "watch" not in r.query and r.path.endswith(f"/{plural}")
        ]

    def writes(self, method: str, part: str = "") -> list[Any]:
        """Bodies of all requests with a method whose path contains ``part``."""
        return [
            body
            for request, body in zip(self.requests, self.bodies, strict=True)
            if request.method == method and part in request.path
        ]

    # The server

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        if self.on_request:
            await self.on_request(request)
        for fault in self.faults:
            if (
                fault.method == request.method
                and fault.path in request.path
                and fault.watch == ("watch" in request.query)
            ):
                self.faults.remove(fault)
                return _failure(fault.status, "as the test asked", fault.headers)
        if request.path in self.kinds:
            return self._discovery(request.path)
        plural, namespace, name = self._parse(request.path)
        if plural is None:
            return _failure(404, "the server could not find the requested resource")
        if "watch" in request.query:
            return await self._watch(request, plural, namespace)
        if not name:
            if request.method == "POST":
                return self._create(plural, namespace, self.bodies[-1])
            return self._list(request, plural, namespace)
        return self._one(request, plural, namespace, name)

    def _parse(self, path: str) -> tuple[str | None, str, str]:
        for prefix, kinds in self.kinds.items():
            if path.startswith(prefix + "/"):
                parts = path.removeprefix(prefix + "/").split("/")
                namespace = ""
                if parts[0] == "namespaces" and len(parts) > 2:
                    namespace, parts = parts[1], parts[2:]
                if parts[0] in kinds.values():
                    return parts[0], namespace, parts[1] if len(parts) > 1 else ""
        return None, "", ""

    def _discovery(self, prefix: str) -> web.Response:
        resources = [
            {"name": name + suffix, "kind": kind, "namespaced": name not in CLUSTER_SCOPED}
            for kind, name in self.kinds[prefix].items()
            for suffix in (["", "/status"] if name in WITH_STATUS else [""])
        ]
        return web.json_response({"resources": resources})

    def _matching(self, plural: str, namespace: str) -> list[Object]:
        return [
            obj
            for (kind, space, _), obj in sorted(self.objects.items())
            if kind == plural and namespace in ("", space)
        ]

    def _list(self, request: web.Request, plural: str, namespace: str) -> web.Response:
        view = _View(request, plural, namespace)
        items = [view(obj) for obj in self._matching(plural, namespace) if view.shows(plural, obj)]
        start, size = int(request.query.get("continue", 0)), int(request.query.get("limit", 0))
        meta = {"resourceVersion": str(self.version)}
        if size and start + size < len(items):
            meta["continue"] = str(start + size)
        return web.json_response({"metadata": meta, "items": items[start : start + size if size else None]})

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return _failure(410, "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        stream = _Stream(_View(request, plural, namespace))
        self._streams.add(stream)
        for version, kind, what, old, obj in self.history:
            if version > since:
                stream.tell(what, kind, old, obj)
        try:
            while (line := await stream.get()) is not None:
                if not self.silent:
                    await response.write(line)
        finally:
            self._streams.discard(stream)
        if request.transport:
            request.transport.abort()
        return response

    def _create(self, plural: str, namespace: str, obj: Object) -> web.Response:
        name = obj["metadata"]["name"]
        if (plural, namespace, name) in self.objects:
            return _failure(409, "already exists")
        return web.json_response(self.put(plural, name, namespace, **copy.deepcopy(obj)), status=201)

    def _one(self, request: web.Request, plural: str, namespace: str, name: str) -> web.Response:
        old = self.objects.get((plural, namespace, name))
        if old is None:
            return _failure(404, f"{name} not found")
        if request.method == "GET":
            return web.json_response(old)
        new, body = copy.deepcopy(old), self.bodies[-1]
        if request.content_type == "application/json-patch+json":
            problem = _json_patch(new, body)
            if problem:
                return _failure(422, problem)
        else:
            sent = body["metadata"].get("resourceVersion") if "metadata" in body else None
            if sent and sent != old["metadata"]["resourceVersion"]:
                return _failure(409, "the object has been modified")
            new = {**new, **body, "metadata": {**new["metadata"], **body.get("metadata", {})}}
            if body.get("spec", old.get("spec")) != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
            if "status" in body and request.method == "PATCH":
                new["status"] = {**old.get("status", {}), **body["status"]}
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._remove(plural, namespace, name, new)
        else:
            self._store(plural, namespace, name, new, "MODIFIED")
        return web.json_response(new)

    def _store(self, plural: str, namespace: str, name: str, obj: Object, kind: str) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        old = self.objects.get((plural, namespace, name))
        self.objects[plural, namespace, name] = obj
        self._tell(plural, kind, old, obj)

    def _remove(self, plural: str, namespace: str, name: str, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        old = self.objects.pop((plural, namespace, name))
        self._tell(plural, "DELETED", old, obj)

    def _tell(self, plural: str, kind: str, old: Object | None, obj: Object) -> None:
        obj, old = copy.deepcopy(obj), copy.deepcopy(old)
        self.history.append((self.version, kind, plural, old, obj))
        for stream in self._streams:
            stream.tell(plural, kind, old, obj)


class _View:
    """What one list or watch shows: a kind, a namespace, labels that are equal, perhaps only metadata."""

    def __init__(self, request: web.Request, plural: str, namespace: str) -> None:
        self._plural, self._namespace = plural, namespace
        self._labels = dict(
            part.split("=") for part in request.query.get("labelSelector", "").split(",") if part
        )
        self._partial = "as=PartialObjectMetadata" in request.headers.get("Accept", "")

    def shows(self, plural: str, obj: Object | None) -> bool:
        if obj is None or plural != self._plural:
            return False
        labels = obj["metadata"].get("labels") or {}
        return (
            self._namespace in ("", obj["metadata"]["namespace"]) and self._labels.items() <= labels.items()
        )

    def __call__(self, obj: Object) -> Object:
        if not self._partial:
            return obj
        return {
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": obj["metadata"],
        }


class _Stream(asyncio.Queue[bytes | None]):
    """The lines of one watch; None ends it."""

    def __init__(self, view: _View) -> None:
        super().__init__()
        self._view = view

    def tell(self, plural: str, kind: str, old: Object | None, obj: Object) -> None:
        was, now = self._view.shows(plural, old), self._view.shows(plural, obj)
        if not was and not now:
            return
        if kind != "DELETED":
            kind = "DELETED" if not now else "MODIFIED" if was else "ADDED"
        self.put_nowait(json.dumps({"type": kind, "object": self._view(obj)}).encode() + b"\n")


def _json_patch(obj: Object, operations: list[Object]) -> str:
    for operation in operations:
        *parents, last = operation["path"].strip("/").split("/")
        target: Any = obj
        for part in parents:
            target = target[part]
        match operation["op"]:
            case "test":
                found = target.get(last) if isinstance(target, dict) else target[int(last)]
                if found != operation["value"]:
                    return f"testing value {operation['path']} failed"
            case "add" if last == "-":
                target.append(operation["value"])
            case "add":
                target[last] = operation["value"]
            case "remove":
                target.pop(int(last))
    return ""


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"kind": "Status", "message": message}, status=status, headers=headers)


class FakeCredentials:
    """No TLS, no secrets, but a count of how often they were read again."""

    server_name = None
    ssl_context = True

    def __init__(self, host: str) -> None:
        self.host = host
        self.reloads = 0

    async def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.reloads}"}

    async def reload(self) -> None:
        self.reloads += 1


@asynccontextmanager
async def running_fake() -> AsyncIterator[tuple[FakeApi, Api]]:
    """The server, and a client that talks to it."""
    fake = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        async with Api(FakeCredentials(f"http://{host}:{port}")) as api:
            yield fake, api
    finally:
        fake.disconnect()
        await runner.cleanup()


async def until(condition: Any, patience: float = 10.0) -> None:
    """Wait until a condition holds; the patience only ends a test that would hang."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110  (conditions are plain state)
            await asyncio.sleep(0.005)

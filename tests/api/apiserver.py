"""The API server as these tests speak to it: plain requests, and the refusals it answers with."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from kubernetes import client, config

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CRD_FILE = DEPLOY / "crd" / "paradedbs.database.paradedb.io.yaml"
API = "/apis/database.paradedb.io/v1alpha1"

Object = dict[str, Any]


_KUBECTL = (
    ["kubectl"] if shutil.which("kubectl") else [sys.executable, str(ROOT / "tools/localcluster"), "kubectl"]
)


def kubectl(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl and return what it said; the caller looks at the exit status."""
    return subprocess.run(
        [*_KUBECTL, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


class Refused(Exception):
    """The API server refused a request; ``status`` is the HTTP code, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The API server, spoken to without a client library between the test and the answer."""

    def __init__(self, user: str | None = None) -> None:
        """``user``: whom to act as, by impersonation; default: the kubeconfig's own user."""
        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        self._host = settings.host
        token = settings.auth_settings().get("BearerToken", {}).get("value")
        self._headers = ({"Authorization": token} if token else {}) | (
            {"Impersonate-User": user} if user else {}
        )
        self._http = urllib3.PoolManager(
            ca_certs=settings.ssl_ca_cert,
            cert_file=settings.cert_file,
            key_file=settings.key_file,
            cert_reqs="CERT_REQUIRED" if settings.verify_ssl else "CERT_NONE",
            timeout=urllib3.Timeout(60),
        )

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        """The answer as an object. Raises Refused for every answer that is not a success."""
        answer: Object = json.loads(self._answer(method, path, body, accept, query))
        return answer

    def first_event(self, path: str, resource_version: str, name: str) -> Object:
        """The first event about an object after a version of the list."""
        query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": "60"}
        query["fieldSelector"] = f"metadata.name={name}"
        answer = self._http.request(
            "GET", f"{self._host}{path}?{urlencode(query)}", headers=self._headers, preload_content=False
        )
        try:
            event: Object = json.loads(answer.readline())
            return event
        finally:
            answer.close()

    def _answer(
        self, method: str, path: str, body: Object | None, accept: str, query: dict[str, str]
    ) -> bytes:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._http.request(
            method,
            f"{self._host}{path}?{urlencode(query)}",
            body=None if body is None else json.dumps(body),
            headers=self._headers | {"Accept": accept, "Content-Type": kind},
        )
        if answer.status >= 300:
            raise Refused(answer.status, json.loads(answer.data)["message"])
        return bytes(answer.data)


def cel_rules(node: Any) -> list[str]:
    """All CEL rules of a schema, in a fixed order."""
    if isinstance(node, list):
        return [rule for item in node for rule in cel_rules(item)]
    if not isinstance(node, dict):
        return []
    own = [rule["rule"] for rule in node.get("x-kubernetes-validations", [])]
    below = [cel_rules(node[key]) for key in sorted(node) if key != "x-kubernetes-validations"]
    return own + [rule for rules in below for rule in rules]


def served_rules(server: Server) -> list[str]:
    """The CEL rules of the ParadeDB schema that the API server publishes."""
    try:
        schemas = server.request("GET", f"/openapi/v3{API}")["components"]["schemas"]
    except Refused as refused:
        if refused.status == 404:  # not published yet
            return []
        raise
    return cel_rules(schemas.get("io.paradedb.database.v1alpha1.ParadeDB", {}))


def paradedb(name: str, spec: Object | None) -> Object:
    """A ParadeDB resource."""
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": name},
        "spec": spec,
    }


class ParadeDBs:
    """The ParadeDB resources of one namespace."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.namespace = namespace
        self.server = server
        self.path = f"{API}/namespaces/{namespace}/paradedbs"

    def try_create(self, spec: Object | None, name: str = "a") -> Object:
        """What the API server would store. Raises Refused when it refuses."""
        return self.server.request(
            "POST", self.path, paradedb(name, spec), dryRun="All", fieldValidation="Strict"
        )

    def refusal(self, spec: Object | None, name: str = "a") -> str:
        """The message with which the API server refuses a new resource."""
        return message(lambda: self.try_create(spec, name))

    def create(self, spec: Object) -> str:
        """Store a resource under a name of its own."""
        name = f"a{secrets.token_hex(4)}"
        self.server.request("POST", self.path, paradedb(name, spec))
        return name

    def get(self, name: str) -> Object:
        return self.server.request("GET", f"{self.path}/{name}")

    def try_change(self, name: str, change: Object) -> Object:
        """What a change of some fields of a stored resource's spec would give."""
        path = f"{self.path}/{name}"
        return self.server.request("PATCH", path, {"spec": change}, dryRun="All", fieldValidation="Strict")

    def try_subresource(self, name: str, subresource: str, change: Object) -> Object:
        """What a change through a subresource would give."""
        return self.server.request("PATCH", f"{self.path}/{name}/{subresource}", change, dryRun="All")

    def delete(self, name: str) -> None:
        """Delete a resource and wait until it is gone."""
        self.server.request("DELETE", f"{self.path}/{name}")
        deadline = time.monotonic() + 120
        while True:
            try:
                self.get(name)
            except Refused as refused:
                if refused.status == 404:
                    return
                raise
            assert time.monotonic() < deadline, f"{name} is still there"
            time.sleep(0.2)


def message(request: Callable[[], Object]) -> str:
    """The message with which the API server refuses a request."""
    try:
        request()
    except Refused as refused:
        return str(refused)
    pytest.fail("the API server accepted it")


def says(refusal: str, expected: str) -> bool:
    """Whether a refusal says something; the API server may quote a value before saying why it is invalid."""
    pattern = re.escape(expected).replace(re.escape("Invalid value: "), "Invalid value: .*?")
    return re.search(pattern, refusal, re.DOTALL) is not None

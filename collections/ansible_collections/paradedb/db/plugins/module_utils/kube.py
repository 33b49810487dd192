"""The Kubernetes API in the few verbs that the modules need: raw objects in, raw objects out.

Credentials are kubernetes.core's options (kubeconfig, context, host, api_key ... or in-cluster), so the
modules sign in wherever that collection's modules do. The few kinds are known, so no path is looked up.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException

try:
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic.exceptions import DynamicApiError
    from kubernetes.stream import stream
    from urllib3.exceptions import HTTPError
except ImportError:  # get_api_client reports the missing library with the way to install it
    pass

CONTAINER = "paradedb"  # where PostgreSQL runs in a database pod
FIELD_MANAGER = "paradedb-operator"
REQUEST_TIMEOUT = (5, 30)  # seconds to connect, to read
EXEC_TIMEOUT = 120  # seconds for a command in a pod

# Plural names of the kinds that the roles write or read.
_PLURALS = {
    "Certificate": "certificates",
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "Deployment": "deployments",
    "Event": "events",
    "Job": "jobs",
    "NetworkPolicy": "networkpolicies",
    "Node": "nodes",
    "ParadeDB": "paradedbs",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PrometheusRule": "prometheusrules",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServiceMonitor": "servicemonitors",
    "StatefulSet": "statefulsets",
}

Object = dict[str, Any]


class KubeError(Exception):
    """The API server refused or did not answer; ``status`` is the HTTP code, 0 without an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ExecFailed(Exception):
    """A command in a container ended with another code than 0; ``stderr`` is what it said."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(stderr.strip() or f"the command ended with code {code}")
        self.code = code
        self.stderr = stderr


class Kube:
    """One connection, as one identity."""

    def __init__(self, auth: dict[str, Any]) -> None:
        """``auth``: kubernetes.core's authentication options by name; absent ones come from its environment
        variables, the kubeconfig or the pod's service account."""
        try:
            self._client = get_api_client(**auth).client
        except (CoreException, HTTPError) as error:
            raise KubeError(0, f"no connection to the API server: {error}") from error

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """The object, None when there is none. ``namespace`` is empty for a kind of the whole cluster."""
        try:
            return self.request("GET", _path(api_version, kind, namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[Object]:
        """The objects with the labels of ``selector``, each with its apiVersion and kind."""
        query = {"labelSelector": selector}
        answer = self.request("GET", _path(api_version, kind, namespace), query=query)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer.get("items", [])]

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        """Server-side apply, taking over fields from other managers: what we render is what holds."""
        metadata = definition["metadata"]
        path = _path(definition["apiVersion"], definition["kind"], metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return self.request("PATCH", path, definition, query, "application/apply-patch+yaml")

    def create(self, definition: Object) -> Object:
        path = _path(definition["apiVersion"], definition["kind"], definition["metadata"]["namespace"])
        return self.request("POST", path, definition)

    def merge_patch(self, target: Object, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch of an object that was read before."""
        path = _object_path(target) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": FIELD_MANAGER}
        return self.request("PATCH", path, patch, query, content_type="application/merge-patch+json")

    def remove_fields(self, target: Object, paths: list[str]) -> Object:
        """Take fields (JSON pointers) out of an object, unless it has changed since it was read."""
        metadata = target["metadata"]
        patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}]
        patch += [{"op": "remove", "path": path} for path in paths]
        return self.request("PATCH", _object_path(target), patch, content_type="application/json-patch+json")

    def delete(self, target: Object, propagation: str = "Background", at_once: bool = False) -> bool:
        """Delete exactly this object, not a namesake made since. False when it was gone.

        ``propagation``: what becomes of its dependents; Orphan lets them live. ``at_once``: do not wait for
        the kubelet to confirm that a pod has ended; only for a pod whose node is lost.
        """
        body: Object = {"preconditions": {"uid": target["metadata"]["uid"]}, "propagationPolicy": propagation}
        if at_once:
            body["gracePeriodSeconds"] = 0
        try:
            self.request("DELETE", _object_path(target), body)
        except KubeError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def execute(self, namespace: str, pod: str, command: list[str], stdin: str = "") -> str:
        """Run a command in the database container and return what it printed.

        The protocol cannot close stdin: the command must know itself where its input ends.
        Raises ExecFailed for another exit code than 0.
        """
        try:
            session = stream(
                CoreV1Api(self._client.client).connect_get_namespaced_pod_exec,
                pod,
                namespace,
                container=CONTAINER,
                command=command,
                stdin=bool(stdin),
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
            )
        except ApiException as error:
            raise KubeError(error.status or 0, f"exec in pod {pod}: {error.reason}") from None
        if stdin:
            session.write_stdin(stdin)
        session.run_forever(timeout=EXEC_TIMEOUT)
        took_too_long = session.is_open()
        output, errors = session.read_stdout(timeout=1) or "", session.read_stderr(timeout=1) or ""
        try:
            code = session.returncode
        except (TypeError, KeyError, ValueError):  # the connection ended before the command did
            code = None
        session.close()
        if code is None:
            what = f"took longer than {EXEC_TIMEOUT} s" if took_too_long else "lost its connection"
            raise KubeError(0, f"exec in pod {pod}: the command {what}")
        if code != 0:
            raise ExecFailed(code, errors)
        return output

    def request(
        self,
        method: str,
        path: str,
        body: Object | list[Object] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request, for what the verbs above do not cover. Raises KubeError for every answer but 2xx."""
        try:
            response = self._client.request(
                method,
                path,
                body=body,
                query_params=list((query or {}).items()),
                content_type=content_type,
                serialize=False,
                _request_timeout=REQUEST_TIMEOUT,
            )
            return json.loads(response.data)
        except ValueError:
            raise KubeError(0, "the API server's answer is not JSON") from None
        except DynamicApiError as error:
            raise KubeError(error.status or 0, _explain(error)) from None
        except HTTPError as error:
            raise KubeError(0, f"the API server did not answer: {error}") from error


def _explain(error: DynamicApiError) -> str:
    """The API server's own sentence, without its headers."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return f"HTTP {error.status} {error.reason}"


def _object_path(target: Object) -> str:
    metadata = target["metadata"]
    return _path(target["apiVersion"], target["kind"], metadata["namespace"], metadata["name"])


def api_root(api_version: str) -> str:
    """The path below which the API server keeps a version of a group."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _path(api_version: str, kind: str, namespace: str, name: str = "") -> str:
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    path = f"{api_root(api_version)}{inside}/{_PLURALS[kind]}"
    return f"{path}/{quote(name, safe='')}" if name else path


def by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Objects by kind and name."""
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def annotations(item: Object | None) -> dict[str, Any]:
    """The annotations of an object; none of one that is not there."""
    return ((item or {}).get("metadata") or {}).get("annotations") or {}


def owner_reference(resource: Object) -> Object:
    """The controller reference to a resource: its deletion takes the dependents with it."""
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }

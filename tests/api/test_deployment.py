"""The manifests under deploy/: what they build, and that the operator may do its work and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from apiserver import DEPLOY, Object, Refused, Server, kubectl, message

# kubectl builds the overlays, and comes with the cluster where the machine has none.
pytestmark = pytest.mark.cluster

OPERATOR_NAMESPACE = "paradedb-operator-system"
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:paradedb-operator-controller-manager"
OVERLAYS = sorted(file.parent for file in DEPLOY.rglob("kustomization.yaml"))


def build(overlay: str) -> list[Object]:
    """The objects that an overlay makes."""
    built = kubectl("kustomize", str(DEPLOY / overlay))
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def one(objects: list[Object], kind: str, name: str) -> Object:
    found = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_every_overlay_builds(overlay: Any) -> None:
    assert build(str(overlay.relative_to(DEPLOY)))


@pytest.mark.parametrize(
    ("overlay", "image", "pooler"),
    [
        ("manager", "paradedb/paradedb-operator:0.1.0", "paradedb/paradedb-pgbouncer:0.1.0"),
        ("default", "paradedb/paradedb-operator:0.1.0", "paradedb/paradedb-pgbouncer:0.1.0"),
        ("local", "localhost/paradedb-operator:dev", "localhost/paradedb-pgbouncer:dev"),
    ],
)
def test_the_operator_knows_its_images(overlay: str, image: str, pooler: str) -> None:
    deployment = one(build(overlay), "Deployment", "paradedb-operator-controller-manager")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert container["image"] == image
    assert environment["PARADEDB_TOOLS_IMAGE"] == image
    assert environment["PARADEDB_POOLER_IMAGE"] == pooler


def test_everything_is_in_default() -> None:
    parts = [item for part in ("crd", "rbac", "manager") for item in build(part)]

    def names(objects: list[Object]) -> set[tuple[str, str]]:
        return {(item["kind"], item["metadata"]["name"]) for item in objects}

    assert names(build("default")) == names(parts)
    assert names(build("local")) == names(parts)


def test_no_rule_has_a_wildcard() -> None:
    rules = [rule for item in build("rbac") for rule in item.get("rules", [])]
    assert rules
    assert "*" not in [word for rule in rules for words in rule.values() for word in words]


def test_services_and_selectors_fit() -> None:
    objects = build("manager")
    template = one(objects, "Deployment", "paradedb-operator-controller-manager")["spec"]["template"]
    service = one(objects, "Service", "paradedb-operator-metrics")["spec"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert ports == {"metrics": 8443, "probes": 8081}
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(8443, "metrics")]


@pytest.fixture(scope="module")
def installed(server: Server) -> Server:
    """The API server with the operator's namespace and rights; nothing runs."""
    for path in ("manager/namespace.yaml", "rbac"):
        flag = "-f" if path.endswith(".yaml") else "-k"
        applied = kubectl("apply", "--server-side", "--force-conflicts", flag, str(DEPLOY / path))
        assert applied.returncode == 0, applied.stderr
    return server


@pytest.fixture(scope="module")
def operator(installed: Server) -> Server:
    """The API server as the operator's account sees it."""
    return Server(user=OPERATOR)


def test_the_whole_deployment_is_accepted(installed: Server) -> None:
    applied = kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server"), "-k", str(DEPLOY / "local")
    )
    assert applied.returncode == 0, applied.stderr
    assert "Warning" not in applied.stderr


def test_the_operators_pod_fits_a_restricted_namespace(installed: Server) -> None:
    deployment = one(build("local"), "Deployment", "paradedb-operator-controller-manager")
    pod = deployment["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = pod["metadata"] | {"name": "check"}
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
    assert installed.request("POST", path, pod, dryRun="All")
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in message(lambda: installed.request("POST", path, pod, dryRun="All"))


def _allowed(server: Server, verb: str, resource: str, namespace: str, name: str = "") -> bool:
    resource, _, subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    attributes |= {"namespace": namespace, "name": name}
    review = {"spec": {"user": OPERATOR, "resourceAttributes": attributes}}
    answer = server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(
    ("resource", "verbs"),
    [
        ("paradedbs.database.paradedb.io", "get list watch patch"),
        ("paradedbs.database.paradedb.io/status", "patch"),
        ("paradedbs.database.paradedb.io/finalizers", "update"),
        ("secrets", "get list watch create patch delete"),
        ("configmaps", "get list watch create patch update delete"),
        ("services", "get list watch create patch delete"),
        ("serviceaccounts", "get list watch create patch delete"),
        ("persistentvolumeclaims", "get list create patch delete"),
        ("cronjobs.batch", "get list watch create patch delete"),
        ("jobs.batch", "get list watch create patch delete"),
        ("networkpolicies.networking.k8s.io", "get list watch create patch delete"),
        ("servicemonitors.monitoring.coreos.com", "get list watch create patch delete"),
        ("prometheusrules.monitoring.coreos.com", "get list watch create patch delete"),
        ("podmonitors.monitoring.coreos.com", ""),
        ("poddisruptionbudgets.policy", "get list watch create patch delete"),
        ("certificates.cert-manager.io", "get list create patch delete"),
        ("issuers.cert-manager.io", ""),
        ("pods", "get list watch patch update delete"),
        ("pods/exec", "create get"),
        ("pods/eviction", ""),
        ("events", "create patch"),
        ("events.events.k8s.io", ""),
        ("deployments.apps", "get list watch create patch delete"),
        ("deployments.apps/scale", ""),
        ("replicasets.apps", ""),
        ("statefulsets.apps", "get list watch create patch delete"),
        ("roles.rbac.authorization.k8s.io", "get list watch create patch delete"),
        ("rolebindings.rbac.authorization.k8s.io", "get list watch create patch delete"),
        ("tokenreviews.authentication.k8s.io", "create"),
        ("subjectaccessreviews.authorization.k8s.io", "create"),
        ("nodes", "get list watch"),
        ("namespaces", ""),
        ("persistentvolumes", ""),
        ("clusterroles.rbac.authorization.k8s.io", ""),
        ("customresourcedefinitions.apiextensions.k8s.io", ""),
        ("leases.coordination.k8s.io", ""),
    ],
)
def test_the_operator_may_do_exactly_its_work(
    installed: Server, namespace: str, resource: str, verbs: str
) -> None:
    every = ["get", "list", "watch", "create", "patch", "update", "delete", "deletecollection"]
    every += ["bind", "escalate", "impersonate"]
    allowed = [verb for verb in every if _allowed(installed, verb, resource, namespace)]
    assert sorted(allowed) == sorted(verbs.split())


def test_the_lease_is_only_its_own(installed: Server) -> None:
    leases = "leases.coordination.k8s.io"
    assert _allowed(installed, "create", leases, OPERATOR_NAMESPACE)
    for verb in ("get", "update"):
        assert _allowed(installed, verb, leases, OPERATOR_NAMESPACE, "paradedb-operator-leader")
        assert not _allowed(installed, verb, leases, OPERATOR_NAMESPACE, "another")
    for verb in ("patch", "delete"):
        assert not _allowed(installed, verb, leases, OPERATOR_NAMESPACE, "paradedb-operator-leader")


def _role(rules: list[Object]) -> Callable[[Server, str], Object]:
    role = {"metadata": {"name": "database"}, "rules": rules}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"
    return lambda server, namespace: server.request("POST", path.format(namespace), role, dryRun="All")


def test_the_operator_can_grant_what_pods_need_and_no_more(operator: Server, namespace: str) -> None:
    state = ["get", "list", "watch", "create", "patch", "update", "delete"]
    patroni = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": state},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch", "update"]},
    ]
    assert _role(patroni)(operator, namespace)
    base_backup = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
    ]
    assert _role(base_backup)(operator, namespace)
    volumes = [{"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get"]}]
    with pytest.raises(Refused, match="attempting to grant RBAC permissions not currently held"):
        _role(volumes)(operator, namespace)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("paradedb-viewer", "get list watch", "create update patch delete"),
        ("paradedb-editor", "get list watch create update patch delete", "deletecollection"),
        ("paradedb-admin", "get list watch create update patch delete deletecollection", ""),
    ],
)
def test_roles_for_people(installed: Server, role: str, may: str, may_not: str) -> None:
    rules = installed.request("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")["rules"]
    held = {verb for rule in rules if "paradedbs" in rule["resources"] for verb in rule["verbs"]}
    assert set(may.split()) <= held
    assert not set(may_not.split()) & held
    status = {verb for rule in rules if "paradedbs/status" in rule["resources"] for verb in rule["verbs"]}
    assert status == {"get"}

"""The objects that the roles render: whatever stands in a spec arrives in them as the very same string."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.paradedb.db.plugins.module_utils import settings
from ansible_collections.paradedb.db.plugins.module_utils.preflight import TLS_ANNOTATION
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

from .conftest import COLLECTION

ROLES = COLLECTION / "roles"

HOSTILE = [
    "{{ 7*7 }}",
    "{% raw %}",
    "{# note #}",
    "it's",
    'say "no"',
    "back\\slash \\n \\u0041",
    "# comment",
    "a: b",
    "- item",
    "[1, 2]",
    "{a: b}",
    "*alias",
    "&anchor",
    "!!python/object/apply:os.system [id]",
    "%TAG",
    "@at",
    "`tick`",
    "| block",
    "> folded",
    "null",
    "~",
    "true",
    "on",
    "no",
    "123",
    "1e3",
    "0x10",
    "1_000",
    "12:30:45",
    "2024-01-01",
    ".inf",
    "",
    " ",
    " leading",
    "trailing ",
    "tab\there",
    "\u00fc\u2028\u2029\u00a0\ufeff",
    "\U0001f418",
    "\x7f\x85\x9f\x1f",
    "<&>",
    "$(id) `id` $HOME",
    "---",
    "...",
]


def trusted(value: Any) -> Any:
    """The role's own files may be templates; what a spec holds may not."""
    if isinstance(value, dict):
        return {name: trusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def defaults_of(role: Path) -> dict[str, Any]:
    file = role / "defaults" / "main.yml"
    return trusted(yaml.safe_load(file.read_text())) if file.exists() else {}


def render(role: str, spec: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """The ``definitions`` of the role's task, as the module would get them."""
    path = ROLES / role
    (task,) = [
        item
        for item in yaml.safe_load((path / "tasks" / "main.yml").read_text())
        if "paradedb.db.apply" in item
    ]
    given = {
        **defaults_of(path),
        "role_path": str(path),
        "ansible_search_path": [str(path)],
        "paradedb_name": "orders",
        "paradedb_namespace": "prod",
        "paradedb_superuser": "postgres",
        "paradedb_credentials_checksum": "c0ffee",
        "paradedb_plan": {"replicas": 1, "grow": False, "tls_enforced": False},
        "paradedb_spec": spec,
        **variables,
    }
    templar = Templar(DataLoader(), given)
    made = templar.template(trust_as_template(task["paradedb.db.apply"]["definitions"]))
    return json.loads(json.dumps(made, default=str))


def plan(replicas: int) -> dict[str, Any]:
    return {"replicas": replicas, "grow": False, "tls_enforced": False}


def found(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (item,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return item


def hostile_spec(text: str) -> dict[str, Any]:
    spec = complete_spec({"storage": {"walStorage": {}}})
    spec |= {
        "image": text,
        "imagePullSecrets": [{"name": text}],
        "nodeSelector": {text: text},
        "tolerations": [{"key": text, "value": text}],
        "affinity": {"nodeAffinity": {text: [text]}},
        "podSecurityContext": {"sysctls": [{"name": text, "value": text}]},
        "containerSecurityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": text}},
        "postgresConfig": {"application_name": text, "shared_preload_libraries": text},
        "resources": {"limits": {text or "x": text}},
    }
    spec["auth"] |= {"database": text, "pgHBA": [f"local all all ldap ldapserver={text}"]}
    spec["storage"] |= {"storageClassName": text, "size": text}
    spec["storage"]["walStorage"] |= {"storageClassName": text, "size": text}
    return spec


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_instances_carry_every_string_unchanged(text: str) -> None:
    spec = hostile_spec(text)
    objects = render("statefulset", copy.deepcopy(spec), paradedb_tools_image=text)
    stateful_set = found(objects, "StatefulSet", "orders")
    pod = stateful_set["spec"]["template"]["spec"]
    tools, prepare = pod["initContainers"]
    (database,) = pod["containers"]
    assert tools["image"] == prepare["image"] == database["image"] == text
    assert pod["imagePullSecrets"] == spec["imagePullSecrets"]
    assert pod["nodeSelector"] == spec["nodeSelector"]
    assert pod["tolerations"] == spec["tolerations"]
    assert pod["affinity"] == spec["affinity"]
    assert pod["securityContext"]["sysctls"] == spec["podSecurityContext"]["sysctls"]
    assert database["securityContext"]["seccompProfile"]["localhostProfile"] == text
    assert database["resources"] == spec["resources"]
    environment = {item["name"]: item["value"] for item in prepare["env"]}
    assert environment["USER_PRELOAD"] == " ".join(settings.user_libraries(spec["postgresConfig"]))
    assert environment["POSTGRES_VERSION"] == "17"
    for claim in stateful_set["spec"]["volumeClaimTemplates"]:
        assert claim["spec"]["storageClassName"] == text
        assert claim["spec"]["resources"]["requests"]["storage"] == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_configuration_carries_every_string_unchanged(text: str) -> None:
    spec = hostile_spec(text)
    spec["resources"], spec["storage"] = {}, {}  # numbers are made of these, and no number is hostile
    objects = render("config", copy.deepcopy(spec), paradedb_superuser=f"u{text}")
    data = found(objects, "ConfigMap", "orders-config")["data"]
    assert f"application_name = {settings.conf_quote(text)}\n" in data["postgresql.conf"]
    assert f"ldapserver={text}".rstrip() in data["pg_hba.conf"]
    quoted = f"u{text}".replace('"', '""')
    assert data["pg_hba.conf"].startswith(f'local all "{quoted}" peer ')
    assert json.dumps(text) in data["init.sql"]
    patroni = found(objects, "ConfigMap", "orders-patroni-config")["metadata"]["annotations"]["config"]
    assert json.loads(patroni)["postgresql"]["parameters"]["application_name"] == text


@pytest.mark.parametrize("name", ["on", "no", "y", "null", "true", "e1", "inf", "x" * 45])
@pytest.mark.parametrize("namespace", ["prod", "on", "123", "2024-01-01", "0x10", "1e3", "0b1", "null"])
def test_names_stay_names(name: str, namespace: str) -> None:
    spec = complete_spec({})
    where = {"paradedb_name": name, "paradedb_namespace": namespace}
    for role, names in (
        ("services", {name, f"{name}-ro", f"{name}-headless"}),
        ("config", {f"{name}-config", f"{name}-patroni-config"}),
        ("statefulset", {name, f"{name}-instance"}),
    ):
        objects = render(role, spec, **where)
        assert {item["metadata"]["name"] for item in objects} == names
    binding = found(objects, "RoleBinding", name)
    assert binding["roleRef"]["name"] == name
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    stateful_set = found(objects, "StatefulSet", name)
    assert stateful_set["spec"]["serviceName"] == f"{name}-headless"
    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert stateful_set["spec"]["selector"]["matchLabels"].items() <= labels.items()
    patroni = yaml.safe_load(found(objects, "ConfigMap", f"{name}-instance")["data"]["patroni.yml"])
    assert patroni["scope"] == f"{name}-patroni"
    assert patroni["kubernetes"]["namespace"] == namespace
    assert patroni["kubernetes"]["labels"]["app.kubernetes.io/instance"] == name


@pytest.mark.parametrize("spec", [{}, {"storage": {"walStorage": {"size": "1Gi"}}}])
def test_labels_annotations_and_environment_are_strings(spec: dict[str, Any]) -> None:
    """The API server takes nothing else there."""
    completed = complete_spec(spec)
    for role in ("services", "config", "statefulset"):
        for item in render(role, completed):
            for metadata in _all(item, "metadata"):
                for group in ("labels", "annotations"):
                    assert all(isinstance(value, str) for value in metadata.get(group, {}).values())
            for environment in _all(item, "env"):
                assert all(isinstance(each.get("value", ""), str) for each in environment)
            for data in _all(item, "data"):
                assert all(isinstance(value, str) for value in data.values())


def _all(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict):
        own = [value[name]] if name in value else []
        return own + [each for item in value.values() for each in _all(item, name)]
    if isinstance(value, list):
        return [each for item in value for each in _all(item, name)]
    return []


def test_the_default_pod_asks_for_no_privilege() -> None:
    pod = found(render("statefulset", complete_spec({})), "StatefulSet", "orders")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 999
    for container in pod["initContainers"] + pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert "hostPath" not in json.dumps(pod)


def test_the_users_security_settings_are_merged_over() -> None:
    spec = complete_spec(
        {"podSecurityContext": {"runAsUser": 70}, "containerSecurityContext": {"privileged": False}}
    )
    pod = found(render("statefulset", spec), "StatefulSet", "orders")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 70
    assert pod["securityContext"]["runAsGroup"] == 999
    assert pod["containers"][0]["securityContext"]["privileged"] is False
    assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("wal", [True, False])
def test_every_mount_has_its_volume(wal: bool) -> None:
    spec = complete_spec({"storage": {"walStorage": {}}} if wal else {})
    stateful_set = found(render("statefulset", spec), "StatefulSet", "orders")["spec"]
    pod = stateful_set["template"]["spec"]
    claims = {item["metadata"]["name"] for item in stateful_set["volumeClaimTemplates"]}
    volumes = claims | {item["name"] for item in pod["volumes"]}
    mounts = [mount for each in pod["initContainers"] + pod["containers"] for mount in each["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == volumes
    assert claims == ({"data", "wal"} if wal else {"data"})
    patroni = yaml.safe_load(
        found(render("statefulset", spec), "ConfigMap", "orders-instance")["data"]["patroni.yml"]
    )
    assert ("/var/lib/postgresql/wal" in json.dumps(patroni)) is wal


def test_a_change_of_the_pods_own_files_replaces_the_pods() -> None:
    def hash_of(**variables: Any) -> str:
        objects = render("statefulset", complete_spec(variables.pop("spec", {})), **variables)
        template = found(objects, "StatefulSet", "orders")["spec"]["template"]
        return json.dumps(template["metadata"]["annotations"], sort_keys=True)

    assert hash_of() == hash_of()
    assert hash_of() != hash_of(paradedb_namespace="other")
    assert hash_of() != hash_of(spec={"storage": {"walStorage": {}}})
    assert hash_of() != hash_of(paradedb_credentials_checksum="changed")
    assert hash_of() != hash_of(paradedb_tls_secret="orders-tls")
    assert hash_of() == hash_of(spec={"postgresConfig": {"work_mem": "1MB"}})  # live, without a restart
    assert hash_of() == hash_of(paradedb_plan=plan(3))


def test_the_image_is_the_specs_or_the_versions() -> None:
    def image_of(spec: dict[str, Any]) -> str:
        pod = found(render("statefulset", complete_spec(spec)), "StatefulSet", "orders")["spec"]["template"][
            "spec"
        ]
        return pod["containers"][0]["image"]

    assert image_of({"image": "mine:1"}) == "mine:1"
    assert image_of({"postgresVersion": "16"}).startswith("paradedb/paradedb:16-v")
    assert "latest" not in image_of({})


def test_clients_reach_the_primary_only() -> None:
    objects = render("services", complete_spec({"serviceType": "LoadBalancer"}))
    main, headless = found(objects, "Service", "orders"), found(objects, "Service", "orders-headless")
    assert main["spec"]["type"] == "LoadBalancer"
    assert main["spec"]["selector"]["database.paradedb.io/role"] == "primary"
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["publishNotReadyAddresses"] is True
    assert "database.paradedb.io/role" not in headless["spec"]["selector"]


def test_readers_reach_the_replicas_only() -> None:
    objects = render("services", complete_spec({"serviceType": "NodePort"}))
    main, readers = found(objects, "Service", "orders"), found(objects, "Service", "orders-ro")
    assert readers["spec"]["type"] == "NodePort"
    assert readers["spec"]["ports"] == main["spec"]["ports"]
    role = {"database.paradedb.io/role": "replica"}
    assert readers["spec"]["selector"] == main["spec"]["selector"] | role
    assert "publishNotReadyAddresses" not in readers["spec"]


@pytest.mark.parametrize("replicas", [0, 1, 3, 10])
def test_the_number_of_instances_is_the_plans_and_not_the_specs(replicas: int) -> None:
    objects = render("statefulset", complete_spec({"replicas": 2}), paradedb_plan=plan(replicas))
    stateful_set = found(objects, "StatefulSet", "orders")["spec"]
    assert stateful_set["replicas"] == replicas
    assert stateful_set["updateStrategy"] == {"type": "OnDelete"}
    assert stateful_set["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize(
    ("replicas", "budgets"),
    [
        (0, {}),
        (1, {}),  # it would make a node impossible to drain
        (2, {"primary": 1}),
        (3, {"primary": 1, "replicas": 1}),
        (5, {"primary": 1, "replicas": 3}),
    ],
)
def test_an_eviction_takes_one_replica_at_a_time_and_no_primary(
    replicas: int, budgets: dict[str, int]
) -> None:
    objects = render("statefulset", complete_spec({"replicas": 3}), paradedb_plan=plan(replicas))
    made = [item for item in objects if item["kind"] == "PodDisruptionBudget"]
    assert {item["metadata"]["name"]: item["spec"]["minAvailable"] for item in made} == {
        f"orders-{name}": number for name, number in budgets.items()
    }
    labels = found(objects, "StatefulSet", "orders")["spec"]["selector"]["matchLabels"]
    for item in made:
        role = item["metadata"]["name"].removeprefix("orders-").removesuffix("s")
        assert item["spec"]["selector"]["matchLabels"] == labels | {"database.paradedb.io/role": role}


def pod_of(spec: dict[str, Any], **variables: Any) -> dict[str, Any]:
    objects = render("statefulset", complete_spec(spec), **variables)
    return found(objects, "StatefulSet", "orders")["spec"]["template"]


@pytest.mark.parametrize("given", [{}, {"affinity": {}}])
def test_instances_keep_apart_where_they_can(given: dict[str, Any]) -> None:
    template = pod_of(given)
    ((weighed,),) = [
        rule["preferredDuringSchedulingIgnoredDuringExecution"]
        for rule in [template["spec"]["affinity"]["podAntiAffinity"]]
    ]
    term = weighed["podAffinityTerm"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_a_given_affinity_stands_alone() -> None:
    given = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
    assert pod_of({"affinity": given})["spec"]["affinity"] == given


TLS_MOUNT = {"name": "tls", "mountPath": "/etc/postgresql/tls", "readOnly": True}


@pytest.mark.parametrize("secret", ["", "orders-tls", "on", "123"])
def test_the_certificate_is_mounted_where_there_is_one(secret: str) -> None:
    template = pod_of({}, paradedb_tls_secret=secret)
    pod, annotations = template["spec"], template["metadata"]["annotations"]
    _tools, prepare = pod["initContainers"]
    (database,) = pod["containers"]
    for container in (prepare, database):
        assert (TLS_MOUNT in container["volumeMounts"]) is bool(secret)
    assert ({"name": "TLS", "value": "1"} in prepare["env"]) is bool(secret)
    assert annotations.get(TLS_ANNOTATION) == ("true" if secret else None)
    volumes = [item for item in pod["volumes"] if item["name"] == "tls"]
    # Readable for the group and nobody else, or PostgreSQL refuses the key.
    assert volumes == (
        [{"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}] if secret else []
    )


def test_no_secret_is_in_a_config_map() -> None:
    for role in ("config", "statefulset"):
        for item in render(role, complete_spec({})):
            if item["kind"] == "ConfigMap":
                assert "SCRAM-SHA-256$" not in json.dumps(item)
                assert "password:" not in json.dumps(item)

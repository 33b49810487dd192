"""The CRD and its reference as files: complete, bounded, documented. No cluster needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ROOT, Object

# Kubernetes' own types, whose bounds are those of a pod.
EMBEDDED = ("affinity", "tolerations", "podSecurityContext", "containerSecurityContext")


def _nodes(node: Object, path: str) -> Iterator[tuple[str, Object]]:
    """A schema and everything below it, by path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _nodes(node[key], f"{path}[]")


def _own_spec_nodes(schema: Object) -> Iterator[tuple[str, Object]]:
    for path, node in _nodes(schema["properties"]["spec"], "spec"):
        top = path.removeprefix("spec.").split(".")[0].removesuffix("[]")
        if top not in EMBEDDED:
            yield path, node


def test_every_field_has_a_description(schema: Object) -> None:
    parts = [("spec", schema["properties"]["spec"]), ("status", schema["properties"]["status"])]
    bare = [path for name, part in parts for path, node in _nodes(part, name) if not node.get("description")]
    assert bare == []


def test_every_description_ends_as_a_sentence(schema: Object) -> None:
    parts = [*_own_spec_nodes(schema), *_nodes(schema["properties"]["status"], "status")]
    assert [path for path, node in parts if not node["description"].endswith((".", "scram-sha-256"))] == []


def test_every_value_says_when_a_change_takes_effect(schema: Object) -> None:
    effects = ("Change: live", "Change: restart", "Change: immutable")
    silent = [
        path
        for path, node in _own_spec_nodes(schema)
        if not path.endswith("[]")
        and "properties" not in node
        and not any(effect in node["description"] for effect in effects)
    ]
    assert silent == []


def test_every_default_is_in_its_description(schema: Object) -> None:
    def told(node: Object) -> bool:
        default = node["default"]
        if isinstance(default, list):
            default = f"[{', '.join(default)}]"
        text = str(default).lower() if isinstance(default, bool) else str(default)
        return f"Default: {text}" in node["description"]

    values = [(path, node) for path, node in _own_spec_nodes(schema) if "default" in node]
    assert [path for path, node in values if not isinstance(node["default"], dict) and not told(node)] == []


def test_every_list_map_and_text_has_an_upper_bound(schema: Object) -> None:
    def bounded(node: Object) -> bool:
        if node.get("type") == "string":
            return "maxLength" in node or "enum" in node
        if node.get("type") == "array":
            return "maxItems" in node
        if node.get("type") == "integer":
            return "minimum" in node and "maximum" in node
        return "maxProperties" in node or not isinstance(node.get("additionalProperties"), dict)

    assert [path for path, node in _own_spec_nodes(schema) if not bounded(node)] == []


def test_every_rule_has_a_message(schema: Object) -> None:
    rules = [
        (path, rule) for path, node in _nodes(schema, "") for rule in node.get("x-kubernetes-validations", [])
    ]
    assert [path for path, rule in rules if not rule.get("message")] == []
    assert [path for path, rule in rules if "\n" in rule["message"]] == []


def test_every_list_says_how_it_merges(schema: Object) -> None:
    lists = [(path, node) for path, node in _nodes(schema, "") if node.get("type") == "array"]
    assert [path for path, node in lists if "x-kubernetes-list-type" not in node] == []


def test_defaults_of_parts_are_those_of_their_fields(schema: Object) -> None:
    for path, node in _own_spec_nodes(schema):
        # Resources that are given replace the default as a whole.
        if isinstance(node.get("default"), dict) and not path.endswith(".resources"):
            fields: dict[str, Any] = node["properties"]
            assert node["default"] == {
                name: field["default"] for name, field in fields.items() if "default" in field
            }


def test_names_columns_and_subresources(crd: Object) -> None:
    version = crd["spec"]["versions"][0]
    assert crd["spec"]["names"]["shortNames"] == ["pdbc"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Phase",
        "Ready",
        "Primary",
        "Version",
        "Endpoint",
        "Backup",
        "Age",
    ]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.readyReplicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def _of_the_collection(module: str, name: str) -> set[str]:
    """The names in a constant of the collection, which checks what no API server checked."""
    program = (
        f"import json; from ansible_collections.paradedb.db.plugins.module_utils import {module}; "
        f"print(json.dumps(list({module}.{name})))"
    )
    path = os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "collections"))
    environment = os.environ | {"PYTHONPATH": path}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout))


def _names(text: str) -> set[str]:
    return set(re.findall(r"'([a-z_]+)'", text))


def test_the_collection_refuses_the_same_settings(schema: Object) -> None:
    rules = schema["properties"]["spec"]["properties"]["postgresConfig"]["x-kubernetes-validations"]
    lists = [rule for rule in rules if rule["rule"].endswith("].all(name, !(name in self))")]
    refused = {name for rule in lists for name in _names(rule["rule"])}
    # The resource refuses everything that starts with ssl_, the collection what there is.
    owned = {name for name in _of_the_collection("settings", "OWNED") if not re.match("ssl(_|$)", name)}
    assert refused == owned
    told = [rule for rule in lists if "messageExpression" in rule]
    assert all(_names(rule["rule"]) <= _names(rule["messageExpression"]) for rule in told)


def test_the_collection_knows_the_same_authentication_methods(schema: Object) -> None:
    rules = schema["properties"]["spec"]["properties"]["auth"]["properties"]["pgHBA"]["items"]
    patterns = [rule["rule"] for rule in rules["x-kubernetes-validations"]]
    (methods,) = [match[1] for rule in patterns if (match := re.search(r"\((trust[^)]*)\)", rule))]
    assert set(methods.split("|")) == _of_the_collection("hba", "_METHODS")


def test_the_collection_takes_the_same_settings_of_the_pooler(schema: Object) -> None:
    rules = schema["properties"]["spec"]["properties"]["connectionPooling"]["properties"]["parameters"]
    own, taken = (_names(rule["rule"]) for rule in rules["x-kubernetes-validations"])
    assert own == _of_the_collection("pgbouncer", "_FIELDS")
    assert taken == _of_the_collection("pgbouncer", "_KIND")
    told = rules["x-kubernetes-validations"][1]["message"].partition(": ")[2]
    assert set(told.split(", ")) == taken


def test_the_collection_reserves_the_same_metrics(schema: Object) -> None:
    queries = schema["properties"]["spec"]["properties"]["monitoring"]["properties"]["customQueries"]
    (rule,) = [item["rule"] for item in queries["x-kubernetes-validations"] if "startsWith" in item["rule"]]
    assert _names(rule) == _of_the_collection("exporter_queries", "_RESERVED")


def test_the_collection_reserves_the_same_users(schema: Object) -> None:
    users = schema["properties"]["spec"]["properties"]["auth"]["properties"]["users"]["items"]
    rules = [rule["rule"] for rule in users["properties"]["name"]["x-kubernetes-validations"]]
    (reserved,) = [_names(rule) - {"pg_"} for rule in rules if "self in [" in rule]
    assert reserved == _of_the_collection("names", "RESERVED_USERS")


def test_the_collection_keeps_the_same_names_of_secrets(schema: Object) -> None:
    users = schema["properties"]["spec"]["properties"]["auth"]["properties"]["users"]["items"]
    rules = [rule["rule"] for rule in users["x-kubernetes-validations"]]
    (kept,) = [_names(rule) for rule in rules if "self.name in [" in rule]
    assert {f"orders-{name}" for name in kept} == _of_the_collection("credentials", "own_names('orders')")


@pytest.mark.parametrize(
    ("field", "constant"),
    [("backup", "_BACKUP_ID"), ("target.lsn", "_LSN"), ("target.name", "_RESTORE_POINT")],
)
def test_the_collection_takes_the_same_recoveries(schema: Object, field: str, constant: str) -> None:
    node = schema["properties"]["spec"]["properties"]["bootstrap"]["properties"]["recovery"]
    for name in field.split("."):
        node = node["properties"][name]
    (rule,) = node["x-kubernetes-validations"]
    pattern = rule["rule"].removeprefix("self.matches('^").removesuffix("$')").replace("\\\\", "\\")
    (ours,) = _of_the_collection("backup_rules", f"{constant}.pattern.splitlines()")
    assert ours in (
        pattern,
        pattern.removesuffix("+") + "{1,63}",
    )  # the schema bounds its length by maxLength


def test_the_field_reference_is_up_to_date() -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference"), "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr

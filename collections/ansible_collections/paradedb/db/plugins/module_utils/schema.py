"""The resource's schema, applied without an API server: defaults and checks for one-off provisioning.

The API server does both for a ParadeDB that is created as a resource. A play that provisions from
variables alone has no such gate, so the same schema, read from the same file, is applied here. CEL rules
are the API server's; the roles check again what would do harm.
"""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

CRD_FILE = Path(__file__).parents[2] / "files" / "paradedbs.database.paradedb.io.yaml"

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


@functools.cache
def spec_schema() -> dict[str, Any]:
    """The OpenAPI schema of ``spec``."""
    with CRD_FILE.open() as file:
        crd = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def complete_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """``spec`` with the schema's defaults. Raises Refused for the first value which the schema refuses."""
    schema = spec_schema()
    completed = _with_defaults(schema, copy.deepcopy(spec))
    _check(schema, completed, "spec")
    return completed


def _with_defaults(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict):
        for name, property_schema in schema.get("properties", {}).items():
            if name in value and value[name] is None:
                del value[name]  # the API server takes null for absent, too
            if name not in value and "default" in property_schema:
                value[name] = copy.deepcopy(property_schema["default"])
            if name in value:
                value[name] = _with_defaults(property_schema, value[name])
    elif isinstance(value, list) and "items" in schema:
        return [_with_defaults(schema["items"], item) for item in value]
    return value


def _check(schema: dict[str, Any], value: Any, path: str) -> None:
    _check_type(schema, value, path)
    if isinstance(value, dict):
        _check_object(schema, value, path)
    elif isinstance(value, list):
        _within(len(value), schema.get("minItems"), schema.get("maxItems"), path, "items")
        for position, item in enumerate(value):
            _check(schema.get("items", {}), item, f"{path}[{position}]")
        _check_doubles(schema, value, path)
    else:
        _check_scalar(schema, value, path)


def _check_doubles(schema: dict[str, Any], value: list[Any], path: str) -> None:
    """Nothing twice in a set, and no key twice in a list that is a map by its items' keys."""
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", [])
    if kind not in ("set", "map"):
        return
    named = value if kind == "set" else [tuple(item.get(key) for key in keys) for item in value]
    if len(set(named)) < len(named):
        raise Refused("InvalidSpec", path, "must not name anything twice")


def _check_type(schema: dict[str, Any], value: Any, path: str) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        types: tuple[type, ...] = (int, str)
    else:
        types = _TYPES.get(schema.get("type", ""), (object,))
    wrong_boolean = isinstance(value, bool) and bool not in types and object not in types
    if wrong_boolean or not isinstance(value, types):
        raise Refused("InvalidSpec", path, f"must be of type {schema.get('type', 'integer or string')}")


def _check_object(schema: dict[str, Any], value: dict[str, Any], path: str) -> None:
    for name in schema.get("required", []):
        if name not in value:
            raise Refused("InvalidSpec", f"{path}.{name}", "is required")
    _within(len(value), None, schema.get("maxProperties"), path, "entries")
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            _check(properties[name], item, f"{path}.{name}")
        elif isinstance(others, dict):
            _check(others, item, f"{path}.{name}")
        elif not others and not schema.get("x-kubernetes-preserve-unknown-fields"):
            raise Refused("InvalidSpec", f"{path}.{name}", "is not a field of ParadeDB")


def _check_scalar(schema: dict[str, Any], value: Any, path: str) -> None:
    if "enum" in schema and value not in schema["enum"]:
        raise Refused("InvalidSpec", path, f"must be one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str):
        _within(len(value), schema.get("minLength"), schema.get("maxLength"), path, "characters")
        # Unlike the API server's "$", Python's also matches before a line break at the end.
        if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
            raise Refused("InvalidSpec", path, f"must match {schema['pattern']}")
    else:
        _within(value, schema.get("minimum"), schema.get("maximum"), path, "")


def _within(value: Any, least: Any, most: Any, path: str, unit: str) -> None:
    if least is not None and value < least:
        raise Refused("InvalidSpec", path, f"must be at least {least} {unit}".rstrip())
    if most is not None and value > most:
        raise Refused("InvalidSpec", path, f"must be at most {most} {unit}".rstrip())

"""
Adding the owner to the body of a request, JSON or YAML, and changing nothing else of it.

A YAML body is edited as a tree of nodes: reading it into values and writing it again would turn ``12:30``
into 750 and a date into something the server does not accept.
"""

import json
from typing import Any

import yaml

from paradedb_runner.kube.objects import Key, Object
from paradedb_runner.proxy.ownership import Claim, ManifestError, Owner, claim, lacking

_NULL = "tag:yaml.org,2002:null"


def add_owner(data: bytes, content_type: str, owner: Owner, dependent: Key) -> bytes | None:
    """
    The body with its owner, or None if it is the owner itself. ``dependent`` may lack a name that the body
    has.

    Raises ManifestError for what cannot be read: the server refuses malformed bodies and says better what is
    wrong. Protobuf, which ``kubectl create secret`` and the like send, is not read either.
    """
    if content_type and not any(form in content_type for form in ("json", "yaml")):
        raise ManifestError(f"{content_type} is not read here")
    try:
        try:
            return _add_to_json(data, owner, dependent)
        except json.JSONDecodeError:
            if "yaml" not in content_type:
                raise
            return _add_to_yaml(data, owner, dependent)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(str(error)) from error


def _add_to_json(data: bytes, owner: Owner, dependent: Key) -> bytes | None:
    body = json.loads(data)
    missing = _missing(body, owner, dependent)
    if missing is None:
        return None
    if missing == Claim():
        return data
    meta = _member(body, "metadata", {})
    if missing.references:
        _member(meta, "ownerReferences", []).extend(missing.references)
    else:
        _member(meta, "annotations", {}).update(missing.annotations)
    return json.dumps(body, separators=(",", ":")).encode()


def _add_to_yaml(data: bytes, owner: Owner, dependent: Key) -> bytes | None:
    missing = _missing(yaml.load(data, Loader=yaml.CSafeLoader), owner, dependent)
    if missing is None:
        return None
    if missing == Claim():
        return data
    root = yaml.compose(data, Loader=yaml.CSafeLoader)
    meta = _node(root, "metadata", {})
    if missing.references:
        _node(meta, "ownerReferences", []).value += [_represent(each) for each in missing.references]
    else:
        _node(meta, "annotations", {}).value += _represent(dict(missing.annotations)).value
    text: bytes = yaml.serialize(root, Dumper=yaml.CSafeDumper, encoding="utf-8", allow_unicode=True)
    return text


def _missing(body: Any, owner: Owner, dependent: Key) -> Claim | None:
    if not isinstance(body, dict):
        raise ManifestError("not an object")
    if not dependent.name and isinstance(body.get("metadata"), dict):
        dependent = dependent._replace(name=str(body["metadata"].get("name") or ""))
    wanted = claim(owner, dependent)
    return wanted and lacking(wanted, body)


def _member(obj: Object, name: str, empty: Any) -> Any:
    """A member to add to; null is as good as none."""
    if obj.get(name) is None:
        obj[name] = empty
    return obj[name]


def _node(mapping: Any, name: str, empty: Any) -> Any:
    """The same for YAML nodes."""
    mapping.value = [(key, value) for key, value in mapping.value if key.value != name or value.tag != _NULL]
    for key, value in mapping.value:
        if key.value == name:
            return value
    mapping.value.append((_represent(name), _represent(empty)))
    return mapping.value[-1][1]


def _represent(value: Any) -> Any:
    return yaml.representer.SafeRepresenter().represent_data(value)

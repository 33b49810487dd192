#!/usr/bin/python
"""Tell a Kubernetes event about any object."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_event
short_description: Tell a Kubernetes event about any object
version_added: 0.1.0
description:
  - For operators whose playbooks tell what happens in events, in place of C(operator_sdk.util.k8s_event).
  - An event that was told before is counted up, so that a resource which fails for days is one event.
  - Fails when the API server refuses the event, as it does in a namespace that is being deleted;
    C(ignore_errors) makes it the task's affair alone.
options:
  state:
    description: V(present) creates the event or counts it up, V(absent) deletes it.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - Name of the event. By default it is made from the object, type, reason, message and component, so that each
        thing to tell has an event of its own.
      - Under a name of your own the count starts again when the reason changes.
    type: str
  namespace:
    description: Namespace of the event, which is that of the object, or C(default) when the object is in none.
    type: str
  type:
    description: Whether people should worry.
    type: str
    choices: [Normal, Warning]
    default: Normal
  reason:
    description: Why, in one CamelCase word.
    type: str
    required: true
  message:
    description: The same for a person; what is over 1024 bytes is cut off.
    type: str
    required: true
  reporting_component:
    description: Name of the controller that tells it, such as C(example.com/cache-operator).
    type: str
    default: ""
    aliases: [reportingComponent]
  source:
    description: The C(component) by which older programs know the controller.
    type: dict
    suboptions:
      component:
        description: Name of the component.
        type: str
        required: true
  involved_object:
    description:
      - The object that the event is about. Its uid is read from the live object, unless it is given;
        an object that is gone has none.
    type: dict
    required: true
    aliases: [involvedObject]
    suboptions:
      apiVersion:
        description: Group and version of the object.
        type: str
        required: true
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object; none for an object that is in none.
        type: str
        default: ""
      uid:
        description: The object's uid, where it is known, which saves two requests and the right to read the object.
        type: str
        default: ""
      fieldPath:
        description: The part of the object, such as C(spec.containers{app}).
        type: str
        default: ""
  append_timestamp:
    description: Whether to tell it as an event of its own each time, with the time in its name.
    type: bool
    default: false
    aliases: [appendTimestamp]
  merge_type:
    description: Taken for playbooks written for C(operator_sdk.util), where it has no effect either.
    type: list
    elements: str
    choices: [json, merge, strategic-merge]
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
requirements:
  - python >= 3.11
  - kubernetes >= 31
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Returns the event without writing it.}
  diff_mode: {support: none, description: The result is the event.}
"""

EXAMPLES = r"""
- name: Tell whoever describes the resource
  paradedb.db.k8s_event:
    type: Warning
    reason: PingFailed
    message: The service has not answered for a minute
    reporting_component: example.com/cache-operator
    involved_object:
      apiVersion: example.com/v1
      kind: Cache
      name: "{{ ansible_operator_meta.name }}"
      namespace: "{{ ansible_operator_meta.namespace }}"
"""

RETURN = r"""
result:
  description: The event after the call; empty after I(state=absent).
  type: dict
  returned: success
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.any_kind import ObjectKind, discover, shown
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.events import event_object, record
from ansible_collections.paradedb.db.plugins.module_utils.execution import kube_argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object

_INVOLVED = {
    "apiVersion": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": ""},
    "uid": {"type": "str", "default": ""},
    "fieldPath": {"type": "str", "default": ""},
}

ARGUMENT_SPEC = kube_argument_spec(
    state={"type": "str", "choices": ["present", "absent"], "default": "present"},
    name={"type": "str"},
    namespace={"type": "str"},
    type={"type": "str", "choices": ["Normal", "Warning"], "default": "Normal"},
    reason={"type": "str", "required": True},
    message={"type": "str", "required": True},
    reporting_component={"type": "str", "default": "", "aliases": ["reportingComponent"]},
    source={"type": "dict", "options": {"component": {"type": "str", "required": True}}},
    involved_object={"type": "dict", "required": True, "aliases": ["involvedObject"], "options": _INVOLVED},
    append_timestamp={"type": "bool", "default": False, "aliases": ["appendTimestamp"]},
    merge_type={"type": "list", "elements": "str", "choices": ["json", "merge", "strategic-merge"]},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Create, count up or delete the event."""
    if not params["reason"]:
        raise Refused("InvalidEvent", "reason", "is empty; give one CamelCase word such as PingFailed")
    involved = {name: value for name, value in params["involved_object"].items() if value}
    involved, warnings = _alive(kube, involved)
    now = datetime.now(UTC)
    place = {
        "name": _name(params, involved, now),
        "namespace": params["namespace"] or involved.get("namespace") or "default",
    }
    if params["state"] == "absent":
        return {"changed": _delete(kube, place, check_mode), "result": {}}
    definition = event_object(place, involved, params, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    definition["reportingComponent"] = params["reporting_component"]
    if params["source"]:
        definition["source"] = params["source"]
    told = {"changed": True, "result": shown(record(kube, definition, check_mode))}
    return told | ({"warnings": warnings} if warnings else {})


def _alive(kube: Kube, involved: Object) -> tuple[Object, list[str]]:
    """The reference with what the live object adds to it, and what a person should know."""
    if "uid" in involved:
        return involved, []
    try:
        kind = discover(kube, involved["apiVersion"], involved["kind"])
    except Refused as refused:
        return involved, [f"the event is about an object that nobody can find: {refused}"]
    found = _get(kube, kind, involved)
    reference = involved | {"kind": kind.kind}
    if not kind.namespaced:
        reference.pop("namespace", None)
    return reference | {name: found[name] for name in ("uid", "resourceVersion") if name in found}, []


def _get(kube: Kube, kind: ObjectKind, involved: Object) -> Object:
    """The metadata of the live object, empty when it is gone."""
    try:
        return kube.request("GET", kind.path(involved.get("namespace", ""), involved["name"]))["metadata"]
    except KubeError as error:
        if error.status == 404:
            return {}
        raise


def _name(params: dict[str, Any], involved: Object, now: datetime) -> str:
    name = params["name"]
    if not name:
        parts = [params[option] for option in ("type", "reason", "message", "reporting_component", "source")]
        about = {key: value for key, value in involved.items() if key != "resourceVersion"}
        digest = hashlib.sha256(json.dumps([about, *parts], sort_keys=True).encode()).hexdigest()
        # Not every object has a name that an event may have: those of roles contain colons.
        stem = re.sub(r"[^a-z0-9.-]+", "-", involved["name"].lower())[:200].strip(".-")
        name = f"{stem or 'event'}.{digest[:16]}"
    return f"{name}.{now:%Y%m%d%H%M%S.%f}" if params["append_timestamp"] else name


def _delete(kube: Kube, place: Object, check_mode: bool) -> bool:
    known = kube.get("v1", "Event", place["namespace"], place["name"])
    return known is not None and (check_mode or kube.delete(known))


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)

"""The status of any resource: found, merged, written once, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import any_status, execution
from ansible_collections.paradedb.db.plugins.module_utils.any_kind import discover
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from ansible_collections.paradedb.db.plugins.modules.k8s_status import ARGUMENT_SPEC, run

from .fake_api import FakeApi

PATH = "/apis/example.com/v1/namespaces/prod/gadgets/a"
THEN, NOW = "2020-01-01T00:00:00Z", "2026-05-06T07:08:09Z"
HOLDS = {"type": "Ready", "status": "True", "reason": "Up", "message": "yes", "lastTransitionTime": THEN}


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_status, "_now", lambda: NOW)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    made = FakeApi()
    made.put(PATH, {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "a"}})
    monkeypatch.setattr(execution, "Kube", lambda auth: made)
    return made


def holding(api: FakeApi, **status: Any) -> None:
    """Let the resource have the status already."""
    api.put(PATH, api.objects[PATH] | {"status": status})


def set_status(check_mode: bool = False, **options: Any) -> dict[str, Any]:
    where = {"api_version": "example.com/v1", "kind": "Gadget", "name": "a", "namespace": "prod"}
    return execution.run_in_process(run, ArgumentSpecValidator(ARGUMENT_SPEC), where | options, check_mode)


def status(api: FakeApi) -> Any:
    return api.objects[PATH].get("status", {})


# The status


def test_a_status_is_written_to_the_subresource_in_one_request(api: FakeApi) -> None:
    found = set_status(status={"a": 1}, conditions=[{"type": "Ready", "status": "True"}])
    assert found["changed"] is True
    wanted = {"a": 1, "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": NOW}]}
    assert api.writes == [
        ("PATCH", f"{PATH}/status", {"metadata": {"resourceVersion": "1"}, "status": wanted})
    ]
    assert found["result"]["status"] == wanted
    assert found["diff"] == {"before": {}, "after": wanted}


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": None}}, {"a": {"y": 2}}),
        ({"a": [1, 2, 3]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"conditions": [HOLDS], "a": 1}, {"conditions": None}, {"a": 1}),
    ],
)
def test_a_status_is_merged(api: FakeApi, before: Any, given: Any, after: Any) -> None:
    holding(api, **before)
    assert set_status(status=given)["changed"] is True
    assert status(api) == after


def test_replacing_leaves_nothing_else(api: FakeApi) -> None:
    holding(api, a={"x": 1}, b=2, conditions=[HOLDS])
    set_status(status={"a": {"y": 1}}, replace=True)
    assert status(api) == {"a": {"y": 1}}


def test_replacing_is_called_force_too(api: FakeApi) -> None:
    holding(api, a=1)
    set_status(status={"b": 1}, force=True)
    assert status(api) == {"b": 1}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"status": {}},
        {"status": {"a": {"x": 1}}},
        {"status": {"gone": None}},
        {"conditions": []},
        {"conditions": [{"type": "Ready", "status": "True"}]},
        {"conditions": [{"type": "Ready", "status": "True", "reason": "Up", "message": "yes"}]},
        {"conditions": [{"type": "Ready", "status": True, "lastTransitionTime": NOW}]},
        {"status": {"a": {"x": 1}, "l": [1]}, "conditions": [HOLDS], "replace": True},
    ],
)
def test_nothing_is_written_when_nothing_changes(api: FakeApi, given: Any) -> None:
    holding(api, a={"x": 1}, l=[1], conditions=[HOLDS])
    assert set_status(**given)["changed"] is False
    assert api.writes == []


def test_check_mode_stores_nothing_and_shows_all(api: FakeApi) -> None:
    found = set_status(check_mode=True, status={"a": 1})
    assert (found["changed"], found["diff"]["after"]) == (True, {"a": 1})
    assert status(api) == {}


def test_a_dropped_field_is_told_and_is_no_change(api: FakeApi) -> None:
    api.unknown_fields = {"unknown"}
    found = set_status(status={"unknown": {"x": 1}})
    assert found["changed"] is False
    assert "status.unknown is not in the schema" in found["warnings"][0]


def test_what_the_server_notes_about_writers_is_not_in_the_result(api: FakeApi) -> None:
    api.objects[PATH]["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in set_status(status={"a": 1})["result"]["metadata"]


# Conditions


def merge(api: FakeApi, *conditions: Any, **options: Any) -> Any:
    set_status(conditions=list(conditions), **options)
    return status(api)["conditions"]


def test_conditions_are_merged_by_type_in_their_places(api: FakeApi) -> None:
    other, foreign = {"type": "Other", "status": "True", "odd": 1}, {"no": "type"}
    holding(api, conditions=[other, HOLDS, foreign])
    new = {"type": "New", "status": "Unknown"}
    merged = merge(api, new, {"type": "Ready", "status": "False"})
    assert merged[0] == other
    assert merged[1] == {"type": "Ready", "status": "False", "lastTransitionTime": NOW}
    assert merged[2:] == [foreign, new | {"lastTransitionTime": NOW}]


def test_the_transition_time_stays_while_the_status_does(api: FakeApi) -> None:
    holding(api, conditions=[HOLDS])
    given = {"type": "Ready", "status": "True", "reason": "Other", "lastTransitionTime": NOW}
    assert merge(api, given) == [given | {"lastTransitionTime": THEN}]


def test_the_given_transition_time_counts_when_the_status_changes(api: FakeApi) -> None:
    holding(api, conditions=[HOLDS])
    given = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T01:00:00+01:00"}
    assert merge(api, given)[0]["lastTransitionTime"] == "2025-01-01T00:00:00Z"


def test_replacing_drops_other_conditions_and_keeps_the_transition_time(api: FakeApi) -> None:
    holding(api, conditions=[HOLDS, HOLDS | {"type": "Other"}])
    given = {"type": "Ready", "status": "True", "reason": "Up"}
    assert merge(api, given, replace=True) == [HOLDS]


def test_conditions_in_the_status_may_have_any_fields(api: FakeApi) -> None:
    set_status(status={"conditions": [{"type": "Ready", "status": "Odd", "severity": "Low"}]})
    assert status(api)["conditions"] == [
        {"type": "Ready", "status": "Odd", "severity": "Low", "lastTransitionTime": NOW}
    ]


@pytest.mark.parametrize("there", ["text", 5, {"Ready": 1}, ["text", None, {"type": {}}, {"type": 5}]])
def test_whatever_stands_there_is_no_obstacle(api: FakeApi, there: Any) -> None:
    holding(api, conditions=there)
    assert merge(api, {"type": "Ready", "status": "True"})[-1]["type"] == "Ready"


@pytest.mark.parametrize(
    "reason", ["PingFailed", "MigrationStarted", "A", "", "Http404", "pingFailed", "A_b:c"]
)
def test_reasons(api: FakeApi, reason: str) -> None:
    assert merge(api, {"type": "Ready", "status": "True", "reason": reason})[0]["reason"] == reason


def test_empty_fields_are_none_at_all(api: FakeApi) -> None:
    given = {"type": "Ready", "status": "True", "lastTransitionTime": "", "lastHeartbeatTime": None}
    assert merge(api, given) == [{"type": "Ready", "status": "True", "lastTransitionTime": NOW}]


@pytest.mark.parametrize("name", ["Ready", "example.com/Ready", "a", "Pod-Ready_x.y"])
def test_types(api: FakeApi, name: str) -> None:
    assert merge(api, {"type": name, "status": "True"})[0]["type"] == name


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2021-03-26T14:00:00Z", "2021-03-26T14:00:00Z"),
        ("2021-03-26 14:00:00+02:00", "2021-03-26T12:00:00Z"),
        ("2021-03-26T14:00:00.999999Z", "2021-03-26T14:00:00Z"),
        ("2021-03-26T14:00Z", "2021-03-26T14:00:00Z"),
    ],
)
def test_times_are_written_as_kubernetes_does(api: FakeApi, text: str, written: str) -> None:
    given = {"type": "Ready", "status": "True", "lastTransitionTime": text, "lastHeartbeatTime": text}
    found = merge(api, given)[0]
    assert (found["lastTransitionTime"], found["lastHeartbeatTime"]) == (written, written)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"type": ""}, "conditions[0].type: '' is not a word"),
        ({"type": "Two Words"}, "is not a word"),
        ({"type": "x" * 317}, "is not a word"),
        ({"type": None}, "is not a word"),
        ({"status": "true!"}, "value of status must be one of"),
        ({"status": None}, "value of status must be one of"),
        ({"reason": "The Ping Failed"}, "conditions[0].reason: 'The Ping Failed' is not one CamelCase word"),
        ({"reason": "X" * 100_000 + "!"}, "is not one CamelCase word"),
        ({"reason": "PingFailed\n"}, "is not one CamelCase word"),
        ({"lastTransitionTime": "26/03/2021 2:00PM"}, "conditions[0].lastTransitionTime: "),
        ({"lastTransitionTime": "2021-13-01T00:00:00Z"}, "is not a time"),
        ({"lastTransitionTime": "2021-01-01T00:00:00"}, "is not a time"),
        ({"lastTransitionTime": "0001-01-01T00:00:00+14:00"}, "is not a time"),
        ({"lastHeartbeatTime": "now"}, "conditions[0].lastHeartbeatTime: 'now' is not a time"),
        ({"severity": "Low"}, "severity"),
    ],
)
def test_a_bad_condition_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, change: Any, complaint: str
) -> None:
    monkeypatch.setattr(execution, "Kube", lambda auth: None)
    found = set_status(conditions=[{"type": "Ready", "status": "True"} | change])
    assert found["failed"] is True
    assert complaint in found["msg"]
    assert len(found["msg"]) < 400


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"conditions": [HOLDS, HOLDS]}, "conditions[1].type: Ready is given twice"),
        ({"conditions": [HOLDS], "status": {"conditions": []}}, "in one place"),
        ({"status": {"conditions": "text"}}, "status.conditions: is not a list"),
        ({"status": {"conditions": [{"status": "True"}]}}, "status.conditions[0]: has no type"),
        ({"status": {"conditions": ["text"]}}, "status.conditions[0]: has no type"),
        ({"conditions": ["text"]}, "conditions"),
    ],
)
def test_conditions_that_cannot_be_merged(api: FakeApi, given: Any, complaint: str) -> None:
    found = set_status(**given)
    assert found["failed"] is True
    assert complaint in found["msg"]
    assert api.writes == []


# Others


def test_what_others_wrote_meanwhile_is_kept(api: FakeApi) -> None:
    def interfere() -> None:
        api.before_write = lambda: None
        holding(api, theirs=1)

    api.before_write = interfere
    assert set_status(status={"ours": 1})["changed"] is True
    assert status(api) == {"theirs": 1, "ours": 1}


def test_a_status_that_never_rests_ends_with_the_servers_words(api: FakeApi) -> None:
    api.before_write = lambda: holding(api, theirs=1)
    found = set_status(status={"ours": 1})
    assert (found["failed"], found["status"], found["msg"]) == (True, 409, "the object has been modified")
    assert len(api.writes) == 5


# The kind


@pytest.mark.parametrize("kind", ["Gadget", "gadget", "gadgets", "gdg"])
def test_a_kind_is_found_by_all_its_names(api: FakeApi, kind: str) -> None:
    assert set_status(kind=kind, status={"a": 1})["changed"] is True


def test_a_kind_outside_namespaces(api: FakeApi) -> None:
    api.put("/apis/example.com/v1/realms/r", {})
    for namespace in ("", "prod"):
        set_status(kind="Realm", name="r", namespace=namespace, status={"in": namespace})
        assert api.objects["/apis/example.com/v1/realms/r"]["status"] == {"in": namespace}


@pytest.mark.parametrize(
    ("change", "reason", "complaint"),
    [
        (
            {"kind": "Bare"},
            "NoStatus",
            "Bare of example.com/v1 has no status subresource; if the kind is yours, add",
        ),
        ({"kind": "ConfigMap", "api_version": "v1"}, "NoStatus", "ConfigMap of v1 has no status subresource"),
        ({"kind": "Nothing"}, "UnknownKind", "the API server has no Nothing in example.com/v1"),
        ({"kind": ""}, "UnknownKind", "the API server has no"),
        ({"kind": "gadgets/status"}, "UnknownKind", "the API server has no"),
        ({"api_version": "example.com/v2"}, "UnknownKind", "the API server has no example.com/v2"),
        ({"api_version": "../../version"}, "UnknownKind", "not of the form"),
        ({"api_version": "v1?x=y"}, "UnknownKind", "not of the form"),
        ({"api_version": ""}, "UnknownKind", "not of the form"),
        ({"name": "b"}, "NotFound", "there is no Gadget b"),
        ({"name": ""}, "InvalidName", "cannot be the name of an object"),
        ({"name": ".."}, "InvalidName", "cannot be the name of an object"),
        ({"name": "a/status"}, "InvalidName", "cannot be the name of an object"),
        ({"name": "a%2fb"}, "InvalidName", "cannot be the name of an object"),
        ({"namespace": ".."}, "InvalidName", "cannot be the name of an object"),
        ({"namespace": ""}, "NamespaceMissing", "namespace: is required, a Gadget is in a namespace"),
    ],
)
def test_what_cannot_be_found(api: FakeApi, change: Any, reason: str, complaint: str) -> None:
    found = set_status(status={"a": 1}, **change)
    assert (found["failed"], found["reason"]) == (True, reason)
    assert complaint in found["msg"]
    assert api.writes == []


def test_a_server_that_fails_is_no_unknown_kind(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KubeError(503, "busy")

    monkeypatch.setattr(api, "request", fail)
    assert set_status(status={"a": 1})["reason"] == "KubernetesUnavailable"


def test_a_name_never_leaves_its_place_in_the_path(api: FakeApi) -> None:
    kind = discover(api, "example.com/v1", "Gadget")
    assert kind.path("n", "a?b#c") == "/apis/example.com/v1/namespaces/n/gadgets/a%3Fb%23c"
    with pytest.raises(Refused):
        kind.path("n/../m", "a")

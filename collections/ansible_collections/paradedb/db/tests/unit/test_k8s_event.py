"""Events about any object: created once, counted up, about the live object, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import execution
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from ansible_collections.paradedb.db.plugins.modules.k8s_event import ARGUMENT_SPEC, run

from .fake_api import FakeApi

GADGET = {"apiVersion": "example.com/v1", "kind": "Gadget", "name": "a", "namespace": "prod"}
PATH = "/apis/example.com/v1/namespaces/prod/gadgets/a"
EVENTS = "/api/v1/namespaces/prod/events"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    made = FakeApi()
    made.put(PATH, {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "a", "uid": "u1"}})
    monkeypatch.setattr(execution, "Kube", lambda auth: made)
    return made


def tell(check_mode: bool = False, **options: Any) -> dict[str, Any]:
    about = {"reason": "PingFailed", "message": "no answer", "involved_object": GADGET}
    return execution.run_in_process(
        run, ArgumentSpecValidator(ARGUMENT_SPEC), copy.deepcopy(about | options), check_mode
    )


def told(api: FakeApi) -> list[dict[str, Any]]:
    return [item for path, item in api.objects.items() if "/events/" in path]


def test_an_event_is_created_about_the_live_object(api: FakeApi) -> None:
    found = tell(type="Warning", reporting_component="example.com/x", source={"component": "x"})
    (event,) = told(api)
    assert found == {"changed": True, "result": event}
    assert event["involvedObject"] == GADGET | {"uid": "u1", "resourceVersion": "1"}
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "PingFailed", "no answer")
    assert (event["reportingComponent"], event["source"]) == ("example.com/x", {"component": "x"})
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert (event["metadata"]["namespace"], event["apiVersion"], event["kind"]) == ("prod", "v1", "Event")


def test_a_repeated_event_is_counted_up(api: FakeApi) -> None:
    name = tell()["result"]["metadata"]["name"]
    api.objects[f"{EVENTS}/{name}"]["firstTimestamp"] = "2020-01-01T00:00:00Z"
    tell()
    assert tell()["result"]["count"] == 3
    (event,) = told(api)
    assert event["firstTimestamp"] == "2020-01-01T00:00:00Z"
    assert event["lastTimestamp"] > event["firstTimestamp"]


def test_a_changed_object_is_the_same_object(api: FakeApi) -> None:
    tell()
    api.put(PATH, api.objects[PATH])
    tell()
    (event,) = told(api)
    assert event["count"] == 2


@pytest.mark.parametrize(
    "other",
    [
        {"reason": "Other"},
        {"message": "other"},
        {"type": "Warning"},
        {"reporting_component": "other"},
        {"source": {"component": "other"}},
        {"involved_object": GADGET | {"name": "b"}},
        {"involved_object": GADGET | {"uid": "u2"}},
        {"involved_object": GADGET | {"fieldPath": "spec.x"}},
    ],
)
def test_something_else_is_an_event_of_its_own(api: FakeApi, other: Any) -> None:
    tell()
    tell(**other)
    assert [event["count"] for event in told(api)] == [1, 1]


def test_a_namesake_made_since_has_events_of_its_own(api: FakeApi) -> None:
    tell()
    api.objects[PATH]["metadata"]["uid"] = "u2"
    tell()
    assert [event["involvedObject"]["uid"] for event in told(api)] == ["u1", "u2"]


def test_the_names_of_operator_sdk_are_taken(api: FakeApi) -> None:
    found = tell(
        involved_object=None,
        involvedObject=GADGET,
        state="present",
        name="test-k8s-event",
        namespace="prod",
        merge_type=["strategic-merge"],
        reason="Testing event creation",
        reportingComponent="Reporting components",
        appendTimestamp=False,
        source={"component": "test-component"},
    )
    assert found["result"]["metadata"]["name"] == "test-k8s-event"
    assert found["result"]["reportingComponent"] == "Reporting components"


def test_under_a_name_of_ones_own_the_message_may_change(api: FakeApi) -> None:
    tell(name="mine")
    tell(name="mine", message="other")
    (event,) = told(api)
    assert (event["count"], event["message"]) == (2, "other")


def test_under_a_name_of_ones_own_another_reason_counts_anew(api: FakeApi) -> None:
    tell(name="mine")
    tell(name="mine")
    tell(name="mine", reason="Other")
    (event,) = told(api)
    assert (event["count"], event["reason"]) == (1, "Other")


def test_with_the_time_in_its_name_every_event_is_new(api: FakeApi) -> None:
    tell(append_timestamp=True)
    tell(append_timestamp=True)
    assert [event["count"] for event in told(api)] == [1, 1]


def test_an_event_is_deleted(api: FakeApi) -> None:
    tell(name="mine")
    assert tell(name="mine", state="absent", check_mode=True)["changed"] is True
    assert len(told(api)) == 1
    assert tell(name="mine", state="absent") == {"changed": True, "result": {}}
    assert tell(name="mine", state="absent") == {"changed": False, "result": {}}
    assert told(api) == []


def test_check_mode_returns_the_event_and_writes_nothing(api: FakeApi) -> None:
    assert tell(check_mode=True)["result"]["count"] == 1
    tell()
    assert tell(check_mode=True)["result"]["count"] == 2
    assert len(api.writes) == 1


# The object


def test_an_object_outside_namespaces(api: FakeApi) -> None:
    realm = {"apiVersion": "example.com/v1", "kind": "Realm", "name": "r"}
    api.put("/apis/example.com/v1/realms/r", {"metadata": {"uid": "u3"}})
    for namespace in ({}, {"namespace": "prod"}):
        event = tell(involved_object=realm | namespace)["result"]
        assert event["involvedObject"] == realm | {"uid": "u3", "resourceVersion": "2"}
        assert event["metadata"]["namespace"] == "default"


def test_an_object_that_is_gone_has_no_uid(api: FakeApi) -> None:
    del api.objects[PATH]
    assert tell()["result"]["involvedObject"] == GADGET


def test_an_object_of_no_known_kind_is_warned_of(api: FakeApi) -> None:
    found = tell(involved_object=GADGET | {"kind": "Nothing"})
    assert found["result"]["involvedObject"]["kind"] == "Nothing"
    assert "the API server has no Nothing" in found["warnings"][0]


def test_a_given_uid_saves_the_look(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.paradedb.db.plugins.modules.k8s_event.discover", None)
    assert tell(involved_object=GADGET | {"uid": "u9"})["result"]["involvedObject"]["uid"] == "u9"


def test_a_short_name_becomes_the_kind(api: FakeApi) -> None:
    assert tell(involved_object=GADGET | {"kind": "gdg"})["result"]["involvedObject"]["kind"] == "Gadget"


@pytest.mark.parametrize(
    "name", ["system:node", "UPPER", "a_b", "...", "\u00fc", "x" * 253, "a" * 199 + ".b"]
)
def test_whatever_the_object_is_called_the_event_has_a_name(api: FakeApi, name: str) -> None:
    made = tell(involved_object=GADGET | {"name": name, "uid": "u"})["result"]["metadata"]["name"]
    labels = made.split(".")
    assert len(made) <= 253
    assert all(label and label.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == "" for label in labels)
    assert all(label[0] != "-" and label[-1] != "-" for label in labels)


# Trouble


def test_who_came_first_is_counted(api: FakeApi) -> None:
    def interfere() -> None:
        api.before_write = lambda: None
        tell()

    api.before_write = interfere
    assert tell()["result"]["count"] == 2
    assert len(told(api)) == 1


def test_an_event_that_was_forgotten_meanwhile_is_made_again(api: FakeApi) -> None:
    name = tell()["result"]["metadata"]["name"]

    def forget() -> None:
        api.before_write = lambda: None
        del api.objects[f"{EVENTS}/{name}"]

    api.before_write = forget
    assert tell()["result"]["count"] == 1


def test_an_event_that_the_server_refuses_fails_with_its_words(api: FakeApi) -> None:
    def refuse() -> None:
        raise KubeError(403, "the namespace is being terminated")

    api.before_write = refuse
    found = tell()
    assert (found["failed"], found["msg"]) == (True, "the namespace is being terminated")


def test_a_conflict_without_end_is_told(api: FakeApi) -> None:
    def refuse() -> None:
        raise KubeError(409, "busy")

    api.before_write = refuse
    assert tell()["status"] == 409


def test_a_count_that_is_missing_is_one(api: FakeApi) -> None:
    name = tell()["result"]["metadata"]["name"]
    del api.objects[f"{EVENTS}/{name}"]["count"]
    del api.objects[f"{EVENTS}/{name}"]["firstTimestamp"]
    assert tell()["result"]["count"] == 2


@pytest.mark.parametrize("message", ["x" * 5000, "\u00fc" * 5000, "a" + "\u20ac" * 5000])
def test_a_long_message_is_cut_between_characters(api: FakeApi, message: str) -> None:
    text = tell(message=message)["result"]["message"]
    assert 1020 < len(text.encode()) <= 1024
    assert message.startswith(text)


@pytest.mark.parametrize("message", ["", "\x00", "\ud800", "{{ x }}"])
def test_odd_messages_are_told(api: FakeApi, message: str) -> None:
    tell(message=message)["result"]["message"].encode()
    assert len(told(api)) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reason": ""}, "reason: is empty"),
        ({"type": "Error"}, "value of type must be one of"),
        ({"state": "maybe"}, "value of state must be one of"),
        ({"involved_object": {}}, "missing required arguments"),
        ({"involved_object": {"kind": "Gadget", "name": "a"}}, "apiVersion"),
        ({"involved_object": GADGET | {"namespace": ""}}, "namespace: is required"),
        ({"involved_object": GADGET | {"name": "../x"}}, "cannot be the name of an object"),
        ({"involved_object": GADGET | {"extra": 1}}, "extra"),
    ],
)
def test_what_is_refused(api: FakeApi, change: Any, complaint: str) -> None:
    found = tell(**change)
    assert found["failed"] is True
    assert complaint in found["msg"]
    assert api.writes == []

"""Dependents, line 16 of the checklist."""

import pytest
from paradedb_runner.dependents import DependentDigest, triggered
from paradedb_runner.objects import GroupVersionKind
from support import DEMO, key

digest = DependentDigest([DEMO])


def owned(name="a", **changes):
    reference = {"apiVersion": "example.com/v1beta9", "kind": "Demo", "name": name, "uid": "1"}
    metadata = {"name": "x", "namespace": "ns", "resourceVersion": "1", "ownerReferences": [reference]}
    return {"metadata": metadata | changes.pop("metadata", {})} | changes


def test_owners_are_found_in_any_version_of_their_kind():
    assert digest(owned()).owners == {key("a")}


def test_owners_of_other_kinds_are_nobody_here():
    other = owned()
    other["metadata"]["ownerReferences"][0]["apiVersion"] = "other.com/v1"
    assert digest(other).owners == frozenset()


def test_core_kinds_can_own():
    secret = GroupVersionKind("", "v1", "Secret")
    obj = owned()
    obj["metadata"]["ownerReferences"][0] |= {"apiVersion": "v1", "kind": "Secret"}
    assert DependentDigest([secret])(obj).owners == {key("a", secret)}


def test_line_16_of_a_dependent_no_content_is_remembered():
    record = digest(owned(data={"password": "aHVudGVyMg=="}))
    assert "aHVudGVyMg" not in repr(record)
    assert len(record.digest) == 16


@pytest.mark.parametrize("noise", ["resourceVersion", "managedFields", "generation"])
def test_what_the_server_changes_by_itself_triggers_nothing(noise):
    assert triggered(digest(owned()), digest(owned(metadata={noise: 7}))) == frozenset()


@pytest.mark.parametrize(
    "change", [{"status": {"ready": 1}}, {"data": {"a": "b"}}, {"metadata": {"labels": {}}}]
)
def test_a_change_triggers_status_included(change):
    assert triggered(digest(owned()), digest(owned(**change))) == {key("a")}


def test_creation_never_triggers_and_deletion_always():
    assert triggered(None, digest(owned())) == frozenset()
    assert triggered(digest(owned()), None) == {key("a")}


def test_a_change_of_owner_tells_both():
    assert triggered(digest(owned("a")), digest(owned("b"))) == {key("a"), key("b")}

"""Dependents and predicates, lines 8 and 16 of the checklist."""

from pathlib import Path

import pytest
from paradedb_runner.dependents import DependentDigest, triggered
from paradedb_runner.objects import GroupVersionKind
from paradedb_runner.predicates import wants_pass
from paradedb_runner.selector import parse_selector
from paradedb_runner.watches import Role, Watch
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


def watch(**options):
    return Watch(DEMO, Role("demo", Path("/roles")), **options)


def primary(generation=1, **metadata):
    return {"metadata": {"name": "a", "generation": generation, **metadata}}


DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, primary(), True),
        (primary(), None, True),
        (primary(1), primary(2), True),
        (primary(resourceVersion="1"), primary(resourceVersion="2"), False),
        (primary(), {**primary(), "status": {"phase": "x"}}, False),
        (primary(annotations={}), primary(annotations={"a": "b"}), False),
        (primary(), primary(**DELETED), True),
        (primary(**DELETED), primary(**DELETED, resourceVersion="2"), False),
        (primary(1, **DELETED), primary(2, **DELETED), True),
        (primary(**DELETED, finalizers=["a", "b"]), primary(**DELETED, finalizers=["a"]), True),
    ],
)
def test_line_08_predicates_compare_old_and_new(old, new, expected):
    assert wants_pass(watch(), old, new) is expected


def test_line_08_kinds_without_generation_count_every_change():
    assert wants_pass(watch(), {"metadata": {}}, {"metadata": {"x": 1}})


def test_line_08_annotations_count_if_the_watch_says_so():
    old, new = primary(annotations={}), primary(annotations={"a": "b"})
    assert wants_pass(watch(watch_annotations_changes=True), old, new)


def test_line_08_a_selector_filters_changes_but_never_a_deletion():
    selective = watch(selector=parse_selector({"matchLabels": {"x": "1"}}))
    assert not wants_pass(selective, None, primary())
    assert wants_pass(selective, primary(), primary(labels={"x": "1"})), "it has just become ours"
    assert wants_pass(selective, primary(), primary(**DELETED))

"""Dependents, line 16 of the checklist."""

import pytest
from paradedb_runner.control.dependents import DependentDigest, Effect, effect_of, owners_of
from paradedb_runner.kube.objects import GroupVersionKind
from support import DEMO, key

digest = DependentDigest([DEMO])
CONTENT = Effect.CONTENT


def owned(name="a", *, partial=False, **changes):
    reference = {"apiVersion": "example.com/v1beta9", "kind": "Demo", "name": name, "uid": "1"}
    metadata = {"name": "x", "namespace": "ns", "resourceVersion": "1", "ownerReferences": [reference]}
    kind = {"kind": "PartialObjectMetadata"} if partial else {}
    return {"metadata": metadata | changes.pop("metadata", {})} | kind | changes


def annotated(kind, name):
    names = {"operator-sdk/primary-resource": name, "operator-sdk/primary-resource-type": kind}
    return owned(metadata={"ownerReferences": [], "annotations": names})


def annotated_with(name, text):
    return owned(metadata={"annotations": {name: text}, "resourceVersion": "2"})


def test_owners_are_found_in_any_version_of_their_kind():
    assert digest(owned()).owners == (key("a"),)


def test_owners_of_other_kinds_are_nobody_here():
    other = owned()
    other["metadata"]["ownerReferences"][0]["apiVersion"] = "other.com/v1"
    assert digest(other).owners == ()


def test_core_kinds_can_own():
    secret = GroupVersionKind("", "v1", "Secret")
    obj = owned()
    obj["metadata"]["ownerReferences"][0] |= {"apiVersion": "v1", "kind": "Secret"}
    assert DependentDigest([secret])(obj).owners == (key("a", secret),)


def test_annotations_name_an_owner_in_another_namespace():
    (owner,) = digest(annotated("Demo.example.com", "other/a")).owners
    assert (owner.gvk, owner.namespace, owner.name) == (DEMO, "other", "a")


@pytest.mark.parametrize("kind", ["Demo.other.com", "Demo", ""])
def test_annotations_of_other_kinds_name_nobody_here(kind):
    assert digest(annotated(kind, "other/a")).owners == ()


def test_an_owner_that_lives_in_no_namespace_is_found_from_one():
    cluster_scoped = DependentDigest([DEMO], namespaced=lambda _: False)
    assert [owner.namespace for owner in cluster_scoped(owned()).owners] == [""]


def test_of_a_dependent_no_content_is_remembered():
    record = digest(owned(data={"password": "aHVudGVyMg=="}))
    assert "aHVudGVyMg" not in repr(record)
    assert len(record.content) == 16


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        (owned(), owned(metadata={"managedFields": [1], "resourceVersion": "2"}), Effect.VERSION),
        (owned(), owned(status={"ready": 1}, metadata={"resourceVersion": "2"}), Effect.VERSION),
        (owned(), owned(data={"a": "b"}), CONTENT),
        (owned(), owned(metadata={"labels": {"a": "b"}}), CONTENT),
        (owned(), owned(metadata={"annotations": {"a": "b"}}), CONTENT),
        (owned(), annotated_with("deployment.kubernetes.io/revision", "2"), Effect.VERSION),
        (owned(), annotated_with("deployment.kubernetes.io/paused-by", "me"), CONTENT),
        (owned(), owned(metadata={"finalizers": ["f"]}), CONTENT),
        (owned(), owned(metadata={"deletionTimestamp": "now"}), CONTENT),
        (owned(), owned(metadata={"uid": "2"}), CONTENT),
        (owned("a"), owned("b"), CONTENT),
        (owned(metadata={"generation": 1}), owned(metadata={"generation": 2}), CONTENT),
        (
            owned(partial=True, metadata={"generation": 1}),
            owned(partial=True, metadata={"generation": 1, "resourceVersion": "2"}),
            Effect.VERSION,
        ),
        (owned(partial=True), owned(partial=True, metadata={"resourceVersion": "2"}), CONTENT),
        (owned(), {"kind": "ConfigMap", "apiVersion": "v1", **owned()}, Effect.VERSION),
    ],
)
def test_a_status_is_told_from_content(old, new, effect):
    assert effect_of(digest(old), digest(new)) is effect


def test_what_a_report_says_is_status():
    reports = DependentDigest([DEMO], reports=True)
    old = reports(owned(partial=True))
    assert effect_of(old, reports(owned(partial=True, metadata={"resourceVersion": "2"}))) is Effect.VERSION
    assert effect_of(old, reports(owned(data={"a": "b"}))) is Effect.VERSION
    assert effect_of(old, reports(owned(metadata={"uid": "2"}))) is CONTENT
    assert effect_of(old, None) is CONTENT


def test_appearing_and_going_are_told():
    assert effect_of(None, digest(owned())) is Effect.APPEARED
    assert effect_of(digest(owned()), None) is Effect.CONTENT


def test_a_change_of_owner_concerns_both():
    assert owners_of(digest(owned("a")), digest(owned("b"))) == (key("a"), key("b"))
    assert owners_of(None, digest(owned())) == owners_of(digest(owned()), None) == (key("a"),)

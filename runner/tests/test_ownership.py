"""Who owns what, and how a manifest says so: pure functions."""

import json

import pytest
import yaml
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.proxy.manifests import add_owner
from paradedb_runner.proxy.ownership import Claim, ManifestError, Owner, claim, is_ownable
from support import CONFIG_MAP, DEMO, key

OWNER = Owner(key("one"), "uid-1")
CLUSTER_OWNER = Owner(Key(DEMO, "", "one"), "uid-1")
REFERENCE = {"apiVersion": "example.com/v1", "kind": "Demo", "name": "one", "uid": "uid-1"}
ANNOTATIONS = {
    "operator-sdk/primary-resource": "ns/one",
    "operator-sdk/primary-resource-type": "Demo.example.com",
}
STORED = frozenset({"create", "delete", "get", "list", "watch"})
HERE = Key(CONFIG_MAP, "ns", "a")
JSON = "application/json"
YAML = "application/apply-patch+yaml"


def added(body, dependent=HERE, owner=OWNER):
    return json.loads(add_owner(json.dumps(body).encode(), JSON, owner, dependent))


@pytest.mark.parametrize(
    ("owner", "dependent", "expected"),
    [
        (OWNER, Key(CONFIG_MAP, "ns", "a"), Claim(references=(REFERENCE,))),
        (OWNER, Key(CONFIG_MAP, "other", "a"), Claim(annotations=ANNOTATIONS)),
        (OWNER, Key(GroupVersionKind("", "v1", "Namespace"), "", "a"), Claim(annotations=ANNOTATIONS)),
        (CLUSTER_OWNER, Key(CONFIG_MAP, "ns", "a"), Claim(references=(REFERENCE,))),
        (
            CLUSTER_OWNER,
            Key(GroupVersionKind("", "v1", "Namespace"), "", "a"),
            Claim(references=(REFERENCE,)),
        ),
        (OWNER, key("two"), Claim(references=(REFERENCE,))),
        (OWNER, Key(DEMO, "other", "one"), Claim(annotations=ANNOTATIONS)),
    ],
)
def test_a_reference_is_used_where_the_garbage_collector_takes_one(owner, dependent, expected):
    assert claim(owner, dependent) == expected


def test_nothing_owns_itself():
    assert claim(OWNER, key("one")) is None
    assert claim(OWNER, key("one", GroupVersionKind("example.com", "v2", "Demo"))) is None


def test_the_type_of_a_core_owner_has_no_dot():
    secret = Owner(Key(GroupVersionKind("", "v1", "Secret"), "ns", "one"), "uid-1")
    wanted = claim(secret, Key(CONFIG_MAP, "other", "a"))
    assert wanted.annotations["operator-sdk/primary-resource-type"] == "Secret"


@pytest.mark.parametrize(
    ("kind", "verbs"),
    [
        (GroupVersionKind("authorization.k8s.io", "v1", "SubjectAccessReview"), frozenset({"create"})),
        (GroupVersionKind("", "v1", "Binding"), frozenset({"create"})),
        (GroupVersionKind("project.openshift.io", "v1", "ProjectRequest"), frozenset({"create", "list"})),
        (GroupVersionKind("", "v1", "Event"), STORED),
        (GroupVersionKind("events.k8s.io", "v1", "Event"), STORED),
    ],
)
def test_what_does_not_stay_belongs_to_nobody(kind, verbs):
    assert not is_ownable(kind, verbs)


def test_a_kind_of_ones_own_may_be_called_like_a_review():
    assert is_ownable(GroupVersionKind("example.com", "v1", "PeerReview"), STORED)


@pytest.mark.parametrize(
    "body",
    [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"ownerReferences": None, "annotations": None}}],
)
def test_a_body_without_metadata_gets_what_it_needs(body):
    assert added(body)["metadata"]["ownerReferences"] == [REFERENCE]
    assert added(body, Key(CONFIG_MAP, "other", "a"))["metadata"]["annotations"] == ANNOTATIONS


def test_what_a_body_has_is_kept():
    other = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "uid-2", "controller": True}
    body = {"data": {"a": "é"}, "metadata": {"labels": {"x": "y"}, "ownerReferences": [other]}}
    body["metadata"]["annotations"] = {"mine": "too"}
    meta = added(body)["metadata"]
    assert meta["ownerReferences"] == [other, REFERENCE]
    assert meta["annotations"] == {"mine": "too"}
    assert added(body)["data"] == {"a": "é"}
    assert (
        added(body, Key(CONFIG_MAP, "other", "a"))["metadata"]["annotations"] == {"mine": "too"} | ANNOTATIONS
    )


def test_an_owner_is_named_once():
    body = {"metadata": {"ownerReferences": [{**REFERENCE, "controller": True}]}}
    data = json.dumps(body).encode()
    assert add_owner(data, JSON, OWNER, HERE) == data


def test_a_body_that_names_a_primary_resource_keeps_it():
    body = {"metadata": {"annotations": {"operator-sdk/primary-resource": "ns/other"}}}
    assert added(body, Key(CONFIG_MAP, "other", "a")) == body


def test_the_name_may_be_in_the_body_only():
    data = b'{"metadata": {"name": "one"}}'
    assert add_owner(data, JSON, OWNER, key("")) is None
    assert add_owner(b'{"metadata": {"generateName": "one-"}}', JSON, OWNER, key("")) is not None


def test_yaml_is_changed_in_one_place_only():
    plain = "data:\n  when: 12:30\n  day: 2020-01-01\n  on: yes\n  n: 0x1F\n  text: 'yes'\n"
    text = plain + "metadata:\n  labels: &l {a: é}\nother: *l\n"
    changed = add_owner(text.encode(), YAML, OWNER, HERE).decode()
    assert yaml.safe_load(changed)["metadata"]["ownerReferences"] == [REFERENCE]
    assert changed.startswith(plain)
    assert "&" in changed, "aliases are not written out"


@pytest.mark.parametrize("text", ["data: {}", "metadata:\n", "metadata: {ownerReferences: ~, annotations: }"])
def test_yaml_without_metadata_gets_what_it_needs(text):
    changed = yaml.safe_load(add_owner(text.encode(), YAML, OWNER, HERE))
    assert changed["metadata"]["ownerReferences"] == [REFERENCE]
    changed = yaml.safe_load(add_owner(text.encode(), YAML, OWNER, Key(CONFIG_MAP, "", "a")))
    assert changed["metadata"]["annotations"] == ANNOTATIONS


def test_json_in_an_apply_patch_stays_json():
    assert json.loads(add_owner(b"{}", YAML, OWNER, HERE))["metadata"]["ownerReferences"] == [REFERENCE]


def test_a_body_without_a_type_is_json_as_for_the_server():
    assert add_owner(b"{}", "", OWNER, HERE) is not None


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"{", JSON),
        (b"", JSON),
        (b"[]", JSON),
        (b'"text"', JSON),
        (b"null", JSON),
        (b"\xff\xfe\xff", JSON),
        (b"[" * 100_000, JSON),
        (b'{"metadata": []}', JSON),
        (b'{"metadata": "x"}', JSON),
        (b'{"metadata": {"ownerReferences": {}}}', JSON),
        (b'{"metadata": {"annotations": []}}', JSON),
        (b"a: b: c", YAML),
        (b"a: 1\n---\nb: 2\n", YAML),
        (b"!!python/object/apply:os.system ['true']", YAML),
        (b"k8s\x00...", "application/vnd.kubernetes.protobuf"),
        (b"\xd9\xd9\xf7", "application/apply-patch+cbor"),
    ],
)
def test_what_cannot_be_read_is_said(data, content_type):
    with pytest.raises(ManifestError):
        add_owner(data, content_type, OWNER, HERE)


def test_yaml_that_multiplies_itself_does_not_grow():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    data = "\n".join(lines).encode()
    assert len(add_owner(data, YAML, OWNER, HERE)) < 3 * len(data)

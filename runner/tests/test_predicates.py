"""Which changes of a watched resource are worth a pass, line 8 of the checklist."""

from pathlib import Path

import pytest
from paradedb_runner.control.predicates import wants_pass
from paradedb_runner.watches.model import Role, Watch
from paradedb_runner.watches.selector import parse_query
from support import DEMO


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
def test_predicates_compare_old_and_new(old, new, expected):
    assert wants_pass(watch(), old, new) is expected


def test_kinds_without_generation_count_every_change():
    assert wants_pass(watch(), {"metadata": {}}, {"metadata": {"x": 1}})


def test_annotations_count_if_the_watch_says_so():
    old, new = primary(annotations={}), primary(annotations={"a": "b"})
    assert wants_pass(watch(watch_annotations_changes=True), old, new)


def test_a_selector_filters_changes_but_never_a_deletion():
    selective = watch(selector=parse_query("x=1"))
    assert not wants_pass(selective, None, primary())
    assert wants_pass(selective, primary(), primary(labels={"x": "1"})), "it has just become ours"
    assert wants_pass(selective, primary(), primary(**DELETED))

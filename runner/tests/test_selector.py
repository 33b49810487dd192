"""Label selectors: what they match, and which are refused."""

import pytest
from paradedb_runner.watches.selector import Requirement, Selector, parse_query


def one(label, operator, *values):
    return Selector((Requirement.of(label, operator, values),))


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        (Selector(), {}, True),
        (Selector(), None, True),
        (one("a", "In", "b"), {"a": "b", "c": "d"}, True),
        (one("a", "In", "b"), {"a": "x"}, False),
        (one("a", "In", "x", "y"), {"a": "y"}, True),
        (one("a", "In", "x"), {}, False),
        (one("a", "In", ""), {"a": ""}, True),
        (one("a", "Exists"), {"a": ""}, True),
        (one("a", "Exists"), None, False),
        (one("a", "DoesNotExist"), {"a": ""}, False),
        (one("a", "DoesNotExist"), {}, True),
        (one("a", "NotIn", "x"), {}, True),
        (one("a", "NotIn", "x"), {"a": "x"}, False),
        (Selector((Requirement("a", "Exists"), Requirement("b", "Exists"))), {"a": ""}, False),
    ],
)
def test_what_is_selected(selector, labels, expected):
    assert selector.matches(labels) is expected


@pytest.mark.parametrize(
    ("label", "operator", "values", "complaint"),
    [
        ("", "Exists", [], "not the key of a label"),
        ("-a", "Exists", [], "not the key of a label"),
        ("A.com/b", "Exists", [], "not the key of a label"),
        ("a" * 64, "Exists", [], "not the key of a label"),
        ("a", "Equals", ["b"], 'operator "Equals" is none of In, NotIn'),
        ("a", "In", [], "operator In needs values"),
        ("a", "Exists", ["b"], "operator Exists takes no values"),
        ("a", "In", ["b c"], '"b c" cannot be the value'),
    ],
)
def test_a_mistake_selects_nothing_by_accident(label, operator, values, complaint):
    with pytest.raises(ValueError, match=complaint):
        Requirement.of(label, operator, values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Selector()),
        ("  ", Selector()),
        ("a", one("a", "Exists")),
        ("!a", one("a", "DoesNotExist")),
        ("a=b", one("a", "In", "b")),
        ("a == b", one("a", "In", "b")),
        ("a!=b", one("a", "NotIn", "b")),
        ("a=", one("a", "In", "")),
        ("a in (x, y)", one("a", "In", "x", "y")),
        ("a notin (x)", one("a", "NotIn", "x")),
        ("in", one("in", "Exists")),
        (
            "app.kubernetes.io/name=db, tier in (a,b) ,!c",
            Selector(
                (
                    Requirement.of("app.kubernetes.io/name", "In", ["db"]),
                    Requirement.of("tier", "In", ["a", "b"]),
                    Requirement.of("c", "DoesNotExist"),
                )
            ),
        ),
    ],
)
def test_queries_as_the_api_server_takes_them(text, expected):
    assert parse_query(text) == expected


@pytest.mark.parametrize("text", ["a=b c", "a,,b", "a,", "=b", "a in x", "a in (x", "a=b=c", "a=(b)", "a>1"])
def test_what_is_no_query(text):
    with pytest.raises(ValueError, match="label"):
        parse_query(text)

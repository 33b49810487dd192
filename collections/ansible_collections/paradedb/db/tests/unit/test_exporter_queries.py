"""The user's queries for the exporter: those that can be used are, the others are named and harm nothing."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.paradedb.db.plugins.filter.paradedb import exporter_queries
from ansible_collections.paradedb.db.plugins.module_utils.exporter_queries import sort_out

from .conftest import COLLECTION

OWN = (COLLECTION / "roles/monitoring/files/queries.yaml").read_text()
GAUGE = {"usage": "GAUGE", "description": "A number"}


def definition(query: str = "SELECT 1 AS n", **more: object) -> str:
    return json.dumps({"query": query, "metrics": [{"n": GAUGE}], **more})


def test_without_queries_of_the_user_there_are_ours() -> None:
    assert exporter_queries(OWN, {}) == f"{OWN}\n"


def test_the_users_queries_stand_behind_ours() -> None:
    text = exporter_queries(OWN, {"shop_orders": definition()})
    assert text.startswith(OWN)
    assert set(yaml.safe_load(text)) == {*yaml.safe_load(OWN), "shop_orders"}


def test_a_text_arrives_as_it_is_whatever_is_in_it() -> None:
    text = "SELECT '\u00fc\U0001f418 {{ x }} \\ \"' AS n"
    given = json.dumps({"query": text, "metrics": [{"n": GAUGE}]}, ensure_ascii=False)
    (query,) = yaml.safe_load(exporter_queries("", {"shop": given})).values()
    assert text in query["query"]


def test_each_combination_of_labels_comes_once() -> None:
    metrics = [{"kind": {"usage": "LABEL"}}, {"n": GAUGE}, {"unused": {"usage": "DISCARD"}}]
    made, faults = sort_out(
        {"shop": definition("SELECT kind, n FROM shop.orders -- all\n;", metrics=metrics)}
    )
    assert not faults
    assert made["shop"]["query"] == (
        'SELECT DISTINCT ON (coalesce("kind"::text, \'\')) coalesce("kind"::text, \'\') AS "kind", "n"'
        " FROM (\nSELECT kind, n FROM shop.orders -- all\n) AS custom"
    )
    assert [list(item) for item in made["shop"]["metrics"]] == [["kind"], ["n"]]


def test_without_labels_there_is_one_row() -> None:
    made, _faults = sort_out({"shop": definition()})
    assert made["shop"]["query"] == 'SELECT "n" FROM (\nSELECT 1 AS n\n) AS custom LIMIT 1'


def test_a_histogram_has_its_four_columns() -> None:
    made, _faults = sort_out({"shop": definition(metrics=[{"d": {"usage": "HISTOGRAM"}}])})
    assert '"d", "d_bucket", "d_sum", "d_count"' in made["shop"]["query"]


BAD = {
    "no YAML": "query: [",
    "deep": "[" * 3000,
    "an alias": "a: &a x\nquery: SELECT 1\nmetrics:\n- n: {usage: GAUGE, description: *a}",
    "a list": "[]",
    "no query": json.dumps({"metrics": [{"n": GAUGE}]}),
    "an empty query": definition(" ;\n"),
    "half a character": '{"query": "SELECT 1 -- \\ud83d", "metrics": [{"n": {"usage": "GAUGE"}}]}',
    "no metrics": json.dumps({"query": "SELECT 1"}),
    "no list": definition(metrics={"n": GAUGE}),
    "no options": definition(metrics=[{"n": None}]),
    "no usage": definition(metrics=[{"n": {"description": "x"}}]),
    "an unknown usage": definition(metrics=[{"n": {"usage": "gauge"}}]),
    "labels alone": definition(metrics=[{"n": {"usage": "LABEL"}}]),
    "a bad name": definition(metrics=[{'n"; DROP': GAUGE}]),
    "a number for a name": definition(metrics=[{1: GAUGE}]),
    "a column twice": definition(metrics=[{"n": GAUGE}, {"n": GAUGE}]),
    "the exporter's label": definition(metrics=[{"server": {"usage": "LABEL"}}, {"n": GAUGE}]),
    "a long description": definition(metrics=[{"n": {"usage": "GAUGE", "description": "x" * 2000}}]),
    "a negative cache": definition(cache_seconds=-1),
    "an endless cache": definition(cache_seconds=10**22),
    "a cache that is no number": definition(cache_seconds=True),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_left_out_and_the_others_stay(text: str) -> None:
    made, faults = sort_out({"bad": text, "good": definition()})
    assert list(made) == ["good"]
    assert list(faults) == ["bad"]
    assert set(yaml.safe_load(exporter_queries(OWN, {"bad": text, "good": definition()}))) == {
        *yaml.safe_load(OWN),
        "good",
    }


@pytest.mark.parametrize("name", ["pg_shop", "paradedb_replica", "go_x", "9lives", "shop-orders", ""])
def test_a_name_of_somebody_else_is_refused(name: str) -> None:
    assert list(sort_out({name: definition()})[1]) == [name]


def test_a_metric_belongs_to_one_query() -> None:
    made, faults = sort_out({"a": definition(metrics=[{"b_n": GAUGE}]), "a_b": definition()})
    assert list(made) == ["a"]
    assert faults == {"a_b": "another query has the metric a_b_n already"}


def test_our_own_queries_can_be_used_by_the_same_rules() -> None:
    own = yaml.safe_load(OWN)
    for name, query in own.items():
        columns = [column for item in query["metrics"] for column in item]
        assert len(columns) == len(set(columns)), name
        for item in query["metrics"]:
            for column, options in item.items():
                assert options["usage"] in ("LABEL", "GAUGE", "COUNTER"), column
                assert (options["usage"] == "COUNTER") == column.endswith("_total"), column
                assert options["description"]


def test_queries_that_no_config_map_could_hold_are_left_out() -> None:
    text = "query: SELECT 1 AS n -- " + "\u00e4" * 8000 + "\nmetrics: [n: {usage: GAUGE}]"
    usable, faults = sort_out({f"shop{number:02}": text for number in range(50)})
    assert list(usable) == [f"shop{number:02}" for number in range(16)]
    assert len(faults) == 34
    assert "together" in faults["shop16"]
    assert len(yaml.safe_dump(usable).encode()) < 1024 * 1024

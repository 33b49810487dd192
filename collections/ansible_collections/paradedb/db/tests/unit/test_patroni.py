from __future__ import annotations

import json

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import patroni

SPEC = {
    "auth": {"database": "app", "pgHBA": ["  host all all 10.0.0.0/8 md5 "]},
    "postgresConfig": {"work_mem": "5MB"},
}


def test_everything_the_instances_run_with_is_in_it() -> None:
    made = patroni.dynamic_configuration(SPEC, "boss")
    assert made["postgresql"]["parameters"]["work_mem"] == "5MB"
    rules = made["postgresql"]["pg_hba"]
    assert rules[0] == 'local all "boss" peer map=paradedb'
    assert "host all all 10.0.0.0/8 md5" in rules
    assert made["postgresql"]["pg_ident"] == ['paradedb postgres "boss"']
    assert made["postgresql"]["use_pg_rewind"] is True
    assert "shared_preload_libraries" not in made["postgresql"]["parameters"]


def test_a_demoted_primary_stops_before_another_is_elected() -> None:
    """Patroni lengthens the times itself when they do not fit: then two of us would differ for ever."""
    made = patroni.dynamic_configuration(SPEC, "boss")
    assert made["ttl"] >= made["loop_wait"] + 2 * made["retry_timeout"]


@pytest.mark.parametrize("superuser", ["boss", 'quo"te', "\u00fc\U0001f418"])
def test_the_dump_is_json_that_reads_back(superuser: str) -> None:
    made = patroni.dynamic_configuration(SPEC, superuser)
    text = patroni.dump(made)
    assert json.loads(text) == made
    assert "\n" not in text
    config_map = {"metadata": {"annotations": {"config": text}}}
    assert patroni.current_settings(config_map) == made["postgresql"]["parameters"]


def test_the_same_spec_gives_the_same_text() -> None:
    other = {**SPEC, "postgresConfig": {"WORK_MEM": "5MB"}}
    assert patroni.dump(patroni.dynamic_configuration(SPEC, "a")) == patroni.dump(
        patroni.dynamic_configuration(other, "a")
    )


@pytest.mark.parametrize(
    "config_map",
    [
        None,
        {},
        {"metadata": {}},
        {"metadata": {"annotations": None}},
        {"metadata": {"annotations": {"config": ""}}},
        {"metadata": {"annotations": {"config": "{"}}},
        {"metadata": {"annotations": {"config": "[]"}}},
        {"metadata": {"annotations": {"config": '{"postgresql": null}'}}},
    ],
)
def test_before_the_first_configuration_there_is_none(config_map: object) -> None:
    assert patroni.current_settings(config_map) == {}  # type: ignore[arg-type]

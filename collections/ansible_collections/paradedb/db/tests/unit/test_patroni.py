from __future__ import annotations

import json

import pytest
from ansible_collections.paradedb.db.plugins.filter.paradedb import pg_hba_conf
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
    assert made["postgresql"]["pg_ident"] == [
        'paradedb postgres "boss"',
        'paradedb postgres "paradedb_replication"',
    ]
    assert made["postgresql"]["use_pg_rewind"] is True
    assert "shared_preload_libraries" not in made["postgresql"]["parameters"]


@pytest.mark.parametrize("tls_enforced", [False, True])
def test_rules_of_the_pooler_and_the_exporter_come_and_go_with_them(tls_enforced: bool) -> None:
    on, off = {"enabled": True}, {"enabled": False}
    for pooling, monitoring in ((on, on), (on, off), ({}, on), (off, None), (None, {})):
        spec = {**SPEC, "connectionPooling": pooling, "monitoring": monitoring}
        made = patroni.dynamic_configuration(spec, "boss", tls_enforced)["postgresql"]["pg_hba"]
        assert any("paradedb_pooler" in line for line in made) == (pooling == on)
        assert any("paradedb_exporter" in line for line in made) == (monitoring == on)
        assert pg_hba_conf(spec, "boss", tls_enforced).splitlines() == made


def test_a_demoted_primary_stops_before_another_is_elected() -> None:
    """Patroni lengthens the times itself when they do not fit: then two of us would differ for ever."""
    made = patroni.dynamic_configuration(SPEC, "boss")
    assert made["ttl"] >= made["loop_wait"] + 2 * made["retry_timeout"]


def test_without_a_word_on_replication_nothing_waits() -> None:
    made = patroni.dynamic_configuration(SPEC, "boss")
    assert made["maximum_lag_on_failover"] == 33554432
    assert made["check_timeline"] is True
    assert not [name for name in made if name.startswith("synchronous")]


@pytest.mark.parametrize(
    ("replication", "expected"),
    [
        ({}, {}),
        ({"mode": "async", "syncNodeCount": 2, "strict": True}, {}),
        ({"mode": "sync"}, {"synchronous_node_count": 1, "synchronous_mode_strict": False}),
        (
            {"mode": "sync", "syncNodeCount": 2, "strict": True},
            {"synchronous_node_count": 2, "synchronous_mode_strict": True},
        ),
    ],
)
def test_synchronous_replication(replication: dict[str, object], expected: dict[str, object]) -> None:
    made = patroni.dynamic_configuration({**SPEC, "replicas": 3, "replication": replication}, "boss")
    found = {name: value for name, value in made.items() if name.startswith("synchronous")}
    assert found == ({"synchronous_mode": True, **expected} if expected else {})


@pytest.mark.parametrize("spec", [SPEC, {**SPEC, "replicas": 1}])
def test_a_lone_instance_waits_for_nobody(spec: dict[str, object]) -> None:
    """A strict primary without a standby would not take a single write."""
    replication = {"mode": "sync", "syncNodeCount": 1, "strict": True}
    made = patroni.dynamic_configuration({**spec, "replication": replication}, "boss")
    assert "synchronous_mode" not in made


@pytest.mark.parametrize(("lag", "expected"), [("1Gi", 2**30), ("32Mi", 2**25), ("1M", 10**6), ("0", 0)])
def test_the_lag_is_in_bytes(lag: str, expected: int) -> None:
    made = patroni.dynamic_configuration({**SPEC, "replication": {"maximumLagOnFailover": lag}}, "boss")
    assert made["maximum_lag_on_failover"] == expected


def test_a_former_primary_that_cannot_be_rewound_is_cloned() -> None:
    made = patroni.dynamic_configuration(SPEC, "boss")["postgresql"]
    assert made["remove_data_directory_on_rewind_failure"] is True
    assert made["remove_data_directory_on_diverged_timelines"] is True


def test_tls_is_enforced_by_the_rules_alone() -> None:
    """The certificate is each pod's own; a setting here would reach pods that have none."""
    plain = patroni.dynamic_configuration(SPEC, "boss")
    enforced = patroni.dynamic_configuration(SPEC, "boss", tls_enforced=True)
    assert enforced["postgresql"]["pg_hba"][-1].startswith("hostssl all all all ")
    assert plain["postgresql"]["pg_hba"][-1].startswith("host all all all ")
    assert enforced["postgresql"]["parameters"] == plain["postgresql"]["parameters"]
    assert "ssl" not in enforced["postgresql"]["parameters"]


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

"""What the programs of backups are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.filter.paradedb import backup_json, recovery_json
from ansible_collections.paradedb.db.plugins.module_utils.patroni import dynamic_configuration
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

S3 = {"endpoint": "https://s3.example", "bucket": "backups", "secretRef": {"name": "key"}}


def spec(given: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A completed spec with these backups."""
    return complete_spec(
        ({"backup": {"enabled": True, "s3": S3} | given} if given is not None else {}) | more
    )


def told(given: dict[str, Any], tls: bool = False) -> dict[str, Any]:
    return json.loads(backup_json(given, "orders", "prod", "boss", tls))


def test_what_a_backup_is_told() -> None:
    assert told(spec({"jobs": 3})) == {
        "namespace": "prod",
        "name": "orders",
        "server": "orders",
        "store": {
            "s3": {
                "endpoint": "https://s3.example",
                "bucket": "backups",
                "path": "",
                "region": "",
                "pathStyle": True,
            }
        },
        "retention": {"keepLast": 7, "keepDaily": 7, "keepWeekly": 4},
        "jobs": 3,
        "recoveryWindowDays": None,
        "deadlineSeconds": 21600,
        "state": "orders-backup-state",
        "database": {"host": "orders.prod.svc", "port": 5432, "user": "boss", "tls": False, "named": True},
        "preload": "pg_search,pg_stat_statements",
        "version": "17",
    }


def test_no_secret_is_named() -> None:
    """The programs look at what is mounted, and what is told stands in a ConfigMap."""
    given = spec({"s3": S3 | {"caSecretRef": {"name": "authority"}, "pathStyle": False, "region": "eu"}})
    assert "secret" not in json.dumps(told(given)).lower()
    assert told(given)["store"]["s3"] | {"pathStyle": False, "region": "eu"} == told(given)["store"]["s3"]


def test_a_volume_is_where_it_is_mounted() -> None:
    given = complete_spec({"backup": {"enabled": True, "pvc": {"size": "1Gi"}}})
    assert told(given)["store"] == {"volume": "/backups"}


def test_the_window_is_that_of_continuous_backups() -> None:
    assert told(spec({"continuous": {"enabled": True}}))["recoveryWindowDays"] == 7
    off = {"continuous": {"enabled": False, "recoveryWindowDays": 3}}
    assert told(spec(off))["recoveryWindowDays"] is None


def test_who_else_issued_the_certificate_may_have_named_it_otherwise() -> None:
    own = spec({}, tls={"enabled": True})
    theirs = spec({}, tls={"enabled": True, "secretRef": {"name": "mine"}})
    assert told(own, tls=True)["database"]["tls"] is told(own, tls=True)["database"]["named"] is True
    assert told(theirs, tls=True)["database"]["named"] is False


def test_a_library_is_loaded_once() -> None:
    given = spec({}, postgresConfig={"shared_preload_libraries": "auto_explain, pg_stat_statements"})
    assert told(given)["preload"] == "pg_search,pg_stat_statements,auto_explain"


def recovery(**fields: Any) -> dict[str, Any]:
    whence = {"method": "dump", "server": "old", "store": {"s3": S3}, "backup": "", "target": {}}
    return whence | fields


@pytest.mark.parametrize(
    ("store", "written"),
    [
        ({"volume": "old-backup"}, {"volume": "/recovery"}),
        (
            {"s3": S3 | {"path": "a/b"}},
            {
                "s3": {k: S3[k] for k in ("endpoint", "bucket")}
                | {"path": "a/b", "region": "", "pathStyle": True}
            },
        ),
    ],
)
def test_a_recovery_is_told_of_the_source_and_of_its_own_place_not_at_all(
    store: dict[str, Any], written: dict[str, Any]
) -> None:
    text = recovery_json(spec({"s3": S3 | {"bucket": "own"}}), "new", "prod", "boss", recovery(store=store))
    made = json.loads(text)
    assert made["store"] == written
    assert (made["server"], made["name"], made["state"]) == ("old", "new", "new-archive-state")
    assert (made["method"], made["backup"], made["target"]) == ("dump", None, {})
    assert "own" not in text


def test_a_recovery_needs_no_backups_of_its_own() -> None:
    made = json.loads(recovery_json(spec(), "new", "prod", "boss", recovery(backup="20260101T000000Z-0a0a")))
    assert (made["backup"], made["jobs"]) == ("20260101T000000Z-0a0a", 2)


def parameters(given: dict[str, Any]) -> dict[str, str]:
    return dynamic_configuration(given, "boss")["postgresql"]["parameters"]


def test_archiving_is_a_matter_of_continuous_backups_only() -> None:
    off = [
        spec(),
        spec({}),
        spec({"continuous": {}}),
        spec({"enabled": False, "continuous": {"enabled": True}}),
    ]
    assert all(parameters(given) == parameters(spec()) for given in off)
    on = spec({"continuous": {"enabled": True}})
    assert set(parameters(on).items()) - set(parameters(spec()).items()) == {
        ("archive_mode", "on"),
        ("archive_command", '/opt/backup/paradedb-backup archive "%p"'),
        ("archive_timeout", "300"),
    }
    assert parameters(on | {"postgresConfig": {"archive_timeout": "60"}})["archive_timeout"] == "60"

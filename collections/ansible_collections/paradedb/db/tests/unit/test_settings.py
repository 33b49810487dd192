from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import settings
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

from .private_postgres import PrivatePostgres

MEGABYTE = 2**20


def limits(**values: str) -> dict[str, Any]:
    return {"resources": {"limits": values}}


def refusal(name: str, value: str, resources: Any = None) -> Refused:
    with pytest.raises(Refused) as caught:
        settings.check_settings({name: value}, resources or {})
    assert caught.value.reason == "InvalidSetting"
    assert caught.value.field == f"spec.postgresConfig.{name}"
    return caught.value


# Derivation: https://docs.paradedb.com/documentation/performance-tuning/overview


@pytest.mark.parametrize(
    ("memory", "shared_buffers", "cache", "maintenance", "work_mem"),
    [
        ("512Mi", "128MB", "384MB", "64MB", "15MB"),
        ("1Gi", "256MB", "768MB", "64MB", "15MB"),
        ("4Gi", "1024MB", "3072MB", "256MB", "15MB"),
        ("8Gi", "2048MB", "6144MB", "512MB", "20MB"),
        ("64Gi", "16384MB", "49152MB", "2048MB", "163MB"),
        ("256Gi", "16384MB", "196608MB", "2048MB", "819MB"),
        ("1000000000", "238MB", "715MB", "64MB", "15MB"),
        ("2G", "476MB", "1430MB", "119MB", "15MB"),
    ],
)
def test_memory_follows_the_tuning_rules(
    memory: str, shared_buffers: str, cache: str, maintenance: str, work_mem: str
) -> None:
    made = settings.instance_settings(limits(memory=memory))
    assert made["shared_buffers"] == shared_buffers
    assert made["effective_cache_size"] == cache
    assert made["maintenance_work_mem"] == maintenance
    assert made["work_mem"] == work_mem


@pytest.mark.parametrize(
    ("cpu", "workers", "processes", "gather", "maintenance"),
    [
        ("1m", "5", "13", "1", "2"),
        ("500m", "5", "13", "1", "2"),
        ("999m", "5", "13", "1", "2"),
        ("1", "5", "13", "1", "2"),
        ("1500m", "5", "13", "1", "2"),
        ("2", "10", "18", "1", "2"),
        ("4", "20", "28", "2", "2"),
        ("8", "40", "48", "4", "4"),
        ("64", "320", "328", "32", "8"),
    ],
)
def test_workers_follow_the_tuning_rules(
    cpu: str, workers: str, processes: str, gather: str, maintenance: str
) -> None:
    made = settings.instance_settings(limits(cpu=cpu, memory="64Gi"))
    assert made["max_parallel_workers"] == workers
    assert made["max_worker_processes"] == processes
    assert made["max_parallel_workers_per_gather"] == gather
    assert made["max_parallel_maintenance_workers"] == maintenance


@pytest.mark.parametrize("memory", ["512Mi", "1Gi", "2Gi", "4Gi", "16Gi", "64Gi"])
@pytest.mark.parametrize("cpu", ["500m", "2", "8", "16", "64"])
def test_every_index_worker_has_the_memory_that_pg_search_demands(memory: str, cpu: str) -> None:
    """Below 15 MB a worker pg_search refuses to build an index."""
    made = settings.instance_settings(limits(cpu=cpu, memory=memory))
    total = settings.parse_memory(made["maintenance_work_mem"])
    assert total is not None
    assert total // int(made["max_parallel_maintenance_workers"]) >= 15 * MEGABYTE


@pytest.mark.parametrize("spec", [{}, {"resources": None}, {"resources": {}}, limits(memory="511Mi")])
def test_without_a_size_postgresql_keeps_its_own_defaults(spec: dict[str, object]) -> None:
    assert set(settings.instance_settings(spec)) == {"password_encryption", "unix_socket_directories"}


def test_request_counts_where_no_limit_is() -> None:
    made = settings.instance_settings({"resources": {"requests": {"memory": "1Gi", "cpu": "2"}}})
    assert made["shared_buffers"] == "256MB"
    both = {"requests": {"memory": "1Gi"}, "limits": {"memory": "4Gi"}}
    assert settings.instance_settings({"resources": both})["shared_buffers"] == "1024MB"


def test_user_wins_whatever_the_case() -> None:
    spec = {**limits(memory="1Gi", cpu="2"), "postgresConfig": {"Work_Mem": "1MB", "shared_buffers": "64MB"}}
    made = settings.instance_settings(spec)
    assert made["work_mem"] == "1MB"
    assert made["shared_buffers"] == "64MB"
    assert list(made) == sorted(made)
    assert all(isinstance(value, str) for value in made.values())


def test_more_connections_have_less_memory_each() -> None:
    spec = {**limits(memory="64Gi"), "postgresConfig": {"max_connections": "1000"}}
    assert settings.instance_settings(spec)["work_mem"] == "16MB"


# The write-ahead log on small volumes


@pytest.mark.parametrize(
    ("size", "most", "least", "kept", "slots"),
    [
        ("256Mi", "51MB", "51MB", "25MB", "64MB"),
        ("400Mi", "80MB", None, "40MB", "100MB"),
        ("1Gi", "204MB", None, "102MB", "256MB"),
        ("2Gi", "409MB", None, None, "512MB"),
        ("5368709119", "1023MB", None, None, "1279MB"),
        ("5Gi", None, None, None, "1280MB"),
        ("1Ti", None, None, None, "262144MB"),
        ("1", "32MB", "32MB", "16MB", "0MB"),
    ],
)
def test_the_log_does_not_fill_a_small_volume(
    size: str, most: str | None, least: str | None, kept: str | None, slots: str
) -> None:
    names = ("max_wal_size", "min_wal_size", "wal_keep_size", "max_slot_wal_keep_size")
    for storage in ({"size": size}, {"size": "1Gi", "walStorage": {"size": size}}):
        made = settings.instance_settings({"storage": storage, "replicas": 2})
        assert [made.get(name) for name in names] == [most, least, kept, slots]
        settings.check_settings({name: made[name] for name in names if name in made}, {})
        alone = settings.instance_settings({"storage": storage, "replicas": 1})
        assert "max_slot_wal_keep_size" not in alone


def test_user_wins_over_the_bounds_of_the_log() -> None:
    config = {"max_wal_size": "300MB", "Wal_Keep_Size": "64MB", "max_slot_wal_keep_size": "-1"}
    made = settings.instance_settings({"storage": {"size": "1Gi"}, "replicas": 3, "postgresConfig": config})
    assert made["max_wal_size"] == "300MB"
    assert made["wal_keep_size"] == "64MB"
    assert made["max_slot_wal_keep_size"] == "-1"


# Refusals


@pytest.mark.parametrize("name", sorted(settings.OWNED))
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_owned_settings_are_refused_in_any_case(name: str, spell: object) -> None:
    assert "cannot be set here" in str(refusal(spell(name), "on"))  # type: ignore[operator]


@pytest.mark.parametrize(
    "name",
    ["recovery_end_command", "recovery_min_apply_delay", "hot_standby", "archive_command", "ssl", "include"],
)
def test_owned_settings_include(name: str) -> None:
    refusal(name, "on")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "work mem",
            "work_mem ",
            " work_mem",
            "work_mem\n",
            "port\n",
            "1a",
            "a-b",
            "a.b.c.",
            ".a",
            "a.",
            "a b",
        ),
        *("work_mem='1' #", "a\nb", "\u00e4", "a=b", "#a", "include 'x'", "'a'", "a\x00"),
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    refusal(name, "1")


@pytest.mark.parametrize(
    "value", ["a\nfsync = off", "a\r", "\n", "\0", "a\x00b", "x\nshared_preload_libraries = 'evil'"]
)
def test_a_value_is_one_line(value: str) -> None:
    refusal("application_name", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("fsync", value) for value in ("off", "false", "no", "0", "OFF", " off ", "of", "f", "'off'", "n")),
        *(("full_page_writes", value) for value in ("off", "FALSE")),
        *(("password_encryption", value) for value in ("md5", "on", "MD5", "")),
        *(("wal_level", value) for value in ("minimal", "MINIMAL", "none")),
        ("FSYNC", "off"),
    ],
)
def test_values_that_lose_data_or_open_a_door_are_refused(name: str, value: str) -> None:
    refusal(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("fsync", value) for value in ("on", "ON", "true", "yes", "1")),
        *(("wal_level", value) for value in ("replica", "logical", "LOGICAL")),
        ("password_encryption", "scram-sha-256"),
        ("work_mem", "1MB"),
        ("paradedb.enable_custom_scan", "off"),
        ("application_name", "it's \\ # 'quoted' \U0001f418"),
        ("max_connections", "25"),
        ("max_prepared_transactions", "0"),
        ("search_path", '"$user", public'),
        ("log_line_prefix", "%m [%p] "),
    ],
)
def test_other_values_pass(name: str, value: str) -> None:
    settings.check_settings({name: value}, {"limits": {"memory": "1Gi"}})


@pytest.mark.parametrize(("name", "least"), sorted(settings.PATRONI_MINIMUM.items()))
def test_what_patroni_would_silently_replace_is_refused(name: str, least: int) -> None:
    settings.check_settings({name: str(least)}, {})
    refusal(name, str(least - 1))
    refusal(name.upper(), str(least - 1))


@pytest.mark.parametrize(
    "value",
    ["abc", "", " 5", "5 ", "+5", "0x5", "5.0", "1e1", "0100", "1_000", "\u0661\u0660\u0660", "100 ", "010"],
)
def test_whole_numbers_are_written_in_one_way(value: str) -> None:
    """PostgreSQL, Patroni and we must read the same number, or the database restarts for ever."""
    for name in settings.PATRONI_MINIMUM:
        refusal(name, value)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("512MB", True),
        ("1023MB", True),
        ("1GB", False),
        ("1024MB", False),
        ("1048576kB", False),
        ("1073741824B", False),
        ("131072", False),  # pages of 8 kB
        ("131071", True),
        ("2TB", False),
        (" 2GB ", False),
        ("2 GB", False),
        ("1.5GB", False),
        ("0.5GB", True),
    ],
)
def test_shared_buffers_must_fit_into_the_limit(value: str, fits: bool) -> None:
    resources = {"limits": {"memory": "1Gi"}}
    if fits:
        settings.check_settings({"shared_buffers": value}, resources)
    else:
        assert "limits.memory" in str(refusal("shared_buffers", value, resources))
    settings.check_settings({"shared_buffers": value}, {})


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"min_wal_size": "20MB"}, "min_wal_size"),
        ({"max_wal_size": "31MB"}, "max_wal_size"),
        ({"min_wal_size": "31"}, "min_wal_size"),  # a bare number counts megabytes
        ({"superuser_reserved_connections": "100"}, "superuser_reserved_connections"),
        ({"superuser_reserved_connections": "30", "max_connections": "30"}, "superuser_reserved_connections"),
        ({"session_preload_libraries": "auto_explain"}, "session_preload_libraries"),
        ({"local_preload_libraries": "auto_explain"}, "local_preload_libraries"),
    ],
    ids=str,
)
def test_what_only_the_next_start_would_refuse_is_refused(config: dict[str, str], field: str) -> None:
    """``postgres -C`` lets these pass; then PostgreSQL does not start, or nobody can connect."""
    with pytest.raises(Refused) as caught:
        settings.check_settings(config, {})
    assert caught.value.field == f"spec.postgresConfig.{field}"


@pytest.mark.parametrize(
    "config",
    [
        {"min_wal_size": "32MB", "max_wal_size": "1GB"},
        {"min_wal_size": "80", "max_wal_size": "1024"},
        {"superuser_reserved_connections": "5"},
        {"superuser_reserved_connections": "150", "max_connections": "200"},
    ],
    ids=str,
)
def test_their_sound_values_pass(config: dict[str, str]) -> None:
    settings.check_settings(config, {})


def test_a_memory_request_is_no_limit() -> None:
    settings.check_settings({"shared_buffers": "256MB"}, {"requests": {"memory": "128Mi"}})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 8192),
        ("1kB", 1024),
        ("1B", 1),
        ("128MB", 2**27),
        ("1GB", 2**30),
        ("1TB", 2**40),
        (" 1 MB ", 2**20),
        ("1KB", None),
        ("1mb", None),
        ("-1", None),
        ("", None),
        ("MB", None),
        ("1PB", None),
    ],
)
def test_parse_memory(text: str, size: int | None) -> None:
    assert settings.parse_memory(text) == size


# Libraries


@pytest.mark.parametrize(
    ("extensions", "libraries"),
    [
        ({}, ["pg_search", "pg_stat_statements"]),
        ({"pgSearch": False}, ["pg_stat_statements"]),
        ({"pgVector": True}, ["pg_search", "pg_stat_statements"]),
        ({"pgAnalytics": True}, ["pg_search", "pg_analytics", "pg_stat_statements"]),
        ({"additional": ["pg_cron", "hstore"]}, ["pg_search", "pg_stat_statements", "pg_cron"]),
        ({"additional": None}, ["pg_search", "pg_stat_statements"]),
    ],
)
def test_preload_libraries(extensions: dict[str, object], libraries: list[str]) -> None:
    assert settings.preload_libraries(extensions, []) == libraries


def test_extensions_of_every_database_are_preloaded() -> None:
    databases = [{"name": "a"}, {"name": "b", "extensions": ["hstore", "pg_cron", "pg_search"]}]
    found = settings.preload_libraries({"pgSearch": False}, databases)
    assert found == ["pg_search", "pg_stat_statements", "pg_cron"]


@pytest.mark.parametrize(
    ("value", "libraries"),
    [
        ("", []),
        ("auto_explain", ["auto_explain"]),
        (' auto_explain , "pg_cron" ,', ["auto_explain", "pg_cron"]),
    ],
)
def test_user_libraries_are_kept_apart_from_the_file(value: str, libraries: list[str]) -> None:
    config = {"shared_preload_libraries": value}
    assert settings.user_libraries(config) == libraries
    assert "shared_preload_libraries" not in settings.instance_settings({"postgresConfig": config})


# The file, as PostgreSQL reads it

VALUES = [
    "plain",
    "",
    "it's",
    "''",
    "back\\slash",
    "\\n\\t\\101",
    "\\",
    "\\'",
    "tab\there",
    "# no comment",
    "a = b",
    "'; work_mem = '1GB",
    "$user",
    "100%",
    "\u00fc\U0001f418",
    "  blanks  ",
    "{{ 7*7 }}",
    "include 'x'",
]


@pytest.mark.parametrize("value", VALUES)
def test_postgresql_reads_back_the_very_value(postgres: PrivatePostgres, value: str) -> None:
    """A setting without rules of its own comes back from ``postgres -C`` as it was written."""
    lines = settings.conf_lines({"paradedb_test.value": value})
    file = postgres.directory / "round-trip.conf"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o644)
    read = ["postgres", "-C", "paradedb_test.value", "-D", "/tmp", "-c", f"config_file={file}"]
    assert postgres.execute(read)[:2] == (0, value + "\n")


def test_postgresql_takes_all_derived_settings(postgres: PrivatePostgres) -> None:
    file = postgres.directory / "derived.conf"
    for memory, cpu in (("512Mi", "500m"), ("64Gi", "64"), ("2Ti", "256")):
        file.write_text(
            "\n".join(settings.conf_lines(settings.instance_settings(limits(memory=memory, cpu=cpu))))
        )
        file.chmod(0o644)
        done = postgres.execute(["postgres", "-C", "work_mem", "-D", "/tmp", "-c", f"config_file={file}"])
        assert done[0] == 0, done

"""A changed spec takes effect: live where PostgreSQL can, by a restart where it must, seen from SQL."""

from __future__ import annotations

from cluster import OTHER_IMAGE, ParadeDB, PhaseWatch, eventually


def start_time(database: ParadeDB) -> str:
    return database.sql("SELECT pg_postmaster_start_time()")


def test_reload_setting_takes_effect_without_a_restart(running: ParadeDB) -> None:
    started = start_time(running)
    with PhaseWatch(running) as watch:
        running.patch({"postgresConfig": {"work_mem": "23MB", "log_min_duration_statement": "5s"}})
        running.wait_running()
    assert watch.phases == ["Running", "Updating", "Running"]
    assert running.setting("work_mem") == "23MB"
    assert running.setting("log_min_duration_statement") == "5s"
    assert start_time(running) == started
    running.patch({"postgresConfig": {"work_mem": None}})
    running.wait_running()
    assert running.setting("work_mem") == "15MB"


def test_restart_setting_takes_effect_by_a_restart_in_place(running: ParadeDB) -> None:
    pod, started = running.pod(), start_time(running)
    with PhaseWatch(running) as watch:
        running.patch({"postgresConfig": {"max_connections": "57", "wal_buffers": "5MB"}})
        running.wait_running()
    assert watch.phases == ["Running", "Updating", "Running"]
    assert running.setting("max_connections") == "57"
    assert running.setting("wal_buffers") == "5MB"
    assert start_time(running) != started
    after = running.pod()
    assert pod
    assert after
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert running.sql("SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"


def test_access_rule_of_the_user_comes_before_the_default(running: ParadeDB) -> None:
    running.sql("CREATE ROLE visitor LOGIN PASSWORD 'visitor'")
    uri = running.secret()["uri"].replace("postgres:", "visitor:", 1)
    uri = uri.replace(running.secret()["password"], "visitor")
    assert running.sql("SELECT current_user", uri=uri) == "visitor"
    running.patch({"auth": {"pgHBA": ["host all visitor all reject"]}})
    running.wait_running()
    assert "pg_hba.conf rejects connection" in running.sql("SELECT 1", uri=uri, check=False)
    assert running.sql("SELECT 1") == "1"
    running.patch({"auth": {"pgHBA": []}})
    running.wait_running()
    assert running.sql("SELECT current_user", uri=uri) == "visitor"


def test_resources_reach_the_pod_and_the_settings(running: ParadeDB) -> None:
    running.sql("CREATE TABLE before_change AS SELECT 1 AS id")
    with PhaseWatch(running) as watch:
        running.patch({"resources": {"limits": {"memory": "640Mi"}}})
        running.wait_running()
    assert watch.phases == ["Running", "Updating", "Running"]
    pod = running.pod()
    assert pod
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "640Mi"
    assert running.setting("shared_buffers") == "160MB"
    assert running.sql("SELECT id FROM before_change") == "1"


def test_image_is_replaced_and_data_stay(running: ParadeDB) -> None:
    running.sql("CREATE TABLE before_image AS SELECT 2 AS id")
    running.patch({"image": OTHER_IMAGE})
    running.wait_running()
    pod = running.pod()
    assert pod
    assert pod["spec"]["containers"][0]["image"] == OTHER_IMAGE
    assert running.sql("SELECT id FROM before_image") == "2"


def test_extension_is_added(running: ParadeDB) -> None:
    running.patch({"extensions": {"additional": ["pg_trgm", "earthdistance"]}})
    running.wait_running()
    created = running.sql("SELECT string_agg(extname, ',') FROM pg_extension").split(",")
    assert {"pg_trgm", "earthdistance", "cube"} <= set(created)


def test_library_that_must_be_preloaded_is(running: ParadeDB) -> None:
    running.patch(
        {
            "postgresConfig": {
                "shared_preload_libraries": "auto_explain",
                "auto_explain.log_min_duration": "10s",
            }
        }
    )
    running.wait_running()
    assert running.setting("shared_preload_libraries") == "pg_stat_statements,auto_explain"
    assert running.setting("auto_explain.log_min_duration") == "10s"


def test_deleted_password_is_made_anew(running: ParadeDB) -> None:
    old = running.secret()
    running._kubectl("delete", "secret", f"{running.name}-credentials")
    eventually(
        "the new password works",
        lambda: (
            running.has_secret()
            and running.secret()["password"] != old["password"]
            and running.sql("SELECT 1", check=False) == "1"
        ),
    )
    assert "password authentication failed" in running.sql("SELECT 1", uri=old["uri"], check=False)

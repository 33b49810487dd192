"""Several instances: they stream, scale, change in order, and say what they are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import PERIOD, ParadeDB, eventually, find, get, kubectl

Make = Callable[[str], ParadeDB]

SWITCHOVER = "database.paradedb.io/switchover"
ROLE = "database.paradedb.io/role"


@pytest.fixture(scope="module")
def trio(namespace: str, client: None) -> Iterator[ParadeDB]:
    """Three instances that the tests share."""
    database = ParadeDB("trio", namespace).apply(replicas=3)
    database.wait_running(240)
    yield database
    database.delete()
    kubectl("-n", namespace, "delete", "pvc", "-l", "app.kubernetes.io/instance=trio", "--wait=false")


def pods(database: ParadeDB) -> dict[str, dict[str, Any]]:
    selector = f"app.kubernetes.io/instance={database.name},app.kubernetes.io/component=database"
    return {item["metadata"]["name"]: item for item in find("pod", database.namespace, selector)}


def primary(database: ParadeDB) -> str:
    """The instance with the primary's label; there is exactly one."""
    (name,) = [
        name for name, pod in pods(database).items() if pod["metadata"]["labels"].get(ROLE) == "primary"
    ]
    return name


def on(database: ParadeDB, instance: str, statement: str, check: bool = True) -> str:
    """Run SQL inside an instance, whatever its role."""
    psql = ["psql", "-X", "-A", "-t", "-U", "postgres", "-d", "paradedb", "-c", statement]
    done = kubectl("-n", database.namespace, "exec", instance, "-c", "paradedb", "--", *psql, check=check)
    return done.stdout.strip()


def on_all(database: ParadeDB, statement: str) -> list[str]:
    return [on(database, name, statement) for name in sorted(pods(database))]


def uids(database: ParadeDB) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods(database).values()}


def restarts(database: ParadeDB) -> list[int]:
    return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods(database).values()]


START = "SELECT pg_postmaster_start_time()"


def test_two_replicas_stream_from_the_primary(trio: ParadeDB) -> None:
    assert trio.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2"
    assert sorted(on_all(trio, "SELECT pg_is_in_recovery()")) == ["f", "t", "t"]
    status = trio.status()
    assert status["readyReplicas"] == 3
    assert status["currentPrimary"] == primary(trio)
    told = {item["name"]: item for item in status["instances"]}
    assert sorted(told) == ["trio-0", "trio-1", "trio-2"]
    assert sorted(item["role"] for item in told.values()) == ["primary", "replica", "replica"]
    assert told[status["currentPrimary"]]["role"] == "primary"
    assert all(item["ready"] and item["node"] for item in told.values())
    assert len({item["timeline"] for item in told.values()}) == 1


def test_what_is_written_is_read_on_the_replicas(trio: ParadeDB) -> None:
    trio.sql("CREATE TABLE seen AS SELECT 7 AS id")
    for name in sorted(pods(trio)):
        eventually(
            "the row has come", lambda name=name: on(trio, name, "SELECT id FROM seen", check=False) == "7"
        )


def test_read_only_service_leads_to_replicas_only(trio: ParadeDB) -> None:
    assert trio.status()["readOnlyEndpoint"] == f"trio-ro.{trio.namespace}.svc:5432"
    uri = trio.secret()["uri"].replace("@trio.", "@trio-ro.")
    answers = {trio.sql("SELECT pg_is_in_recovery() || ' ' || inet_server_addr()", uri=uri) for _ in range(8)}
    replicas = [pod for pod in pods(trio).values() if pod["metadata"]["labels"][ROLE] == "replica"]
    assert answers <= {f"true {pod['status']['podIP']}/32" for pod in replicas} | {
        f"true {pod['status']['podIP']}" for pod in replicas
    }
    slices = find("endpointslice", trio.namespace, "kubernetes.io/service-name=trio-ro")
    served = {address for item in slices for end in item["endpoints"] or [] for address in end["addresses"]}
    assert served == {pod["status"]["podIP"] for pod in replicas}
    assert "read-only transaction" in trio.sql("CREATE TABLE no (id int)", uri=uri, check=False)


def test_a_pass_with_nothing_to_do_changes_nothing(trio: ParadeDB) -> None:
    def versions() -> dict[str, str]:
        """The controllers write status: where there is a generation it tells whether the spec was changed."""
        kinds = "statefulset,service,configmap,secret,role,rolebinding,poddisruptionbudget"
        found = find(kinds, trio.namespace, "app.kubernetes.io/instance=trio")
        return {
            f"{item['kind']}/{item['metadata']['name']}": str(
                item["metadata"].get("generation") or item["metadata"]["resourceVersion"]
            )
            for item in found
            if not item["metadata"]["name"].endswith("-leader")  # Patroni renews its lock
        }

    before, instances = versions(), uids(trio)
    trio.annotate(PERIOD, "1s")
    for number in ("1", "2"):
        begun = trio.logged("run ended")
        trio.annotate("example.com/note", number)
        eventually("a pass of the operator", lambda begun=begun: trio.logged("run ended") > begun)
    assert versions() == before
    assert uids(trio) == instances
    kubectl("-n", trio.namespace, "annotate", "paradedb", "trio", f"{PERIOD}-", "example.com/note-")


def evict(database: ParadeDB, pod: str) -> str:
    """Ask for an eviction as a drain does; what the API server says when it refuses."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": database.namespace},
    }
    path = f"/api/v1/namespaces/{database.namespace}/pods/{pod}/eviction"
    return kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction), check=False).stderr


def test_the_primary_cannot_be_evicted(trio: ParadeDB) -> None:
    before = uids(trio)
    assert "disruption budget" in evict(trio, primary(trio))
    assert uids(trio) == before


def test_replicas_are_evicted_one_at_a_time(trio: ParadeDB) -> None:
    first, second = sorted(set(pods(trio)) - {primary(trio)})
    leader = primary(trio)
    assert evict(trio, first) == ""
    assert "disruption budget" in evict(trio, second)
    eventually("three stream again", lambda: len(ready(trio)) == 3, 180)
    trio.wait_running(180)
    assert primary(trio) == leader


def ready(database: ParadeDB) -> list[str]:
    return [
        name
        for name, pod in pods(database).items()
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])
    ]


def test_setting_that_reloads_restarts_nothing(trio: ParadeDB) -> None:
    started = on_all(trio, START)
    trio.patch({"postgresConfig": {"work_mem": "19MB"}})
    trio.wait_running(180)
    for name in sorted(pods(trio)):
        eventually("it is live", lambda name=name: on(trio, name, "SHOW work_mem") == "19MB")
    assert on_all(trio, START) == started
    trio.patch({"postgresConfig": None})
    trio.wait_running(180)


class Watch:
    """Whether an instance ever stopped replaying, or was replaced, while the block ran."""

    def __init__(self, database: ParadeDB) -> None:
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.paused: list[str] = []

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            for name in sorted(pods(self._database)):
                state = "SELECT pg_is_in_recovery() AND pg_get_wal_replay_pause_state() <> 'not paused'"
                if on(self._database, name, state, check=False) == "t":
                    self.paused.append(name)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize("value", ["120", "45"])
def test_max_connections_goes_up_and_down_without_stopping_a_replica(trio: ParadeDB, value: str) -> None:
    """Too small a value on a replica pauses its replay, or ends it:
    https://www.postgresql.org/docs/17/hot-standby.html#HOT-STANDBY-ADMIN
    """
    before, counts = uids(trio), restarts(trio)
    with Watch(trio) as watch:
        trio.patch({"postgresConfig": {"max_connections": value}})
        trio.wait_running(240)
    assert on_all(trio, "SHOW max_connections") == [value] * 3
    assert on_all(trio, "SELECT count(*) FROM pg_settings WHERE pending_restart") == ["0"] * 3
    assert watch.paused == []
    for name in pods(trio):
        log = kubectl("-n", trio.namespace, "logs", name, "-c", "paradedb").stdout
        assert "insufficient parameter settings" not in log
    assert uids(trio) == before
    assert restarts(trio) == counts
    assert not any(item["pendingRestart"] for item in trio.status()["instances"])


def test_sync_mode_is_seen_in_postgresql_and_in_the_status(trio: ParadeDB) -> None:
    trio.patch({"replication": {"mode": "sync"}})
    trio.wait_running(180)

    def synchronous() -> bool:
        states = trio.sql("SELECT string_agg(sync_state, ',' ORDER BY sync_state) FROM pg_stat_replication")
        roles = sorted(item["role"] for item in trio.status()["instances"])
        return states in ("async,sync", "async,quorum") and roles == ["primary", "replica", "syncReplica"]

    eventually("one replica is synchronous", synchronous)
    trio.patch({"replication": {"mode": "async"}})
    trio.wait_running(180)
    states = "SELECT string_agg(DISTINCT sync_state, ',') FROM pg_stat_replication"
    eventually("none is", lambda: trio.sql(states) == "async")


def test_one_to_three_and_back_from_the_highest_ordinal(make: Make) -> None:
    """The primary's instance is never taken away: another becomes the primary first."""
    database = make("scaled").apply()
    database.wait_running()
    database.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    database.patch({"replicas": 3})
    database.wait_running(240)
    assert sorted(pods(database)) == ["scaled-0", "scaled-1", "scaled-2"]
    database.annotate(SWITCHOVER, "scaled-2")
    eventually("the last leads", lambda: primary_now(database) == ["scaled-2"])
    eventually("the wish is gone", lambda: SWITCHOVER not in database.resource()["metadata"]["annotations"])
    database.sql("INSERT INTO kept VALUES (1001)")
    database.patch({"replicas": 1})
    database.wait_running(240)
    assert sorted(pods(database)) == ["scaled-0"]
    assert primary(database) == "scaled-0"
    assert database.sql("SELECT count(*) FROM kept") == "1001"
    assert database.status()["currentPrimary"] == "scaled-0"
    claims = find("pvc", database.namespace, "app.kubernetes.io/instance=scaled")
    assert len(claims) == 3, "volumes of instances taken away are kept"
    assert get("poddisruptionbudget", "scaled-primary", database.namespace) is None


def primary_now(database: ParadeDB) -> list[str]:
    return [name for name, pod in pods(database).items() if pod["metadata"]["labels"].get(ROLE) == "primary"]


def test_a_wish_that_cannot_be_met_is_refused_and_taken_away(trio: ParadeDB) -> None:
    leader = primary(trio)
    trio.annotate(SWITCHOVER, "trio-7")
    eventually("it is gone", lambda: SWITCHOVER not in trio.resource()["metadata"]["annotations"])
    eventually(
        "an event says why", lambda: any(e["reason"] == "SwitchoverRefused" for e in trio.events()), 30
    )
    assert primary(trio) == leader


@pytest.mark.alone
def test_a_cordoned_node_without_another_changes_nothing(trio: ParadeDB) -> None:
    """There is nowhere to go on one node: the primary stays, and nobody flaps."""
    nodes = find("node", trio.namespace)
    if len(nodes) > 1:
        pytest.skip("needs a cluster of one node")
    node, leader, before = nodes[0]["metadata"]["name"], primary(trio), uids(trio)
    events = len(trio.events())
    kubectl("cordon", node)
    try:
        time.sleep(15)
        assert primary(trio) == leader
        assert trio.status()["phase"] == "Running"
        assert len(trio.events()) == events
    finally:
        kubectl("uncordon", node)
    assert uids(trio) == before

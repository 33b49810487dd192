"""Conditions of the optional parts in the status: there while the part is asked for, and as it is seen."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import features, monitoring, pooler

from .fake_kube import pod
from .life import SETTLED, Life, paradedb

POOLER = {"connectionPooling": {"enabled": True}}
MONITORING = {"monitoring": {"enabled": True, "serviceMonitor": {"enabled": True}}}
USERS = {"auth": {"users": [{"name": "app"}]}}
READY = {"type": "PoolerReady", "ok": True, "reason": "PoolerRunning", "message": "1 of 1"}
NAMED = {"users": [{"name": "app", "secretName": "orders-app"}]}


class Seen:
    """What the parts are found to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pooler = READY
        self.takes: list[bool] = []
        monkeypatch.setattr(pooler, "check", lambda *_: [self.pooler])
        monkeypatch.setattr(monitoring, "check", self._monitoring)

    def _monitoring(self, *given: Any) -> list[dict[str, Any]]:
        self.takes.append(given[-1])
        reason = "ExporterRunning" if given[-1] else features.NO_PROMETHEUS_OPERATOR
        return [{"type": "MonitoringReady", "ok": given[-1], "reason": reason, "message": ""}]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def life(**spec: Any) -> Life:
    resource = paradedb(phase="Running", observedGeneration=1)
    resource["metadata"]["namespace"] = "prod"
    resource["spec"] |= spec
    return Life(resource, pod("orders-0", role="primary"))


def types(of: Life) -> set[str]:
    return {item["type"] for item in of.status["conditions"]}


OPTIONAL = {"PoolerReady", "MonitoringReady", "UsersReady"}


def test_a_part_has_its_condition_while_it_is_asked_for(seen: Seen) -> None:
    one = life(**POOLER, **MONITORING, **USERS)
    said = {"type": "UsersReady", "ok": True, "reason": "AsDeclared", "message": ""}
    one.finished(credentials=NAMED | {"checks": [said]}, takes=True)
    assert types(one) >= OPTIONAL
    assert one.status["poolerEndpoint"] == "orders-pooler.prod.svc:5432"
    assert one.status["users"] == NAMED["users"]
    one.kube.objects["ParadeDB", "prod", "orders"]["spec"] = {"replicas": 1}
    one.finished()
    assert not types(one) & OPTIONAL
    assert not {"poolerEndpoint", "users"} & set(one.status)


def test_between_passes_the_parts_are_looked_at(seen: Seen) -> None:
    one = life(**POOLER)
    one.finished()
    assert one.condition("PoolerReady")["status"] == "True"
    seen.pooler = READY | {"ok": False, "reason": "PoolerNotReady", "message": "0 of 1"}
    assert one.observed()["changed"] is True
    assert one.condition("PoolerReady")["status"] == "False"
    assert one.observed()["changed"] is False
    assert one.status["phase"] == "Running"


def test_a_database_that_cannot_be_asked_for_its_users_keeps_what_was_found(seen: Seen) -> None:
    one = life(**USERS)
    said = {"type": "UsersReady", "ok": False, "reason": "RoleTaken", "message": "why"}
    one.finished(credentials={"checks": [said]})
    one.finished(database={"connected": False})
    assert one.condition("UsersReady")["reason"] == "RoleTaken"


@pytest.mark.parametrize("takes", [True, False])
def test_a_cluster_without_prometheus_operator_is_looked_at_again(seen: Seen, takes: bool) -> None:
    one = life(**MONITORING)
    result = one.finished(SETTLED, takes=takes)
    assert ("requeue_after" in result) is not takes
    one.observed()
    assert seen.takes == [takes, takes]
    assert one.condition("MonitoringReady")["status"] == ("True" if takes else "False")


@pytest.mark.parametrize("ok", [True, False])
def test_what_is_in_the_database_is_looked_at_again_while_it_is_not_as_it_should_be(
    seen: Seen, ok: bool
) -> None:
    said = {"type": "UsersReady", "ok": ok, "reason": "RoleTaken", "message": ""}
    assert ("requeue_after" in life(**USERS).finished(credentials={"checks": [said]})) is not ok


def test_a_failed_pass_still_tells_of_the_parts_that_were_made_before(seen: Seen) -> None:
    one = life(**POOLER)
    one.failed()
    assert "PoolerReady" not in types(one)
    one.finished()
    seen.pooler = READY | {"ok": False, "reason": "PoolerCrashing", "message": "0 of 1"}
    one.failed()
    assert one.condition("PoolerReady")["reason"] == "PoolerCrashing"

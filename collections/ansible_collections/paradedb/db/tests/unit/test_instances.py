from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import instances

from .fake_kube import FakeKube, pod

CREATED = datetime(2025, 1, 1, tzinfo=UTC)
SOON = CREATED + timedelta(seconds=60)
LATE = CREATED + timedelta(seconds=instances.PROGRESS_DEADLINE + 60)


def container(name: str = "paradedb", image: str = "shop/db:17", **state: Any) -> dict[str, Any]:
    last = state.pop("last", None)
    return {"name": name, "image": image, "state": state, "lastState": {"terminated": last} if last else {}}


def starting(*containers: dict[str, Any], init: bool = False, **status: Any) -> dict[str, Any]:
    kind = "initContainerStatuses" if init else "containerStatuses"
    made = pod("orders-0", ready=False, **status)
    made["status"]["containerStatuses"] = None
    made["status"][kind] = list(containers)
    return made


@pytest.mark.parametrize(
    "reason",
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"],
)
@pytest.mark.parametrize("init", [True, False])
def test_an_image_that_cannot_be_pulled(reason: str, init: bool) -> None:
    waiting = {"reason": reason, "message": "Back-off pulling"}
    found = instances.trouble(starting(container("prepare", waiting=waiting), init=init), SOON)
    assert found
    assert found["reason"] == "ImagePullFailed"
    assert "shop/db:17" in found["message"]
    assert "spec.image:" in found["message"]


def test_the_operators_own_image_is_not_blamed_on_the_user() -> None:
    waiting = {"reason": "ErrImagePull"}
    found = instances.trouble(starting(container("tools", "operator:1", waiting=waiting), init=True), SOON)
    assert found
    assert "operator:1" in found["message"]
    assert "spec.image:" not in found["message"]


@pytest.mark.parametrize(
    "reason", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"]
)
def test_a_container_that_cannot_start(reason: str) -> None:
    waiting = {"reason": reason, "message": "secret not found"}
    found = instances.trouble(starting(container(waiting=waiting)), SOON)
    assert found == {"reason": "ContainerCannotStart", "message": "paradedb: secret not found"}
    bare = instances.trouble(starting(container(waiting={"reason": reason})), SOON)
    assert bare == {"reason": "ContainerCannotStart", "message": f"paradedb: {reason}"}


def test_a_recovery_takes_as_long_as_it_takes() -> None:
    recovering = starting(container("recover", running={}), init=True)
    assert instances.recovers(recovering)
    assert instances.trouble(recovering, LATE) is None
    assert not instances.recovers(starting(container("prepare", running={}), init=True))


@pytest.mark.parametrize("state", [{"waiting": {"reason": "CrashLoopBackOff"}}, {"running": {}}])
def test_a_recovery_that_failed_has_failed_until_it_succeeds(state: dict[str, Any]) -> None:
    ended = {"exitCode": 1, "message": "WALMissing|spec.bootstrap.recovery.target: a gap\n"}
    found = instances.trouble(starting(container("recover", last=ended, **state), init=True), SOON)
    assert found == {"reason": "WALMissing", "message": "spec.bootstrap.recovery.target: a gap"}
    done = container("recover", last=ended, terminated={"exitCode": 0})
    assert instances.trouble(starting(done, init=True), SOON) is None


@pytest.mark.parametrize("where", ["terminated", "last"])
def test_what_prepare_found_wrong(where: str) -> None:
    ended = {"exitCode": 1, "message": "VersionMismatch|spec.postgresVersion: is 17, but 16 | or so\n"}
    state: dict[str, Any] = {where: ended}
    if where == "last":
        state["waiting"] = {"reason": "CrashLoopBackOff"}
    found = instances.trouble(starting(container("prepare", **state), init=True), SOON)
    assert found == {"reason": "VersionMismatch", "message": "spec.postgresVersion: is 17, but 16 | or so"}


@pytest.mark.parametrize(
    "said", ["no separator", "two words|x", "|x", "1st|x", "Reason|", "x" * 4000, "evil\nline|x", "ümlaut|x"]
)
def test_a_reason_that_the_api_would_refuse_is_none(said: str) -> None:
    ended = {"exitCode": 1, "message": said}
    found = instances.trouble(starting(container("prepare", terminated=ended), init=True), SOON)
    assert found
    assert found["reason"] == "PrepareFailed"
    assert found["message"]
    assert len(found["message"]) <= 1024


def test_prepare_that_ended_well_is_no_trouble() -> None:
    done = container("prepare", terminated={"exitCode": 0, "message": "Fine|all"})
    assert instances.trouble(starting(done, init=True), SOON) is None


def test_a_crashing_database_tells_the_end_of_its_log() -> None:
    last = {"exitCode": 1, "message": "x" * 1000 + "FATAL: disk full\n"}
    found = instances.trouble(starting(container(waiting={"reason": "CrashLoopBackOff"}, last=last)), SOON)
    assert found
    assert found["reason"] == "InstanceCrashing"
    assert found["message"].endswith("FATAL: disk full")
    assert len(found["message"]) < 600


def test_a_crash_without_words() -> None:
    found = instances.trouble(starting(container(waiting={"reason": "CrashLoopBackOff"})), SOON)
    assert found
    assert "see its log" in found["message"]


@pytest.mark.parametrize(
    "state",
    [
        {"waiting": {"reason": "ContainerCreating"}},
        {"waiting": {"reason": "PodInitializing"}},
        {"waiting": {}},
        {"running": {"startedAt": "2025-01-01T00:00:00Z"}},
        {"terminated": {"exitCode": 1, "message": "first crash"}},
        {"terminated": {"exitCode": 0}},
        {"running": {}, "last": {"exitCode": 137}},
        {},
    ],
)
def test_what_may_still_become_ready_is_no_trouble_until_the_deadline(state: dict[str, Any]) -> None:
    slow = starting(container(**state))
    assert instances.trouble(slow, SOON) is None
    found = instances.trouble(slow, LATE)
    assert found
    assert found["reason"] == "ProgressDeadlineExceeded"
    assert "orders-0" in found["message"]


@pytest.mark.parametrize("status", [{}, {"phase": "Pending"}])
def test_a_pod_without_status_is_new(status: dict[str, Any]) -> None:
    new = pod("orders-0", ready=False)
    new["status"] = status
    assert instances.trouble(new, SOON) is None
    assert instances.is_running(new) is False
    assert instances.is_ready(new) is False


def test_ready_is_never_trouble() -> None:
    ready = pod("orders-0", containerStatuses=[container(waiting={"reason": "ImagePullBackOff"})])
    assert instances.trouble(ready, LATE) is None


def test_the_deadline_counts_from_when_the_pod_stopped_being_ready() -> None:
    restarted = pod("orders-0", ready=False)
    restarted["status"]["conditions"][0]["lastTransitionTime"] = LATE.isoformat().replace("+00:00", "Z")
    assert instances.trouble(restarted, LATE + timedelta(seconds=5)) is None
    assert instances.trouble(restarted, LATE + timedelta(seconds=instances.PROGRESS_DEADLINE + 1)) is not None


def test_the_schedulers_word_is_told() -> None:
    blocked = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: insufficient cpu"}
    found = instances.trouble(starting(conditions=[blocked]), LATE)
    assert found
    assert "insufficient cpu" in found["message"]
    assert instances.unscheduled(starting(conditions=[blocked])) == "0/1 nodes: insufficient cpu"
    assert instances.unscheduled(starting(conditions=[{**blocked, "status": "True"}])) == ""
    assert instances.unscheduled(starting(conditions=None)) == ""


def test_pods_that_are_going_or_of_others_do_not_count() -> None:
    going, other = pod("orders-1"), pod("other-0")
    going["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    other["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    pooler = pod("orders-pooler-0")
    pooler["metadata"]["labels"]["app.kubernetes.io/component"] = "pooler"
    cluster = FakeKube(pod("orders-2"), pod("orders-0"), going, other, pooler)
    found = instances.database_pods(cluster, "prod", "orders")  # type: ignore[arg-type]
    assert [item["metadata"]["name"] for item in found] == ["orders-0", "orders-2"]
    assert instances.database_pods(cluster, "elsewhere", "orders") == []  # type: ignore[arg-type]
    living = instances.all_pods(cluster, "prod", "orders")  # type: ignore[arg-type]
    assert [item["metadata"]["name"] for item in living] == ["orders-0", "orders-1", "orders-2"]


@pytest.mark.parametrize(
    ("statuses", "running"),
    [
        ([container(running={})], True),
        ([container("sidecar", running={})], False),
        ([container(waiting={})], False),
        ([container(terminated={})], False),
        (None, False),
    ],
)
def test_is_running(statuses: Any, running: bool) -> None:
    assert instances.is_running(pod("orders-0", containerStatuses=statuses)) is running

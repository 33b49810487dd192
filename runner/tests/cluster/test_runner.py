"""The runner as users run it: a process, a real API server, real Ansible."""

import contextlib
import itertools
from pathlib import Path

from harness import PERIOD, install, overlaps, until
from kubernetes import client


def test_a_resource_is_reconciled_finalized_and_gone(cluster, start):
    runner = start()
    cluster.create("one", nValue=7)
    until(lambda: cluster.succeeded("one"))
    assert cluster.get("one")["metadata"]["finalizers"] == [f"{cluster.group}/finalizer"]
    assert cluster.owned("one") == {"n": "7"}
    assert cluster.condition("one", "Running")["reason"] == "Successful"

    cluster.patch("one", nValue=8)
    until(lambda: cluster.owned("one") == {"n": "8"})

    until(lambda: cluster.succeeded("one"))
    cluster.delete("one")
    until(lambda: cluster.get("one") is None)
    assert runner.passes("one")[-1] == "final bye"
    assert not overlaps(runner.passes("one"))


def test_a_resource_is_looked_at_again_after_its_period(cluster, start):
    runner = start()
    cluster.create("one", annotations={PERIOD: "2s"})
    until(lambda: len(runner.lines("run ended")) >= 3)
    generation = cluster.get("one")["metadata"]["generation"]
    assert generation == 1


def test_a_dependent_that_is_deleted_comes_back(cluster, start):
    start()
    cluster.create("one", nValue=1)
    until(lambda: cluster.succeeded("one"))
    cluster.core.delete_namespaced_config_map("one-owned", cluster.namespace)
    until(lambda: cluster.owned("one") == {"n": "1"})


def test_two_resources_run_at_once_and_one_never_twice(cluster, start):
    runner = start("--max-concurrent-reconciles=2")
    for name in ("one", "two"):
        cluster.create(name, takeSeconds=3)
    until(lambda: len(runner.passes("one")) == 1 and len(runner.passes("two")) == 1)
    assert [len(runner.passes(name)) for name in ("one", "two")] == [1, 1], "both have begun, none has ended"
    for number in range(3):
        cluster.patch("one", nValue=number)
    until(lambda: cluster.succeeded("one") and cluster.succeeded("two"))
    assert not overlaps(runner.passes("one"))


def test_a_failing_role_becomes_an_event_and_waits(cluster, start):
    runner = start()
    cluster.create("one", pleaseFail=True)
    (event,) = until(lambda: cluster.events("one"))
    assert (event.type, event.reason) == ("Warning", "ReconcileFailed")
    assert event.message == "Refuse: the spec asked for it"
    (retry,) = until(lambda: runner.lines("will retry"))
    assert 27 <= retry["delay"] <= 30
    until(lambda: cluster.condition("one", "Failure").get("status") == "True")
    assert cluster.condition("one", "Running")["status"] == "False"
    cluster.patch("one", pleaseFail=False)
    until(lambda: cluster.succeeded("one"))


def test_a_role_that_does_not_parse_is_a_failure_with_a_reason(cluster, start):
    start()
    cluster.create("bad", kind="Broken")
    failure = until(lambda: cluster.condition("bad", "Failure", "brokens"))
    assert failure["reason"] == "PlaybookParseError"
    assert "conflicting action statements" in failure["message"]
    assert cluster.condition("bad", "Running", "brokens")["status"] == "False"


def test_a_failing_finalizer_keeps_the_resource_until_it_succeeds(cluster, start):
    runner = start()
    cluster.create("one", keepMe=True)
    until(lambda: cluster.succeeded("one"))
    cluster.delete("one")
    until(lambda: any(event.reason == "FinalizerFailed" for event in cluster.events("one")))
    assert cluster.get("one")["metadata"]["finalizers"] == [f"{cluster.group}/finalizer"]
    cluster.patch("one", keepMe=False)
    until(lambda: cluster.get("one") is None)
    assert runner.passes("one")[-1] == "final bye"


def test_a_deletion_ends_a_running_pass_and_its_processes(cluster, start):
    runner = start()
    cluster.create("one", takeSeconds=300)
    until(lambda: runner.passes("one"))
    cluster.delete("one")
    until(lambda: cluster.get("one") is None)
    assert runner.passes("one")[-1] == "final bye"
    until(lambda: not runner.busy())


def test_after_sigkill_nothing_runs_on_and_a_new_runner_converges(cluster, start):
    runner = start()
    cluster.create("one", takeSeconds=300, nValue=1)
    until(lambda: runner.passes("one"))
    runner.process.kill()
    runner.process.wait()
    until(lambda: runner.processes() == [])
    cluster.patch("one", takeSeconds=0, nValue=2)
    start()
    until(lambda: cluster.owned("one") == {"n": "2"} and cluster.succeeded("one"))


def test_sigterm_lets_a_pass_end_and_leaves_nothing(cluster, start):
    runner = start("--leader-elect", f"--leader-election-namespace={cluster.namespace}")
    cluster.create("one", takeSeconds=2)
    until(lambda: runner.passes("one"))
    assert runner.stop() == 0
    assert runner.passes("one")[-1].startswith("end"), "the pass was allowed to end"
    assert runner.processes() == []
    assert list(runner.temporary.iterdir()) == []
    lease = cluster.leases.read_namespaced_lease("paradedb-runner", cluster.namespace)
    assert not lease.spec.holder_identity


def test_sigterm_ends_a_pass_that_takes_too_long(cluster, start):
    runner = start("--graceful-shutdown-timeout=1s")
    cluster.create("one", takeSeconds=300)
    until(lambda: runner.passes("one"))
    assert runner.stop() == 0
    assert runner.processes() == []
    assert list(runner.temporary.iterdir()) == []


def test_of_two_runners_one_works_and_the_other_takes_over(cluster, start):
    flags = ("--leader-elect", f"--leader-election-namespace={cluster.namespace}")
    first, second = start(*flags), start(*flags)
    until(lambda: first.lines("became the leader") or second.lines("became the leader"))
    leader, other = (first, second) if first.lines("became the leader") else (second, first)
    cluster.create("one", nValue=1)
    until(lambda: cluster.succeeded("one"))
    assert other.lines("run started") == []
    assert leader.stop() == 0
    cluster.patch("one", nValue=2)
    until(lambda: cluster.owned("one") == {"n": "2"})
    assert other.lines("run started")


def test_a_leader_that_loses_its_lease_ends_its_runs_and_itself(cluster, start):
    runner = start("--leader-elect", f"--leader-election-namespace={cluster.namespace}")
    cluster.create("one", takeSeconds=300)
    until(lambda: runner.passes("one"))
    spec = {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600}
    cluster.leases.patch_namespaced_lease("paradedb-runner", cluster.namespace, {"spec": spec})
    assert runner.process.wait(60) == 1
    assert runner.processes() == []


def test_metrics_are_guarded_by_the_rights_of_the_cluster(cluster, start):
    runner = start()
    for name in ("may", "maynot"):
        cluster.core.create_namespaced_service_account(cluster.namespace, {"metadata": {"name": name}})
    role = f"{cluster.namespace}-metrics"
    rules = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    subject = {"kind": "ServiceAccount", "name": "may", "namespace": cluster.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    cluster.rbac.create_cluster_role({"metadata": {"name": role}, "rules": rules})
    cluster.rbac.create_cluster_role_binding(
        {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}
    )

    def token(name):
        request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
        answer = cluster.core.create_namespaced_service_account_token(name, cluster.namespace, request)
        return answer.status.token

    url = f"https://127.0.0.1:{runner.metrics}/metrics"
    try:
        assert runner.http(url) == 401
        assert runner.http(url, "nonsense") == 401
        assert runner.http(url, token("maynot")) == 403
        until(lambda: runner.http(url, token("may")) == 200)
        assert "ansible_operator_build_info" in runner.answer
    finally:
        cluster.rbac.delete_cluster_role_binding(role)
        cluster.rbac.delete_cluster_role(role)


def test_a_kind_that_is_not_installed_yet_keeps_the_runner_unready(cluster, start, kinds):
    api, group = kinds
    extensions = client.ApiextensionsV1Api(api)
    late = f"late{group}"
    cluster.group = late
    runner = start(wait=False)
    until(lambda: runner.lines("waiting for the kind to be installed"))
    assert runner.http(f"http://127.0.0.1:{runner.health}/readyz") == 500
    assert runner.http(f"http://127.0.0.1:{runner.health}/healthz") == 200
    for kind in ("Demo", "Broken"):
        install(extensions, late, kind)
    try:
        until(runner.ready)
        cluster.create("one", nValue=1)
        until(lambda: cluster.succeeded("one"))
    finally:
        runner.stop()
        cluster.release()
        for kind in ("Demo", "Broken"):
            extensions.delete_custom_resource_definition(f"{kind.lower()}s.{late}")
        cluster.group = group


def test_nothing_secret_is_on_a_command_line(cluster, start):
    runner = start()
    cluster.create("one", takeSeconds=300, password="hunter2")
    until(lambda: runner.passes("one"))
    for pid, what in itertools.product(runner.processes(), ("cmdline", "environ")):
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            assert b"hunter2" not in Path("/proc", str(pid), what).read_bytes()
    assert all("hunter2" not in str(line) for line in runner.lines())

"""
What networks, servers and clocks do to a runner: whatever happens meanwhile, it misses nothing afterwards.

No engine makes a difference here, so the first one is used.
"""

import os
import time
from pathlib import Path

import pytest
from harness import ENGINES, Cluster, found, overlaps, until
from kubernetes import client
from relay import relaying

AFTERWARDS = 240.0  # seconds: a half-open connection is noticed within two minutes, a retry waits for 30 s
MINUTE = 60.0
CLOCK = Path(__file__).parent / "clock"


@pytest.fixture(scope="module")
def engine():
    return ENGINES[0]


@pytest.fixture
def relay():
    with relaying(os.environ["KUBECONFIG"]) as relay:
        yield relay


class Meanwhile:
    """Resources, what is done to them while the runner is cut off, and what is to come of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def before(self):
        for name in ("edited", "deleted", "robbed", "left"):
            self.cluster.create(name, nValue=1)
        until(lambda: all(self.cluster.succeeded(name) for name in ("edited", "deleted", "robbed", "left")))

    def during(self):
        self.cluster.create("created", nValue=2)
        self.cluster.patch("edited", nValue=2)
        self.cluster.delete("deleted")
        self.cluster.core.delete_namespaced_config_map("robbed-owned", self.cluster.namespace)

    def nothing_came_of_it(self):
        return (
            self.cluster.owned("created") is None
            and self.cluster.owned("edited") == {"n": "1"}
            and self.cluster.owned("robbed") is None
            and self.cluster.get("deleted") is not None
        )

    def afterwards(self, runner):
        until(lambda: self.cluster.owned("created") == {"n": "2"}, AFTERWARDS)
        until(lambda: self.cluster.owned("edited") == {"n": "2"}, AFTERWARDS)
        until(lambda: self.cluster.owned("robbed") == {"n": "1"}, AFTERWARDS)
        until(lambda: self.cluster.get("deleted") is None, AFTERWARDS)
        assert runner.passes("deleted")[-1] == "final bye"
        for name in ("created", "edited", "robbed", "left"):
            until(lambda name=name: self.cluster.succeeded(name), AFTERWARDS)
            assert not overlaps(runner.passes(name))
        assert runner.process.poll() is None


@pytest.mark.slow
def test_half_open_streams_are_noticed(cluster, start, relay, tmp_path):
    runner = start(f"--kubeconfig={relay.kubeconfig(tmp_path / 'kubeconfig')}", "--reconcile-period=0s")
    meanwhile = Meanwhile(cluster)
    meanwhile.before()
    relay.freeze()
    meanwhile.during()
    relay.mend()
    assert meanwhile.nothing_came_of_it()
    meanwhile.afterwards(runner)


@pytest.mark.slow
def test_an_api_server_that_is_unreachable_for_a_minute(cluster, start, relay, tmp_path):
    runner = start(f"--kubeconfig={relay.kubeconfig(tmp_path / 'kubeconfig')}", "--reconcile-period=0s")
    meanwhile = Meanwhile(cluster)
    meanwhile.before()
    relay.refuse()
    meanwhile.during()
    time.sleep(MINUTE)
    assert meanwhile.nothing_came_of_it()
    relay.mend()
    meanwhile.afterwards(runner)


def test_a_watch_that_is_too_old(cluster, start, relay, kinds, tmp_path):
    """A new definition of a kind makes the API server forget the kind's past: 410 for who asks for it."""
    runner = start(f"--kubeconfig={relay.kubeconfig(tmp_path / 'kubeconfig')}", "--reconcile-period=0s")
    meanwhile = Meanwhile(cluster)
    meanwhile.before()
    relay.refuse()
    meanwhile.during()
    renew(client.ApiextensionsV1Api(kinds[0]), cluster)
    assert meanwhile.nothing_came_of_it()
    relay.mend()
    until(lambda: runner.lines("too old", kind="Demo"), AFTERWARDS)
    meanwhile.afterwards(runner)


def test_a_token_that_is_no_longer_accepted(cluster, start, relay, tmp_path):
    """The token is bound to a Secret and ends with it; a fresh one comes in the same file."""
    account(cluster)
    (tmp_path / "token").write_text(token(cluster, "first"))
    kubeconfig = relay.kubeconfig(tmp_path / "kubeconfig", {"tokenFile": str(tmp_path / "token")})
    runner = start(f"--kubeconfig={kubeconfig}", "--reconcile-period=0s")
    meanwhile = Meanwhile(cluster)
    meanwhile.before()
    cluster.core.delete_namespaced_secret("first", cluster.namespace)
    until(lambda: not accepted(cluster, (tmp_path / "token").read_text()))
    relay.cut()
    until(lambda: runner.lines("HTTP 401"))
    meanwhile.during()
    assert meanwhile.nothing_came_of_it()
    (tmp_path / "token").write_text(token(cluster, "second"))
    meanwhile.afterwards(runner)


def test_a_wall_clock_that_jumps(cluster, start, tmp_path):
    (tmp_path / "clock").write_text("0")
    path = filter(None, [str(CLOCK), os.environ.get("PYTHONPATH")])
    flags = ("--leader-elect", f"--leader-election-namespace={cluster.namespace}", "--reconcile-period=1s")
    environment = {"PYTHONPATH": os.pathsep.join(path), "TEST_CLOCK": str(tmp_path / "clock")}
    runner = start(*flags, environment=environment)
    until(lambda: runner.lines("became the leader"))
    start(*flags, environment=environment)  # it waits for a lease whose end it must not see in the clock
    meanwhile = Meanwhile(cluster)
    meanwhile.before()
    for hours in (1, -1):
        (tmp_path / "clock").write_text(str(hours * 3600))
        passes = len(runner.passes("left"))
        renewed = lease(cluster).renew_time
        until(lambda passes=passes: len(runner.passes("left")) >= passes + 4)
        until(lambda renewed=renewed: lease(cluster).renew_time != renewed)
    meanwhile.during()
    meanwhile.afterwards(runner)
    assert not lease(cluster).lease_transitions


def renew(extensions, cluster):
    """Change the definition of the kind, and wait until the new one is served."""
    name = f"{cluster.plural}.{cluster.group}"
    definition = extensions.read_custom_resource_definition(name)
    column = {"name": f"N{time.time_ns()}", "type": "string", "jsonPath": ".spec.nValue"}
    path = "/spec/versions/0/additionalPrinterColumns"
    patch = [{"op": "add", "path": path, "value": [column]}]
    extensions.patch_custom_resource_definition(name, patch)
    past = definition.metadata.resource_version
    until(lambda: _forgotten(cluster, past))


def _forgotten(cluster, resource_version):
    where = (cluster.group, "v1", cluster.namespace, cluster.plural)
    query = {"watch": True, "resource_version": resource_version, "timeout_seconds": 1}
    answer = cluster.custom.list_namespaced_custom_object(*where, **query, _preload_content=False)
    return b'"code":410' in answer.data


def account(cluster):
    """An account that may do everything in its namespace."""
    name = {"name": "runner"}
    cluster.core.create_namespaced_service_account(cluster.namespace, {"metadata": name})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", **name, "namespace": cluster.namespace}
    body = {"metadata": name, "roleRef": reference, "subjects": [subject]}
    cluster.rbac.create_namespaced_role_binding(cluster.namespace, body)


def token(cluster, secret):
    """A token of the account that is good for as long as a Secret of this name, made here, exists."""
    made = cluster.core.create_namespaced_secret(cluster.namespace, {"metadata": {"name": secret}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": made.metadata.uid}
    body = {"spec": {"audiences": [], "boundObjectRef": bound}}
    return cluster.core.create_namespaced_service_account_token(
        "runner", cluster.namespace, body
    ).status.token


def accepted(cluster, token):
    review = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token))
    answer = client.AuthenticationV1Api(cluster.core.api_client).create_token_review(review)
    return answer.status.authenticated


def lease(cluster):
    return found(lambda: cluster.leases.read_namespaced_lease("paradedb-runner", cluster.namespace)).spec

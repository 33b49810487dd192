"""Network policies let in who may come in, and nobody else; the instances go on among themselves.

Needs a network that enforces policies; the local cluster's does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import IMAGE, ParadeDB, apply, eventually, find, get, kubectl

SWITCHOVER = "database.paradedb.io/switchover"
ROLE = "database.paradedb.io/role"
LISTENER = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 7777, Listen => 5) or die; "
    "while ($c = $s->accept) { close $c }"
)
METRICS = 9187
SCRAPER = {"podSelector": {"matchLabels": {"app": "scraper"}}}

# Namespace and name.
Pod = tuple[str, str]


def start_pod(namespace: str, name: str, command: list[str], **labels: str) -> Pod:
    container = {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 999},
    }
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    kubectl("-n", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
    return namespace, name


def address(pod: Pod) -> str:
    found = get("pod", pod[1], pod[0])
    assert found
    return str(found["status"]["podIP"])


def reached(pod: Pod, hosts: list[str], *ports: int) -> int:
    """How many of the hosts' ports a pod can connect to; what is dropped is given up after two seconds."""
    knock = 'timeout 2 bash -c ": </dev/tcp/$0/$1" 2>/dev/null && echo reached'
    lines = [f"bash -c '{knock}' {host} {port} &" for host in hosts for port in ports]
    script = "\n".join([*lines, "wait"])
    done = kubectl("-n", pod[0], "exec", "-i", pod[1], "--", "bash", stdin=script, check=False)
    return done.stdout.count("reached")


def policy(namespace: str) -> dict[str, Any]:
    """Nobody may reach any pod of the namespace."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    metadata = {"name": "probe", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def friend(namespace: str, client: None) -> Pod:
    """A pod in the namespace of the database."""
    return namespace, "client"


@pytest.fixture(scope="module")
def stranger(friend: Pod) -> Iterator[Pod]:
    """A pod in another namespace. The tests are skipped where no policy keeps anybody away from anything."""
    namespace = f"{friend[0]}-other"
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    pod = start_pod(namespace, "client", ["sleep", "infinity"])
    listener = address(start_pod(namespace, "listener", ["perl", "-e", LISTENER]))
    eventually("the listener listens", lambda: reached(friend, [listener], 7777))
    apply(policy(namespace))
    try:
        eventually("the probe is kept away", lambda: not reached(friend, [listener], 7777), 15)
    except AssertionError:
        if "localcluster" in kubectl("get", "storageclass").stdout:  # whose network does
            raise
        pytest.skip("this cluster's network does not enforce NetworkPolicies")
    finally:
        kubectl("-n", namespace, "delete", "networkpolicy/probe", "pod/listener", "--wait=false")
    yield pod
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def guarded(namespace: str, stranger: Pod) -> Iterator[ParadeDB]:
    """Two instances with everything that listens, and policies from the beginning."""
    database = ParadeDB("guarded", namespace).apply(
        replicas=2,
        auth={"users": [{"name": "app"}]},
        connectionPooling={"enabled": True, "replicas": 1},
        monitoring={"enabled": True, "image": IMAGE, "port": METRICS},
        networkPolicy={"enabled": True, "metrics": [SCRAPER]},
    )
    database.wait_running(240)
    yield database
    database.delete()
    kubectl("-n", namespace, "delete", "pvc", "-l", "app.kubernetes.io/instance=guarded", "--wait=false")


def policies(database: ParadeDB) -> list[str]:
    found = find("networkpolicy", database.namespace)
    return sorted(item["metadata"]["name"] for item in found)


def places(database: ParadeDB) -> list[str]:
    """Where PostgreSQL answers: the Services, the pooler's among them, and the pod of each instance."""
    services = [f"guarded{suffix}.{database.namespace}.svc" for suffix in ("", "-ro", "-pooler")]
    return services + instances(database)


def instances(database: ParadeDB) -> list[str]:
    return [address((database.namespace, f"guarded-{ordinal}")) for ordinal in (0, 1)]


def streaming(database: ParadeDB) -> bool:
    statement = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    return on_primary(database, statement) == "1"


def primary(database: ParadeDB) -> str:
    labels = f"app.kubernetes.io/instance=guarded,{ROLE}=primary"
    return ",".join(pod["metadata"]["name"] for pod in find("pod", database.namespace, labels))


def on_primary(database: ParadeDB, statement: str) -> str:
    """Run SQL inside the primary's pod, through no network."""
    psql = ["psql", "-X", "-A", "-t", "-U", "postgres", "-d", "paradedb", "-c", statement]
    pod = primary(database)
    return kubectl(
        "-n", database.namespace, "exec", pod, "-c", "paradedb", "--", *psql, check=False
    ).stdout.strip()


def through_the_pooler(pod: Pod, database: ParadeDB, statement: str) -> str:
    """What the application's user gets through the pooler."""
    secret = get("secret", "guarded-app", database.namespace)
    assert secret
    uri = base64.b64decode(secret["data"]["uri"]).decode().replace("@guarded.", "@guarded-pooler.")
    script = 'read -r uri; exec psql -X -A -t "$uri"'
    command = ["exec", "-i", pod[1], "--", "sh", "-c", script]
    done = kubectl("-n", pod[0], *command, stdin=f"{uri}\n{statement}\n", check=False)
    return done.stdout.strip() or done.stderr.strip()


def test_the_namespace_comes_in_and_others_do_not(guarded: ParadeDB, friend: Pod, stranger: Pod) -> None:
    assert policies(guarded) == ["guarded-database", "guarded-pooler"]
    eventually("the friend comes in everywhere", lambda: reached(friend, places(guarded), 5432) == 5)
    assert reached(stranger, places(guarded), 5432) == 0
    assert guarded.sql("SELECT 1") == "1"
    assert through_the_pooler(friend, guarded, "SELECT 2") == "2"


def test_patroni_answers_instances_only(guarded: ParadeDB, friend: Pod, stranger: Pod) -> None:
    for pod in (friend, stranger):
        assert reached(pod, instances(guarded), 8008) == 0
    assert streaming(guarded)


def test_metrics_are_for_those_who_are_named(guarded: ParadeDB, friend: Pod, stranger: Pod) -> None:
    scraper = start_pod(guarded.namespace, "scraper", ["sleep", "infinity"], app="scraper")
    eventually("the scraper comes in", lambda: reached(scraper, instances(guarded), METRICS) == 2)
    assert reached(scraper, instances(guarded), 8008) == 0
    for pod in (friend, stranger):
        assert reached(pod, instances(guarded), METRICS) == 0
    kubectl("-n", guarded.namespace, "delete", "pod/scraper", "--wait=false")


def test_a_switchover_and_a_failover_go_on_behind_the_policies(guarded: ParadeDB, friend: Pod) -> None:
    """Patroni asks its candidate over the network before it hands over."""
    guarded.annotate(SWITCHOVER, "guarded-1")
    eventually("the other leads", lambda: primary(guarded) == "guarded-1")
    eventually("the first follows", lambda: streaming(guarded))
    guarded.wait_running()
    kubectl("-n", guarded.namespace, "delete", "pod/guarded-1", "--wait=false")
    eventually("the first leads again", lambda: primary(guarded) == "guarded-0")
    eventually("the other follows", lambda: streaming(guarded))
    guarded.wait_running()
    eventually("the pooler leads there", lambda: through_the_pooler(friend, guarded, "SELECT 3") == "3")


def test_a_namespace_that_is_named_comes_in(guarded: ParadeDB, friend: Pod, stranger: Pod) -> None:
    """The named ones take the place of the database's own namespace; the pooler needs no naming."""
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": stranger[0]}}
    guarded.patch({"networkPolicy": {"clients": [{"namespaceSelector": namespace}]}})
    guarded.wait_running()
    eventually("the stranger comes in everywhere", lambda: reached(stranger, places(guarded), 5432) == 5)
    assert reached(friend, places(guarded), 5432) == 0
    assert through_the_pooler(stranger, guarded, "SELECT 4") == "4"
    assert reached(stranger, instances(guarded), 8008, METRICS) == 0
    assert streaming(guarded)


def test_switched_off_everything_is_open_again(guarded: ParadeDB, friend: Pod, stranger: Pod) -> None:
    guarded.patch({"networkPolicy": {"enabled": False}})
    guarded.wait_running()
    assert policies(guarded) == []
    for pod in (friend, stranger):
        eventually("it comes in everywhere", lambda pod=pod: reached(pod, places(guarded), 5432) == 5)
        assert reached(pod, instances(guarded), 8008, METRICS) == 4
    guarded.patch({"networkPolicy": {"enabled": True}})
    guarded.wait_running()
    assert policies(guarded) == ["guarded-database", "guarded-pooler"]
    kubectl("-n", guarded.namespace, "delete", "networkpolicy/guarded-database")
    eventually("what somebody deleted is back", lambda: len(policies(guarded)) == 2)

"""The operator itself as deployed: healthy, least privileged, measured, and one at a time."""

from __future__ import annotations

import json

from cluster import OPERATOR_NAMESPACE, apply, eventually, find, get, kubectl

DEPLOYMENT = "paradedb-operator-controller-manager"
OPERATOR = "app.kubernetes.io/name=paradedb-operator"
METRICS = f"https://paradedb-operator-metrics.{OPERATOR_NAMESPACE}.svc:8443/metrics"


# What the operator must not be able to do.
FORBIDDEN = (
    "create pods",
    "create clusterroles",
    "create clusterrolebindings",
    "delete namespaces",
    "delete nodes",
    "impersonate users",
    "* *",
)


def test_runs_restricted(namespace: str) -> None:
    pod = find("pod", OPERATOR_NAMESPACE, OPERATOR)[0]
    context = pod["spec"]["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    labels = get("namespace", OPERATOR_NAMESPACE, "default")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_has_no_more_rights_than_it_needs() -> None:
    account = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{DEPLOYMENT}"

    def may(*words: str) -> bool:
        answer = kubectl("auth", "can-i", *words, f"--as={account}", "-A", check=False)
        return answer.stdout.strip() == "yes"

    assert may("patch", "statefulsets.apps")
    assert may("create", "pods", "--subresource=exec")
    for words in FORBIDDEN:
        assert not may(*words.split()), words


def test_is_ready_and_leads() -> None:
    lease = get("lease", "paradedb-operator-leader", OPERATOR_NAMESPACE)
    assert lease
    holder = lease["spec"]["holderIdentity"]
    pods = [pod["metadata"]["name"] for pod in find("pod", OPERATOR_NAMESPACE, OPERATOR)]
    assert any(pod in holder for pod in pods)


def test_metrics_need_a_token_with_the_right(namespace: str, client: None) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    for name in ("reader", "stranger"):
        apply({**account, "metadata": {"name": name, "namespace": namespace}})
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-metrics"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "paradedb-operator-metrics-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    apply(binding)
    try:
        assert scrape(namespace, "")[0] == "401"
        assert scrape(namespace, token(namespace, "stranger"))[0] == "403"
        code, body = eventually("metrics", lambda: ok(scrape(namespace, token(namespace, "reader"))))
    finally:
        kubectl("delete", "clusterrolebinding", f"{namespace}-metrics")
    assert code == "200"
    assert "ansible_operator_reconciles" in body
    assert "workqueue_depth" in body
    assert "leader_election_master_status" in body


def ok(answer: tuple[str, str]) -> tuple[str, str] | None:
    return answer if answer[0] == "200" else None


def token(namespace: str, account: str) -> str:
    return kubectl("-n", namespace, "create", "token", account).stdout.strip()


def scrape(namespace: str, bearer: str) -> tuple[str, str]:
    """HTTP code and text of the metrics, asked for by Service name from a pod in the cluster."""
    script = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "bearer = sys.stdin.readline().strip()\n"
        "context = ssl._create_unverified_context()\n"
        f"request = urllib.request.Request({METRICS!r})\n"
        "if bearer: request.add_header('Authorization', 'Bearer ' + bearer)\n"
        "try:\n"
        "    answer = urllib.request.urlopen(request, context=context, timeout=10)\n"
        "    print(answer.status); print(answer.read().decode())\n"
        "except urllib.error.HTTPError as error:\n"
        "    print(error.code)\n"
    )
    done = kubectl(
        "-n", namespace, "exec", "-i", "client", "--", "python3", "-c", script, stdin=bearer + "\n"
    )
    code, _newline, body = done.stdout.partition("\n")
    return code, body


def test_log_is_json_without_task_results() -> None:
    log = kubectl("-n", OPERATOR_NAMESPACE, "logs", f"deployment/{DEPLOYMENT}", "--tail=200").stdout
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines
    assert all("msg" in line for line in lines)

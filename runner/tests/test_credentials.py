"""Where the API server is and who we are there."""

import ssl
from pathlib import Path

from kubernetes.config import incluster_config
from paradedb_runner.kube.credentials import Credentials, find_kubeconfig
from paradedb_runner.observe.metrics_server import Certificate


def test_where_the_kubeconfig_comes_from():
    assert find_kubeconfig("/flag", {"KUBECONFIG": "/env"}) == Path("/flag")
    assert find_kubeconfig("", {"KUBECONFIG": "/env"}) == Path("/env")
    assert find_kubeconfig("", {}) == Path("~/.kube/config").expanduser()


async def test_a_kubeconfig_with_a_token(tmp_path):
    text = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: TOKEN}}]
"""
    path = tmp_path / "config"
    path.write_text(text.replace("TOKEN", "first"))
    credentials = Credentials(path)
    assert credentials.host == "https://127.0.0.1:6443"
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    assert credentials.ssl_context.verify_mode is ssl.CERT_NONE
    path.write_text(text.replace("TOKEN", "second"))
    await credentials.reload()
    assert await credentials.headers() == {"Authorization": "Bearer second"}


async def test_the_account_of_a_pod(tmp_path, monkeypatch):
    private = tmp_path / "tls"
    private.mkdir()
    Certificate(None, private)
    (tmp_path / "token").write_text("pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(private / "tls.crt"))
    credentials = Credentials(None)
    assert credentials.host == "https://10.0.0.1:443"
    assert await credentials.headers() == {"Authorization": "bearer pod"}
    (tmp_path / "token").write_text("rotated")
    await credentials.reload()
    assert await credentials.headers() == {"Authorization": "bearer rotated"}

"""The file that tells the clients of a run where the API is and who they are there."""

import json
import os
from pathlib import Path

_NAME = "run"


def write_kubeconfig(path: Path, url: str, token: str, namespace: str, certificate: Path) -> None:
    """
    Write a kubeconfig that only we can read, JSON, which is YAML too. An empty ``namespace`` sets none.

    ``certificate`` is a file with what the server's certificate must match. Without TLS, programs written in
    Go (kubectl, helm) keep the token to themselves.
    """
    place = {"namespace": namespace} if namespace else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": {"server": url, "certificate-authority": str(certificate)}}],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, **place}}],
        "current-context": _NAME,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(config, file)

"""The manifests with another operator image, set as docs/install.md tells; no cluster is needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from apiserver import DEPLOY

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def set_image(kustomization: Path, image: str) -> None:
    """Name the operator's image in a kustomization."""
    settings = yaml.safe_load(kustomization.read_text())
    name, tag = image.rsplit(":", 1)
    settings["images"] = [{"name": "paradedb/paradedb-operator", "newName": name, "newTag": tag}]
    kustomization.write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize("overlay", ["manager", "default", "local"])
def test_database_pods_get_the_image_that_is_set(tmp_path: Path, overlay: str) -> None:
    image = "registry.example.com:5000/team/paradedb-operator:1.2.3"
    deploy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    set_image(deploy / overlay / "kustomization.yaml", image)
    command = ["kubectl", "kustomize", str(deploy / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    (deployment,) = [item for item in yaml.safe_load_all(built.stdout) if item["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert (container["image"], environment["PARADEDB_TOOLS_IMAGE"]) == (image, image)

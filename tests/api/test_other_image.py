"""The manifests with other images, set as docs/install.md tells; no cluster is needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from apiserver import DEPLOY

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def set_images(kustomization: Path, images: dict[str, str]) -> None:
    """Name other images in a kustomization."""
    settings = yaml.safe_load(kustomization.read_text())
    settings["images"] = [
        {"name": f"paradedb/{which}", "newName": image.rpartition(":")[0], "newTag": image.rpartition(":")[2]}
        for which, image in images.items()
    ]
    kustomization.write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize("overlay", ["manager", "default", "local"])
def test_the_operator_is_told_of_the_images_that_are_set(tmp_path: Path, overlay: str) -> None:
    image = "registry.example.com:5000/team/paradedb-operator:1.2.3"
    pooler = "registry.example.com:5000/team/bouncer:4.5.6"
    deploy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    images = {"paradedb-operator": image, "paradedb-pgbouncer": pooler}
    set_images(deploy / overlay / "kustomization.yaml", images)
    command = ["kubectl", "kustomize", str(deploy / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    (deployment,) = [item for item in yaml.safe_load_all(built.stdout) if item["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert (container["image"], environment["PARADEDB_TOOLS_IMAGE"]) == (image, image)
    assert environment["PARADEDB_POOLER_IMAGE"] == pooler


def test_only_images_are_rewritten() -> None:
    command = ["kubectl", "kustomize", str(DEPLOY / "local")]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    (deployment,) = [item for item in yaml.safe_load_all(built.stdout) if item["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    fields = {item["name"]: item["valueFrom"] for item in container["env"] if "valueFrom" in item}
    assert fields == {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }

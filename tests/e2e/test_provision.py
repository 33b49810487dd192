"""The playbooks do from a laptop what the operator does in the cluster, with the same roles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cluster import OWNED_KINDS, ParadeDB, find, get, play

Make = Callable[[str], ParadeDB]


def test_provision_change_and_deprovision(namespace: str, client: None, tmp_path: Path) -> None:
    database = ParadeDB("laptop", namespace)
    manifest = tmp_path / "laptop.yaml"
    manifest.write_text(json.dumps(database.manifest()))
    done = play("provision", f"paradedb_manifest={manifest}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"laptop.{namespace}.svc:5432" in done.stdout
    assert "laptop-credentials" in done.stdout
    password = database.secret()["password"]
    assert password not in done.stdout + done.stderr
    assert database.sql("SELECT 1") == "1"

    again = play("provision", f"paradedb_manifest={manifest}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "changed=0" in again.stdout

    manifest.write_text(json.dumps(database.manifest(postgresConfig={"max_connections": "41"})))
    changed = play("provision", f"paradedb_manifest={manifest}")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert database.setting("max_connections") == "41"

    manifest.write_text(json.dumps(database.manifest(replicas=0)))
    refused = play("provision", f"paradedb_manifest={manifest}")
    assert refused.returncode != 0
    assert "spec.replicas" in refused.stdout

    where = ("paradedb_name=laptop", f"paradedb_namespace={namespace}")
    assert play("deprovision", *where).returncode == 0
    assert find(OWNED_KINDS, namespace, "app.kubernetes.io/instance=laptop") == []
    assert get("pvc", "data-laptop-0", namespace)
    assert play("deprovision", *where, "paradedb_delete_data=true").returncode == 0
    claim = get("pvc", "data-laptop-0", namespace)
    assert not claim or "deletionTimestamp" in claim["metadata"]


def test_provision_leaves_a_resource_to_the_operator(make: Make, tmp_path: Path) -> None:
    database = make("taken").apply()
    manifest = tmp_path / "taken.yaml"
    manifest.write_text(json.dumps(database.manifest()))
    done = play("provision", f"paradedb_manifest={manifest}")
    assert done.returncode != 0
    assert "edit the resource instead" in done.stdout

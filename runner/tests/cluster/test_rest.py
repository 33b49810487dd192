"""Resources at rest, with a real API server: what it takes to leave passes out, and to notice a change."""

import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
from harness import CONTENT, until

WATCHES = """
- version: v1
  group: ${TEST_GROUP}
  kind: Demo
  role: demo
  reconcilePeriod: 1s
  skipUnchanged: true
  vars:
    journal: ${TEST_JOURNAL}
    ansible_operator_meta_object: "{{ ${TEST_VARIABLE}_demo }}"
  dependents:
    - {version: v1, kind: ConfigMap, selector: "!foreign"}
  references:
    - {version: v1, kind: Secret, field: spec.secretRef.name}
"""

TASKS = """
- note: {text: start, journal: "{{ journal }}", name: "{{ ansible_operator_meta.name }}"}
  changed_when: false
- owned_configmap: {owner: "{{ ansible_operator_meta_object }}", data: {n: "{{ n_value }}"}}
  changed_when: false
"""


@pytest.fixture
def resting(cluster, start, tmp_path: Path, monkeypatch):
    """
    Start runners that leave passes out, with a role that never says that it changed something. Their
    environments are alike, as those of a pod and its successor are: another one counts as a change.
    """
    mark = uuid4()
    monkeypatch.setattr("harness.uuid4", lambda: mark)
    content = tmp_path / "content"
    shutil.copytree(CONTENT / "roles" / "demo", content / "roles" / "demo")
    (content / "roles" / "demo" / "tasks" / "main.yml").write_text(TASKS)
    (content / "watches.yaml").write_text(WATCHES)
    return lambda: start(f"--leader-election-namespace={cluster.namespace}", content=content)


def at_rest(runner, name: str) -> int:
    """How many passes there were when several periods brought no more."""
    for _ in range(6):
        before = len(runner.passes(name))
        time.sleep(4)
        if before and before == len(runner.passes(name)):
            return before
    raise AssertionError("it never comes to rest")


def test_a_resource_at_rest_has_no_passes_not_even_after_a_restart(cluster, resting):
    runner = resting()
    cluster.create("one", nValue=1)
    passes = at_rest(runner, "one")
    assert cluster.succeeded("one")
    assert runner.stop() == 0
    again = resting()
    time.sleep(4)
    assert len(again.passes("one")) == passes


def test_a_dependent_a_named_secret_and_the_spec_bring_it_back(cluster, resting):
    runner = resting()
    cluster.create("one", nValue=1, secretRef={"name": "password"})
    passes = at_rest(runner, "one")
    cluster.core.create_namespaced_secret(cluster.namespace, {"metadata": {"name": "password"}})
    until(lambda: len(runner.passes("one")) > passes)
    at_rest(runner, "one")
    cluster.core.patch_namespaced_config_map("one-owned", cluster.namespace, {"data": {"n": "9"}})
    until(lambda: cluster.owned("one") == {"n": "1"})
    at_rest(runner, "one")
    cluster.patch("one", nValue=2)
    until(lambda: cluster.owned("one") == {"n": "2"})

"""
An operator that somebody wrote for operator-sdk, in directory ``thirdparty``: it is to work as it is.

One runner serves all tests of an engine. It has no periodic passes, so whatever comes back was noticed.
"""

import base64
import os
from pathlib import Path

import pytest
import yaml
from harness import Runner, found, installed, namespaced, until

THIRDPARTY = Path(__file__).parent / "thirdparty"
KINDS = [
    entry["kind"] for entry in yaml.safe_load((THIRDPARTY / "watches.yaml").read_text()) if entry["group"]
]


@pytest.fixture(scope="module")
def operator(kinds, engine, tmp_path_factory):
    """The operator, the namespace it works in, and one more that it watches as well."""
    api, group = kinds
    with installed(api, group, *KINDS), namespaced(*kinds) as cluster, namespaced(*kinds) as other:
        cluster.other = other.namespace
        ledger = {"metadata": {"name": "ledger"}}
        cluster.core.create_namespaced_config_map(cluster.namespace, ledger)
        collections = (str(THIRDPARTY / "collections"), os.environ.get("ANSIBLE_COLLECTIONS_PATH", ""))
        cluster.runner = Runner(
            cluster,
            tmp_path_factory.mktemp("operator"),
            f"--engine={engine}",
            "--reconcile-period=10h",
            f"--ansible-args='--vault-password-file {THIRDPARTY / 'vault-password'}'",
            content=THIRDPARTY,
            environment={
                "WATCH_NAMESPACE": f"{cluster.namespace}, {other.namespace}",
                "ANSIBLE_INVENTORY": str(THIRDPARTY / "inventory"),
                "ANSIBLE_COLLECTIONS_PATH": ":".join(filter(None, collections)),
            },
        )
        try:
            until(cluster.runner.ready)
            yield cluster
        finally:
            cluster.runner.clean_up()


def runs(cluster, name):
    """How many runs over a resource have begun."""
    return len(cluster.runner.lines("run started", kind=cluster.kind, name=name))


def owners(obj):
    return [reference.uid for reference in obj.metadata.owner_references or []]


def uid(cluster, name):
    return cluster.get(name)["metadata"]["uid"]


def test_a_playbook_makes_what_its_resource_says_and_says_anew(operator):
    paper = operator.of("Paper")
    paper.create("plain", text="one")
    until(lambda: paper.succeeded("plain"))
    assert paper.data("plain-paper") == {"text": "one"}
    assert paper.condition("plain", "Running")["reason"] == "Successful"
    paper.patch("plain", text="two")
    until(lambda: paper.data("plain-paper") == {"text": "two"})


def test_what_a_run_creates_belongs_to_its_resource(operator):
    paper = operator.of("Paper")
    paper.create("owner", text="one")
    until(lambda: paper.succeeded("owner"))
    assert owners(paper.config_map("owner-paper")) == [uid(paper, "owner")]


def test_what_a_run_created_comes_back_and_is_repaired(operator):
    paper = operator.of("Paper")
    paper.create("repaired", text="one")
    until(lambda: paper.succeeded("repaired"))
    paper.core.delete_namespaced_config_map("repaired-paper", paper.namespace)
    until(lambda: paper.data("repaired-paper") == {"text": "one"})
    paper.core.patch_namespaced_config_map("repaired-paper", paper.namespace, {"data": {"text": "drifted"}})
    until(lambda: paper.data("repaired-paper") == {"text": "one"})


def test_a_playbook_finalizes_and_what_was_owned_is_collected(operator):
    paper = operator.of("Paper")
    paper.create("leaving", text="one")
    until(lambda: paper.succeeded("leaving"))
    paper.delete("leaving")
    until(lambda: paper.get("leaving") is None)
    assert paper.data("ledger")["leaving"] == "finalized"
    until(lambda: paper.data("leaving-paper") is None)


def test_what_a_run_creates_in_another_namespace_is_annotated_and_repaired(operator):
    paper = operator.of("Paper")
    paper.create("abroad", text="one", where=operator.other)
    until(lambda: paper.succeeded("abroad"))
    annotations = paper.config_map("abroad-paper", operator.other).metadata.annotations
    assert annotations["operator-sdk/primary-resource"] == f"{operator.namespace}/abroad"
    assert annotations["operator-sdk/primary-resource-type"] == f"Paper.{operator.group}"
    paper.core.delete_namespaced_config_map("abroad-paper", operator.other)
    until(lambda: paper.data("abroad-paper", operator.other) == {"text": "one"})


def test_a_role_makes_and_another_finalizes_with_variables_of_its_own(operator):
    grain = operator.of("Grain")
    grain.create("wheat", portNumber=81)
    until(lambda: grain.succeeded("wheat"))
    service = grain.core.read_namespaced_service("wheat-grain", grain.namespace)
    assert [port.port for port in service.spec.ports] == [81]
    grain.delete("wheat")
    until(lambda: grain.get("wheat") is None)
    assert grain.data("ledger")["wheat"] == "goodbye from wheat"


def test_a_role_of_a_collection_runs_for_a_resource_without_spec(operator):
    echo = operator.of("Echo")
    echo.create("hello")
    until(lambda: echo.succeeded("hello"))
    assert echo.data("hello-echo") == {"did_it_work": "indeed"}


def test_a_finalizer_of_variables_only_runs_the_role_with_them(operator):
    farewell = operator.of("Farewell")
    farewell.create("someone")
    until(lambda: farewell.succeeded("someone"))
    assert farewell.data("ledger")["someone"] == "here"
    farewell.delete("someone")
    until(lambda: farewell.get("someone") is None)
    assert farewell.data("ledger")["someone"] == "left"


def test_a_selector_keeps_others_away_until_they_match(operator):
    picky = operator.of("Picky")
    picky.create("unlabelled", text="one")
    picky.create("labelled", labels={"testLabel": ""}, text="one")
    until(lambda: picky.succeeded("labelled"))
    assert runs(picky, "unlabelled") == 0
    picky.change("unlabelled", {"metadata": {"labels": {"testLabel": "yes"}}})
    until(lambda: picky.data("unlabelled-paper") == {"text": "one"})


def test_keys_of_the_spec_stay_as_they_are_if_asked(operator):
    camel = operator.of("Camel")
    camel.create("case", camelCaseVar="yes")
    until(lambda: camel.succeeded("case"))
    assert camel.data("case-camel") == {"shouldBeCamel": "yes", "isSnake": "False"}


def test_strings_of_the_spec_are_not_templated_if_asked(operator):
    literal = operator.of("Literal")
    literal.create("template", text="{{ 1 + 1 }}")
    until(lambda: literal.succeeded("template"))
    assert literal.data("template-paper") == {"text": "{{ 1 + 1 }}"}


def test_a_status_is_left_alone_if_asked(operator):
    silent = operator.of("Silent")
    silent.create("mute", text="one")
    until(lambda: silent.runner.lines("run ended", kind="Silent", name="mute"))
    silent.patch("mute", text="two")
    until(lambda: silent.data("mute-paper") == {"text": "two"})
    assert "status" not in silent.get("mute")


def test_a_cluster_scoped_dependent_is_annotated_and_repaired(operator):
    annexer, territory = operator.of("Annexer"), f"{operator.namespace}-annexed"
    annexer.create("empire", territory=territory)
    try:
        until(lambda: annexer.succeeded("empire"))
        for obj in (annexer.core.read_namespace(territory), annexer.config_map("annexed", territory)):
            annotations = obj.metadata.annotations
            assert annotations["operator-sdk/primary-resource"] == f"{operator.namespace}/empire"
            assert annotations["operator-sdk/primary-resource-type"] == f"Annexer.{operator.group}"
        annexer.core.patch_namespace(territory, {"metadata": {"labels": {"foo": "baz"}}})
        until(lambda: annexer.core.read_namespace(territory).metadata.labels["foo"] == "bar")
    finally:
        annexer.delete("empire")
        found(lambda: annexer.core.delete_namespace(territory))


def test_a_secret_is_watched_like_any_other_kind(operator):
    secret = {"metadata": {"name": "seen", "labels": {"mirror": "please"}}, "stringData": {"one": "1"}}
    one, two = (base64.b64encode(text).decode() for text in (b"1", b"2"))
    operator.core.create_namespaced_secret(operator.namespace, secret)
    operator.core.create_namespaced_secret(operator.namespace, {"metadata": {"name": "unseen"}})
    until(lambda: operator.data("seen-mirror") == {"one": one})
    operator.core.patch_namespaced_secret("seen", operator.namespace, {"stringData": {"two": "2"}})
    until(lambda: operator.data("seen-mirror") == {"one": one, "two": two})
    assert operator.data("unseen-mirror") is None
    assert owners(operator.config_map("seen-mirror")) == [
        operator.core.read_namespaced_secret("seen", operator.namespace).metadata.uid
    ]


def test_annotations_bring_a_pass_where_the_watch_says_so(operator):
    noted = operator.of("Noted")
    noted.create("memo", annotations={"text": "one"})
    until(lambda: noted.succeeded("memo"))
    noted.change("memo", {"metadata": {"annotations": {"text": "two"}}})
    until(lambda: noted.data("memo-paper") == {"text": "two"})


def test_annotations_bring_no_pass_elsewhere(operator):
    paper, noted = operator.of("Paper"), operator.of("Noted")
    paper.create("calm", text="one")
    noted.create("nervous", annotations={"text": "one"})
    until(lambda: paper.succeeded("calm") and noted.succeeded("nervous"))
    for cluster, name in ((paper, "calm"), (noted, "nervous")):
        cluster.change(name, {"metadata": {"annotations": {"text": "two"}}})
    until(lambda: noted.data("nervous-paper") == {"text": "two"})
    assert runs(paper, "calm") == 1


def test_a_kind_on_the_blacklist_is_not_watched(operator):
    blind = operator.of("Blind")
    blind.create("bat")
    until(lambda: blind.succeeded("bat"))
    before = runs(blind, "bat")
    blind.core.delete_namespaced_config_map("bat-blind", blind.namespace)
    operator.of("Paper").create("later", text="one")
    until(lambda: operator.of("Paper").succeeded("later"))
    assert runs(blind, "bat") == before
    blind.core.delete_namespaced_secret("bat-blind", blind.namespace)
    until(lambda: blind.config_map("bat-blind") and runs(blind, "bat") == before + 1)


def test_a_condition_that_somebody_wrote_survives(operator):
    paper = operator.of("Paper")
    paper.create("conditioned", text="one")
    until(lambda: paper.succeeded("conditioned"))
    ours = paper.get("conditioned")["status"]["conditions"]
    theirs = {"type": "Moon", "status": "True", "phase": "waning"}
    where = (paper.group, "v1", paper.namespace, paper.plural, "conditioned")
    body = {"status": {"conditions": [*ours, theirs], "comment": "by hand"}}
    paper.custom.patch_namespaced_custom_object_status(*where, body)
    paper.patch("conditioned", text="two")
    until(lambda: paper.succeeded("conditioned"))
    assert paper.condition("conditioned", "Moon") == theirs
    assert paper.get("conditioned")["status"]["comment"] == "by hand"


def test_a_status_that_the_playbook_wrote_survives(operator):
    speaker = operator.of("Speaker")
    speaker.create("orator", words="hello world")
    until(lambda: speaker.succeeded("orator"))
    assert speaker.get("orator")["status"]["words"] == "hello world"


def test_requeue_after_brings_passes_until_it_is_no_longer_asked_for(operator):
    counter = operator.of("Counter")
    counter.create("steps")
    until(lambda: (counter.data("steps-counter") or {}).get("iterations") == "5")
    until(lambda: counter.succeeded("steps"))


def test_the_inventory_is_a_directory_with_variables_of_a_group(operator):
    stocked = operator.of("Stocked")
    stocked.create("shop")
    until(lambda: stocked.succeeded("shop"))
    assert stocked.data("shop-stocked") == {"sentinel": "from the inventory"}


def test_arguments_of_ansible_open_a_vault(operator):
    vaulted = operator.of("Vaulted")
    vaulted.create("treasure")
    until(lambda: vaulted.succeeded("treasure"))
    assert vaulted.data("treasure-vaulted") == {"msg": "The decrypted value is thisisatest"}


def test_commands_run_in_pods_and_their_logs_are_read(operator, pod):
    shell = operator.of("Shell")
    shell.create("session", pod=pod, execCommand="echo hello world")
    until(lambda: shell.succeeded("session"))
    data = shell.data("session-shell")
    assert (data["stdout"].strip(), data["stderr"]) == ("hello world", "")
    assert "Running" in data["log"]


def test_a_resource_deleted_at_once_is_finalized_though_its_playbook_does_not_parse(operator):
    hasty = operator.of("Hasty")
    hasty.create("mayfly")
    until(lambda: hasty.get("mayfly")["metadata"].get("finalizers"))
    hasty.delete("mayfly")
    hasty.core.create_namespaced_config_map(hasty.namespace, {"metadata": {"name": "mayfly-results"}})
    until(lambda: hasty.get("mayfly") is None)
    assert hasty.data("mayfly-results") == {"finalizer": "success"}


@pytest.fixture
def pod(operator):
    """A running pod that says Running, where there are nodes and an image to make one of."""
    nodes = operator.core.list_node().items
    image = os.environ.get("PARADEDB_TOOLS_IMAGE", "")
    if not any(image in (held.names or []) for node in nodes for held in node.status.images or []):
        pytest.skip("PARADEDB_TOOLS_IMAGE names no image that a node of the cluster has")
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "echo Running; exec sleep 3600"],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    operator.core.create_namespaced_pod(operator.namespace, {"metadata": {"name": "subject"}, "spec": spec})
    until(lambda: operator.core.read_namespaced_pod("subject", operator.namespace).status.phase == "Running")
    return "subject"

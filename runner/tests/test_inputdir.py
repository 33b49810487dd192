"""What is on disk for a run, while it lasts and after it."""

import json
import os
import stat
import time

import pytest
import yaml
from kubernetes import client, config
from paradedb_runner.control.discovery_cache import shared_discovery
from paradedb_runner.control.inputdir import ArtifactStore, input_directory
from paradedb_runner.proxy.kubeconfig import write_kubeconfig
from paradedb_runner.watches.model import Playbook, Role
from support import key

NAME = "k8srcp-0123.json"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "discovery"


@pytest.fixture
def temporary(tmp_path):
    def make(number: int):
        directory = tmp_path / f"run{number}"
        directory.mkdir()
        return directory

    return make


# The directory of a run


def test_only_we_can_read_what_a_run_gets(tmp_path):
    with input_directory(tmp_path, "run", Role("r", None), {"password": "x"}, None) as directory:
        paths = [directory.root, *directory.root.rglob("*")]
        assert {mode(path) for path in paths if path.is_dir()} == {0o700}
        assert {mode(path) for path in paths if path.is_file()} == {0o600}
        assert directory.extra_vars in paths
    assert not directory.root.exists()


def test_a_playbook_is_run_where_it_is(tmp_path):
    path = tmp_path / "main.yml"
    with input_directory(tmp_path, "run", Playbook(path), {}, None) as directory:
        assert directory.playbook == path


# Its kubeconfig


def test_only_we_can_read_a_kubeconfig_and_it_is_never_written_twice(tmp_path):
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:1", "secret", "ns", tmp_path / "ca")
    assert mode(path) == 0o600
    with pytest.raises(FileExistsError):
        write_kubeconfig(path, "https://127.0.0.1:1", "other", "ns", tmp_path / "ca")


def test_the_kubernetes_client_reads_a_kubeconfig(tmp_path):
    certificate = tmp_path / "ca"
    certificate.touch()
    write_kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", "secret", "ns", certificate)
    configuration = client.Configuration()
    config.load_kube_config(str(tmp_path / "kubeconfig"), client_configuration=configuration)
    assert configuration.host == "https://127.0.0.1:1"
    assert configuration.get_api_key_with_prefix("authorization", "BearerToken") == "Bearer secret"
    assert configuration.ssl_ca_cert == str(certificate)


@pytest.mark.parametrize(("namespace", "expected"), [("ns", "ns"), ("", None)])
def test_the_context_has_the_namespace_of_the_resource(tmp_path, namespace, expected):
    write_kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", "secret", namespace, tmp_path / "ca")
    context = yaml.safe_load((tmp_path / "kubeconfig").read_text())["contexts"][0]["context"]
    assert context.get("namespace") == expected


# What kubernetes.core discovered


def test_what_one_run_discovered_is_lent_to_the_next(store, temporary):
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).write_text('{"a": 1}')
    with shared_discovery(store, two := temporary(2)):
        assert json.loads((two / NAME).read_text()) == {"a": 1}
    assert (mode(store), mode(store / NAME)) == (0o700, 0o600)


def test_runs_share_what_they_discover_through_their_input_directories(tmp_path):
    for expected in (False, True):
        with input_directory(tmp_path, "run", Role("r", None), {}, None) as directory:
            assert (directory.temporary / NAME).exists() is expected
            (directory.temporary / NAME).write_text("{}")


def test_a_run_that_discovered_more_replaces_what_it_was_lent(store, temporary):
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).write_text('{"a": 1}')
    with shared_discovery(store, two := temporary(2)):
        (two / NAME).write_text('{"a": 1, "b": 2}')
    assert json.loads((store / NAME).read_text()) == {"a": 1, "b": 2}


def test_a_run_that_discovered_nothing_leaves_what_another_found_meanwhile(store, temporary):
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).write_text("{}")
    with shared_discovery(store, temporary(2)), shared_discovery(store, three := temporary(3)):
        (three / NAME).write_text('{"new": 1}')
    assert json.loads((store / NAME).read_text()) == {"new": 1}


@pytest.mark.parametrize("text", ['{"half": ', "", "\x00"])
def test_what_a_killed_run_left_half_written_is_not_kept(store, temporary, text):
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).write_text(text)
    assert list(store.iterdir()) == []


def test_only_a_file_is_taken_back(store, temporary, tmp_path):
    (tmp_path / "elsewhere").write_text('{"secret": 1}')
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).symlink_to(tmp_path / "elsewhere")
        (one / "k8srcp-dir.json").mkdir()
        (one / "other.json").write_text("{}")
    assert list(store.iterdir()) == []


def test_a_run_that_fails_still_gives_back_what_it_found(store, temporary):
    def fail(directory):
        with shared_discovery(store, directory):
            (directory / NAME).write_text("{}")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(temporary(1))
    assert (store / NAME).exists()


def test_the_store_does_not_grow_with_every_server(store, temporary):
    for number in range(20):
        with shared_discovery(store, temporary(number)):
            file = store.parent / f"run{number}" / f"k8srcp-{number:02}.json"
            file.write_text("{}")
            os.utime(file, (time.time() + number,) * 2)
    assert sorted(path.name for path in store.iterdir()) == [f"k8srcp-{n}.json" for n in range(12, 20)]


def test_what_is_old_is_discovered_anew(store, temporary):
    with shared_discovery(store, one := temporary(1)):
        (one / NAME).write_text("{}")
    os.utime(store / NAME, (time.time() - 4000,) * 2)
    with shared_discovery(store, two := temporary(2)):
        assert not (two / NAME).exists()


# Artifacts


def produce(tmp_path, ident, size=10):
    run = tmp_path / "work"
    (run / "artifacts" / ident).mkdir(parents=True)
    (run / "artifacts" / ident / "stdout").write_bytes(b"x" * size)
    return run


def kept(store):
    return {path.parent.name for path in store.directory.rglob("stdout")}


def test_artifacts_are_kept_by_count_for_each_resource(tmp_path):
    store = ArtifactStore(tmp_path / "kept")
    for number in range(4):
        for name in ("one", "two"):
            store.keep(key(name), produce(tmp_path, f"{name}-{number}"), f"{name}-{number}", 2)
    assert kept(store) == {"one-2", "one-3", "two-2", "two-3"}


def size_of_one(tmp_path):
    probe = ArtifactStore(tmp_path / "probe")
    probe.keep(key("x"), produce(tmp_path, "x", 1000), "x", 0)
    return sum(path.lstat().st_size for path in next(probe.directory.rglob("x/x")).rglob("*"))


def test_artifacts_of_all_resources_are_bounded_by_bytes_and_the_oldest_go(tmp_path):
    store = ArtifactStore(tmp_path / "kept", limit=3 * size_of_one(tmp_path))
    for number in range(6):
        store.keep(key(f"r{number % 2}"), produce(tmp_path, f"run{number}", 1000), f"run{number}", 0)
    assert kept(store) == {"run3", "run4", "run5"}


def test_artifacts_of_an_earlier_process_count_too(tmp_path):
    limit = 2 * size_of_one(tmp_path)
    before = ArtifactStore(tmp_path / "kept", limit)
    for number in range(2):
        before.keep(key("one"), produce(tmp_path, f"run{number}", 1000), f"run{number}", 0)
        os.utime(next(before.directory.rglob(f"run{number}")), (number, number))
    after = ArtifactStore(tmp_path / "kept", limit)
    after.keep(key("two"), produce(tmp_path, "new", 1000), "new", 0)
    assert kept(after) == {"run1", "new"}


def test_artifacts_go_with_their_resource(tmp_path):
    store = ArtifactStore(tmp_path / "kept", limit=10 * size_of_one(tmp_path))
    for name in ("one", "two"):
        store.keep(key(name), produce(tmp_path, name), name, 0)
    store.forget(key("one"))
    assert kept(store) == {"two"}
    assert not list(store.directory.rglob("one"))
    store.keep(key("one"), produce(tmp_path, "again"), "again", 0)
    assert kept(store) == {"two", "again"}


def test_nothing_is_kept_unless_asked(tmp_path):
    run = produce(tmp_path, "run")
    ArtifactStore(None).keep(key("one"), run, "run", 0)
    ArtifactStore(None).forget(key("one"))
    assert (run / "artifacts" / "run").is_dir()

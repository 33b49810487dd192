"""What can be checked without a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from localcluster import (
    backends,
    build,
    cgroups,
    cli,
    components,
    configs,
    host,
    images,
    instance,
    kind,
    pki,
    processes,
    providers,
)
from localcluster.api import ApiError
from localcluster.disks import Disk, disk_size, format_quantity, parse_quantity
from localcluster.instance import Instance
from localcluster.objects import standard
from localcluster.processes import Process
from localcluster.providers import Kind, Machine
from localcluster.provisioner import (
    FINALIZER,
    PROVISIONER,
    requested_bytes,
    volume_object,
    wants_growth,
    wants_volume,
)
from localcluster.shell import ClusterError, CommandError, Progress, run

INSTANCE = Instance("unit", 3)
MIB = 1024 * 1024


# --- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1Gi", 1024**3),
        ("10Mi", 10 * MIB),
        ("1.5Gi", 3 * 1024**3 // 2),
        ("500M", 500_000_000),
        ("1e9", 10**9),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("123456789123456789", 123456789123456789),
        ("1500m", 2),
        ("0", 0),
    ],
)
def test_a_quantity_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "-1Gi", "ten"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 300 * MIB, 1024**3, 3 * 1024**4, 1024**3 + 1])
def test_a_written_quantity_is_read_back(size: int) -> None:
    assert parse_quantity(format_quantity(size)) == size


def test_a_disk_is_at_least_what_its_file_system_needs() -> None:
    assert disk_size(1) == 300 * MIB
    assert disk_size(300 * MIB) == 300 * MIB
    assert disk_size(300 * MIB + 1) == 301 * MIB


def test_a_disk_file_is_sparse_and_made_once(tmp_path: Path) -> None:
    disk = Disk(tmp_path, "pvc-1")
    disk.create(400 * MIB)
    made = disk.file.stat()
    disk.create(500 * MIB)
    assert disk.size() == 400 * MIB
    assert disk.file.stat().st_mtime_ns == made.st_mtime_ns
    assert made.st_blocks * 512 < 100 * MIB
    disk.remove()
    assert not disk.file.exists()


# --- names and addresses


@pytest.mark.parametrize("name", ["a", "paradedb", "test-2", "x" * 32])
def test_usable_names(name: str) -> None:
    assert instance.state_dir(name) == instance.STATE_ROOT / name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", "a b", "x" * 33])
def test_a_name_that_is_no_path_component_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        instance.state_dir(name)


def test_clusters_get_different_links() -> None:
    assert instance.free_index([], []) == 0
    assert instance.free_index([0, 1], []) == 2
    assert instance.free_index([], ["10.213.0.0/24", "10.213.1.5"]) == 2
    assert instance.free_index([], ["10.213.0.0/23"]) == 2


def test_a_machine_that_routes_all_of_the_range_is_told() -> None:
    with pytest.raises(ClusterError, match="in use"):
        instance.free_index([], ["10.208.0.0/12"])


def test_a_state_directory_says_which_link_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(instance, "STATE_ROOT", tmp_path / "state")
    first, second = instance.claim("one"), instance.claim("two")
    assert first.index != second.index
    assert instance.claim("one") == first
    assert instance.existing() == [first, second]
    assert first.state.stat().st_mode & 0o777 == 0o700


def test_the_cache_is_where_the_project_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARADEDB_CACHE", str(tmp_path))
    assert instance.cache_dir() == tmp_path / "localcluster"
    monkeypatch.delenv("PARADEDB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert instance.cache_dir() == tmp_path / "paradedb" / "localcluster"


# --- provider choice


def machine(
    *, docker: bool = False, kind_there: bool = False, linux: bool = True, native: bool = False
) -> Machine:
    return Machine(docker_answers=docker, kind_installed=kind_there, linux=linux, native_exists=native)


@pytest.mark.parametrize(
    ("found", "variables", "kind_chosen"),
    [
        (machine(), {}, Kind.NATIVE),
        (machine(docker=True, kind_there=True), {}, Kind.KIND),
        (machine(docker=True), {}, Kind.NATIVE),
        (machine(kind_there=True), {}, Kind.NATIVE),
        (machine(docker=True, kind_there=True, native=True), {}, Kind.NATIVE),
        (machine(docker=True, kind_there=True, linux=False), {}, Kind.KIND),
        (machine(native=True), {"KUBECONFIG": "/home/me/.kube/config"}, Kind.EXISTING),
        (machine(), {"KUBECONFIG": ""}, Kind.NATIVE),
        (machine(), {"KUBECONFIG": f"{instance.STATE_ROOT}/paradedb/kubeconfig"}, Kind.NATIVE),
    ],
)
def test_the_provider_follows_from_machine_and_environment(
    found: Machine, variables: dict[str, str], kind_chosen: Kind
) -> None:
    choice = providers.choose(found, variables)
    assert choice.kind is kind_chosen
    assert choice.reason


def test_without_any_way_the_user_is_told_what_to_do() -> None:
    with pytest.raises(ClusterError, match=r"start Docker and install kind, or set KUBECONFIG"):
        providers.choose(machine(linux=False), {})


def test_a_kubeconfig_written_for_kind_is_not_a_users_cluster() -> None:
    chosen = providers.choose(
        machine(docker=True, kind_there=True), {"KUBECONFIG": str(kind.kubeconfig("paradedb"))}
    )
    assert chosen.kind is Kind.KIND


def test_images_for_a_users_cluster_are_the_users_to_bring() -> None:
    existing = backends.Existing("paradedb", "KUBECONFIG is set")
    with pytest.raises(ClusterError, match="images import ARCHIVE"):
        existing.load_image("operator.tar", Progress())


def test_kind_commands_leave_the_users_kubeconfig_alone(tmp_path: Path) -> None:
    own = str(kind.kubeconfig("demo"))
    for command in (kind.start_command("demo"), kind.export_command("demo"), kind.stop_command("demo")):
        assert command[command.index("--kubeconfig") + 1] == own
        assert command[command.index("--name") + 1] == "demo"
    archive = tmp_path / "image.tar"
    archive.touch()
    assert kind.load_command("demo", str(archive))[2] == "image-archive"
    assert kind.load_command("demo", "localhost/x:dev")[2] == "docker-image"


# --- certificates


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Instance:
    """An instance with all its certificates."""
    monkeypatch.setattr(instance, "STATE_ROOT", tmp_path)
    pki.create(INSTANCE)
    return INSTANCE


def test_every_certificate_is_accepted_by_a_strict_verifier(issued: Instance) -> None:
    for leaf in pki.leaves(issued):
        authority = issued.pki / f"{leaf.authority}.crt"
        for purpose in ("sslserver", "sslclient"):
            check = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority]
            assert "OK" in run([*check, issued.pki / f"{leaf.name}.crt"])


def test_certificates_name_who_they_are_for(issued: Instance) -> None:
    text = run(["openssl", "x509", "-noout", "-text", "-in", issued.pki / "apiserver.crt"])
    for name in ("kubernetes.default.svc.cluster.local", "10.96.0.1", issued.node_ip):
        assert name in text
    subject = run(["openssl", "x509", "-noout", "-subject", "-in", issued.pki / "kubelet.crt"])
    assert "system:nodes" in subject
    assert "system:node:node1" in subject


def test_keys_are_for_their_owner_only(issued: Instance) -> None:
    files = [*issued.pki.glob("*.key"), *issued.pki.glob("*.kubeconfig"), issued.kubeconfig]
    assert len(files) > 10
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_certificates_are_made_once(issued: Instance) -> None:
    before = {path: path.read_bytes() for path in issued.pki.glob("*.crt")}
    pki.create(issued)
    assert {path: path.read_bytes() for path in issued.pki.glob("*.crt")} == before


def test_the_kubeconfig_reaches_the_cluster_from_the_host(issued: Instance) -> None:
    config = json.loads(issued.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://10.213.3.2:6443"
    assert config["current-context"] == config["contexts"][0]["name"]


# --- configuration


def test_no_configuration_leads_out_of_the_cluster() -> None:
    files = configs.render(INSTANCE, "/usr/lib/cni")
    assert set(files) == {"containerd.toml", "cni/10-pods.conflist", "kubelet.json", "proxy.json", "Corefile"}
    assert json.loads(files["kubelet.json"])["resolvConf"] == "/dev/null"
    assert "forward" not in files["Corefile"]
    assert not json.loads(files["cni/10-pods.conflist"])["plugins"][0]["ipMasq"]


def test_what_the_components_share_agrees() -> None:
    files = configs.render(INSTANCE, "/usr/lib/cni")
    kubelet = json.loads(files["kubelet.json"])
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{INSTANCE.containerd_socket}"
    assert str(INSTANCE.containerd_socket) in files["containerd.toml"]
    dns = dict(standard(INSTANCE))["/api/v1/namespaces/kube-system/services/kube-dns"]
    assert kubelet["clusterDNS"] == [dns["spec"]["clusterIP"]]
    assert kubelet["cgroupRoot"] == f"/{INSTANCE.cgroup}"


def test_no_command_line_holds_a_secret() -> None:
    for component in components.COMPONENTS:
        command = component.command(INSTANCE, "/kubenode")
        assert not [word for word in command if "token=" in word or "password" in word]
        assert all(isinstance(word, str) for word in command)


def test_components_start_after_what_they_call() -> None:
    names = components.NAMES
    assert names.index("etcd") < names.index("apiserver") < names.index("kubelet")
    assert names.index("containerd") < names.index("kubelet")


# --- processes


def test_a_process_is_known_by_its_start_and_boot() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.alive()
    assert not Process(me.pid, me.started + 1, me.boot).alive()
    assert not Process(me.pid, me.started, "another-boot").alive()


def test_another_process_of_the_same_number_is_never_killed() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            real = processes.identify(sleeper.pid)
            assert real is not None
            assert Process(real.pid, real.started - 5, real.boot).kill()
            assert sleeper.poll() is None
            assert real.kill()
            assert not real.alive()
        finally:
            sleeper.kill()


def test_a_recorded_process_is_found_while_it_runs(tmp_path: Path) -> None:
    record = tmp_path / "processes" / "sleeper"
    assert processes.recorded(record) is None
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        found = processes.identify(sleeper.pid)
        assert found is not None
        processes.record(record, found)
        assert processes.recorded(record) == found
        sleeper.kill()
    assert processes.recorded(record) is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    record = tmp_path / "record"
    for text in ("", "{", '{"pid": 1}', "[]"):
        record.write_text(text)
        assert processes.recorded(record) is None


def test_a_process_that_has_ended_but_was_not_awaited_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.identify(child.pid) is None
    child.wait()


# --- control groups


def test_hierarchies_of_both_kinds_are_found() -> None:
    unified = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nproc /proc proc rw 0 0\n"
    assert cgroups.hierarchies(unified) == {Path("/sys/fs/cgroup"): "v2"}
    split = (
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n"
        "cgroup /sys/fs/cgroup/misc cgroup rw,misc 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert cgroups.hierarchies(split) == {
        Path("/sys/fs/cgroup/memory"): "v1",
        Path("/sys/fs/cgroup/systemd"): "v1",
        Path("/sys/fs/cgroup/unified"): "v2",
    }


# --- building


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.26.8", (1, 26, 8)), ("1.27rc1", (1, 27)), ("1.25.0", (1, 25, 0)), ("1.25", (1, 25))],
)
def test_go_versions_are_compared_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert build.parse_version(text) == version


def test_the_sources_say_which_go_they_need() -> None:
    assert build.required_version("module x\n\ngo 1.25.0\n") == (1, 25, 0)
    with pytest.raises(ClusterError, match="no Go version"):
        build.required_version("module x\n")
    assert build.required_version((build.SOURCES / "go.mod").read_text()) >= (1, 25)


def test_the_sources_hold_the_version_that_is_reported() -> None:
    assert f"k8s.io/kubernetes {build.KUBERNETES_VERSION}\n" in (build.SOURCES / "go.mod").read_text()


def fake_go(directory: Path, version: str) -> None:
    directory.mkdir()
    command = directory / "go"
    command.write_text(f"#!/bin/sh\necho {version}\n")
    command.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "message"), [("go1.19.8", "go1.19.8: Go 1.25.0 or newer"), ("", "no go command")]
)
def test_a_missing_or_old_go_is_told(
    version: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if version:
        fake_go(tmp_path / "bin", version)
    monkeypatch.setenv("PARADEDB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "environment", lambda: {"PATH": str(tmp_path / "bin")})
    monkeypatch.setattr(build, "GO_DIR", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match=message):
        build.ensure(Progress())


def test_other_sources_are_other_binaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    (tmp_path / "main.go").write_text("package main")
    first = build.source_hash()
    assert build.source_hash() == first
    (tmp_path / "README").write_text("not a source")
    assert build.source_hash() == first
    (tmp_path / "main.go").write_text("package main // changed")
    assert build.source_hash() != first


# --- host


def test_packages_are_named_where_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "environment", lambda: {"PATH": "/nonexistent"})
    monkeypatch.setattr(host, "cni_plugins", lambda: None)
    with pytest.raises(ClusterError, match=r"containerd containernetworking-plugins .* xfsprogs"):
        host.install_packages(Progress())


def test_changes_of_the_host_are_undone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings, made = tmp_path / "sys", tmp_path / "a" / "b"
    monkeypatch.setattr(host, "STATE_ROOT", state)
    monkeypatch.setattr(instance, "STATE_ROOT", state)
    monkeypatch.setattr(host, "CHANGES", state / "changes.json")
    monkeypatch.setattr(host, "PRIVATE_DIRS", {str(made): "x", str(tmp_path): "y"})
    monkeypatch.setattr(host, "SETTINGS", settings)
    (settings / "vm").mkdir(parents=True)
    (settings / "vm" / "overcommit_memory").write_text("0\n")
    host.note_changes()
    assert made.is_dir()
    (settings / "vm" / "overcommit_memory").write_text("1\n")
    host.note_changes()  # of a second cluster: must not take the changed value for the machine's own
    host.undo_changes()
    assert (settings / "vm" / "overcommit_memory").read_text().strip() == "0"
    assert not made.parent.exists()
    assert not state.exists()


# --- images


def test_an_image_archive_is_the_same_each_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/true\n")
    for name in ("a.tar", "b.tar"):
        images.write_archive(tmp_path / name, "localhost/x:1", {"program": program}, ["/program"])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_images_loaded_are_those_containerd_names() -> None:
    output = "unpacking localhost/a:1 (sha256:0)...done\nunpacking registry.example/b:2 (sha256:1)...done\n"
    assert images.loaded_names(output) == ["localhost/a:1", "registry.example/b:2"]


def test_an_archive_is_loaded_again_when_one_of_its_images_was_replaced(tmp_path: Path) -> None:
    records = images.Records(tmp_path / "images.json")
    records.add("first", ["a:1", "b:1"])
    assert records.current("first", {"a:1", "b:1", "c:1"})
    assert not records.current("first", {"a:1"})
    records.add("second", ["b:1"])
    again = images.Records(tmp_path / "images.json")
    assert again.current("second", {"a:1", "b:1"})
    assert not again.current("first", {"a:1", "b:1"})


# --- volumes


def claim(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "metadata": {
            "name": "data",
            "namespace": "default",
            "uid": "1",
            "annotations": {"volume.kubernetes.io/storage-provisioner": PROVISIONER},
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    }
    return {**base, **changes}


def test_only_a_claim_handed_to_us_gets_a_volume() -> None:
    assert wants_volume(claim())
    assert not wants_volume(claim(metadata={"name": "data", "uid": "1"}))
    assert not wants_volume(claim(status={"phase": "Bound"}))


def test_a_claim_grows_until_it_has_been_told() -> None:
    def bound(told: str) -> dict[str, object]:
        return claim(status={"phase": "Bound", "capacity": {"storage": told}})

    small, large = ({"spec": {"capacity": {"storage": size}}} for size in ("500Mi", "1Gi"))
    assert wants_growth(bound("500Mi"), small)
    assert wants_growth(bound("500Mi"), large)
    assert not wants_growth(bound("1Gi"), large)


def test_a_volume_is_bound_to_its_claim_and_node(tmp_path: Path) -> None:
    disk = Disk(tmp_path, "pvc-1")
    disk.create(disk_size(requested_bytes(claim())))
    made = volume_object(
        claim(), {"metadata": {"name": "standard"}, "reclaimPolicy": "Retain"}, "pvc-1", disk
    )
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
    assert made["spec"]["claimRef"]["uid"] == "1"
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["metadata"]["finalizers"] == [FINALIZER]


# --- command line


def test_a_failed_command_says_what_it_printed() -> None:
    with pytest.raises(CommandError, match=r"failed \(3\): oops"):
        run(["sh", "-c", "echo oops >&2; exit 3"])
    with pytest.raises(CommandError, match="not found"):
        run(["no-such-command-anywhere"])


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--name", "NOT/VALID"]) == 1
    assert capsys.readouterr().err.startswith("error: cluster name")


def test_a_users_cluster_is_never_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert cli.main(["stop"]) == 0
    assert "not ours" in capsys.readouterr().out


def test_the_tool_runs_without_being_installed(tmp_path: Path) -> None:
    tool = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-I", str(tool), "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for command in (
        "start",
        "stop",
        "status",
        "logs",
        "load-image",
        "kubeconfig",
        "kubectl",
        "enter",
        "restart",
        "pod-signal",
        "pod-network",
    ):
        assert command in done.stdout
    assert "serve-volumes" not in done.stdout
    assert "serve-policies" not in done.stdout


@pytest.mark.parametrize(
    ("words", "ours", "others"),
    [
        (["kubectl", "-n", "x", "get", "pods"], ["kubectl"], ["-n", "x", "get", "pods"]),
        (
            ["kubectl", "--name", "a", "get", "--name", "b"],
            ["kubectl", "--name", "a"],
            ["get", "--name", "b"],
        ),
        (["enter", "--name=a", "--", "ls", "--", "-l"], ["enter", "--name=a"], ["ls", "--", "-l"]),
        (["enter"], ["enter"], []),
        (["stop", "--name", "a"], ["stop", "--name", "a"], []),
        ([], [], []),
    ],
)
def test_words_for_another_program_are_passed_on(
    words: list[str], ours: list[str], others: list[str]
) -> None:
    assert cli.split_arguments(words) == (ours, others)


def test_an_api_error_tells_code_and_reason() -> None:
    assert str(ApiError(409, "exists")) == "409: exists"

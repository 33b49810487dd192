"""Run slots from the limits of the container."""

import pytest
from paradedb_runner.cgroup import cpu_limit, default_run_slots, memory_limit

MIB = 1 << 20


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of 16 cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu_max": "150000 100000\n"}, 1.5),
        ({"cpu_max": "max 100000\n"}, 16),
        ({"cpu__cpu_cfs_quota_us": "50000\n", "cpu__cpu_cfs_period_us": "100000\n"}, 0.5),
        ({"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}, 16),
        ({}, 16),
    ],
)
def test_the_cpu_limit_of_both_versions_of_cgroups(files, limit, root):
    assert cpu_limit(root(**files)) == limit


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory_max": "805306368\n"}, 768 * MIB),
        ({"memory_max": "max\n"}, None),
        ({"memory__memory.limit_in_bytes": "805306368\n"}, 768 * MIB),
        ({"memory__memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_the_memory_limit_of_both_versions_of_cgroups(files, limit, root):
    assert memory_limit(root(**files)) == limit


@pytest.mark.parametrize(
    ("cpu", "memory", "slots"),
    [
        ("100000", "max", 2),  # one core: a long run must not stop all others
        ("400000", "max", 4),
        ("max", "max", 16),
        ("100000", str(768 * MIB), 2),
        ("800000", str(768 * MIB), 3),  # 250 MiB for the runner, 150 MiB for each run
        ("800000", str(4096 * MIB), 8),
        ("800000", str(450 * MIB), 1),  # two would not fit
        ("800000", str(100 * MIB), 1),
    ],
)
def test_d10_run_slots_follow_the_limits_of_the_container_not_the_cores_of_the_node(cpu, memory, slots, root):
    """D10: one limit for all kinds together, sized by what the container really has."""
    assert default_run_slots(root(cpu_max=f"{cpu} 100000\n", memory_max=memory)) == slots

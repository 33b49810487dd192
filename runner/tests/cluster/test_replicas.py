"""Two replicas of a runner, of which one is killed in the middle of a pass."""

import time

from harness import overlaps, until

LEASE = 15.0  # seconds, and up to 2.4 s between two looks at it; twice that is the patience


def test_a_killed_leader_is_followed_and_nothing_of_it_runs_on(cluster, start, capsys):
    flags = ("--leader-elect", f"--leader-election-namespace={cluster.namespace}")
    leader = start(*flags)
    until(lambda: leader.lines("became the leader"))
    other = start(*flags)
    cluster.create("one", nValue=1, takeSeconds=300)
    until(lambda: leader.busy() and cluster.owned("one") == {"n": "1"})
    assert other.lines("run started") == []

    leader.kill()
    killed = time.monotonic()
    until(lambda: leader.processes() == [], LEASE)
    with (leader.journal / "one").open("a") as journal:
        journal.write("killed\n")
    assert other.passes("one") == ["start", "killed"], "whoever follows waits for the end of the lease"
    cluster.patch("one", nValue=2, takeSeconds=0)
    until(lambda: other.lines("became the leader"), 2 * LEASE)
    with capsys.disabled():
        print(f"\na leader that was killed was followed after {time.monotonic() - killed:.1f} s")

    until(lambda: cluster.succeeded("one") and cluster.owned("one") == {"n": "2"})
    assert other.passes("one")[:2] == ["start", "killed"]
    assert not overlaps(other.passes("one"))


def test_replicas_together_run_a_pass_once(cluster, start):
    flags = ("--leader-elect", f"--leader-election-namespace={cluster.namespace}")
    first, second = start(*flags), start(*flags)
    names = ("one", "two", "three")
    for name in names:
        cluster.create(name, nValue=1)
    until(lambda: all(cluster.succeeded(name) for name in names))
    assert [bool(runner.lines("run started")) for runner in (first, second)].count(True) == 1
    assert not any(overlaps(first.passes(name)) for name in names)

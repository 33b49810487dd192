"""Metrics, named as ansible-operator and controller-runtime name them, and true to those names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paradedb_runner.control.workqueue import WorkQueue
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, metadata
from paradedb_runner.observe.field_metrics import FieldCollector, Named
from paradedb_runner.observe.turns import TurnCollector
from paradedb_runner.version import VERSION
from paradedb_runner.watches.model import FieldMetric

_RUN_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_WAIT_BUCKETS = (0.001, 0.01, 0.1, 1, 10, 60, 600)


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self._leads: Callable[[], bool] = lambda: True
        prometheus_client.ProcessCollector(registry=registry)
        prometheus_client.GCCollector(registry=registry)
        kind, controller = ["GVK"], ["controller"]
        build = Gauge(
            "ansible_operator_build_info", "Version of the runner", ["commit", "version"], registry=registry
        )
        build.labels(commit="", version=VERSION).set(1)
        self._durations = Histogram(
            "ansible_operator_reconciles",
            "Seconds from the start of a pass to its end, Ansible included",
            kind,
            buckets=_RUN_BUCKETS,
            registry=registry,
        )
        self._results = Gauge(
            "ansible_operator_reconcile_result", "Passes by result", [*kind, "result"], registry=registry
        )
        self._total = Counter(
            "controller_runtime_reconcile_total",
            "Passes by result",
            [*controller, "result"],
            registry=registry,
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors_total", "Failed passes", controller, registry=registry
        )
        self._active = Gauge(
            "controller_runtime_active_workers", "Passes that are running", controller, registry=registry
        )
        self._limit = Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Passes that may run",
            controller,
            registry=registry,
        )
        self._times = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Seconds from the start of a pass to its end, Ansible included",
            controller,
            buckets=_RUN_BUCKETS,
            registry=registry,
        )
        self._skipped = Counter(
            "paradedb_runner_passes_skipped_total",
            "Passes left out because nothing had changed since one that changed nothing",
            controller,
            registry=registry,
        )
        self._refreshes = Counter(
            "paradedb_runner_status_refreshes_total",
            "Modules run in place of a pass, since only a status had changed or a look was due",
            [*controller, "result"],
            registry=registry,
        )
        self._storms = Counter(
            "paradedb_runner_dependent_storms_total",
            "Times the dependents of a resource changed too often to be followed",
            controller,
            registry=registry,
        )
        self._slots = Gauge("paradedb_runner_run_slots", "Runs that may run at once", registry=registry)
        self._slots_used = Gauge("paradedb_runner_run_slots_in_use", "Runs that run", registry=registry)
        self._waits = Histogram(
            "workqueue_queue_duration_seconds",
            "Seconds a resource waited for its pass",
            ["name"],
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self._created = Gauge(
            "resource_created_at_seconds",
            "Creation time of every watched resource",
            ["group", "version", "kind", "namespace", "name"],
            registry=registry,
        )
        self._requests = Counter(
            "rest_client_requests_total", "Requests to the API server", ["method", "code"], registry=registry
        )
        self._turns = TurnCollector(lambda: self._leads())
        registry.register(self._turns)
        self._leader = Gauge(
            "leader_election_master_status", "1 if this replica is the leader", ["name"], registry=registry
        )

    def watching(self, gvk: GroupVersionKind, limit: int) -> None:
        """Show a kind from the start, with zeros, so that a rate over its first failure exists."""
        name = gvk.kind.lower()
        self._limit.labels(name).set(limit)
        self._active.labels(name)
        self._errors.labels(name)
        self._skipped.labels(name)
        self._storms.labels(name)
        for result in ("succeeded", "failed"):
            self._results.labels(str(gvk), result)

    def started(self, gvk: GroupVersionKind, waited: float) -> None:
        """A pass or refresh began after its resource waited so many seconds."""
        self._slots_used.inc()
        self._waits.labels(gvk.kind.lower()).observe(waited)
        self._active.labels(gvk.kind.lower()).inc()

    def ended(self, gvk: GroupVersionKind, seconds: float, *, result: str) -> None:
        """A pass ended; ``result`` is success, error, requeue_after or interrupted."""
        name = gvk.kind.lower()
        self._idle(name)
        self._durations.labels(str(gvk)).observe(seconds)
        self._times.labels(name).observe(seconds)
        self._total.labels(name, result).inc()
        if result == "error":
            self._errors.labels(name).inc()
        if result != "interrupted":
            self._results.labels(str(gvk), "failed" if result == "error" else "succeeded").inc()

    def refreshed(self, gvk: GroupVersionKind, *, result: str) -> None:
        """A refresh ended; ``result`` as of a pass."""
        name = gvk.kind.lower()
        self._idle(name)
        self._refreshes.labels(name, result).inc()

    def skipped(self, gvk: GroupVersionKind) -> None:
        """A pass was left out."""
        self._skipped.labels(gvk.kind.lower()).inc()

    def turn(self, key: Key, *, failed: bool) -> None:
        """A resource that is still there was looked after, or was not since something failed."""
        self._turns.ended(key, failed=failed)

    def storm(self, gvk: GroupVersionKind) -> None:
        """The dependents of a resource began to change too often."""
        self._storms.labels(gvk.kind.lower()).inc()

    def slots(self, size: int) -> None:
        """So many runs may run at once."""
        self._slots.set(size)

    def exists(self, key: Key, obj: Object | None) -> None:
        """A resource is there, or with ``obj`` None no longer."""
        labels = (*key.gvk, key.namespace, key.name)
        if obj is None:
            self._created.remove(*labels)
            self._turns.forget(key)
        else:
            created = datetime.fromisoformat(metadata(obj)["creationTimestamp"])
            self._created.labels(*labels).set(created.timestamp())

    def request(self, method: str, status: int) -> None:
        """The API server answered."""
        self._requests.labels(method, str(status)).inc()

    def _idle(self, name: str) -> None:
        self._active.labels(name).dec()
        self._slots_used.dec()

    def watch_queue(self, queue: WorkQueue) -> None:
        """Read the queue's own counts whenever somebody asks."""
        self.registry.register(_QueueCollector(queue))

    def watch_fields(self, metrics: Sequence[FieldMetric], resources: Callable[[], Iterable[Named]]) -> None:
        """Show fields of the resources of a watch, as long as we lead."""
        self.registry.register(FieldCollector(metrics, resources, lambda: self._leads()))

    def watch_leader(self, name: str, is_leader: Callable[[], bool]) -> None:
        """Read whether we lead whenever somebody asks; until this is called we do."""
        self._leads = is_leader
        self._leader.labels(name).set_function(lambda: float(is_leader()))

    def render(self) -> bytes:
        """The text exposition format."""
        return prometheus_client.generate_latest(self.registry)


class _QueueCollector(Collector):
    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("workqueue_depth", "Resources that wait for a pass", labels=["name"])
        adds = CounterMetricFamily("workqueue_adds", "Times a resource was queued", labels=["name"])
        retries = CounterMetricFamily(
            "workqueue_retries", "Passes asked for after a failure", labels=["name"]
        )
        counts = ((depth, self._queue.depths()), (adds, self._queue.adds), (retries, self._queue.retries))
        for family, values in counts:
            for gvk in self._queue.adds:
                family.add_metric([gvk.kind.lower()], values[gvk])
            yield family
        yield from self._working()

    def _working(self) -> Iterator[Metric]:
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "Age of the oldest pass", labels=["name"]
        )
        total = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Ages of all running passes together", labels=["name"]
        )
        working = self._queue.working()
        for gvk in self._queue.adds:
            seconds = working.get(gvk, [0.0])
            longest.add_metric([gvk.kind.lower()], max(seconds))
            total.add_metric([gvk.kind.lower()], sum(seconds))
        yield from (longest, total)

"""The key ``metrics`` of watches.yaml."""

import re

from paradedb_runner.watches.located_yaml import Node
from paradedb_runner.watches.model import FieldMetric, Reading
from paradedb_runner.watches.problems import Severity

RESERVED = (
    *("ansible_operator_", "controller_runtime_", "leader_election_", "paradedb_runner_"),
    *("process_", "python_", "resource_created_at_seconds", "rest_client_", "workqueue_"),
)
"""How names of the runner's own metrics begin (observe/metrics.py), those it may get later as well."""

# Colons are for recording rules: https://prometheus.io/docs/concepts/data_model/
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = re.compile(r"(metadata|spec|status)(\.[A-Za-z_][-A-Za-z0-9_]*)+")


class MetricsReader:
    """
    Reads the metrics of all entries of one file, since a name can be that of one metric only. ``unknown`` is
    the severity of keys that nothing reads.
    """

    def __init__(self, unknown: Severity) -> None:
        self._unknown = unknown
        self._names: set[str] = set()

    def read(self, node: Node) -> tuple[FieldMetric, ...]:
        """The metrics of one entry that are complete."""
        return tuple(metric for item in node.items("metrics") if (metric := self._metric(item)))

    def _metric(self, item: Node) -> FieldMetric | None:
        item = item.keys(("name", "help", "field", "as", "states"), self._unknown)
        name, field = self._name(item), item.text("field", required=True)
        if field and not _FIELD.fullmatch(field):
            item.complain(f'"{field}" is not a path such as status.readyReplicas', "field")
        description, reading = item.text("help", required=True), _reading(item)
        return FieldMetric(name, description, field, reading, _states(item, reading)) if reading else None

    def _name(self, item: Node) -> str:
        name = item.text("name", required=True)
        if name and not _NAME.fullmatch(name):
            item.complain(
                f'"{name}" is not a name of letters, digits and underscores, not beginning with a digit',
                "name",
            )
        elif name.startswith(RESERVED):
            item.complain(f'"{name}" begins like a metric of the runner itself', "name")
        elif name in self._names:
            item.complain(f'"{name}" is the name of another metric', "name")
        self._names.add(name)
        return name


def _reading(item: Node) -> Reading | None:
    text = item.text("as", required=True)
    if not text:
        return None
    try:
        return Reading(text)
    except ValueError:
        item.complain(f'"{text}" is none of {", ".join(Reading)}', "as")
        return None


def _states(item: Node, reading: Reading | None) -> tuple[str, ...]:
    """In the order of the file, each of them once, or a page of metrics would have a series twice."""
    states = item.texts("states")
    if reading is Reading.STATE:
        if not item.value.get("states"):
            item.complain("states is required, since each of them is a series")
        elif twice := [state for index, state in enumerate(states) if state in states[:index]]:
            item.complain(f'"{twice[0]}" is there twice', "states")
    elif states and reading:
        item.complain(f"is ignored with as: {reading}", "states", Severity.WARNING)
    return tuple(states)

"""The user's queries for postgres_exporter, put so that none of them can harm the page of metrics.

The exporter loads its file of queries as a whole or not at all, and Prometheus' library gives out a page as
a whole or not at all: one query that cannot be read, one metric that is there twice, and nothing is measured
any more. So what is not as it must be is left out here and named, and each query is set into one that gives
only the declared columns, and each combination of labels once.
Format: https://github.com/prometheus-community/postgres_exporter, "Adding new metrics via a config file".
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# How the names of the exporter's metrics and of the operator's begin, and those of Go's own.
_RESERVED = ("pg_", "paradedb_", "postgres_exporter_", "go_", "process_", "promhttp_", "scrape_", "up_")
_USAGES = ("LABEL", "COUNTER", "GAUGE", "HISTOGRAM", "DISCARD")
_LABELS = ("server", "le")  # the exporter's own label, and that of a histogram
_HISTOGRAM = ("", "_bucket", "_sum", "_count")
_LONGEST_CACHE = 86400  # seconds
_LONGEST_NAME = 63  # of a column, as in PostgreSQL
_LONGEST_DESCRIPTION = 1024  # characters
_MOST = 256 * 1024  # bytes of all texts; a ConfigMap takes 1 MiB, and a query grows on its way there


class InvalidQuery(Exception):
    """A query is left out; the message says why."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, by which a few lines stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def sort_out(custom: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The user's queries that can be used, rewritten, and the faults of the others, both by their names."""
    usable: dict[str, Any] = {}
    faults: dict[str, str] = {}
    taken: set[str] = set()
    size = 0
    for name, text in sorted(custom.items()):
        size += len(text.encode(errors="replace"))
        try:
            if size > _MOST:
                raise InvalidQuery(f"all queries together are longer than {_MOST} bytes")
            definition, metrics = _read(name, text)
            if twice := taken & metrics:
                raise InvalidQuery(f"another query has the metric {min(twice)} already")
        except InvalidQuery as fault:
            faults[name] = str(fault)
            continue
        taken |= metrics
        usable[name] = definition
    return usable, faults


def _read(name: str, text: str) -> tuple[dict[str, Any], set[str]]:
    """One definition for the exporter and the names of its metrics. Raises InvalidQuery."""
    if not _NAME.fullmatch(name):
        raise InvalidQuery("the name must be letters, digits and '_', and not begin with a digit")
    if name.startswith(_RESERVED):
        raise InvalidQuery(f"a name may not begin with {' or '.join(_RESERVED)}; these metrics exist already")
    given = _parse(text)
    query = given.get("query")
    if not _is_text(query) or not query.strip(" \t\r\n;"):
        raise InvalidQuery("it has no text as query")
    cache = given.get("cache_seconds", 0)
    if type(cache) is not int or not 0 <= cache <= _LONGEST_CACHE:
        raise InvalidQuery(f"cache_seconds must be a number of seconds, at most {_LONGEST_CACHE}")
    columns = _columns(given.get("metrics"))
    metrics = {
        f"{name}_{column}{suffix}"
        for column, (usage, _description) in columns.items()
        for suffix in {"HISTOGRAM": _HISTOGRAM, "LABEL": (), "DISCARD": ()}.get(usage, ("",))
    }
    if not metrics:
        raise InvalidQuery("it has no column of usage COUNTER, GAUGE or HISTOGRAM")
    shown = [
        {column: {"usage": usage, "description": description}}
        for column, (usage, description) in columns.items()
        if usage != "DISCARD"
    ]
    return {"query": _guarded(query, columns), "cache_seconds": cache, "metrics": shown}, metrics


def _parse(text: str) -> dict[str, Any]:
    try:
        given = yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise InvalidQuery(f"it is not YAML, or has an alias{where}") from None
    if not isinstance(given, dict):
        raise InvalidQuery("it must have the keys query and metrics")
    return given


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written: YAML can also name halves of characters."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _columns(metrics: Any) -> dict[str, tuple[str, str]]:
    """Usage and description of each column. Raises InvalidQuery."""
    if not isinstance(metrics, list) or not all(isinstance(item, dict) for item in metrics):
        raise InvalidQuery("metrics must be a list of columns")
    columns: dict[str, tuple[str, str]] = {}
    for column, options in (pair for item in metrics for pair in item.items()):
        usage = options.get("usage") if isinstance(options, dict) else None
        if (
            not isinstance(column, str)
            or len(column) > _LONGEST_NAME
            or not _NAME.fullmatch(column)
            or column in columns
        ):
            raise InvalidQuery(f"the column {column!r:.60} has no name for a metric, or is there twice")
        if usage not in _USAGES:
            raise InvalidQuery(f"the usage of column {column} must be one of {', '.join(_USAGES)}")
        if usage == "LABEL" and (column in _LABELS or column.startswith("__")):
            raise InvalidQuery(f"a label cannot be called {column}")
        description = options.get("description") or column
        if not _is_text(description) or len(description) > _LONGEST_DESCRIPTION:
            raise InvalidQuery(f"the description of column {column} must be a short text")
        columns[column] = (usage, description)
    return columns


def _guarded(query: str, columns: dict[str, tuple[str, str]]) -> str:
    """The query inside one that keeps the promises of ``columns``, whose names are checked already."""
    labels = [column for column, (usage, _) in columns.items() if usage == "LABEL"]
    values = [
        f'"{column}{suffix}"'
        for column, (usage, _) in columns.items()
        if usage not in ("LABEL", "DISCARD")
        for suffix in (_HISTOGRAM if usage == "HISTOGRAM" else ("",))
    ]
    texts = [f"coalesce(\"{label}\"::text, '')" for label in labels]
    distinct = f"DISTINCT ON ({', '.join(texts)}) " if labels else ""
    named = [f'{text} AS "{label}"' for text, label in zip(texts, labels, strict=True)]
    # The line break ends a comment that the query may end with.
    inner = "\n" + query.strip(" \t\r\n;") + "\n"
    limit = "" if labels else " LIMIT 1"
    return f"SELECT {distinct}{', '.join(named + values)} FROM ({inner}) AS custom{limit}"  # noqa: S608 - the user's own

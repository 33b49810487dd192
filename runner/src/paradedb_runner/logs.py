"""JSON log lines on standard error, one object a line, so that a log collector needs no parser of ours."""

import json
import logging
from datetime import UTC, datetime

from paradedb_runner.kube.objects import Key


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON; whatever a caller passed as ``extra={"fields": {...}}`` becomes keys."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without newlines: json escapes those inside messages and tracebacks."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def setup_logging(level: str) -> None:
    """Send everything to standard error as JSON; library chatter below WARNING is dropped."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("paradedb_runner").setLevel(level.upper())


def fields(key: Key | None = None, **more: object) -> dict[str, dict[str, object]]:
    """The ``extra`` argument that names the resource a line is about."""
    about: dict[str, object] = {}
    if key is not None:
        about = {
            "group": key.gvk.group,
            "version": key.gvk.version,
            "kind": key.gvk.kind,
            "namespace": key.namespace,
            "name": key.name,
        }
    return {"fields": about | more}

"""Log lines."""

import json
import logging

from paradedb_runner.logs import JsonFormatter, fields
from support import key


def test_log_lines_are_json_and_name_the_resource():
    extra = fields(key("a"), run="r1")
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "two\nlines", **extra})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["msg"], line["kind"], line["namespace"], line["name"], line["run"]) == (
        "two\nlines",
        "Demo",
        "ns",
        "a",
        "r1",
    )

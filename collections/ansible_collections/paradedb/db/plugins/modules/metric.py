#!/usr/bin/python
"""Publish a metric of one's own through the runner."""

from __future__ import annotations

DOCUMENTATION = r"""
module: metric
short_description: Publish a metric of your own through the runner
version_added: 0.1.0
description:
  - For playbooks and roles that a runner starts, in place of C(operator_sdk.util.osdk_metric).
  - The first call with a name makes the metric, with the type and the description of that call;
    later ones change its value. The metric is among the runner's own at its C(/metrics), without labels,
    and it starts again at nothing with the runner.
  - Exactly one of I(counter), I(gauge), I(histogram) and I(summary) says the type. An empty one, as in C(counter={}),
    makes the metric and leaves its value.
options:
  name:
    description: Name of the metric; that of a counter should end in C(_total).
    type: str
    required: true
  description:
    description: What the metric is, in one line.
    type: str
    required: true
  counter:
    description: A number that only grows. At most one of its options may be given.
    type: dict
    suboptions:
      increment:
        description: Whether to add one.
        type: bool
      add:
        description: What to add, not negative.
        type: float
  gauge:
    description: A number that goes up and down. At most one of its options may be given.
    type: dict
    suboptions:
      set:
        description: The new value.
        type: float
      increment:
        description: Whether to add one.
        type: bool
      decrement:
        description: Whether to subtract one.
        type: bool
      add:
        description: What to add.
        type: float
      subtract:
        description: What to subtract.
        type: float
      set_to_current_time:
        description: Whether to set it to the seconds since 1970.
        type: bool
  histogram:
    description: Observations, counted in buckets.
    type: dict
    suboptions:
      observe:
        description: The observation.
        type: float
  summary:
    description: Observations, with their number and sum.
    type: dict
    suboptions:
      observe:
        description: The observation.
        type: float
  address:
    description:
      - URL where the runner takes metrics.
      - By default that of the environment variable E(PARADEDB_RUNNER_METRICS_URL), else C(http://localhost:5050/metrics).
    type: str
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Sends nothing.}
  diff_mode: {support: none, description: The runner does not tell the value.}
"""

EXAMPLES = r"""
- name: Count a backup
  paradedb.db.metric:
    name: cache_backups_total
    description: Backups that were finished
    counter:
      increment: true

- name: Say how big it was
  paradedb.db.metric:
    name: cache_backup_bytes
    description: Size of the last backup
    gauge:
      set: "{{ backup.size }}"
"""

RETURN = r"""
address:
  description: URL that the metric was sent to.
  type: str
  returned: success
"""

import json
import os
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.execution import run_module

_VARIABLE = "PARADEDB_RUNNER_METRICS_URL"
_ADDRESS = "http://localhost:5050/metrics"
_TIMEOUT = 10  # seconds

_OPTIONS = {
    "counter": {"increment": {"type": "bool"}, "add": {"type": "float"}},
    "gauge": {
        "set": {"type": "float"},
        "increment": {"type": "bool"},
        "decrement": {"type": "bool"},
        "add": {"type": "float"},
        "subtract": {"type": "float"},
        "set_to_current_time": {"type": "bool"},
    },
    "histogram": {"observe": {"type": "float"}},
    "summary": {"observe": {"type": "float"}},
}

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str", "required": True},
    "address": {"type": "str"},
    **{kind: {"type": "dict", "options": options} for kind, options in _OPTIONS.items()},
}


def run(params: dict[str, Any], _kube: None, check_mode: bool) -> dict[str, Any]:
    """Send the metric to the runner."""
    address = params["address"] or os.environ.get(_VARIABLE) or _ADDRESS
    body = _body(params)
    if not check_mode:
        _post(address, body)
    return {"changed": True, "address": address}


def _body(params: dict[str, Any]) -> bytes:
    kinds = [kind for kind in _OPTIONS if params[kind] is not None]
    if len(kinds) != 1:
        raise Refused("InvalidMetric", "", f"give exactly one of {', '.join(_OPTIONS)}")
    (kind,) = kinds
    values = {name: value for name, value in params[kind].items() if value is not None and value is not False}
    metric = {"name": params["name"], "description": params["description"], kind: values}
    try:
        return json.dumps(metric, allow_nan=False).encode()
    except ValueError:
        raise Refused("InvalidMetric", kind, "is not a finite number") from None


def _post(address: str, body: bytes) -> None:
    """Raises Refused with the runner's words, or with why it did not answer."""
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            raise ValueError("it is no http or https URL")
        open_url(
            address,
            method="POST",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=_TIMEOUT,
            use_proxy=False,
            use_netrc=False,
            follow_redirects="none",
        ).close()
    except HTTPError as error:
        words = error.read(2000).decode(errors="replace").strip()
        raise Refused("MetricRefused", "", words or f"the runner answered with HTTP {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Refused(
            "RunnerUnavailable",
            "address",
            f"no runner takes metrics at {address} (option address, variable {_VARIABLE}): {error}",
        ) from None


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)

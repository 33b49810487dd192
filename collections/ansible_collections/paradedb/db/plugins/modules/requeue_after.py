#!/usr/bin/python
"""Ask the runner for another pass after a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: requeue_after
short_description: Ask the runner for another pass after a time
version_added: 0.1.0
description:
  - For playbooks and roles that a runner starts for a resource, in place of C(operator_sdk.util.requeue_after).
  - The run goes on with its next task. When it has ended well, the resource's next pass comes after I(time), or after
    the period of the watch when that is sooner. Of several such tasks in one run the shortest time counts.
    After a failed run the runner tries again at its own pace.
  - Speaks to nobody; outside a runner it changes nothing.
options:
  time:
    description: How long to wait, as Go writes durations (V(1h30m), V(500ms)), or a plain number of seconds.
    type: str
    required: true
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: The same as without check mode.}
  diff_mode: {support: none, description: Nothing is changed.}
"""

EXAMPLES = r"""
- name: Look again in half a minute, the backup is still running
  paradedb.db.requeue_after:
    time: 30s
  when: not backup.finished
"""

RETURN = r"""
requeue_after:
  description: The time in seconds, which the runner reads.
  type: float
  returned: success
  sample: 30
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.durations import seconds
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.execution import run_module

ARGUMENT_SPEC = {"time": {"type": "str", "required": True}}


def run(params: dict[str, Any], _kube: None, _check_mode: bool) -> dict[str, Any]:
    """Hand the time to the runner."""
    try:
        return {"changed": False, "requeue_after": seconds(params["time"])}
    except ValueError as error:
        raise Refused("InvalidDuration", "time", str(error)) from None


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)

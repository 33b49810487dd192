"""How a module of this collection runs: as an ordinary module, or inside the controller by its action plugin.

A module that only speaks to the Kubernetes API gains nothing from being copied to a new Python process,
and loses half a second by it. So each module is a function ``run(params, kube, check_mode) -> result``
with an argument specification; ``run_module`` serves it to Ansible as a module, ``run_in_process`` to the
action plugin of the same name. Both give the same result. A module whose specification has no options to
sign in gets no connection: ``kube`` is None.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, Kube, KubeError

Result = dict[str, Any]
Run = Callable[[dict[str, Any], Any, bool], Result]


# Mirrors the documentation fragment paradedb.db.instance.
INSTANCE_ARG_SPEC = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
}

# Mirrors the documentation fragment paradedb.db.owner.
OWNER_ARG_SPEC = {"owner": {"type": "dict", "default": {}}}


def argument_spec(**options: dict[str, Any]) -> dict[str, Any]:
    """A module's own options, those that say which ParadeDB, and kubernetes.core's for authentication."""
    return kube_argument_spec(**{**INSTANCE_ARG_SPEC, **options})


def kube_argument_spec(**options: dict[str, Any]) -> dict[str, Any]:
    """The options of a module that is not about a ParadeDB, and kubernetes.core's for authentication."""
    return {**AUTH_ARG_SPEC, **options}


def run_module(run: Run, spec: dict[str, Any]) -> None:
    """Serve ``run`` as an ordinary Ansible module."""
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    result = _guarded(run, module.params, module.check_mode)
    for words in result.pop("warnings", []):
        module.warn(words)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def run_in_process(
    run: Run, validator: ArgumentSpecValidator, arguments: dict[str, Any], check_mode: bool
) -> Result:
    """Serve ``run`` to an action plugin: validate the arguments as a module would, then call it."""
    try:
        validation = validator.validate(arguments)
    except TypeError as error:  # what suboptions are looked for in is no mapping
        return {"failed": True, "msg": f"an option has a value of another type than it takes: {error}"}
    if validation.error_messages:
        return {"failed": True, "msg": "; ".join(validation.error_messages)}
    return _guarded(run, validation.validated_parameters, check_mode)


def _guarded(run: Run, params: dict[str, Any], check_mode: bool) -> Result:
    """The result; of a failure with what the module hung on the exception as ``result``."""
    try:
        return run(params, _connect(params), check_mode)
    except Exception as error:
        return {"failed": True, **getattr(error, "result", {}), **_explain(error)}


def _explain(error: Exception) -> Result:
    """A failure as the result tells it. Only what nobody foresaw comes with a traceback."""
    if isinstance(error, Refused):
        return {"msg": str(error), "reason": error.reason, "field": error.field}
    if isinstance(error, KubeError):
        reason = "KubernetesUnavailable" if error.status in (0, 429, 500, 503) else "KubernetesError"
        return {"msg": str(error), "reason": reason, "status": error.status}
    if isinstance(error, ExecFailed):
        return {"msg": str(error), "reason": "CommandFailed"}
    return {
        "msg": f"{type(error).__name__}: {error}",
        "reason": "InternalError",
        "exception": "".join(traceback.format_exception(error)),
    }


def _connect(params: dict[str, Any]) -> Kube | None:
    if not AUTH_ARG_SPEC.keys() & params.keys():
        return None
    return Kube({name: params[name] for name in AUTH_ARG_SPEC if params.get(name) is not None})

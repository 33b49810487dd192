"""
What a fork of the fork server does: one playbook, or one module, in this very process.

Imported by the server before it forks, so that everything below is in memory already.
"""

import contextlib
import gc
import io
import json
import os
import runpy
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible import constants as ansible_constants
from ansible.cli.playbook import PlaybookCLI
from ansible.module_utils import basic
from ansible.plugins.loader import init_plugin_loader

from paradedb_runner.engine import fork_inline, fork_preload, proctree, runner_events
from paradedb_runner.engine.report import Report

_OBJECTS = (
    100_000  # between collections; most runs are over before, and a collection costs more than it finds
)


def preload(content: Iterable[str]) -> list[str]:
    """
    Import what runs will need. ``content``: directories and files of roles and playbooks, which say what.

    Returns the files of the collections' plugins it imported.
    """
    init_plugin_loader()
    fork_inline.install()
    # The playbook command will set it up once more, which changes nothing.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    # A module that was imported here is run once more as a program, on purpose.
    warnings.filterwarnings("ignore", ".* found in sys.modules after import of package", RuntimeWarning)
    return fork_preload.preload([Path(each) for each in content])


def work(request: dict[str, Any], report: int, server: int) -> None:
    """
    Do what the message asks for and report it, then make sure that no process of it is left.

    ``server`` is the process we were forked from; we end with it.
    """
    Report.current = Report(report)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by the server across the fork
    proctree.adopt_orphans()
    proctree.die_with(server)
    _settle_in(request)
    try:
        Report.current.send(_module(request) if "module" in request else _playbook(request))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        proctree.end_descendants()


def _settle_in(request: dict[str, Any]) -> None:
    """
    Environment, directory and limits of the run; Ansible's settings are read again from the environment.
    """
    gc.set_threshold(_OBJECTS)
    os.environ.update(request["environment"])
    os.environ[proctree.MARK] = request["ident"]
    os.chdir(request["cwd"])
    _send_stdout_to(request.get("artifacts"))
    tempfile.tempdir = None
    proctree.limit_descriptors()
    _read_settings_again(request["environment"])


def _read_settings_again(environment: Mapping[str, str]) -> None:
    """Ansible reads its settings once, at import; those that the run's environment sets are read again."""
    constants, config = vars(ansible_constants), ansible_constants.config
    for name, definition in config.get_configuration_definitions().items():
        if any(variable["name"] in environment for variable in definition.get("env") or []):
            constants[name] = config.get_config_value(name, variables=constants)


def _send_stdout_to(artifacts: str | None) -> None:
    """Output of tasks is kept as a file if somebody wants artifacts, and nowhere else."""
    if artifacts:
        Path(artifacts).mkdir(parents=True, mode=0o700)
    target = os.open(f"{artifacts}/stdout" if artifacts else os.devnull, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(target, 1)
    os.close(target)


def _playbook(request: dict[str, Any]) -> dict[str, Any]:
    try:
        PlaybookCLI.cli_executor(["ansible-playbook", *request["playbook"]])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stderr.flush()
    if artifacts := request["artifacts"]:
        Path(artifacts, "rc").write_text(str(code))
        Path(artifacts, "status").write_text("failed" if code else "successful")
    said = Path(request["output"]).read_text(errors="replace").splitlines()
    error = runner_events.error_lines([*said, *Report.current.said])
    return {"rc": code, "stats": Report.current.stats, "error": error}


def _module(request: dict[str, Any]) -> dict[str, Any]:
    """Run the module as a program, with its arguments where it finds them; its answer is on stdout."""
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": request["arguments"]}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer), contextlib.suppress(SystemExit):
            runpy.run_module(fork_preload.module_path(request["module"]), run_name="__main__", alter_sys=True)
        result = json.loads(answer.getvalue())
    except Exception as error:
        result = {"failed": True, "msg": f"{type(error).__name__}: {error}"}
    return {"module": runner_events.module_outcome(request["module"], result)}


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """End here and now: whoever asked removes our files, and unwinding Ansible could take long."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    proctree.end_descendants()
    os._exit(128 + signal.SIGTERM)

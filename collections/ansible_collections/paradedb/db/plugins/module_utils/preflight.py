"""Refuse what cannot work before anything of it is applied."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import hba, instances
from ansible_collections.paradedb.db.plugins.module_utils.credentials import recorded_superuser, superuser
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import scope
from ansible_collections.paradedb.db.plugins.module_utils.patroni import (
    current_settings,
    dynamic_configuration,
)
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity
from ansible_collections.paradedb.db.plugins.module_utils.settings import check_settings, conf_lines
from ansible_collections.paradedb.db.plugins.module_utils.unavailable import check_available

# A Service's name, and short enough for the longest name made of it: a CronJob's, 52 characters.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?")

# The configuration is read from stdin, counted, because exec cannot close stdin; "-C" makes PostgreSQL
# check the whole file, print one setting and end before it looks at the data directory. What it says must
# not depend on the file's own logging settings.
_CHECK = (
    'head -c "$0" > /tmp/check.conf && exec postgres -C port -D /tmp -c config_file=/tmp/check.conf '
    "-c log_min_messages=warning -c log_line_prefix="
)


def check(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> None:
    """Raises Refused for the first thing in the spec which cannot be brought into effect."""
    if not NAME.fullmatch(name):
        raise Refused(
            "InvalidName",
            "metadata.name",
            f"{name!r} must start with a letter and have at most 45 lower case letters, digits and '-'",
        )
    check_available(spec)
    hba.check_rules((spec.get("auth") or {}).get("pgHBA") or [])
    check_settings(spec.get("postgresConfig") or {}, spec.get("resources") or {})
    user = _check_superuser(kube, namespace, name, spec)
    _check_volumes(kube.get("apps/v1", "StatefulSet", namespace, name), spec)
    _check_live(kube, namespace, name, dynamic_configuration(spec, user))


def _check_superuser(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> str:
    user, _password = superuser(kube, namespace, name, (spec.get("auth") or {}).get("superuserSecretRef"))
    current = recorded_superuser(kube, namespace, name)
    if current and current != user and kube.get("apps/v1", "StatefulSet", namespace, name):
        raise Refused(
            "SuperuserRenamed",
            "spec.auth.superuserSecretRef",
            f"the superuser is {current!r} since the database was made and cannot become {user!r}; "
            f"put username {current} into the Secret",
        )
    return user


def _check_volumes(stateful_set: Object | None, spec: dict[str, Any]) -> None:
    """Volumes cannot change: the CRD's rule, for a spec that no API server has compared with the last."""
    if stateful_set is None:
        return
    templates = {
        item["metadata"]["name"]: item["spec"] for item in stateful_set["spec"]["volumeClaimTemplates"]
    }
    wanted = {"data": ("spec.storage", spec["storage"])}
    if spec["storage"].get("walStorage"):
        wanted["wal"] = ("spec.storage.walStorage", spec["storage"]["walStorage"])
    if set(wanted) != set(templates):
        raise Refused(
            "ImmutableField", "spec.storage.walStorage", "cannot be added or removed once the database exists"
        )
    for key, (field, storage) in wanted.items():
        size = templates[key]["resources"]["requests"]["storage"]
        if parse_quantity(size) != parse_quantity(storage["size"]):
            raise Refused(
                "ImmutableField", f"{field}.size", f"cannot change in this version; set it to {size}"
            )


def _check_live(kube: Kube, namespace: str, name: str, wanted: dict[str, Any]) -> None:
    """Let the running PostgreSQL itself judge settings that differ from those it was given."""
    settings = wanted["postgresql"]["parameters"]
    config_map = kube.get("v1", "ConfigMap", namespace, f"{scope(name)}-config")
    if current_settings(config_map) == settings:
        return
    running = [pod for pod in instances.database_pods(kube, namespace, name) if instances.is_running(pod)]
    if not running:
        return  # the pod's init container checks the same file
    text = "\n".join(conf_lines(settings)) + "\n"
    command = ["sh", "-c", _CHECK, str(len(text.encode()))]
    try:
        kube.execute(namespace, running[0]["metadata"]["name"], command, text)
    except ExecFailed as error:
        raise _refusal(error.stderr, list(settings)) from None


def _refusal(stderr: str, names: list[str]) -> Refused:
    """PostgreSQL's complaint about a file, told of the setting it means."""
    lines = [line for line in stderr.splitlines() if re.search(r"(LOG|FATAL):  ", line)]
    lines = [line for line in lines if "skipping missing configuration file" not in line]
    complaint = next((line for line in lines if 'parameter "' in line), lines[0] if lines else stderr.strip())
    message = re.sub(r"^.*(LOG|FATAL):\s+", "", complaint)
    name = ""
    if named := re.search(r'parameter "([^"]+)"', message):
        name = named.group(1)
    elif numbered := re.search(r"line (\d+)", message):
        name = dict(enumerate(names, start=1)).get(int(numbered.group(1)), "")
    message = re.sub(r' in file "[^"]*" line \d+', "", message)
    return Refused("InvalidSetting", f"spec.postgresConfig.{name}".rstrip("."), message)

"""Refuse what cannot work before anything of it is applied."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    backup_preflight,
    conditions,
    hba,
    instances,
    pgbouncer,
    volumes,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_rules import check_rules
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    enabled,
    recorded_superuser,
    superuser,
)
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    ExecFailed,
    Kube,
    KubeError,
    Object,
    annotations,
    api_root,
)
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, scope
from ansible_collections.paradedb.db.plugins.module_utils.names import check_names
from ansible_collections.paradedb.db.plugins.module_utils.namesakes import check_namesakes
from ansible_collections.paradedb.db.plugins.module_utils.patroni import (
    current_configuration,
    current_settings,
    dynamic_configuration,
)
from ansible_collections.paradedb.db.plugins.module_utils.settings import check_settings, conf_lines
from ansible_collections.paradedb.db.plugins.module_utils.topology import kept_instances

# A Service's name, and short enough for the longest name made of it: a CronJob's, 52 characters.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?")

# A pod that has it was made of a template that brings a certificate.
TLS_ANNOTATION = "database.paradedb.io/tls"

PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"

# The configuration is read from stdin, counted, because exec cannot close stdin; "-C" makes PostgreSQL
# check the whole file, print one setting and end before it looks at the data directory. What it says must
# not depend on the file's own logging settings.
_CHECK = (
    'head -c "$0" > /tmp/check.conf && exec postgres -C port -D /tmp -c config_file=/tmp/check.conf '
    "-c log_min_messages=warning -c log_line_prefix="
)


def check(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """What the pass is to go by. Raises Refused for the first thing in the spec that cannot take effect."""
    if not NAME.fullmatch(name):
        raise Refused(
            "InvalidName",
            "metadata.name",
            f"{name!r} must start with a letter and have at most 45 lower case letters, digits and '-'",
        )
    _check_combinations(spec)
    check_rules(name, spec)
    hba.check_rules((spec.get("auth") or {}).get("pgHBA") or [])
    check_settings(spec.get("postgresConfig") or {}, spec.get("resources") or {})
    check_names(name, spec)
    pgbouncer.check_parameters(spec)
    user = _check_superuser(kube, namespace, name, spec)
    stateful_set = kube.get("apps/v1", "StatefulSet", namespace, name)
    check_namesakes(kube, namespace, name, spec, new=stateful_set is None)
    resource = kube.get(API_VERSION, KIND, namespace, name)
    pods = instances.database_pods(kube, namespace, name)
    config_map = kube.get("v1", "ConfigMap", namespace, f"{scope(name)}-config")
    claims = volumes.claims(kube, namespace, name, spec)
    backup_preflight.check_goes_on(spec, resource, stateful_set, config_map)
    recovering = backup_preflight.is_recovering(spec, resource, config_map)
    if recovering and stateful_set is None and not pods:
        backup_preflight.check_no_data(claims, resource)
    effective = _effective(spec, resource, stateful_set, pods, config_map, recovering)
    grow = volumes.check(kube, spec, stateful_set, claims)
    tls_enforced = _everywhere_encrypted(spec, pods)
    _check_live(kube, namespace, dynamic_configuration(effective, user, tls_enforced), config_map, pods)
    return {
        "replicas": _replicas(kube, namespace, name, effective, stateful_set, resource),
        "spec": effective,
        "recovering": recovering,
        "recovery": backup_preflight.recovery(kube, namespace, name, spec, user) if recovering else {},
        "grow": grow,
        "resizing": "" if stateful_set is None else volumes.standing(claims, pods),
        "tls_enforced": tls_enforced,
        "prometheus_operator": _wants_prometheus_operator(spec) and _serves_prometheus_operator(kube),
    }


def _check_combinations(spec: dict[str, Any]) -> None:
    """The CRD's rules, for a spec that no API server has checked."""
    replicas, given, field = spec["replicas"], spec.get("replication") or {}, "spec.replication"
    synchronous = given.get("mode") == "sync"
    if synchronous and 1 < replicas <= given.get("syncNodeCount", 1):
        raise Refused("InvalidSpec", f"{field}.syncNodeCount", f"must be below spec.replicas, {replicas}")
    if synchronous and given.get("strict") and replicas == 1:
        raise Refused(
            "InvalidSpec", f"{field}.strict", "needs a standby: without one no write is ever confirmed"
        )
    tls = spec.get("tls") or {}
    if tls.get("secretRef") and (tls.get("certManager") or {}).get("enabled"):
        raise Refused("InvalidSpec", "spec.tls.secretRef", "excludes certManager; remove one of them")


def _effective(
    spec: dict[str, Any],
    resource: Object | None,
    stateful_set: Object | None,
    pods: list[Object],
    config_map: Object | None,
    recovering: bool,
) -> dict[str, Any]:
    """The spec as the settings are to follow it.

    A database that is held at one instance, or is made from a backup at present, has the settings of one.
    ``strict`` begins when there is a replica that can confirm a write, and lasts while there is more than one
    instance: before, every write would hang.
    """
    given = spec.get("replication") or {}
    if recovering or conditions.holds(conditions.of(resource), conditions.REPLICAS_LIMITED):
        return spec | {"replicas": 1}
    if not given.get("strict"):
        return spec
    serving = any(instances.role(pod) == "replica" and instances.is_ready(pod) for pod in pods)
    several = stateful_set is not None and stateful_set["spec"].get("replicas", 1) > 1
    began = several and bool(current_configuration(config_map).get("synchronous_mode_strict"))
    return spec | {"replication": given | {"strict": serving or began}}


def _replicas(
    kube: Kube,
    namespace: str,
    name: str,
    spec: dict[str, Any],
    stateful_set: Object | None,
    resource: Object | None,
) -> int:
    """How many instances the StatefulSet holds, for its template: to change that is the rollout's.

    One that has to be made anew takes in every pod that lives, so that none ends for it. Without any pod it
    gets as many as there are data of, so that the instance that has the newest takes part in the election. A
    new database begins with one, from which the others copy.
    """
    if stateful_set is not None:
        return int(stateful_set["spec"].get("replicas", 1))
    living = instances.all_pods(kube, namespace, name)
    if living:
        return max(int(pod["metadata"]["name"].rpartition("-")[2]) for pod in living) + 1
    if spec.get("hibernate"):
        return 0
    told = conditions.of(resource)
    alone = any(conditions.holds(told, name) for name in (conditions.REPLICAS_LIMITED, conditions.HIBERNATED))
    most = 1 if alone else int(spec["replicas"])
    return max(min(kept_instances(kube, namespace, name), most), 1)


def _everywhere_encrypted(spec: dict[str, Any], pods: list[Object]) -> bool:
    """Whether every instance has a certificate, so that connections without encryption can be refused."""
    if not (spec.get("tls") or {}).get("enabled"):
        return False
    return all(annotations(pod).get(TLS_ANNOTATION) == "true" for pod in pods)


def _wants_prometheus_operator(spec: dict[str, Any]) -> bool:
    parts = ("serviceMonitor", "prometheusRule")
    return enabled(spec, "monitoring") and any(enabled(spec["monitoring"], part) for part in parts)


def _serves_prometheus_operator(kube: Kube) -> bool:
    """Whether the cluster takes both kinds of its objects that we make."""
    try:
        served = kube.request("GET", api_root(PROMETHEUS_OPERATOR)).get("resources") or []
    except KubeError as error:
        if error.status == 404:
            return False
        raise
    return {"ServiceMonitor", "PrometheusRule"} <= {item["kind"] for item in served}


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
    for position, item in enumerate((spec.get("auth") or {}).get("users") or []):
        if item["name"] == user:
            field = f"spec.auth.users[{position}].name"
            raise Refused("InvalidSpec", field, f"{user!r} is the superuser; choose another name")
    return user


def _check_live(
    kube: Kube, namespace: str, wanted: dict[str, Any], config_map: Object | None, pods: list[Object]
) -> None:
    """Let a running PostgreSQL itself judge settings that differ from those it was given.

    Where none can be asked now, the init container of the next pod checks the same file.
    """
    settings = wanted["postgresql"]["parameters"]
    if current_settings(config_map) == settings:
        return
    text = "\n".join(conf_lines(settings)) + "\n"
    command = ["sh", "-c", _CHECK, str(len(text.encode()))]
    running = [pod for pod in pods if instances.is_running(pod)]
    for pod in sorted(running, key=instances.is_ready, reverse=True):
        with contextlib.suppress(KubeError):  # its node may be lost
            try:
                kube.execute(namespace, pod["metadata"]["name"], command, text)
            except ExecFailed as error:
                raise _refusal(error.stderr, list(settings)) from None
            return


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

"""What is checked of backups and of a recovery before anything is made, and where a recovery begins from."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import claim_name
from ansible_collections.paradedb.db.plugins.module_utils.backup_rules import BACKUP, RECOVERY
from ansible_collections.paradedb.db.plugins.module_utils.conditions import BACKUP_HEALTHY
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    decode,
    enabled,
    recorded_superuser,
)
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.instances import RECOVER
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND
from ansible_collections.paradedb.db.plugins.module_utils.volumes import Claim
from cryptography import x509

_KEYS = ("accessKeyId", "secretAccessKey")
_AUTHORITY = "ca.crt"


def is_recovering(spec: dict[str, Any], resource: Object | None, config_map: Object | None) -> bool:
    """Whether the database is still to be made out of a backup.

    Patroni notes in its ConfigMap that there is a database. The ConfigMap can be lost; a primary that the
    status tells of was one of that database.
    """
    wanted = bool((spec.get("bootstrap") or {}).get("recovery"))
    return wanted and not _is_made(resource, config_map)


def _is_made(resource: Object | None, config_map: Object | None) -> bool:
    told = bool(((resource or {}).get("status") or {}).get("currentPrimary"))
    return told or bool(annotations(config_map).get("initialize"))


def check_goes_on(
    spec: dict[str, Any], resource: Object | None, stateful_set: Object | None, config_map: Object | None
) -> None:
    """Raises Refused where a recovery that has begun is not wanted any more.

    An empty database would be made.
    """
    if (spec.get("bootstrap") or {}).get("recovery") or _is_made(resource, config_map):
        return
    pod = ((stateful_set or {}).get("spec") or {}).get("template", {}).get("spec") or {}
    if any(item["name"] == RECOVER for item in pod.get("initContainers") or []):
        raise Refused(
            "InvalidSpec",
            "spec.bootstrap",
            "the recovery is not over, and without it there would be an empty database; keep it, or delete "
            "the ParadeDB",
        )


def recovery(kube: Kube, namespace: str, name: str, spec: dict[str, Any], superuser: str) -> dict[str, Any]:
    """Where the recovery begins from and where it ends. Raises Refused when it cannot begin."""
    wanted = spec["bootstrap"]["recovery"]
    server = wanted.get("source") or wanted["serverName"]
    if "source" in wanted:
        store, field = _store_of_source(kube, namespace, spec, wanted, superuser), f"{RECOVERY}.source"
    elif "s3" in wanted:
        store, field = {"s3": wanted["s3"]}, f"{RECOVERY}.s3"
    else:
        store, field = {"volume": wanted["pvc"]["claimName"]}, f"{RECOVERY}.pvc.claimName"
    _check_own_place(name, spec, store, server)
    if "s3" in store:
        _check_s3(kube, namespace, store["s3"], field)
    elif kube.get("v1", "PersistentVolumeClaim", namespace, store["volume"]) is None:
        message = f"there is no PersistentVolumeClaim {store['volume']!r} in namespace {namespace!r}; make it"
        raise Refused("RecoverySourceNotFound", field, message)
    return {
        "method": wanted.get("method", "dump"),
        "server": server,
        "store": store,
        "backup": wanted.get("backup", ""),
        "target": wanted.get("target") or {},
    }


def check_no_data(claims: list[Claim], resource: Object | None) -> None:
    """Raises Refused for volumes that are older than the resource: their database would be started instead.

    To be called while neither instances nor their StatefulSet are there. Without a resource every volume is
    an older one.
    """
    made = (resource or {}).get("metadata", {}).get("creationTimestamp", "")
    old = [
        claim["metadata"]["name"]
        for claim, _part, _instance in claims
        if not made or claim["metadata"].get("creationTimestamp", "") < made
    ]
    if old:
        raise Refused(
            "DataFound",
            RECOVERY,
            f"there are volumes of an earlier database of this name: {', '.join(old)}. Delete "
            "these claims, or choose another name; without bootstrap that database is started again",
        )


def unusable(kube: Kube, namespace: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The check BackupHealthy, when the Secrets of the bucket cannot serve; they hold up no database."""
    backup = spec.get("backup") or {}
    if not backup.get("enabled") or "s3" not in backup:
        return []
    try:
        _check_s3(kube, namespace, backup["s3"], f"{BACKUP}.s3")
    except Refused as problem:
        return [{"type": BACKUP_HEALTHY, "ok": False, "reason": problem.reason, "message": str(problem)}]
    return []


def _store_of_source(
    kube: Kube, namespace: str, spec: dict[str, Any], wanted: dict[str, Any], superuser: str
) -> dict[str, Any]:
    """Where another ParadeDB has its backups, also where it makes none any more."""
    name, field = wanted["source"], f"{RECOVERY}.source"
    found = kube.get(API_VERSION, KIND, namespace, name)
    if found is None:
        fix = "make this one anew with the right name, or with s3 or pvc and serverName"
        message = f"there is no ParadeDB {name!r} in namespace {namespace!r}; {fix}"
        raise Refused("RecoverySourceNotFound", field, message)
    backup, continuous = found["spec"].get("backup") or {}, wanted.get("method") == "continuous"
    if "s3" not in backup and ("pvc" not in backup or continuous):
        needed = "backup.s3" if continuous else "backup.s3 or backup.pvc"
        message = f"the ParadeDB {name!r} has no {needed}, so that nothing says where its backups are"
        raise Refused("RecoverySourceNotFound", field, message)
    _check_version(spec, found["spec"], name, continuous)
    theirs = recorded_superuser(kube, namespace, name)
    if continuous and theirs and theirs != superuser:
        raise Refused(
            "InvalidSpec",
            "spec.auth.superuserSecretRef",
            f"with method continuous the superuser is that of {name!r}, {theirs!r}, and cannot become "
            f"{superuser!r}; name a Secret with username {theirs}",
        )
    return {"s3": backup["s3"]} if "s3" in backup else {"volume": claim_name(name)}


def _check_version(spec: dict[str, Any], source: dict[str, Any], name: str, continuous: bool) -> None:
    """Files are of one major version; a dump goes into the same one or a later one."""
    ours, theirs = int(spec.get("postgresVersion", 0)), int(source.get("postgresVersion", 0))
    if ours < theirs or (continuous and ours != theirs):
        needed = "must be the same" if continuous else "must not be lower"
        fix = f"make this ParadeDB anew with {theirs}"
        message = f"the backup of {name!r} is of PostgreSQL {theirs}, and this version {needed}; {fix}"
        raise Refused("InvalidSpec", "spec.postgresVersion", message)


def _check_own_place(name: str, spec: dict[str, Any], store: dict[str, Any], server: str) -> None:
    """A database does not write where the backups are that it is made from."""
    if server != name or not enabled(spec, "backup"):
        return
    problem = "is where the backups are that the database is made from"
    own = spec["backup"]
    if "s3" in store and "s3" in own and _place(store["s3"]) == _place(own["s3"]):
        raise Refused("ArchiveNotEmpty", f"{BACKUP}.s3.path", f"{problem}; choose another path")
    if store.get("volume") == claim_name(name) and "pvc" in own:
        fix = "choose another name for the database, or set backup.enabled to false"
        raise Refused("ArchiveNotEmpty", f"{BACKUP}.pvc", f"{problem}; {fix}")


def _place(s3: dict[str, Any]) -> tuple[str, str, str]:
    return s3["endpoint"].rstrip("/").lower(), s3["bucket"], s3.get("path") or ""


def _check_s3(kube: Kube, namespace: str, s3: dict[str, Any], field: str) -> None:
    """Raises Refused when a Secret that the bucket needs cannot serve. ``field``: what names the bucket."""
    part = "" if field.endswith(".source") else ".secretRef"
    values = _read(kube, namespace, s3["secretRef"]["name"], _KEYS, field + part)
    secret = (s3.get("caSecretRef") or {}).get("name")
    if any(len(value.strip().split()) != 1 for value in values.values()):
        message = (
            f"a value in Secret {s3['secretRef']['name']!r} has blanks or line breaks in it; remove them"
        )
        raise Refused("InvalidSecret", field + part, message)
    if not secret:
        return
    part = "" if field.endswith(".source") else ".caSecretRef"
    text = _read(kube, namespace, secret, (_AUTHORITY,), field + part)[_AUTHORITY]
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        message = f"{_AUTHORITY} in Secret {secret!r} is not a certificate in PEM"
        raise Refused("InvalidSecret", field + part, message) from None


def _read(kube: Kube, namespace: str, secret: str, keys: tuple[str, ...], field: str) -> dict[str, str]:
    """The values of these keys, none of them empty. Raises Refused naming ``field``."""
    found = kube.get("v1", "Secret", namespace, secret)
    if found is None:
        message = f"there is no Secret {secret!r} in namespace {namespace!r}; create it"
        raise Refused("SecretNotFound", field, message)
    held = {key: value for key, value in (found.get("data") or {}).items() if key in keys}
    try:
        values = decode({"data": held})
    except ValueError:
        raise Refused("InvalidSecret", field, f"Secret {secret!r} holds a value which is not UTF-8") from None
    missing = [key for key in keys if not values.get(key, "").strip()]
    if missing:
        raise Refused("InvalidSecret", field, f"Secret {secret!r} has no {' and no '.join(missing)}")
    return values

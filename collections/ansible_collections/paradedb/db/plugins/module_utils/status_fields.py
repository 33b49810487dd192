"""Fields of a ParadeDB's status that say what there is: addresses, instances, versions, certificate."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.credentials import PORT, credentials_name
from ansible_collections.paradedb.db.plugins.module_utils.labels import database_selector
from ansible_collections.paradedb.db.plugins.module_utils.topology import Topology


def addresses(namespace: str, name: str, pooler: bool) -> dict[str, Any]:
    """What a client needs to find the database, and the scale subresource its pods."""
    return {
        "endpoint": f"{name}.{namespace}.svc:{PORT}",
        "readOnlyEndpoint": f"{name}-ro.{namespace}.svc:{PORT}",
        "poolerEndpoint": f"{name}-pooler.{namespace}.svc:{PORT}" if pooler else None,
        "credentialsSecret": credentials_name(name),
        "selector": database_selector(name),
    }


def instances(seen: Topology) -> dict[str, Any]:
    """The fields about the instances. While nobody leads, the last primary stays named."""
    leader = {"currentPrimary": seen.primary.name} if seen.primary else {}
    return {"readyReplicas": ready(seen), "instances": seen.table(), **leader}


def ready(seen: Topology) -> int:
    """How many instances serve."""
    return sum(item.ready for item in seen.present)


def led(status: dict[str, Any]) -> bool:
    """Whether an instance was the primary when the status was written."""
    return any(item["role"] == "primary" and item["ready"] for item in status.get("instances") or [])


def database(found: dict[str, Any]) -> dict[str, Any]:
    """What only the database itself can tell; nothing when it was not asked."""
    if not found.get("connected"):
        return {}
    return {"currentVersion": found["version"], "extensions": found["extensions"]}


def certificate(credentials: dict[str, Any]) -> dict[str, Any]:
    """The field about the certificate, None without TLS; nothing where nothing new is known of it."""
    tls = credentials.get("tls")
    if tls is None or (tls and not tls["expires"]):
        return {}
    return {"tls": {key: tls[key] for key in ("secretName", "expires")} if tls else None}


def users(credentials: dict[str, Any]) -> dict[str, Any]:
    """The users of the spec and where their passwords are; no field without users."""
    return {"users": credentials.get("users") or None}


def promotion(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, str]]:
    """The event of another instance being the primary; the first one is no news."""
    old, new = before.get("currentPrimary"), after.get("currentPrimary")
    if not old or old == new:
        return []
    timeline = next((item["timeline"] for item in after["instances"] if item["name"] == new), 0)
    message = f"{new} is the primary now, before it was {old} (timeline {timeline})"
    return [{"type": "Normal", "reason": "PrimaryChanged", "message": message}]


def patch(before: Any, after: Any) -> Any:
    """The merge patch that makes the one the other: what is gone, at any depth, becomes None (RFC 7396)."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    kept = {name: patch(before.get(name), value) for name, value in after.items()}
    return kept | {name: None for name in before if name not in after}

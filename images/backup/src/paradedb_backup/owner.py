"""Whose a place is: two databases that wrote into one would remove each other's backups."""

from __future__ import annotations

import json
from typing import Any

from paradedb_backup.config import Config, S3Place
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store

OWNER = "owner.json"


def claim(store: Store, config: Config, system: str) -> None:
    """Claims the place for this database, whose system identifier is `system`; Problem PlaceTaken when
    another one has it. Nothing else may be written before. The superuser's name is noted for a recovery and
    may change."""
    mine = {"namespace": config.namespace, "name": config.name, "systemIdentifier": system}
    noted = {**mine, "superuser": config.database.user}
    found = store.get(OWNER)
    if found is None:
        if store.create(OWNER, json.dumps(noted).encode()):
            return
        found = store.get(OWNER)
    owner = _owner(found, config)
    if {key: owner.get(key) for key in mine} != mine:
        raise Problem("PlaceTaken", _taken(owner, mine, config))
    if owner != noted:
        store.put(OWNER, json.dumps(noted).encode())


def _owner(found: bytes | None, config: Config) -> dict[str, Any]:
    try:
        owner = json.loads(found or b"")
        if isinstance(owner, dict):
            return owner
    except ValueError:
        pass
    raise Problem(
        "PlaceTaken",
        f"the place's {OWNER} cannot be read; {_advice(config)},"
        " or remove the file when the place is this database's",
    )


def _taken(owner: dict[str, Any], mine: dict[str, str], config: Config) -> str:
    whose = f"{owner.get('namespace')}/{owner.get('name')}"
    if whose == f"{mine['namespace']}/{mine['name']}":
        earlier = f"the place holds backups of an earlier database {whose}"
        return f"{earlier}; {_advice(config)}, or move the old backups away"
    return f"the place belongs to the database {whose}; {_advice(config)}"


def _advice(config: Config) -> str:
    if isinstance(config.place, S3Place):
        return f"set another path in {config.place.field}.path"
    return f"give this database a volume of its own ({config.place.field})"

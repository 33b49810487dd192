"""What a decision about the instances of a ParadeDB is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology


@dataclass
class World:
    """All that a decision is made of."""

    seen: Topology
    spec: dict[str, Any]
    replicas: int | None  # how many instances shall run; None while that is not known yet
    now: datetime
    nodes: dict[str, Object] = field(default_factory=dict)
    database: dict[str, Any] | None = None  # None for who only looks
    resource: Object | None = None
    certificate: str = ""  # checksum; empty without TLS
    resizing: str = ""  # what the volumes still wait for
    settings_age: float = 3600  # seconds since the settings were last changed
    kept: int = 0  # instances that there are data of; counted only where none runs
    full: Callable[[Instance], Refused | None] = lambda _item: None  # asks an instance for its disk

    def lost(self, item: Instance) -> float:
        """Seconds since the instance's node stopped answering; 0 while it does."""
        since = topology.lost_since(self.nodes.get(item.node))
        return max((self.now - since).total_seconds(), 1.0) if since else 0.0

"""Which editions of ParadeDB can have standbys: the one place that knows it."""

from __future__ import annotations

import re
from typing import Any

# Since this version of pg_search a build of a search index writes a record into the write-ahead log that the
# Community edition refuses to replay on a standby: https://github.com/paradedb/paradedb/issues/6007
STANDBY_STOPS_SINCE = (0, 24)


def limit(spec: dict[str, Any], search_version: str) -> dict[str, str] | None:
    """Why the database must stay at one instance, as ``reason`` and ``message``; None when nothing says so.

    ``search_version``: the pg_search that the image would install, "" when it has none.
    """
    replicas = spec.get("replicas", 1)
    if replicas <= 1 or not _stops_standbys(search_version) or _is_enterprise(spec):
        return None
    if (spec.get("replication") or {}).get("communityStandby") == "HeapOnly":
        return None
    return {
        "reason": "CommunityStandbyUnsupported",
        "message": f"one instance instead of {replicas}: with pg_search {search_version} of the Community "
        "edition a standby stops for good when a search index is built (paradedb issue 6007). Use an "
        "Enterprise image (with spec.edition: Enterprise when its name does not say so), or set "
        "spec.replicas to 1, or accept standbys that stop with spec.replication.communityStandby: HeapOnly",
    }


def _stops_standbys(version: str) -> bool:
    """Whether this pg_search does; a version that cannot be read counts as new, a release candidate as its
    release."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if not numbers:
        return bool(version)
    return (int(numbers[1]), int(numbers[2])) >= STANDBY_STOPS_SINCE


def _is_enterprise(spec: dict[str, Any]) -> bool:
    """What the edition says; ``Auto`` goes by the image's own name, not by registry or folder."""
    edition = spec.get("edition") or "Auto"
    name = (spec.get("image") or "").partition("@")[0].rpartition("/")[2]
    return edition == "Enterprise" or (edition == "Auto" and "enterprise" in name.lower())

"""Moments, always in UTC and, in documents, as RFC 3339 with Z."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")


def now() -> datetime:
    """This moment, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def text(moment: datetime) -> str:
    """As in 2026-11-24T01:30:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(moment: str) -> datetime:
    """The reverse of `text`, for any zone; ValueError when it has none or is no time."""
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return parsed.astimezone(UTC)


def new_id(moment: datetime) -> str:
    """The name of a backup begun then: 20261124T013000Z-4f1c. Two of one second differ in the end."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def is_id(name: str) -> bool:
    """Whether this is the name of a backup."""
    return _ID.fullmatch(name) is not None

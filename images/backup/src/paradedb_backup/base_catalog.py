"""Which base backups an archive of barman-cloud's has, and which of them a recovery begins with."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from paradedb_backup import segments, times
from paradedb_backup.config import Config
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store, open_store

_SEGMENT = 16 * 2**20


@dataclass(frozen=True)
class Base:
    """A complete base backup, by its backup.info: where its log begins and ends, its bytes, those of a
    segment."""

    id: str
    begin_wal: str
    end_lsn: int
    finished: datetime
    bytes: int
    segment: int
    tablespaces: tuple[str, ...]
    version: int  # PostgreSQL's major one, 0 where barman did not write it


def bases(settings: Config) -> list[Base]:
    """All complete ones, in the order of the log, which no clock can turn."""
    store = open_store(settings)
    names = [entry.name for entry in store.entries("base") if entry.name.endswith("/backup.info")]
    found = [base for name in names if (base := _read(store, name)) is not None]
    return sorted(found, key=lambda base: (base.end_lsn, base.begin_wal))


def _read(store: Store, name: str) -> Base | None:
    """barman writes a line ``key=value`` for each field; None for one that is not done or cannot be read."""
    lines = (store.get(name) or b"").decode(errors="replace").splitlines()
    fields = {key: value for key, _equals, value in (line.partition("=") for line in lines)}
    if fields.get("status") != "DONE":
        return None
    try:
        return Base(
            id=name.split("/")[-2],
            begin_wal=fields["begin_wal"],
            end_lsn=segments.position(fields["end_xlog"]),
            finished=times.parse(fields["end_time"]),
            bytes=_number(fields, "size", 0),
            segment=_number(fields, "xlog_segment_size", _SEGMENT),
            version=_number(fields, "version", 0) // 10_000,
            tablespaces=_tablespaces(fields.get("tablespaces", "None")),
        )
    except (KeyError, ValueError, SyntaxError) as error:
        print(f"left out: {name} cannot be read ({error})", file=sys.stderr, flush=True)
        return None


def _number(fields: Mapping[str, str], name: str, otherwise: int) -> int:
    value = fields.get(name, "None")
    return otherwise if value == "None" else int(value)


def _tablespaces(value: str) -> tuple[str, ...]:
    """Their names: barman writes a list of (name, oid, location)."""
    return tuple(str(item[0]) for item in ast.literal_eval(value) or ())


def choose(found: Sequence[Base], wanted: str | None, target: Mapping[str, str], field: str) -> Base:
    """The base backup ``wanted``, or the newest one from which the target can be reached. A restore point may
    have been made at any time: the newest one is taken for it.

    Raises Problem NoBackup when there is none, RestoreFailed when it has tablespaces.
    """
    if wanted:
        fitting = [base for base in found if base.id == wanted]
    else:
        fitting = [base for base in found if _ends_before(base, target)]
    if not fitting:
        raise Problem("NoBackup", _none(found, wanted, target, field))
    chosen = fitting[-1]
    if chosen.tablespaces:
        raise Problem(
            "RestoreFailed",
            f"{field}: the base backup {chosen.id} has tablespaces ({', '.join(chosen.tablespaces)}), which "
            "a pod has no place for; restore a dump (spec.bootstrap.recovery.method: dump)",
        )
    return chosen


def _ends_before(base: Base, target: Mapping[str, str]) -> bool:
    if "time" in target:
        return base.finished < times.parse(target["time"])
    return "lsn" not in target or base.end_lsn <= segments.position(target["lsn"])


def _none(found: Sequence[Base], wanted: str | None, target: Mapping[str, str], field: str) -> str:
    if wanted:
        return f"{field}.backup: the archive has no complete base backup {wanted}"
    if not found:
        return f"{field}: the archive has no complete base backup"
    kind, value = next(iter(target.items()))
    return (
        f"{field}.target.{kind}: no base backup ended before {value}; choose a later {kind}: the oldest one, "
        f"{found[0].id}, ended at {times.text(found[0].finished)}"
    )

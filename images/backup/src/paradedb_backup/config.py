"""What the operator tells the program: /etc/backup/backup.json, /etc/recovery/recovery.json and the secrets
beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The longest that spec.backup.activeDeadlineSeconds may be: no run is older.
LONGEST_RUN_SECONDS = 604800


@dataclass(frozen=True)
class S3Place:
    """A bucket. `path` is the prefix of all names without slashes at its ends, `field` the part of the spec
    it comes from."""

    endpoint: str
    bucket: str
    path: str
    region: str
    path_style: bool
    credentials: Path
    authority: Path | None
    field: str

    def secrets(self) -> tuple[str, str]:
        """The access key's id and the secret access key; OSError when the Secret is not mounted."""
        return (
            (self.credentials / "accessKeyId").read_text().strip(),
            (self.credentials / "secretAccessKey").read_text().strip(),
        )


@dataclass(frozen=True)
class VolumePlace:
    """A mounted volume."""

    root: Path
    field: str


Place = S3Place | VolumePlace


@dataclass(frozen=True)
class Retention:
    """How many backups are kept; see retention.kept."""

    last: int
    daily: int
    weekly: int


@dataclass(frozen=True)
class Database:
    """Where the database to dump listens, and its superuser. `tls`: every instance has it; `named`: its
    certificate is for this host, which one of the user's own need not be."""

    host: str
    port: int
    user: str
    tls: bool
    named: bool
    password: Path
    authority: Path


@dataclass(frozen=True)
class Config:
    """One file of the operator's. `method`, `backup` and `target` are only in a recovery's; `deadline` is in
    seconds."""

    namespace: str
    name: str
    server: str
    place: Place
    retention: Retention | None
    jobs: int
    window_days: int | None
    state: str
    database: Database
    preload: str
    version: str
    deadline: int
    method: str
    backup: str | None
    target: Mapping[str, str]


def where(settings: Config) -> str:
    """The place in one line, as the operator names it: s3://bucket/path/server, or volume CLAIM."""
    place = settings.place
    if isinstance(place, S3Place):
        return "s3://" + "/".join(part for part in (place.bucket, place.path, settings.server) if part)
    return f"volume {settings.server}-backup"


def root() -> Path:
    """/, or the folder that stands for it where the program runs outside of a pod."""
    return Path(os.environ.get("PARADEDB_BACKUP_ROOT", "/"))


def for_backup() -> Config:
    """The database's own backups."""
    etc = root() / "etc"
    return read(etc / "backup/backup.json", etc / "backup-credentials", etc / "backup-ca", "spec.backup")


def for_recovery() -> Config:
    """The backups that this database is made from."""
    etc = root() / "etc"
    return read(
        etc / "recovery/recovery.json",
        etc / "recovery-credentials",
        etc / "recovery-ca",
        "spec.bootstrap.recovery",
    )


def read(file: Path, credentials: Path, authority: Path, field: str) -> Config:
    """Reads one file. `field` is the part of the spec that messages name."""
    data = json.loads(file.read_text())
    retention = data.get("retention")
    return Config(
        namespace=data["namespace"],
        name=data["name"],
        server=data["server"],
        place=_place(data["store"], credentials, authority / "ca.crt", field),
        retention=retention
        and Retention(retention["keepLast"], retention["keepDaily"], retention["keepWeekly"]),
        jobs=data.get("jobs") or 1,
        window_days=data.get("recoveryWindowDays"),
        state=data.get("state", ""),
        database=_database(data.get("database") or {}),
        preload=data.get("preload") or "",
        version=str(data.get("version") or ""),
        deadline=data.get("deadlineSeconds") or LONGEST_RUN_SECONDS,
        method=data.get("method", ""),
        backup=data.get("backup"),
        target=data.get("target") or {},
    )


def _place(store: Mapping[str, Any], credentials: Path, authority: Path, field: str) -> Place:
    if "volume" in store:
        return VolumePlace(root=Path(store["volume"]), field=f"{field}.pvc")
    s3 = store["s3"]
    return S3Place(
        endpoint=s3["endpoint"],
        bucket=s3["bucket"],
        path=(s3.get("path") or "").strip("/"),
        region=s3.get("region") or "",
        path_style=s3.get("pathStyle", True),
        credentials=credentials,
        authority=authority if authority.exists() else None,
        field=f"{field}.s3",
    )


def _database(data: Mapping[str, Any]) -> Database:
    secrets = root() / "etc/backup-database"
    return Database(
        host=data.get("host", ""),
        port=data.get("port", 5432),
        user=data.get("user", ""),
        tls=bool(data.get("tls")),
        named=data.get("named", True),
        password=secrets / "password",
        authority=secrets / "ca.crt",
    )

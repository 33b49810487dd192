"""What can go wrong, in words for the one who has to mend it: a reason for machines and a message that names
the field."""

from __future__ import annotations

import signal
from types import FrameType

REASONS = frozenset(
    {
        "AccessDenied",
        "ArchiveNotEmpty",
        "BackupDamaged",
        "BaseBackupFailed",
        "BucketMissing",
        "CertificateUntrusted",
        "ChecksFailed",
        "CredentialsRejected",
        "DatabaseUnreachable",
        "DumpFailed",
        "EndpointUnreachable",
        "Interrupted",
        "LoginRejected",
        "NoBackup",
        "NotAnS3Endpoint",
        "PlaceTaken",
        "RestoreFailed",
        "TargetNotReached",
        "UploadFailed",
        "VolumeFull",
        "WALMissing",
        "WrongRegion",
    }
)


class Problem(Exception):
    """Ends a command. `reason` is one of REASONS, `message` a sentence for a person, without secrets."""

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown reason {reason}")
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def interruptible() -> None:
    """Makes SIGTERM and SIGINT a Problem in the main thread, so that what is half done is taken back. Only
    the first: a second one must not end the taking back."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise Problem("Interrupted", f"stopped by {signal.Signals(number).name} before it was done")

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)

"""SCRAM-SHA-256 verifiers, so that a password never leaves the operator in clear.

Format of ``pg_authid.rolpassword``: https://www.postgresql.org/docs/17/catalog-pg-authid.html
Preparation of the password (SASLprep): RFC 4013, as PostgreSQL does it, raw bytes when it does not apply.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import stringprep
import unicodedata

ITERATIONS = 4096  # PostgreSQL's scram_iterations default

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def _saslprep(password: str) -> str:
    """The normalised password; the password as it is where RFC 4013 would refuse it.

    As PostgreSQL's pg_saslprep, the checks look at the text before its normalisation.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in password
        if not stringprep.in_table_b1(char)
    )
    if not mapped or any(check(char) for char in mapped for check in _PROHIBITED):
        return password
    right_to_left = [stringprep.in_table_d1(char) for char in mapped]
    if any(right_to_left):
        mixed = any(stringprep.in_table_d2(char) for char in mapped)
        if mixed or not (right_to_left[0] and right_to_left[-1]):
            return password
    return unicodedata.normalize("NFKC", mapped)


def verifier(password: str, salt_seed: str) -> str:
    """The verifier of ``password``, the same one every time for the same seed.

    ``salt_seed`` must be unique to the role and the database system (the resource's uid and the role's
    name): a salt need not be secret, only unique, and a stable one lets a pass see that nothing changed.
    """
    salt = hashlib.sha256(f"paradedb.db scram salt {salt_seed}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", _saslprep(password).encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()

    def encode(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return f"SCRAM-SHA-256${ITERATIONS}:{encode(salt)}${encode(stored_key)}:{encode(server_key)}"

"""Verifiers against the formulas of RFC 5802 and 7677, and against PostgreSQL itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import scram

from .private_postgres import PrivatePostgres

SHAPE = re.compile(r"^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$")

# Password, and the text that a client which follows PostgreSQL's SASLprep computes with.
PREPARED = [
    ("secret", "secret"),
    ("", ""),
    (" blanks stay ", " blanks stay "),
    ("quote'back\\slash\"", "quote'back\\slash\""),
    ("p\u00e4ss", "p\u00e4ss"),
    ("pa\u0308ss", "p\u00e4ss"),  # composed
    ("I\u00adX", "IX"),  # RFC 4013, 3: soft hyphen maps to nothing
    ("\u00aa", "a"),  # RFC 4013, 3: NFKC
    ("\u2168", "IX"),  # RFC 4013, 3: roman numeral nine
    ("a\u00a0b", "a b"),  # non-ASCII space maps to space
    ("a\u3000b", "a b"),
    ("\u00ad", "\u00ad"),  # nothing is left: as it is
    ("a\u0007b", "a\u0007b"),  # RFC 4013, 3: prohibited; PostgreSQL then takes the raw bytes
    ("\u00e4\u0007", "\u00e4\u0007"),
    ("a\u0308\u0007", "a\u0308\u0007"),  # raw also means: not composed
    ("a\u0308\ue000", "a\u0308\ue000"),  # private use
    ("a\u0308\ufffd", "a\u0308\ufffd"),
    ("a\u0308\u200e", "a\u0308\u200e"),
    ("a\u0308\ufdd0", "a\u0308\ufdd0"),  # noncharacter
    ("\u06271", "\u06271"),  # RFC 4013, 3: bidirectional check; raw
    ("\ufe8d1", "\ufe8d1"),  # and raw is not NFKC
    ("\u0627 a\u0308 \u0627", "\u0627 a\u0308 \u0627"),  # right-to-left and left-to-right
    ("\ufe8d1\ufe8d", "\u06271\u0627"),  # begins and ends right-to-left
    ("\U0001f418", "\U0001f418"),  # unassigned in Unicode 3.2
    ("a\u0308\U0001f418", "a\u0308\U0001f418"),
    ("\U0001d400", "A"),
    ("\u4f60\u597d", "\u4f60\u597d"),
    ("\uff50\uff41", "pa"),
    # PostgreSQL judges the text before NFKC
    ("a\u0308\u0340", "a\u0308\u0340"),  # prohibited (C.8), would become U+0300
    ("\u0341", "\u0341"),
    ("a\u0308\U0001f100", "a\u0308\U0001f100"),  # unassigned in Unicode 3.2, would become "0."
]


def keys(password: str, salt: bytes, iterations: int) -> tuple[str, str]:
    """StoredKey and ServerKey by the formulas of RFC 5802, 3, block by block."""
    block = hmac.new(password.encode(), salt + b"\x00\x00\x00\x01", hashlib.sha256).digest()
    salted = int.from_bytes(block)
    for _round in range(iterations - 1):
        block = hmac.new(password.encode(), block, hashlib.sha256).digest()
        salted ^= int.from_bytes(block)
    key = salted.to_bytes(32)
    client = hmac.new(key, b"Client Key", hashlib.sha256).digest()
    server = hmac.new(key, b"Server Key", hashlib.sha256).digest()
    stored = hashlib.sha256(client).digest()
    return base64.b64encode(stored).decode(), base64.b64encode(server).decode()


def test_the_reference_reproduces_rfc_7677() -> None:
    """RFC 7677, 3: user "user", password "pencil": the proof and the server's signature."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored, server = keys("pencil", salt, 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    signature = hmac.digest(base64.b64decode(stored), message.encode(), "sha256")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert base64.b64encode(hashlib.sha256(client_key).digest()).decode() == stored
    proven = hmac.digest(base64.b64decode(server), message.encode(), "sha256")
    assert base64.b64encode(proven).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize(("password", "prepared"), PREPARED, ids=[ascii(pair[0]) for pair in PREPARED])
def test_verifier_is_what_a_client_proves(password: str, prepared: str) -> None:
    made = scram.verifier(password, "uid/postgres")
    assert SHAPE.match(made)
    salt, stored_and_server = made.removeprefix("SCRAM-SHA-256$4096:").split("$")
    assert tuple(stored_and_server.split(":")) == keys(prepared, base64.b64decode(salt), 4096)


def test_salt_is_stable_for_a_seed_and_differs_between_seeds() -> None:
    made = [scram.verifier("x", seed) for seed in ("a/postgres", "a/postgres", "b/postgres", "a/other", "")]
    assert made[0] == made[1]
    assert len(set(made[1:])) == 4


def test_password_does_not_show_in_the_verifier() -> None:
    assert "pencil" not in scram.verifier("pencil", "pencil")


def test_postgresql_computes_the_same(postgres: PrivatePostgres) -> None:
    """PostgreSQL is given the passwords in clear: its verifiers have the keys of the prepared texts."""
    wanted = PREPARED[2:]
    statements = []
    for password, _prepared in wanted:
        quoted = "E'" + "".join(f"\\U{ord(char):08x}" for char in password) + "'"
        statements += [
            f"CREATE ROLE scram_test PASSWORD {quoted}",
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_test'",
            "DROP ROLE scram_test",
        ]
    made = postgres.query("; ".join(statements)).splitlines()
    for (password, prepared), theirs in zip(wanted, made, strict=True):
        salt, stored_and_server = theirs.removeprefix("SCRAM-SHA-256$4096:").split("$")
        expected = keys(prepared, base64.b64decode(salt), 4096)
        assert tuple(stored_and_server.split(":")) == expected, ascii(password)


def test_a_client_logs_in_against_the_verifier(postgres: PrivatePostgres) -> None:
    password = "pa\u0308ss w\u00f6rd'\\"
    made = scram.verifier(password, "uid/scram_login")
    postgres.query(f"CREATE ROLE scram_login LOGIN PASSWORD '{made}'")
    assert postgres.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_login'") == made
    postgres.write_hba(["local all scram_login scram-sha-256", "local all all trust"])
    postgres.query("SELECT pg_reload_conf()")
    connect = ["psql", "-X", "-A", "-t", "-U", "scram_login", "-d", "postgres", "-c", "SELECT current_user"]
    good = postgres.execute(["env", f"PGPASSWORD={password}", *connect])
    bad = postgres.execute(["env", "PGPASSWORD=wrong", *connect])
    assert good[:2] == (0, "scram_login\n"), good
    assert bad[0] != 0
    assert "password authentication failed" in bad[2]

"""The certificates that the operator makes, judged by a real TLS handshake; time is an argument."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = certificates.server_names("orders", "prod")

Values = dict[str, str]


def made(now: datetime = NOW) -> tuple[Values, Values]:
    authority = certificates.authority({}, "orders", now)
    return authority, certificates.server({}, authority, NAMES, now)


def certificate(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def selfmade(
    key: object = None, begin: datetime = NOW - DAY, days: int = 365, names: list[str] | None = None
) -> Values:
    """A certificate as a user may bring one; ``key`` is a private key of the cryptography library."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    public = private.public_key()  # type: ignore[attr-defined]
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(subject, subject, public, serial, begin, begin + days * DAY)
    alternatives = [x509.DNSName(name) for name in names or ["orders.prod.svc", "orders-ro.prod.svc"]]
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    hash_ = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.sign(private, hash_)  # type: ignore[arg-type]
    return {
        "tls.crt": signed.public_bytes(serialization.Encoding.PEM).decode(),
        "tls.key": key_text(private),
    }


def key_text(key: object, password: bytes = b"", form: str = "PKCS8") -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made = key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
    )
    return made.decode()


def handshake(directory: Path, server: Values, trusted: str, host: str) -> str:
    """A strictly verifying client against a server with the certificate; what went wrong, or empty."""
    for name, text in {**server, "trusted.crt": trusted}.items():
        (directory / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    client = ssl.create_default_context(cafile=str(directory / "trusted.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(left, server_side=True) as connection:
            connection.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=host) as connection:
            assert connection.recv(1) == b"x"
    except ssl.SSLError as error:
        return str(error)
    finally:
        right.close()
        thread.join()
    return ""


@pytest.mark.parametrize(
    "host",
    [
        *("orders", "orders.prod", "orders.prod.svc", "orders.prod.svc.cluster.local"),
        *("orders-pooler", "orders-pooler.prod", "orders-pooler.prod.svc"),
        *("orders-pooler.prod.svc.cluster.local", "orders-ro.prod.svc", "orders-2.orders-headless.prod.svc"),
    ],
)
def test_a_strict_client_accepts_every_name(tmp_path: Path, host: str) -> None:
    _authority, server = made()
    assert handshake(tmp_path, server, server["ca.crt"], host) == ""


@pytest.mark.parametrize("host", ["other.prod.svc", "orders.test.svc", "x.orders.prod.svc", "localhost"])
def test_no_other_name_is_accepted(tmp_path: Path, host: str) -> None:
    _authority, server = made()
    assert "match" in handshake(tmp_path, server, server["ca.crt"], host)


def test_another_databases_authority_is_not_trusted(tmp_path: Path) -> None:
    _authority, server = made()
    stranger = certificates.bundle(certificates.authority({}, "orders", NOW))
    assert "verify failed" in handshake(tmp_path, server, stranger, "orders.prod.svc")


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_openssl_verifies_with_all_its_checks(tmp_path: Path) -> None:
    _authority, server = made()
    for name, text in server.items():
        (tmp_path / name).write_text(text)
    options = (
        "-x509_strict",
        "-check_ss_sig",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "orders.prod.svc",
    )
    command = ["openssl", "verify", *options, "-CAfile", tmp_path / "ca.crt", tmp_path / "tls.crt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lifetimes() -> None:
    authority, server = made()
    root, leaf = certificate(authority["ca.crt"]), certificate(server["tls.crt"])
    assert 3650 * DAY < root.not_valid_after_utc - NOW < 3654 * DAY
    assert leaf.not_valid_after_utc - NOW == 90 * DAY
    assert leaf.not_valid_before_utc < NOW


def test_nothing_is_made_anew_without_a_reason() -> None:
    authority, server = made()
    later = NOW + 59 * DAY
    assert certificates.authority(authority, "orders", later) == authority
    assert certificates.server(server, authority, list(reversed(NAMES)), later) == server


def test_the_certificate_is_renewed_a_month_before_its_end(tmp_path: Path) -> None:
    authority, server = made(NOW - 61 * DAY)
    renewed = certificates.server(server, authority, NAMES, NOW)
    assert renewed["tls.crt"] != server["tls.crt"]
    assert renewed["tls.key"] != server["tls.key"]
    assert renewed["ca.crt"] == server["ca.crt"]
    assert handshake(tmp_path, renewed, server["ca.crt"], "orders.prod.svc") == ""


def broken(server: Values) -> list[Values]:
    other = made()[1]
    return [
        {},
        {"tls.crt": server["tls.crt"]},
        {"tls.key": server["tls.key"]},
        {**server, "tls.key": other["tls.key"]},
        {**server, "tls.crt": "nonsense"},
        {**server, "tls.key": "nonsense"},
        other,  # of an authority that was lost
        certificates.server({}, certificates.authority({}, "orders", NOW), NAMES, NOW),
    ]


@pytest.mark.parametrize("case", range(8))
def test_a_certificate_that_does_not_fit_is_replaced(tmp_path: Path, case: int) -> None:
    authority, server = made()
    renewed = certificates.server(broken(server)[case], authority, NAMES, NOW)
    assert handshake(tmp_path, renewed, authority["ca.crt"], "orders.prod.svc") == ""


def test_new_names_make_a_new_certificate() -> None:
    authority, server = made()
    renewed = certificates.server(server, authority, [*NAMES, "more"], NOW)
    assert certificates.missing_names(certificate(renewed["tls.crt"]), ["more"]) == []


def test_a_certificate_of_the_future_is_replaced() -> None:
    """Somebody's clock was wrong when it was made."""
    authority, server = made(NOW + 10 * DAY)
    assert certificates.server(server, authority, NAMES, NOW)["tls.crt"] != server["tls.crt"]


@pytest.mark.parametrize(
    "existing",
    [
        {"ca.crt": "nonsense", "ca.key": "nonsense"},
        {"ca.crt": "", "ca.key": ""},
        {"ca.key": made()[0]["ca.key"]},
        {**made()[0], "ca.key": made()[0]["ca.key"]},
        {"ca.crt": selfmade()["tls.crt"], "ca.key": "no"},
        {key.replace("tls", "ca"): text for key, text in selfmade().items()},  # no authority
        made(NOW - 3653 * DAY)[0],
    ],
)
def test_an_authority_that_cannot_sign_is_replaced(tmp_path: Path, existing: Values) -> None:
    authority = certificates.authority(existing, "orders", NOW)
    server = certificates.server({}, authority, NAMES, NOW)
    assert set(authority) == {"ca.crt", "ca.key"}
    assert handshake(tmp_path, server, authority["ca.crt"], "orders.prod.svc") == ""


def test_clients_trust_every_certificate_through_twenty_five_years(tmp_path: Path) -> None:
    """A client that read ca.crt anew within the last half year verifies, on every single day."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    authority: Values = {}
    server: Values = {}
    copies: list[str] = []  # of ca.crt, a month apart
    signers = set()
    for month in range(25 * 12):
        authority = certificates.authority(authority, "orders", now)
        server = certificates.server(server, authority, NAMES, now)
        leaf = certificate(server["tls.crt"])
        signers.add(authority["ca.crt"])
        copies = [*copies[-5:], server["ca.crt"]]
        for copy in copies:
            roots = x509.load_pem_x509_certificates(copy.encode())
            verifies = [root for root in roots if _verifies(root, leaf) and root.not_valid_after_utc > now]
            assert verifies, month
        assert leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - 29 * DAY
        assert server["ca.crt"].count("BEGIN") <= 3
        now += 30 * DAY
    assert len(signers) == 3


def _verifies(root: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
    except Exception:
        return False
    return True


def test_the_successor_is_announced_before_it_signs(tmp_path: Path) -> None:
    authority, _server = made(NOW - 3300 * DAY)
    announced = certificates.authority(authority, "orders", NOW)
    assert {key: announced[key] for key in authority} == authority
    bundle = certificates.bundle(announced)
    assert bundle == authority["ca.crt"] + announced["next.crt"]
    server = certificates.server({}, announced, NAMES, NOW)
    assert handshake(tmp_path, server, authority["ca.crt"], "orders.prod.svc") == ""
    later = NOW + 181 * DAY
    taken_over = certificates.authority(announced, "orders", later)
    assert taken_over["ca.crt"] == announced["next.crt"]
    assert taken_over["previous.crt"] == authority["ca.crt"]
    assert "next.key" not in taken_over
    renewed = certificates.server(server, taken_over, NAMES, later)
    assert renewed["tls.crt"] != server["tls.crt"]
    assert (
        certificates.bundle(certificates.authority(taken_over, "orders", later + 300 * DAY))
        == (announced["next.crt"])
    )


def test_authorities_of_two_texts_are_each_there_once() -> None:
    first, second, third = (made()[0]["ca.crt"] for _ in range(3))
    assert certificates.together(first + second, second + third) == first + second + third
    assert certificates.together(first.rstrip(), second) == first + second
    assert certificates.together("", first) == first
    for old in ("", "nonsense", first):
        assert certificates.together(first, old) == first
        assert certificates.together(f"# house\n{first}", old) == f"# house\n{first}"


def test_an_operator_that_was_away_for_years_goes_on_with_the_successor() -> None:
    authority = certificates.authority(made(NOW - 3300 * DAY)[0], "orders", NOW)
    later = NOW + 500 * DAY
    after = certificates.authority(authority, "orders", later)
    assert after == {"ca.crt": authority["next.crt"], "ca.key": authority["next.key"]}


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=lambda key: type(key).__name__,
)
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_users_certificate_is_read(key: object, form: str) -> None:
    values = {**selfmade(key), "tls.key": key_text(key, form=form)}
    assert certificates.read(values) == certificate(values["tls.crt"])
    assert certificates.read({**values, "ca.crt": values["tls.crt"]})
    assert certificates.read({**values, "ca.crt": ""})


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_a_key_as_openssl_writes_it_is_read() -> None:
    """With the parameters of the curve in a block of its own before the key."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "EC PARAMETERS" in text
    key = serialization.load_pem_private_key(text[text.index("-----BEGIN EC PRIVATE") :].encode(), None)
    assert certificates.read({**selfmade(key), "tls.key": text})


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_a_broken_signature_is_told(tmp_path: Path) -> None:
    files = ("-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt")
    kind = ("-x509", "-sha1", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=orders", "-days", "9")
    subprocess.run(["openssl", "req", *kind, *files], capture_output=True, check=True)
    with pytest.raises(certificates.Unusable, match="SHA1"):
        certificates.read({name: (tmp_path / name).read_text() for name in ("tls.crt", "tls.key")})


def test_an_ed25519_key_serves_when_another_kind_signed_it() -> None:
    authority = made()[0]
    private = ed25519.Ed25519PrivateKey.generate()
    signer = certificate(authority["ca.crt"])
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(
        signer.subject, signer.subject, private.public_key(), serial, NOW - DAY, NOW + DAY
    )
    signing = serialization.load_pem_private_key(authority["ca.key"].encode(), None)
    signed = builder.sign(signing, hashes.SHA256())  # type: ignore[arg-type]
    text = signed.public_bytes(serialization.Encoding.PEM).decode()
    assert certificates.read({"tls.crt": text, "tls.key": key_text(private)}) == signed


GOOD = selfmade()
ENCRYPTED = key_text(ec.generate_private_key(ec.SECP256R1()), b"secret")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "has no tls.crt and no tls.key"),
        ({"tls.crt": GOOD["tls.crt"]}, "has no tls.key"),
        ({"tls.key": GOOD["tls.key"], "tls.crt": " \n"}, "has no tls.crt"),
        ({**GOOD, "tls.crt": "x"}, "tls.crt that is no certificate"),
        ({**GOOD, "tls.crt": GOOD["tls.key"]}, "tls.crt that is no certificate"),
        ({**GOOD, "tls.key": GOOD["tls.crt"]}, "tls.key that is no private key"),
        ({**GOOD, "tls.key": ENCRYPTED}, "encrypted"),
        ({**GOOD, "tls.key": selfmade()["tls.key"]}, "does not belong"),
        ({**GOOD, "ca.crt": "x"}, "ca.crt that is no certificate"),
        ({**GOOD, "ca.crt": "\n"}, "ca.crt that is no certificate"),  # a file that PostgreSQL would read
        (selfmade(rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits"),  # noqa: S505
        (selfmade(ec.generate_private_key(ec.SECP192R1())), "EC key of 192 bits"),
        (selfmade(ed25519.Ed25519PrivateKey.generate()), "signed with Ed25519"),
    ],
)
def test_what_postgresql_could_not_use_is_told(values: Values, words: str) -> None:
    with pytest.raises(certificates.Unusable, match=words) as caught:
        certificates.read(values)
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["orders.prod.svc", "orders-ro.prod.svc"], []),
        (["ORDERS.prod.svc", "orders-ro.prod.svc"], []),
        (["*.prod.svc"], []),
        (["*.svc"], ["orders.prod.svc", "orders-ro.prod.svc"]),
        (["orders.prod.svc"], ["orders-ro.prod.svc"]),
        (["orders"], ["orders.prod.svc", "orders-ro.prod.svc"]),
    ],
)
def test_names_that_a_certificate_lacks(names: list[str], missing: list[str]) -> None:
    found = certificate(selfmade(names=names)["tls.crt"])
    assert certificates.missing_names(found, ["orders.prod.svc", "orders-ro.prod.svc"]) == missing

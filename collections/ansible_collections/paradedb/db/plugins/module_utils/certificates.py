"""The operator's own certificates, and what is to be said of anybody's. No I/O here, and no clock is read.

Values are those of a Secret: PEM by key. Profile: https://www.rfc-editor.org/rfc/rfc5280#section-4.2, with
all that a strict client asks for (Python 3.13 wants key usage and both key identifiers).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Values = dict[str, str]

AUTHORITY_LIFETIME = timedelta(days=3652)
# With less than this left a successor is made. It is handed out beside the present authority for a while
# before it signs anything, so that clients know it by then.
SUCCESSION = timedelta(days=365)
ANNOUNCEMENT = timedelta(days=180)
SERVER_LIFETIME = timedelta(days=90)
RENEWAL = timedelta(days=30)
# How far a client's clock may be behind ours.
SKEW = timedelta(hours=1)

# OpenSSL's security level 2, Debian's default, takes no smaller keys: PostgreSQL would not start with them.
_LEAST_BITS = ((rsa.RSAPublicKey, "RSA", 2048), (ec.EllipticCurvePublicKey, "EC", 224))


class Unusable(Exception):
    """PostgreSQL or its clients cannot use a certificate; the message completes "the Secret ..."."""


def server_names(name: str, namespace: str) -> list[str]:
    """Every name under which clients may reach the ParadeDB: its Services, and each instance."""
    suffixes = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    services = [f"{name}{kind}{suffix}" for kind in ("", "-ro", "-pooler") for suffix in suffixes]
    return services + [f"*.{name}-headless{suffix}" for suffix in suffixes[2:]]


def authority(existing: Values, name: str, now: datetime) -> Values:
    """The operator's authority for one ParadeDB: the existing one as long as it can serve.

    ``ca.crt`` and ``ca.key`` sign; ``next.crt`` and ``next.key`` are the successor, once there is one;
    ``previous.crt`` is the predecessor, which clients trust for what it signed last.
    """
    present, successor = (_authority(existing, key, now) for key in ("ca", "next"))
    if present is None and successor is None:
        return _new_authority("ca", name, now)
    if present is None or (successor and _may_take_over(present, successor, now)):
        old = {"previous.crt": existing["ca.crt"]} if present else {}
        return {"ca.crt": existing["next.crt"], "ca.key": existing["next.key"], **old}
    kept = {key: existing[key] for key in ("ca.crt", "ca.key")}
    if successor:
        kept |= {key: existing[key] for key in ("next.crt", "next.key")}
    elif _left(present, now) < SUCCESSION:
        kept |= _new_authority("next", name, now)
    previous = _certificate(existing.get("previous.crt", ""))
    if previous and _left(previous, now) > timedelta():
        kept["previous.crt"] = existing["previous.crt"]
    return kept


def bundle(authority: Values) -> str:
    """All authorities that a client should trust, the one that signs first."""
    return "".join(authority.get(key, "") for key in ("ca.crt", "next.crt", "previous.crt"))


def together(new: str, old: str) -> str:
    """The authorities of one PEM text, and after them those of another which it lacks."""
    known = _certificates(new)
    more = "".join(_pem(item) for item in _certificates(old) if item not in known)
    return f"{new.rstrip()}\n{more}".lstrip() if more else new


def server(existing: Values, authority: Values, names: list[str], now: datetime) -> Values:
    """The instances' certificate: the existing one unless it is due, or does not fit names or authority."""
    signer = x509.load_pem_x509_certificate(authority["ca.crt"].encode())
    pair = {key: existing.get(key, "") for key in ("tls.crt", "tls.key")}
    if not _still_good(pair, signer, names, now):
        pair = _new_server(signer, authority["ca.key"], names, now)
    return {**pair, "ca.crt": bundle(authority)}


def read(values: Values) -> x509.Certificate:
    """The server's certificate of a Secret, checked as PostgreSQL does at its start. Raises Unusable."""
    missing = [key for key in ("tls.crt", "tls.key") if not values.get(key, "").strip()]
    if missing:
        raise Unusable(f"has no {' and no '.join(missing)}")
    certificate = _first(values["tls.crt"], "tls.crt")
    key = _key(values["tls.key"])
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise Unusable("holds a tls.key that does not belong to the first certificate of its tls.crt")
    _check_strength(certificate)
    if values.get("ca.crt"):
        _first(values["ca.crt"], "ca.crt")
    return certificate


def missing_names(certificate: x509.Certificate, wanted: list[str]) -> list[str]:
    """The names of ``wanted`` for which a verifying client would not accept the certificate."""
    patterns = {pattern.lower() for pattern in _names(certificate)}
    return [name for name in wanted if not patterns & {name, f"*.{name.partition('.')[2]}"}]


def _authority(values: Values, key: str, now: datetime) -> x509.Certificate | None:
    """The authority under ``<key>.crt``, if it can sign: it has its key, and has not expired."""
    certificate = _certificate(values.get(f"{key}.crt", ""))
    if certificate is None or _left(certificate, now) <= timedelta():
        return None
    try:
        fits = _public(_key(values.get(f"{key}.key", "")).public_key()) == _public(certificate.public_key())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (Unusable, x509.ExtensionNotFound, ValueError):
        return None
    return certificate if fits and constraints.ca else None


def _may_take_over(present: x509.Certificate, successor: x509.Certificate, now: datetime) -> bool:
    return now - successor.not_valid_before_utc > ANNOUNCEMENT or _left(present, now) < RENEWAL


def _left(certificate: x509.Certificate, now: datetime) -> timedelta:
    return certificate.not_valid_after_utc - now


def _still_good(values: Values, signer: x509.Certificate, names: list[str], now: datetime) -> bool:
    try:
        certificate = read(values)
        certificate.verify_directly_issued_by(signer)
    except (Unusable, InvalidSignature, TypeError, ValueError):
        return False
    return (
        set(_names(certificate)) == set(names)
        and _left(certificate, now) >= RENEWAL
        and certificate.not_valid_before_utc <= now
    )


def _new_authority(key: str, name: str, now: datetime) -> Values:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"{name} CA {now:%Y-%m-%d}")
    made = _builder(subject, subject, private, private, now, now + AUTHORITY_LIFETIME)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    return {f"{key}.crt": _pem(made.sign(private, hashes.SHA256())), f"{key}.key": _key_pem(private)}


def _new_server(signer: x509.Certificate, signer_key: str, names: list[str], now: datetime) -> Values:
    private, signing = ec.generate_private_key(ec.SECP256R1()), _key(signer_key)
    end = min(now + SERVER_LIFETIME, signer.not_valid_after_utc)
    made = _builder(_subject(names[0]), signer.subject, private, signing, now, end)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False),
    ):
        made = made.add_extension(extension, critical)
    return {"tls.crt": _pem(made.sign(signing, hashes.SHA256())), "tls.key": _key_pem(private)}


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    serial = x509.random_serial_number()
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - SKEW, end)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return made.add_extension(own, critical=False).add_extension(of_issuer, critical=False)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**used: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in every})


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return found.get_values_for_type(x509.DNSName)


def _certificate(text: str) -> x509.Certificate | None:
    return next(iter(_certificates(text)), None)


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _first(text: str, key: str) -> x509.Certificate:
    found = _certificate(text)
    if found is None:
        raise Unusable(f"holds a {key} that is no certificate in PEM form")
    return found


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    """A private key of any kind; ours are on a curve. Raises Unusable."""
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)  # type: ignore[return-value]
    except TypeError:
        raise Unusable("holds a tls.key that is encrypted; PostgreSQL needs it without a password") from None
    except Exception:
        raise Unusable("holds a tls.key that is no private key in PEM form") from None


def _check_strength(certificate: x509.Certificate) -> None:
    key, signed_with = certificate.public_key(), certificate.signature_hash_algorithm
    for kind, title, least in _LEAST_BITS:
        if isinstance(key, kind) and key.key_size < least:
            raise Unusable(f"holds an {title} key of {key.key_size} bits; at least {least} are needed")
    # The digest that SCRAM binds a connection to: https://www.rfc-editor.org/rfc/rfc5929#section-4.1
    if signed_with is None:
        raise Unusable(
            "holds a certificate signed with Ed25519 or Ed448, with which PostgreSQL lets nobody sign in; "
            "have it signed with RSA or ECDSA"
        )
    if isinstance(signed_with, hashes.MD5 | hashes.SHA1):
        raise Unusable(f"holds a certificate signed with {signed_with.name.upper()}, which clients refuse")


def _public(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()

"""/metrics over TLS, for those whom the API server knows and allows to read it."""

import asyncio
import hashlib
import ipaddress
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from paradedb_runner.kube.api import Api, ApiError

log = logging.getLogger(__name__)

_REMEMBER = 10.0  # seconds a decision counts, so that a scraper costs two requests each time at most
_PATH = "/metrics"


class Reviewer:
    """Asks the API server who a bearer token belongs to and whether they may GET /metrics."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._decisions: dict[bytes, tuple[float, int]] = {}

    async def status(self, authorization: str) -> int:
        """
        The HTTP status for this Authorization header: 200, 401 or 403. Raises what the API client raises.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return 401
        now = asyncio.get_running_loop().time()
        self._decisions = {known: made for known, made in self._decisions.items() if made[0] > now}
        digest = hashlib.sha256(token.encode()).digest()  # a memory dump shall not hold tokens of others
        if digest not in self._decisions:
            self._decisions[digest] = (now + _REMEMBER, await self._ask(token.strip()))
        return self._decisions[digest][1]

    async def _ask(self, token: str) -> int:
        review = await self._api.create(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}},
        )
        who = review.get("status") or {}
        if not who.get("authenticated"):
            return 401
        user = who["user"]
        access = await self._api.create(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": user.get("username", ""),
                    "uid": user.get("uid", ""),
                    "groups": user.get("groups") or [],
                    "extra": user.get("extra") or {},
                    "nonResourceAttributes": {"path": _PATH, "verb": "get"},
                },
            },
        )
        return 200 if (access.get("status") or {}).get("allowed") else 403


def metrics_app(
    render: Callable[[], bytes], allow: Callable[[str], Awaitable[int]] | None
) -> web.Application:
    """The application; ``allow`` None serves everybody."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            status = await allow(request.headers.get("Authorization", "")) if allow else 200
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("cannot review who reads the metrics: %s", error)
            status = 503
        if status != 200:
            return web.Response(status=status)
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.router.add_get(_PATH, metrics)
    return app


class Certificate:
    """
    The server's certificate: from a mounted directory, read again when it changes, or a self-signed one.
    """

    def __init__(self, directory: Path | None, private: Path) -> None:
        """``directory`` holds tls.crt and tls.key; ``private`` is where a self-signed pair may be written."""
        if directory is None:
            directory = private
            write_self_signed(directory)
        self._pair = (directory / "tls.crt", directory / "tls.key")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load()

    def _load(self) -> None:
        self._loaded = self._pair[0].stat().st_mtime_ns
        self.context.load_cert_chain(*self._pair)

    async def keep_fresh(self, interval: float = 60.0) -> None:
        """Load a renewed certificate; new connections get it."""
        while True:
            await asyncio.sleep(interval)
            try:
                if self._pair[0].stat().st_mtime_ns != self._loaded:
                    self._load()
                    log.info("loaded a renewed certificate")
            except (OSError, ssl.SSLError) as error:
                log.warning("cannot load the certificate again: %s", error)


def write_self_signed(directory: Path) -> None:
    """Write tls.crt and tls.key for whoever does not verify: it encrypts, it proves nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paradedb-runner")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    for file, data in (("tls.key", secret), ("tls.crt", public)):
        descriptor = os.open(directory / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)

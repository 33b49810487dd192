"""Each cause has its own reason, and a message that names the field of the spec."""

from __future__ import annotations

import dataclasses
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from paradedb_backup.config import Database, S3Place
from paradedb_backup.problems import REASONS, Problem
from paradedb_backup.problems_database import database_problem
from paradedb_backup.problems_s3 import s3_problem
from paradedb_backup.store_s3 import S3Store

DATABASE = Database("orders.shop.svc", 5432, "admin", True, True, Path("password"), Path("ca.crt"))


class Page(http.server.BaseHTTPRequestHandler):
    """A web page for whatever is asked."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()
        self.wfile.write(b"<html><body>Welcome</body></html>")

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def raised(place: S3Place) -> Problem:
    with pytest.raises(Problem) as caught:
        S3Store(place, "orders").entries("dumps")
    return caught.value


def credentials(place: S3Place, key: str, secret: str) -> S3Place:
    (place.credentials / "accessKeyId").write_text(key)
    (place.credentials / "secretAccessKey").write_text(secret)
    return place


CASES: list[tuple[str, str, Callable[[S3Place], S3Place]]] = [
    ("CredentialsRejected", "secretRef", lambda place: credentials(place, "nobody", "secret")),
    ("CredentialsRejected", "secretRef", lambda place: credentials(place, "access", "wrong")),
    ("CredentialsRejected", "secretRef", lambda place: credentials(place, "", "")),
    ("CredentialsRejected", "secretRef", lambda place: dataclasses.replace(place, credentials=Path("/no"))),
    ("BucketMissing", "bucket", lambda place: dataclasses.replace(place, bucket="elsewhere")),
    ("BucketMissing", "bucket", lambda place: dataclasses.replace(place, bucket="No Bucket")),
    ("WrongRegion", "region", lambda place: dataclasses.replace(place, region="us-west-9")),
    ("WrongRegion", "region", lambda place: dataclasses.replace(place, region="no region")),
    (
        "EndpointUnreachable",
        "endpoint",
        lambda place: dataclasses.replace(place, endpoint="http://127.0.0.1:1"),
    ),
    (
        "NotAnS3Endpoint",
        "endpoint",
        lambda place: dataclasses.replace(place, endpoint=place.endpoint.replace("http", "https")),
    ),
    ("NotAnS3Endpoint", "endpoint", lambda place: dataclasses.replace(place, endpoint="http://[::1")),
]


@pytest.mark.parametrize(("reason", "field", "change"), CASES)
def test_a_wrong_setting(
    s3_place: S3Place, reason: str, field: str, change: Callable[[S3Place], S3Place]
) -> None:
    problem = raised(change(s3_place))
    assert problem.reason == reason, problem
    assert f"spec.backup.s3.{field}" in problem.message
    assert "secret" not in problem.message.replace("secretRef", "").replace("secretAccessKey", "")


def test_no_region_is_the_store_s_own(s3_place: S3Place) -> None:
    assert S3Store(dataclasses.replace(s3_place, region=""), "orders").entries("dumps") == []


@pytest.mark.parametrize("status", [200, 404, 301, 403])
def test_a_web_server_is_no_store(s3_place: S3Place, web: str, status: int) -> None:
    problem = raised(dataclasses.replace(s3_place, endpoint=f"{web}/{status}"))
    assert problem.reason == "NotAnS3Endpoint", problem


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("AccessDenied", 403, "AccessDenied"),
        ("ExpiredToken", 400, "CredentialsRejected"),
        ("RequestTimeTooSkewed", 403, "CredentialsRejected"),
        ("PermanentRedirect", 301, "WrongRegion"),
        ("InternalError", 500, "UploadFailed"),
        ("SlowDown", 503, "UploadFailed"),
        ("QuotaExceeded", 403, "UploadFailed"),
        ("InvalidRequest", 400, "UploadFailed"),
    ],
)
def test_an_answer_of_a_store(s3_place: S3Place, code: str, status: int, reason: str) -> None:
    answer = {"Error": {"Code": code, "Message": "said so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert s3_problem(ClientError(answer, "PutObject"), s3_place).reason == reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('connection to server at "orders" failed: FATAL:  password authentication failed', "LoginRejected"),
        ('connection to server failed: FATAL:  role "admin" does not exist', "LoginRejected"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9"', "LoginRejected"),
        ("connection to server failed: SSL error: certificate verify failed", "DatabaseUnreachable"),
        ('could not translate host name "orders" to address', "DatabaseUnreachable"),
        ("FATAL:  terminating connection due to administrator command", "DatabaseUnreachable"),
        ("server closed the connection unexpectedly", "DatabaseUnreachable"),
        ("ERROR:  invalid page in block 7 of relation base/5/16384", "DumpFailed"),
        ("", "DumpFailed"),
    ],
)
def test_what_the_database_says(said: str, reason: str) -> None:
    assert database_problem(said, DATABASE).reason == reason


def test_a_reason_is_one_of_those_documented() -> None:
    with pytest.raises(ValueError, match="unknown reason"):
        Problem("Oops", "no")
    assert all(reason[0].isupper() for reason in REASONS)

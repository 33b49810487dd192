"""Every way in which an S3 server cannot be used has its own reason, and the message names what to mend."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from program import Program, s3_place
from servers import ACCESS, S3, free_port

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bucket": ({"bucket": "not-there"}, "BucketMissing"),
    "region": ({"region": "us-nowhere-7"}, "WrongRegion"),
    "port": ({"endpoint": f"http://127.0.0.1:{free_port()}"}, "EndpointUnreachable"),
    "host": ({"endpoint": "http://s3.invalid:9000"}, "EndpointUnreachable"),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_has_its_reason(program: Program, s3: S3, what: str) -> None:
    change, reason = WRONG[what]
    failed = program.configure(s3_place(s3.port, **change)).bad("dump")
    assert failed["reason"] == reason, failed
    field = {"port": "endpoint", "host": "endpoint"}.get(what, what)
    assert f"spec.backup.s3.{field}" in failed["message"]
    assert not s3.files("orders")


@pytest.mark.parametrize(("access", "secret"), [(ACCESS, "not the secret of the server"), ("nobody", "x")])
def test_keys_that_the_server_does_not_take(program: Program, s3: S3, access: str, secret: str) -> None:
    program.configure(s3_place(s3.port))
    program.credentials(access, secret)
    failed = program.bad("dump")
    assert failed["reason"] == "CredentialsRejected"
    assert "spec.backup.s3.secretRef" in failed["message"]
    assert secret not in json.dumps(failed) or secret == "x"


class Page(http.server.BaseHTTPRequestHandler):
    """A web server that knows nothing of S3."""

    def answer(self) -> None:
        body = b"<html><body>It works!</body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = answer

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_server_that_speaks_no_s3(program: Program, web_server: int) -> None:
    failed = program.configure(s3_place(web_server)).bad("dump")
    assert failed["reason"] == "NotAnS3Endpoint", failed

"""A client of an S3 store as a part of the spec describes it, and its calls with errors as Problems."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import botocore.session
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from paradedb_backup.config import S3Place
from paradedb_backup.problems_s3 import REGION_CODES, right_region, s3_problem

CONNECT_SECONDS = 10
# How long the store may be silent; a block sent or received counts anew.
READ_SECONDS = 60
ATTEMPTS = 5
CONNECTIONS = 32


def client(place: S3Place) -> Any:
    """A client with only what the spec says: no profiles, no files or metadata service of the machine."""
    with s3_errors(place):
        key, secret = place.secrets()
        session = botocore.session.Session()
        made = session.create_client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region or "us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            verify=str(place.authority) if place.authority else None,
            config=ClientConfig(
                signature_version="s3v4",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=CONNECTIONS,
                # The signature covers the SHA-256 of every body, which each store verifies; the newer
                # checksums of AWS in trailers are not known to all.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={
                    "addressing_style": "path" if place.path_style else "virtual",
                    "payload_signing_enabled": True,
                },
                ignore_configured_endpoint_urls=True,
            ),
        )
        made.meta.events.register_first("needs-retry.s3", partial(_refuse_redirect, place))
        return made


def _refuse_redirect(place: S3Place, response: Any, operation: Any, **_: Any) -> None:
    """The client itself follows a store into another region. It may where the spec leaves the region to the
    store; one that the spec names has to be right."""
    if response is None:
        return
    answer, parsed = response
    redirected = (
        answer.status_code in (301, 302, 307, 308) or parsed.get("Error", {}).get("Code") in REGION_CODES
    )
    if redirected and (place.region or not right_region(parsed)):
        raise ClientError(parsed, operation.name)


@contextmanager
def s3_errors(place: S3Place) -> Iterator[None]:
    """Errors of the block as Problems that name the field to mend."""
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError, ValueError, OSError) as error:
        logging.getLogger(__name__).debug("the store's error", exc_info=True)
        raise s3_problem(error, place) from error

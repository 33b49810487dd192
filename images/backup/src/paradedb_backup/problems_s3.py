"""What an object store's errors mean, each told by the field of the spec to mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore import exceptions, parsers

from paradedb_backup.config import S3Place
from paradedb_backup.problems import Problem

# Error codes of S3 and of the stores that follow it.
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSecurity",
    "InvalidToken",
    "ExpiredToken",
    "AuthFailure",
    "XAdminUserNotFound",
}
REGION_CODES = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
    "IncorrectRegion",
    "InvalidRegion",
}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "MethodNotAllowed"}
_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
_FULL = {"QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "XMinioStorageFull", "507"}
# Ways of TLS to say that the other side speaks something else.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
# Where OpenSSL says it found an error, and what is around an error inside another.
_WRAPPING = re.compile(r"\(_ssl\.c:\d+\)|[()\"]|'(?!t )")


def s3_problem(error: Exception, place: S3Place) -> Problem:
    """The Problem for an error of botocore, of the network, or of a Secret that is not there."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.ClientError):
        return _answered(error, place)
    where, field = place.endpoint, place.field
    if isinstance(error, exceptions.SSLError):
        return _tls(error, place)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Problem(
            "EndpointUnreachable",
            f"{where} does not answer ({_short(error)}); see {field}.endpoint and the network",
        )
    if isinstance(error, parsers.ResponseParserError):
        return Problem(
            "NotAnS3Endpoint", f"{where} answers, but not as an S3 store does; see {field}.endpoint"
        )
    if isinstance(error, exceptions.ParamValidationError):
        return Problem("BucketMissing", f"{place.bucket} is no bucket's name; see {field}.bucket")
    if isinstance(error, exceptions.NoRegionError | exceptions.InvalidRegionError):
        return Problem("WrongRegion", f"{place.region} is no region; see {field}.region")
    if isinstance(error, ValueError):
        return Problem("NotAnS3Endpoint", f"{where} is no address of an S3 store; see {field}.endpoint")
    if isinstance(error, FileNotFoundError):
        return Problem(
            "CredentialsRejected",
            f"the Secret of {field}.secretRef is not there or lacks accessKeyId or secretAccessKey",
        )
    return Problem("UploadFailed", f"{where}: {_short(error)}")


def _answered(error: exceptions.ClientError, place: S3Place) -> Problem:
    """For an error that the store itself gave. A code that is only a number comes with an answer that is not
    S3's."""
    details = error.response.get("Error", {})
    code, said = str(details.get("Code", "")), str(details.get("Message", ""))[:200]
    field, bucket, region = place.field, place.bucket, right_region(error.response)
    if code in REGION_CODES or (region and code not in _DENIED):
        right = f"it is in {region}" if region else said
        wrong = place.region or "us-east-1, the default"
        return Problem(
            "WrongRegion",
            f"the bucket {bucket} is not in the region {wrong} ({right}); see {field}.region",
        )
    if code in _CREDENTIALS:
        return Problem(
            "CredentialsRejected",
            f"the store refuses the access key ({code}); see the Secret of {field}.secretRef",
        )
    if code == "RequestTimeTooSkewed":
        return Problem(
            "CredentialsRejected", "the store's clock and this node's differ too much; set the node's clock"
        )
    if code in _BUCKET:
        return Problem(
            "BucketMissing", f"there is no bucket {bucket} at {place.endpoint}; see {field}.bucket"
        )
    if code in _DENIED:
        return Problem(
            "AccessDenied",
            f"the access key may not do {error.operation_name} in the bucket {bucket}; "
            f"give the key of {field}.secretRef the rights to list, read, write and delete there",
        )
    if code in _FULL:
        return Problem(
            "UploadFailed", f"the store has no room for more in the bucket {bucket} ({code} {said})"
        )
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or code in {"SlowDown", "RequestTimeout"}:
        return Problem("UploadFailed", f"{place.endpoint} failed at {error.operation_name} ({code} {said})")
    if code.isdigit() or not code:
        return Problem(
            "NotAnS3Endpoint", f"{place.endpoint} answers, but not as an S3 store does; see {field}.endpoint"
        )
    return Problem("UploadFailed", f"{place.endpoint} refused {error.operation_name} ({code} {said})")


def right_region(answer: Mapping[str, Any]) -> str | None:
    """The region that an error answer names, when the one that was asked in is another."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return str(region) if region else None


def _tls(error: exceptions.SSLError, place: S3Place) -> Problem:
    said = str(error)
    if any(word in said for word in _NO_TLS):
        return Problem(
            "NotAnS3Endpoint",
            f"{place.endpoint} does not speak TLS; see {place.field}.endpoint, which may want http://",
        )
    if "certificate" in said.lower() or "doesn't match" in said:
        return Problem(
            "CertificateUntrusted",
            f"the certificate of {place.endpoint} is not trusted ({_short(error)}); "
            f"see {place.field}.caSecretRef, and whether the certificate is for this address",
        )
    return Problem("EndpointUnreachable", f"{place.endpoint}: {_short(error)}; see {place.field}.endpoint")


def _short(error: Exception) -> str:
    """The end of a chain of wrapped errors, which is where the cause stands."""
    said = str(getattr(error, "kwargs", {}).get("error", error))
    return _WRAPPING.sub("", said.rsplit(": ", 1)[-1]).strip()[:200]

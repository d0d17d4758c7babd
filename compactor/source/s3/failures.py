"""Turns the SDK's errors into those of this program: one sentence for the operator, with the next step.

    of_source      an error of the whole source: credentials, role, bucket, endpoint         -> SourceError
    of_listing     a listing failed: `of_source`, or listing is not allowed                  -> SourceError
    of_reading     an object cannot be read: `of_source`, or the error is of this object     -> SourceError, ObjectError

Messages name buckets, keys, codes and numbers. They leave out the text of a broken response: it may hold content.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import urllib3.exceptions
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from compactor.errors import CompactorError, ObjectError, SourceError
from compactor.source.base import deleted_object, replaced_object

SDK_ERRORS = (sdk.BotoCoreError, sdk.ClientError, ResponseParserError, urllib3.exceptions.HTTPError)
"""The errors that a call to the SDK raises for reasons outside this program."""

BROKEN_BODY = (sdk.HTTPClientError, sdk.IncompleteReadError, urllib3.exceptions.HTTPError, OSError, EOFError)
"""The errors of a body that breaks, resets, times out, or (EOFError) ends before its size."""

_EXPIRED = "the credentials have expired; renew them, then run again"
_UNKNOWN_KEY = "the service does not know these credentials; check the AWS profile or environment"
_WRONG_REGION = "the bucket is in another region; set source.region to the bucket's"

# Error codes that every request would get: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and the
# STS "common errors".
_OF_SOURCE = {
    "NoSuchBucket": "the bucket does not exist; correct source.url",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "InvalidToken": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": "the secret key does not fit the access key; check the AWS profile or environment",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it, then run again",
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"}
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}
_CHANGED = {"PreconditionFailed", "412"}


def of_source(doing: str, error: Exception, role_arn: str | None) -> SourceError | None:
    """The error, if it is about the source as a whole; None if it is only about the request.

    `doing` begins the sentence: "cannot list s3://bucket/prefix".
    """
    reason: str | None = None
    if isinstance(error, sdk.ClientError):
        if error.operation_name == "AssumeRole":
            return SourceError(f"{doing}: {_role_refused(role_arn, error)}")
        reason = _OF_SOURCE.get(_code(error))
    elif isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.ProfileNotFound):
        reason = "there are no AWS credentials; set AWS_PROFILE or the AWS_ACCESS_KEY_ID pair, or attach a role"
    elif isinstance(error, sdk.CredentialRetrievalError | sdk.TokenRetrievalError | sdk.SSOError):
        reason = f"the AWS credentials cannot be obtained ({_name(error)}); sign in again, then run again"
    elif isinstance(error, sdk.ConnectionError):  # refused, not resolved, timed out, TLS, proxy
        reason = (
            f"{_host(error)} cannot be reached ({_name(error)}); check the network and source.endpoint, then run again"
        )
    elif isinstance(error, sdk.ParamValidationError | sdk.EndpointProviderError | sdk.NoRegionError | ValueError):
        reason = f"the request cannot be made ({_name(error)}); check source.url, source.endpoint and source.region"
    return SourceError(f"{doing}: {reason}") if reason else None


def of_listing(url: str, bucket: str, error: Exception, role_arn: str | None) -> SourceError:
    """The error for a failed listing of `url`, which is in `bucket`."""
    doing = f"cannot list {url}"
    whole = of_source(doing, error, role_arn)
    if whole is not None:
        return whole
    if _code(error) in _DENIED:
        return SourceError(f"{doing}: access denied; grant s3:ListBucket on arn:aws:s3:::{bucket} for this prefix")
    return SourceError(f"{doing}: {_otherwise(error)}; run again later")


def of_reading(url: str, key: str, error: Exception, role_arn: str | None) -> CompactorError:
    """The error for the object with that key, at `url`, that cannot be read."""
    doing = f"cannot read {url}"
    whole = of_source(doing, error, role_arn)
    if whole is not None:
        return whole
    code = _code(error)
    if code in _CHANGED:
        return replaced_object(url, key)
    if code in _GONE:
        return deleted_object(url, key)
    if code in _DENIED:
        # S3 answers the same code if the KMS key of an encrypted object may not be used.
        right = "kms:Decrypt on the bucket's key" if "kms:" in str(error) else "s3:GetObject on this prefix"
        return ObjectError(key, f"{doing}: access denied; grant {right}")
    if code == "InvalidObjectState":
        return ObjectError(key, f"{doing}: it is in an archive class; restore it, then run again")
    return ObjectError(key, f"{doing}: {_otherwise(error)}; run again later")


def body_cause(error: BaseException | None) -> str:
    """What happened to a body. The text holds no content."""
    if isinstance(error, sdk.ReadTimeoutError | TimeoutError):
        return "no byte arrived within source.read_timeout"
    return "the connection broke"


def _role_refused(role_arn: str | None, error: sdk.ClientError) -> str:
    if _code(error) in _DENIED:
        return f"the role {role_arn} was refused; add this identity to its trust policy, and check source.external_id"
    reason = _OF_SOURCE.get(_code(error)) or f"STS answered {_code(error)}; check source.role_arn and source.region"
    return f"the role {role_arn} cannot be assumed: {reason}"


def _otherwise(error: Exception) -> str:
    if isinstance(error, sdk.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
        return f"the service answered {_code(error)} (HTTP {status}) to every attempt"
    return f"the request failed ({_name(error)})"


def _host(error: sdk.BotoCoreError) -> str:
    """The host that did not answer. It may be STS, although the object is in S3."""
    url = urlsplit(str(error.kwargs.get("endpoint_url", "")))
    return f"{url.scheme}://{url.netloc}" if url.netloc else "the service"


def _code(error: Exception) -> str:
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, sdk.ClientError) else ""


def _name(error: Exception) -> str:
    return type(error).__name__

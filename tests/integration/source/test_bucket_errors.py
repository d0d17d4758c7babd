"""What the operator reads when a bucket does not work."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from compactor.errors import CompactorError, ObjectError, SourceError
from compactor.source import open_source
from compactor.source.s3 import S3Source
from tests.support.s3_server import Answer
from tests.support.sources import FIRST, ROLE, Config, Remote, key_of, listed

REFUSALS = [
    (403, "ExpiredToken", "the credentials have expired; renew them, then run again"),
    (403, "InvalidAccessKeyId", "the service does not know these credentials; check the AWS profile or environment"),
    (403, "SignatureDoesNotMatch", "the secret key does not fit the access key; check the AWS profile or environment"),
    (403, "RequestTimeTooSkewed", "this machine's clock is wrong; set it, then run again"),
    (404, "NoSuchBucket", "the bucket does not exist; correct source.url"),
]


OF_LISTING = [
    (403, "AccessDenied", "access denied; grant s3:ListBucket on arn:aws:s3:::{bucket} for this prefix"),
    (503, "SlowDown", "the service answered SlowDown (HTTP 503) to every attempt; run again later"),
]


OF_READING = [
    (403, "AccessDenied", "access denied; grant s3:GetObject on this prefix"),
    (403, "InvalidObjectState", "it is in an archive class; restore it, then run again"),
    (404, "NoSuchKey", "it was deleted after it was listed; the next run lists again"),
    (503, "SlowDown", "the service answered SlowDown (HTTP 503) to every attempt; run again later"),
]


@pytest.mark.parametrize(("status", "code", "sentence"), REFUSALS + OF_LISTING)
def test_a_refused_listing_ends_in_the_next_step(
    remote: Remote, no_backoff: None, status: int, code: str, sentence: str
) -> None:
    remote.hop.script = lambda request: Answer.refusal(status, code)
    expected = f"cannot list s3://{remote.bucket.name}/in: {sentence.format(bucket=remote.bucket.name)}"
    for action in (remote.source.datasets, lambda: listed(remote.source)):
        with pytest.raises(SourceError) as caught:
            action()
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(refusal, SourceError) for refusal in REFUSALS] + [(refusal, ObjectError) for refusal in OF_READING],
)
def test_a_refused_read_ends_in_the_next_step(
    remote: Remote, no_backoff: None, refusal: tuple[int, str, str], kind: type[CompactorError]
) -> None:
    status, code, sentence = refusal
    obj = remote.put(key_of(FIRST))
    remote.hop.script = lambda request: Answer.refusal(status, code)
    with pytest.raises(kind) as caught:
        remote.source.open(obj)
    assert str(caught.value) == f"cannot read s3://{remote.bucket.name}/in/{obj.key}: {sentence}"


def test_an_encrypted_object_without_its_key_names_the_permission_for_the_key(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST))
    remote.hop.script = lambda request: Answer.refusal(403, "AccessDenied", "not authorized to perform: kms:Decrypt")
    with pytest.raises(ObjectError, match="access denied; grant kms:Decrypt on the bucket's key"):
        remote.source.open(obj)


def test_a_refusal_without_a_body_is_recognised_by_its_status(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST))
    remote.hop.script = lambda request: Answer(403, b"")
    with pytest.raises(ObjectError, match="access denied; grant s3:GetObject on this prefix"):
        remote.source.open(obj)
    with pytest.raises(SourceError, match="access denied; grant s3:ListBucket"):
        remote.source.datasets()


def test_a_missing_bucket_says_so(remote: Remote) -> None:
    source = S3Source(replace(remote.config, url="s3://no-such-bucket"))
    with pytest.raises(SourceError, match="cannot list s3://no-such-bucket: the bucket does not exist"):
        source.datasets()


@pytest.fixture
def out_of_reach() -> Iterator[str]:
    """An endpoint that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_an_endpoint_out_of_reach_is_named(aws_environment: None, no_backoff: None, out_of_reach: str) -> None:
    source = S3Source(Config("s3://bucket", endpoint=out_of_reach, max_attempts=2))
    with pytest.raises(SourceError, match=f"{out_of_reach} cannot be reached .*; check the network"):
        source.datasets()


def test_an_sts_out_of_reach_is_named(
    remote: Remote, no_backoff: None, out_of_reach: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", out_of_reach)
    with pytest.raises(SourceError, match=f"{out_of_reach} cannot be reached .*; check the network"):
        S3Source(replace(remote.config, role_arn=ROLE)).datasets()


def test_an_endpoint_that_is_no_url_says_so(aws_environment: None) -> None:
    with pytest.raises(SourceError, match=r"check source\.url, source\.endpoint and source\.region"):
        open_source(Config("s3://bucket", endpoint="localhost"))


def test_missing_credentials_say_so(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match="there are no AWS credentials; set AWS_PROFILE or"):
        S3Source(remote.config).datasets()
    with pytest.raises(SourceError, match="there are no AWS credentials; set AWS_PROFILE or"):
        S3Source(replace(remote.config, role_arn=ROLE)).datasets()

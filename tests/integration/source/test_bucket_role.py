"""A bucket is read in a role that is assumed."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest

from compactor.errors import SourceError
from compactor.source.s3 import S3Source
from tests.support.s3_server import Answer, Fault, Request
from tests.support.sources import FIRST, ROLE, Remote, content_of, key_of, only


@pytest.fixture
def assumed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> S3Source:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", remote.hop.url)
    return S3Source(replace(remote.config, role_arn=ROLE, external_id="pair-7", role_session_name="nightly"))


def test_a_role_is_assumed_with_its_external_id_and_then_used(remote: Remote, assumed: S3Source) -> None:
    remote.put(key_of(FIRST), b"bytes")
    assert content_of(assumed, only(assumed)) == b"bytes"
    assume, *others = remote.hop.seen
    asked = parse_qs(assume.body.decode())
    assert (asked["Action"], asked["RoleArn"]) == (["AssumeRole"], [ROLE])
    assert (asked["ExternalId"], asked["RoleSessionName"]) == (["pair-7"], ["nightly"])
    assert "Credential=test-key/" in assume.headers["Authorization"]
    assert len(others) == 2
    assert all("Credential=ASIA" in request.headers["Authorization"] for request in others)


def test_a_role_is_assumed_again_before_it_expires(remote: Remote, assumed: S3Source) -> None:
    keys = itertools.count()

    def short_lived(request: Request) -> Fault | None:
        return None if request.lists else _credentials(f"ASIA{next(keys)}", timedelta(minutes=5))

    remote.hop.script = short_lived
    assumed.datasets()
    assumed.datasets()
    signed_by = [re.search("Credential=(.*?)/", request.headers["Authorization"]) for request in remote.hop.lists]
    assert [match and match[1] for match in signed_by] == ["ASIA0", "ASIA1"]


def test_a_refused_role_names_the_role_and_the_trust(remote: Remote, assumed: S3Source) -> None:
    remote.hop.script = lambda request: Answer(
        403,
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
    )
    with pytest.raises(SourceError) as caught:
        assumed.datasets()
    assert str(caught.value) == (
        f"cannot list s3://{remote.bucket.name}/in: the role {ROLE} was refused; "
        "add this identity to its trust policy, and check source.external_id"
    )


def _credentials(key: str, life: timedelta) -> Answer:
    expiration = (datetime.now(UTC) + life).isoformat()
    return Answer(
        200,
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId>"
        f"<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>{expiration}</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>".encode(),
    )

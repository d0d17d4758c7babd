"""Claims about a bucket as the source: how it is listed and read."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Literal

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from tenacity import RetryCallState, wait_none

from compactor.errors import ChangedObject, CompactorError, ObjectError
from compactor.source import Hour, IgnoredKeys
from compactor.source.s3 import S3Source
from tests.support.s3_server import Answer, Cut
from tests.support.sources import BIG, FIRST, RECORD, SECOND, THIRD, Remote, content_of, key_of, listed, md5, only


def test_more_objects_than_a_page_holds_are_listed_page_by_page(remote: Remote) -> None:
    keys = [key_of(FIRST, f"{number:04d}") for number in range(1001)]
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # much faster than so many requests
    for key in keys:
        backend.put_object(remote.bucket.name, f"in/{key}", b"x")
    objects = remote.source.list("fan_profiles")
    assert next(objects).key == keys[0]
    assert len(remote.hop.seen) == 1  # the second page is not asked for before it is needed
    assert [obj.key for obj in objects] == keys[1:]
    assert len(remote.hop.seen) == 2


def test_hours_outside_the_window_are_not_listed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for hour in (Hour("2025-01-01", 0), FIRST, SECOND, THIRD):
        for token in "abcd":
            remote.put(key_of(hour, token))
    assert len(listed(remote.source, SECOND, SECOND)) == 4
    # Two pages of the window, and one to see that it is over: neither 2025 nor the hours after it were listed.
    starts = [request.query.get("start-after") for request in remote.hop.seen]
    assert starts == [[f"in/exports/fan_profiles/{SECOND.folder}"]] * 3


def test_a_window_that_ends_before_it_starts_asks_nothing(remote: Remote) -> None:
    assert listed(remote.source, SECOND, FIRST) == []
    assert remote.hop.seen == []


def test_folder_markers_are_ignored(remote: Remote) -> None:
    for key in ("exports/fan_profiles/date=2026-11-01/", "exports/fan_profiles/date=2026-11-01/hour=05/", "exports/"):
        remote.put(key, b"")
    remote.put(key_of(FIRST))
    ignored = IgnoredKeys()
    assert remote.source.datasets() == ["fan_profiles"]
    assert listed(remote.source, ignored=ignored) == [key_of(FIRST)]
    assert ignored.count == 2


# Reading from a bucket


def test_the_etag_of_a_multipart_upload_is_as_good_as_any(remote: Remote) -> None:
    client, name, key = remote.bucket.client, remote.bucket.name, "in/" + key_of(FIRST)
    upload = client.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
    part = client.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=1, Body=BIG)
    client.complete_multipart_upload(
        Bucket=name, Key=key, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    obj = only(remote.source)
    assert obj.etag.endswith("-1")
    assert content_of(remote.source, obj) == BIG


def test_a_content_encoding_does_not_unpack_the_object(remote: Remote) -> None:
    content = gzip.compress(RECORD)
    remote.bucket.client.put_object(
        Bucket=remote.bucket.name, Key="in/" + key_of(FIRST), Body=content, ContentEncoding="gzip"
    )
    assert content_of(remote.source, only(remote.source)) == content


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 200_000, len(BIG) - 1])
def test_a_body_that_breaks_off_is_resumed_where_it_broke(
    remote: Remote, after: int, how: Literal["close", "reset"]
) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(Cut(after, how))
    assert content_of(remote.source, obj) == BIG
    first, second = remote.hop.reads
    assert first.headers["If-Match"] == second.headers["If-Match"] == f'"{obj.etag}"'
    if how == "close":  # a reset may lose bytes that were on their way
        assert second.headers.get("Range") == (f"bytes={after}-" if after else None)


def test_a_body_that_stalls_is_resumed(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(Cut(100_000, "stall"))
    source = S3Source(replace(remote.config, read_timeout=0.5), wait=wait_none())
    assert content_of(source, obj) == BIG
    assert "Range" in remote.hop.reads[-1].headers


def test_progress_renews_the_budget(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(*[Cut(1000)] * 20)
    assert content_of(remote.source, obj) == BIG
    assert len(remote.hop.reads) == 21


def test_an_object_that_makes_no_progress_fails_with_its_url_and_cause(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(Cut(1000), *[Cut(0)] * 20)
    with pytest.raises(ObjectError) as caught:
        content_of(remote.source, obj)
    assert str(caught.value) == (
        f"cannot read s3://{remote.bucket.name}/in/{obj.key}: the connection broke "
        "at byte 1000 of 300000, in each of 3 attempts; run again later"
    )
    assert caught.value.key == obj.key


def test_waits_between_tries_grow(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(*[Cut(0)] * 4)
    tries: list[int] = []

    def wait(state: RetryCallState) -> float:
        tries.append(state.attempt_number)
        return 0

    assert content_of(S3Source(replace(remote.config, max_attempts=5), wait=wait), obj) == BIG
    assert tries == [1, 2, 3, 4]


def test_an_object_replaced_while_it_is_read_is_a_changed_object(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(Cut(100_000))
    with remote.source.open(obj) as stream:
        remote.put(key_of(FIRST), BIG[::-1])
        with pytest.raises(ChangedObject):
            stream.read()


def test_a_service_that_ignores_if_match_does_not_pass_a_replaced_object(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), b"before")
    remote.hop.spoil_reads(Answer(200, b"afterwards", {"ETag": '"other"'}))
    with pytest.raises(ChangedObject):
        remote.source.open(obj)


def test_a_service_that_ignores_ranges_does_not_repeat_the_start(remote: Remote) -> None:
    obj = remote.put(key_of(FIRST), BIG)
    remote.hop.spoil_reads(Cut(1000), Answer(200, BIG, {"ETag": f'"{obj.etag}"'}))
    with pytest.raises(ObjectError, match="the connection broke, and the service cannot resume; run again later"):
        content_of(remote.source, obj)


def test_a_request_that_fails_once_is_sent_again(remote: Remote, no_backoff: None) -> None:
    obj = remote.put(key_of(FIRST), b"bytes")
    remote.hop.spoil_reads(Answer.refusal(503, "SlowDown"), Answer.refusal(500, "InternalError"))
    assert content_of(remote.source, obj) == b"bytes"


@pytest.mark.parametrize(
    "fault",
    [
        Answer.refusal(400, "Odd", RECORD.decode()),
        Answer(400, RECORD),
        Answer(200, RECORD),  # and no ETag
        Answer(200, RECORD, {"ETag": f'"{md5(RECORD)}"', "Transfer-Encoding": "chunked"}),
    ],
)
def test_messages_have_no_record_content(remote: Remote, fault: Answer) -> None:
    obj = remote.put(key_of(FIRST), RECORD)
    remote.hop.script = lambda request: fault
    with pytest.raises(CompactorError) as caught:
        content_of(remote.source, obj)
    assert "example.com" not in str(caught.value)

"""Claims about sources. Those on top hold for a folder and for a bucket alike; below are those of only one of them."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import random
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import parse_qs

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from tenacity import RetryCallState, wait_none

from compactor.errors import ChangedObject, CompactorError, ObjectError, SourceError, UsageError
from compactor.source import Hour, IgnoredKeys, Source, SourceObject, open_source
from compactor.source.folder import LocalSource
from compactor.source.s3 import S3Source
from tests.support.s3_server import (  # noqa: F401 - fixtures
    Answer,
    Bucket,
    Cut,
    Fault,
    Hop,
    Request,
    clean_aws_environment,
    fresh_bucket,
    hop_before_server,
    moto_server,
    without_backoff,
)

FIRST, SECOND, THIRD = Hour("2026-11-01", 5), Hour("2026-11-01", 6), Hour("2026-11-02", 0)
RECORD = b'{"id": "a", "email": "fan@example.com"}\n'
BIG = random.Random(1).randbytes(300_000)


@dataclass(frozen=True)
class Config:
    """The `source` section of the config, with its defaults."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    role_session_name: str = "compactor"
    max_attempts: int = 8
    connect_timeout: float = 10
    read_timeout: float = 60
    readers: int = 4


def key_of(hour: Hour, token: str = "a1", dataset: str = "fan_profiles") -> str:
    name = f"{dataset}-{hour.date.replace('-', '')}T{hour.hour:02d}0000Z-part-{token}.ndjson.gz"
    return f"exports/{dataset}/date={hour.date}/hour={hour.hour:02d}/{name}"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


# What holds for every source


class Store(Protocol):
    """A place that tests put files into, below the prefix of its source."""

    source: Source

    def put(self, key: str, content: bytes = b"x") -> None: ...
    def delete(self, key: str) -> None: ...


class FolderStore:
    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.source: Source = open_source(Config(str(root)))

    def put(self, key: str, content: bytes = b"x") -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def delete(self, key: str) -> None:
        (self.root / key).unlink()


class BucketStore:
    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.source: Source = open_source(Config(f"s3://{bucket.name}/{prefix}", endpoint=bucket.endpoint))

    def put(self, key: str, content: bytes = b"x") -> None:
        self.bucket.put(self.prefix + key, content)

    def delete(self, key: str) -> None:
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=self.prefix + key)


@pytest.fixture(params=["folder", "bucket", "bucket/with/prefix/"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    kind, _, prefix = str(request.param).partition("/")
    if kind == "folder":
        return FolderStore(tmp_path / "lake")
    return BucketStore(request.getfixturevalue("bucket"), prefix)


def listed(
    source: Source, start: Hour | None = None, stop: Hour | None = None, ignored: IgnoredKeys | None = None
) -> list[str]:
    return [obj.key for obj in source.list("fan_profiles", start, stop, ignored)]


def only(source: Source) -> SourceObject:
    (obj,) = source.list("fan_profiles")
    return obj


def content_of(source: Source, obj: SourceObject) -> bytes:
    with source.open(obj) as stream:
        return stream.read()


def test_a_listed_object_tells_its_dataset_key_size_and_hour(store: Store) -> None:
    store.put(key_of(FIRST), b"12345")
    obj = only(store.source)
    assert (obj.dataset, obj.key, obj.size, obj.hour) == ("fan_profiles", key_of(FIRST), 5, FIRST)
    assert obj.etag
    assert '"' not in obj.etag


def test_only_the_asked_dataset_is_listed(store: Store) -> None:
    store.put(key_of(FIRST))
    store.put(key_of(FIRST, dataset="fan_profiles_other"))
    assert listed(store.source) == [key_of(FIRST)]


def test_datasets_are_the_folders_below_exports(store: Store) -> None:
    for dataset in ("fan_profiles", "fan-a", "fan"):
        store.put(key_of(FIRST, dataset=dataset))
    store.put("exports/README.txt")
    store.put("elsewhere/fan_z/file")
    assert store.source.datasets() == ["fan", "fan-a", "fan_profiles"]


def test_a_source_without_exports_is_empty_and_no_error(store: Store) -> None:
    store.put("README.txt")
    assert store.source.datasets() == []
    assert listed(store.source) == []


FOREIGN = [
    "exports/fan_profiles/.hidden",
    "exports/fan_profiles/README.txt",
    "exports/fan_profiles/date=2026-02-30/hour=05/fan_profiles-20260230T050000Z-part-a.ndjson.gz",  # no such day
    "exports/fan_profiles/date=2026-11-01/hour=24/fan_profiles-20261101T240000Z-part-a.ndjson.gz",  # no such hour
    "exports/fan_profiles/date=2026-11-01/hour=05/deeper/fan_profiles-20261101T050000Z-part-a.ndjson.gz",
    "exports/fan_profiles/date=2026-11-01/hour=05/fan_identity_graph-20261101T050000Z-part-a.ndjson.gz",
    "exports/fan_profiles/date=2026-11-01/hour=05/fan_profiles-20261101T050000Z-part-.ndjson.gz",
    "exports/fan_profiles/date=2026-11-01/hour=05/fan_profiles-20261101T050000Z-part-a.ndjson.gz.tmp",
    "exports/fan_profiles/date=2026-11-01/hour=٠٥/fan_profiles-20261101T050000Z-part-a.ndjson.gz",  # noqa: RUF001 - digits that are not ASCII
]


def test_what_is_no_export_is_counted_and_left_alone(store: Store) -> None:
    for key in (*FOREIGN, key_of(FIRST)):
        store.put(key)
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == [key_of(FIRST)]
    assert ignored.count == len(FOREIGN)
    assert ignored.examples == sorted(FOREIGN)[:5]


def test_keys_come_in_ascending_order_whatever_lies_between(store: Store) -> None:
    keys = [key_of(hour, token) for hour in (THIRD, FIRST, SECOND) for token in ("b", "B", "a-", "a", "é", "~")]
    odd = ["exports/fan_profiles/date=2026-11-01-old/x", "exports/fan_profiles/date=2026-11-01.bak"]
    for key in (*keys, *odd):
        store.put(key)
    assert listed(store.source) == sorted(keys)


@pytest.mark.parametrize("token", ["a b", "a+b", "a%2Fb", "a&b=c", "(é)", "#1?", "~!*'", "東京", "a" * 150])
def test_an_odd_but_legal_token_is_listed_and_read(store: Store, token: str) -> None:
    store.put(key_of(FIRST, token), b"bytes")
    obj = only(store.source)
    assert obj.key == key_of(FIRST, token)
    assert content_of(store.source, obj) == b"bytes"


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, [FIRST, SECOND, THIRD]),
        (SECOND, None, [SECOND, THIRD]),
        (None, SECOND, [FIRST, SECOND]),
        (SECOND, SECOND, [SECOND]),
        (Hour("2026-11-01", 7), Hour("2026-11-01", 23), []),
        (THIRD, FIRST, []),
    ],
)
def test_a_window_holds_both_its_ends_and_nothing_else(
    store: Store, start: Hour | None, stop: Hour | None, expected: list[Hour]
) -> None:
    for hour in (FIRST, SECOND, THIRD):
        store.put(key_of(hour))
    assert listed(store.source, start, stop) == [key_of(hour) for hour in expected]


def test_an_object_is_read_as_the_raw_bytes_it_has(store: Store) -> None:
    content = gzip.compress(BIG)
    store.put(key_of(FIRST), content)
    with store.source.open(only(store.source)) as stream:
        pieces = [*iter(lambda: stream.read(70_000), b"")]
    assert b"".join(pieces) == content
    assert all(len(piece) == 70_000 for piece in pieces[:-1])


def test_an_empty_object_is_listed_and_read_as_nothing(store: Store) -> None:
    store.put(key_of(FIRST), b"")
    obj = only(store.source)
    assert obj.size == 0
    assert content_of(store.source, obj) == b""


def test_a_stream_may_be_closed_before_its_end(store: Store) -> None:
    store.put(key_of(FIRST), BIG)
    with store.source.open(only(store.source)) as stream:
        assert stream.read(3) == BIG[:3]
    assert stream.closed


def test_a_replaced_key_is_told_apart_by_its_etag(store: Store) -> None:
    store.put(key_of(FIRST), b"before")
    old = only(store.source)
    store.put(key_of(FIRST), b"afterwards")
    new = only(store.source)
    assert old.key == new.key
    assert old.etag != new.etag
    with pytest.raises(ChangedObject, match="it was replaced after it was listed; the next run lists again") as caught:
        store.source.open(old)
    assert caught.value.key == old.key
    assert content_of(store.source, new) == b"afterwards"


def test_an_object_that_is_gone_concerns_that_object_alone(store: Store) -> None:
    store.put(key_of(FIRST))
    obj = only(store.source)
    store.delete(obj.key)
    with pytest.raises(ObjectError, match="it was deleted after it was listed; the next run lists again") as caught:
        store.source.open(obj)
    assert caught.value.key == obj.key


def test_readers_may_share_a_source(store: Store) -> None:
    contents = {key_of(FIRST, str(number)): bytes([number]) * 1000 for number in range(12)}
    for key, content in contents.items():
        store.put(key, content)
    with ThreadPoolExecutor(4) as readers:
        read = readers.map(lambda obj: (obj.key, content_of(store.source, obj)), store.source.list("fan_profiles"))
        assert dict(read) == contents


# Hours


def test_an_hour_is_read_as_it_is_written() -> None:
    assert str(Hour.parse("2026-11-01T05")) == "2026-11-01T05"
    assert Hour.parse("2026-11-01") == Hour("2026-11-01", 0)


@pytest.mark.parametrize("text", ["", "today", "2026-02-30", "2026-11-01T24", "2026-11-01T05:00", "20261101"])
def test_what_is_no_hour_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a UTC hour; write it as 2026-11-01T05"):
        Hour.parse(text)


def test_hours_are_counted_back_over_days_and_years() -> None:
    assert Hour("2026-01-01", 1).minus(2) == Hour("2025-12-31", 23)
    assert Hour("2026-01-01", 1).minus(0) == Hour("2026-01-01", 1)
    assert Hour("2026-01-01", 1).minus(10**10) == Hour("0001-01-01", 0)


def test_hours_compare_by_time() -> None:
    assert sorted([THIRD, SECOND, FIRST]) == [FIRST, SECOND, THIRD]


def test_a_key_tells_its_hour() -> None:
    assert Hour.of_key(key_of(SECOND)) == SECOND
    assert [Hour.of_key(key) for key in FOREIGN] == [None] * len(FOREIGN)


# Which source a URL names


@pytest.mark.parametrize("url", ["{root}", "{root}/", "file://{root}", "file://{root}/", "file://localhost{root}"])
def test_a_folder_is_named_by_path_or_url(tmp_path: Path, url: str) -> None:
    FolderStore(tmp_path / "a folder").put(key_of(FIRST))
    root = tmp_path / ("a%20folder" if url.startswith("file:") else "a folder")
    assert listed(open_source(Config(url.format(root=root)))) == [key_of(FIRST)]


@pytest.mark.parametrize("path", ["a/b", "a/b/", "/a/b//"])
def test_slashes_around_a_prefix_make_no_difference(bucket: Bucket, path: str) -> None:
    bucket.put("a/b/" + key_of(FIRST), b"x")
    source = open_source(Config(f"s3://{bucket.name}/{path}", endpoint=bucket.endpoint))
    assert source.url == f"s3://{bucket.name}/a/b"
    assert content_of(source, only(source)) == b"x"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("gs://bucket", "is not supported; use s3://bucket/prefix or a folder's path"),
        ("s3:///prefix", "names no bucket; write it as s3://bucket/prefix"),
        ("file://elsewhere/folder", "names a folder on another machine; write it as file:///path"),
    ],
)
def test_a_url_that_names_no_source_is_wrong_usage(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_source(Config(url))


# Folders


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    source = open_source(Config(str(tmp_path / "nowhere")))
    for action in (source.datasets, lambda: listed(source)):
        with pytest.raises(SourceError, match=r"nowhere: there is no such folder; create it, or correct source\.url"):
            action()


def test_a_file_rewritten_with_the_same_size_is_a_changed_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), b"before")
    old = only(store.source)
    os.utime(tmp_path / old.key, ns=(0, 1))
    with pytest.raises(ChangedObject):
        store.source.open(old)


def test_links_to_hours_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "lake")
    store.put(key_of(FIRST))
    day = tmp_path / "lake/exports/fan_profiles/date=2026-11-01"
    day.rename(tmp_path / "moved")
    day.symlink_to(tmp_path / "moved")
    (day / "hour=06").symlink_to(day)
    (day / "hour=05/again").symlink_to(day)
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == [key_of(FIRST)]
    assert "exports/fan_profiles/date=2026-11-01/hour=05/again" in ignored.examples


def test_a_pipe_with_an_exports_name_is_not_waited_for(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST))
    os.mkfifo(tmp_path / key_of(FIRST, "pipe"))
    assert listed(store.source) == [key_of(FIRST)]


def test_a_name_that_is_not_utf8_is_ignored_and_shown_escaped(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST, "\udcff"))
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == []
    assert ignored.examples == [key_of(FIRST, r"\udcff")]


def test_folders_outside_the_window_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    for hour in (Hour("2025-01-01", 0), FIRST, SECOND, Hour("2026-11-01", 8), THIRD):
        store.put(key_of(hour))
    opened: list[str] = []
    scandir = os.scandir

    def noting(path: Path) -> object:
        opened.append(str(path.relative_to(tmp_path / "exports/fan_profiles")))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    assert listed(store.source, SECOND, SECOND) == [key_of(SECOND)]
    assert opened == [".", "date=2026-11-01", "date=2026-11-01/hour=06"]


def _denied(*args: object, **options: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_file_without_permission_is_an_object_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST))
    obj = only(store.source)
    monkeypatch.setattr("compactor.source.folder._File", _denied)  # root may read any file
    with pytest.raises(ObjectError, match="permission denied; make it readable, then run again"):
        store.source.open(obj)


def test_a_folder_without_permission_is_a_source_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LocalSource(str(tmp_path))
    monkeypatch.setattr(os, "scandir", _denied)
    with pytest.raises(SourceError, match="permission denied; make it readable, then run again"):
        source.datasets()


def test_a_disk_that_fails_in_the_middle_of_a_file_is_an_object_error(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), BIG)
    with store.source.open(only(store.source)) as stream:
        stream.read(10)
        folder = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder, stream.fileno())  # reading a folder is an I/O error
        os.close(folder)
        with pytest.raises(ObjectError, match="is a directory; check the disk or mount, then run again"):
            stream.read()


# Listing a bucket


class Remote:
    """A bucket that is filled directly, and read through the hop without waiting between tries."""

    def __init__(self, bucket: Bucket, hop: Hop) -> None:
        self.bucket = bucket
        self.hop = hop
        self.config = Config(f"s3://{bucket.name}/in", endpoint=hop.url, max_attempts=3)
        self.source = S3Source(self.config, wait=wait_none())

    def put(self, key: str, content: bytes = b"x") -> SourceObject:
        """The object as it is now listed."""
        self.bucket.put("in/" + key, content)
        return SourceObject("fan_profiles", key, md5(content), len(content), FIRST)


@pytest.fixture
def remote(bucket: Bucket, hop: Hop) -> Remote:
    return Remote(bucket, hop)


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


def test_a_request_that_fails_for_a_moment_is_sent_again(remote: Remote, no_backoff: None) -> None:
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


# What the operator reads when a bucket does not work


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


def test_a_refusal_without_a_body_is_told_by_its_status(remote: Remote) -> None:
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


# Reading a bucket in a role

ROLE = "arn:aws:iam::123456789012:role/reader"


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

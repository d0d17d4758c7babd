"""Folders and buckets that tests of sources fill, and what a source then shows of them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from tenacity import wait_none

from compactor.source import Hour, IgnoredKeys, Source, SourceObject, open_source
from compactor.source.s3 import S3Source
from tests.support.s3_server import Bucket, Hop

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


# Reading a bucket in a role

ROLE = "arn:aws:iam::123456789012:role/reader"

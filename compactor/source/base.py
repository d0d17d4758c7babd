"""The interface of every source: hours, objects, and the key pattern of an export.

The key pattern is that of the Rover Data Export (developer.rover.io, docs/data-export):

    exports/<dataset>/date=YYYY-MM-DD/hour=HH/<dataset>-YYYYMMDDTHHmmssZ-part-<token>.ndjson.gz

`date=` and `hour=` are the UTC hour in which the file was WRITTEN. A source may hold other objects beside the exports.
An object whose key does not match the pattern is ignored and counted; it is not an error.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import BinaryIO, Protocol

from compactor.errors import ChangedObject, ObjectError, UsageError
from compactor.log import printable
from compactor.request_counts import RequestCounter

EXPORTS = "exports/"
MOST_FOLDERS = 1_000
MOST_READERS = 32
"""Objects that are read at the same time, where the config does not say."""
ETAG_MARK = "~"
"""What separates the mark of a local file's content from the rest of its ETag. No ETag of S3 has it."""

# The token is opaque. It may have any character but a lone surrogate (of a file name that is not UTF-8): no table can
# store that.
_KEY = re.compile(
    r"exports/(?P<dataset>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P=dataset)-\d{8}T\d{6}Z-part-[^/\ud800-\udfff]+\.ndjson\.gz",
    re.ASCII,
)
_HOUR = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)(T(?P<hour>\d\d))?", re.ASCII)


@dataclass(frozen=True, order=True)
class Hour:
    """A UTC hour. Hours compare by time.

    Attributes:
        date: the day, as "YYYY-MM-DD".
        hour: 0..23.
    """

    date: str
    hour: int

    @classmethod
    def parse(cls, text: str) -> Hour:
        """Reads "2026-11-01T05", or "2026-11-01" for its hour 0. Raises UsageError for anything else."""
        match = _HOUR.fullmatch(text)
        hour = _valid_hour(match["date"], match["hour"] or "00") if match else None
        if hour is None:
            raise UsageError(f"'{text}' is not a UTC hour; write it as 2026-11-01T05, or as 2026-11-01 for its hour 0")
        return hour

    @classmethod
    def of_key(cls, key: str) -> Hour | None:
        """The hour in the key of an export; None if the key does not match the key pattern."""
        match = _KEY.fullmatch(key)
        return _valid_hour(match["date"], match["hour"]) if match else None

    def minus(self, hours: int) -> Hour:
        """The hour so many hours before this one. The earliest hour is the first of the year 1."""
        time = datetime.fromisoformat(f"{self}:00").replace(tzinfo=UTC)
        try:
            time -= timedelta(hours=hours)
        except OverflowError:
            time = datetime.min.replace(tzinfo=UTC)
        return Hour(time.date().isoformat(), time.hour)

    @property
    def folder(self) -> str:
        """The folder of this hour below its dataset: "date=2026-11-01/hour=05/"."""
        return f"date={self.date}/hour={self.hour:02d}/"

    def __str__(self) -> str:
        return f"{self.date}T{self.hour:02d}"


@lru_cache(maxsize=1024)  # a listing parses the same hour for each of its objects
def _valid_hour(day: str, hour: str) -> Hour | None:
    try:
        date.fromisoformat(day)
    except ValueError:  # 2026-02-30
        return None
    return Hour(day, int(hour)) if int(hour) < 24 else None


@dataclass(frozen=True, order=True)
class SourceObject:
    """One exported file, as listed.

    Attributes:
        dataset: the dataset that it belongs to.
        key: its key within the source, without the source's prefix. It begins with "exports/".
        etag: identifies its content: a replaced object has another one (see `is_same_etag`). On S3 it is not always an
            MD5, because of multipart uploads.
        size: compressed bytes.
        hour: the UTC hour in which it was written, from its key.
    """

    dataset: str
    key: str
    etag: str
    size: int
    hour: Hour


def is_same_etag(one: str, other: str) -> bool:
    """Whether two ETags are those of one content. One without a mark, as older lakes have it, fits each mark."""
    return one == other or one.startswith(other + ETAG_MARK) or other.startswith(one + ETAG_MARK)


def same_etag_sql(one: str, other: str) -> str:
    """`is_same_etag` in SQL."""
    mark = f"'{ETAG_MARK}'"
    return f"({one} = {other} OR starts_with({one}, {other} || {mark}) OR starts_with({other}, {one} || {mark}))"


@dataclass
class IgnoredKeys:
    """The keys of a listing that do not match the key pattern of an export.

    Attributes:
        count: their number.
        examples: the first of them, at most 5, with control characters escaped.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if len(self.examples) < 5:
            self.examples.append(printable(key))


class Source(Protocol):
    """A place from which exports are read. Nothing is written to it. Safe to use from several threads."""

    url: str
    """Its URL or path, for messages."""

    requests: RequestCounter
    """What its storage was asked for: each page of a listing, each folder, each object or part of one."""

    def datasets(self) -> builtins.list[str]:
        """The names of the folders below `exports/`, ascending. Raises SourceError."""
        ...

    def has_exports(self) -> bool:
        """Whether there is an `exports/`, empty or not; in a bucket, at least one object of it. Raises SourceError."""
        ...

    def folders(self) -> builtins.list[str]:
        """The names of the folders beside `exports/`, at most 1,000. Raises SourceError."""
        ...

    def list(
        self,
        dataset: str,
        start: Hour | None = None,
        stop: Hour | None = None,
        ignored: IgnoredKeys | None = None,
    ) -> Iterator[SourceObject]:
        """Yields the dataset's objects from the hour `start` to the hour `stop`, both inclusive, ascending by key.

        The listing streams: it never holds all objects, and does not list hours outside the window. Keys within the
        window that do not match the key pattern are added to `ignored`. Raises SourceError.
        """
        ...

    def open(self, obj: SourceObject) -> BinaryIO:
        """A stream of the object's compressed bytes. Close it, or use it in a `with`.

        Opening and reading raise ObjectError if this object cannot be read, ChangedObject if its content is no longer
        the listed one, and SourceError if the source as a whole cannot be read.
        """
        ...


class SourceConfig(Protocol):
    """The settings of a source: the `source` section of the config."""

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, a folder's path, or a `file://` URL."""
        ...

    @property
    def endpoint(self) -> str | None:
        """URL of an S3 service other than AWS."""
        ...

    @property
    def region(self) -> str | None:
        """AWS region. None: that of the environment."""
        ...

    @property
    def role_arn(self) -> str | None:
        """Role to assume for reading."""
        ...

    @property
    def external_id(self) -> str | None:
        """External id that the role's trust policy asks for."""
        ...

    @property
    def role_session_name(self) -> str:
        """Name of the assumed session, as CloudTrail shows it."""
        ...

    @property
    def max_attempts(self) -> int:
        """Attempts for one request, and attempts in a row to continue reading one object. The first is included."""
        ...

    @property
    def connect_timeout(self) -> float:
        """Seconds."""
        ...

    @property
    def read_timeout(self) -> float:
        """Seconds to wait for the next byte."""
        ...

    @property
    def readers(self) -> int | None:
        """Objects that are read at the same time. None: as many as their size and the distance ask for."""
        ...


def source_object(key: str, etag: str, size: int) -> SourceObject | None:
    """The object of a listed key; None if the key does not match the key pattern."""
    match = _KEY.fullmatch(key)
    hour = _valid_hour(match["date"], match["hour"]) if match else None
    if match is None or hour is None:
        return None
    return SourceObject(dataset=match["dataset"], key=key, etag=etag, size=size, hour=hour)


def key_window(dataset: str, start: Hour | None, stop: Hour | None) -> tuple[str, str]:
    """(after, before): the keys strictly between the two are those of the dataset in [start, stop].

    Keys are ordered by code point, which is also S3's order, by their UTF-8 bytes. "0" is the character after "/", so
    it sorts after everything in the folder.
    """
    folder = f"{EXPORTS}{dataset}/"
    after = folder + start.folder if start else folder
    last = folder + stop.folder if stop else folder
    return after, last.removesuffix("/") + "0"


def deleted_object(url: str, key: str) -> ObjectError:
    """The error for an object that no longer exists. `url` is its place, for the message."""
    return ObjectError(key, f"cannot read {url}: it was deleted after it was listed; the next run lists again")


def replaced_object(url: str, key: str) -> ChangedObject:
    """The error for an object whose content is no longer the listed one."""
    return ChangedObject(key, f"cannot read {url}: it was replaced after it was listed; the next run lists again")

"""What every source looks like, whatever holds the bytes: hours, objects and the layout of their keys.

The layout is that of the Rover Data Export (developer.rover.io, docs/data-export):

    exports/<dataset>/date=YYYY-MM-DD/hour=HH/<dataset>-YYYYMMDDTHHmmssZ-part-<token>.ndjson.gz

`date=` and `hour=` are the UTC hour in which the file was WRITTEN. Other things may lie between the exports:
a key of any other shape is not ours, and is counted instead of refused.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import BinaryIO, Protocol

from compactor.errors import UsageError

EXPORTS = "exports/"

# The token is opaque: any character goes, but for lone surrogates (a file name that is not UTF-8), which no table
# could store.
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
        """Read "2026-11-01T05", or "2026-11-01" for its hour 0. Raises UsageError for anything else."""
        match = _HOUR.fullmatch(text)
        hour = _valid_hour(match["date"], match["hour"] or "00") if match else None
        if hour is None:
            raise UsageError(f"'{text}' is not a UTC hour; write it as 2026-11-01T05, or as 2026-11-01 for its hour 0")
        return hour

    @classmethod
    def of_key(cls, key: str) -> Hour | None:
        """The hour that an export's key lies in; None when the key is not that of an export."""
        match = _KEY.fullmatch(key)
        return _valid_hour(match["date"], match["hour"]) if match else None

    def minus(self, hours: int) -> Hour:
        """The hour that many hours before this one, but none before the year 1."""
        moment = datetime.fromisoformat(f"{self}:00").replace(tzinfo=UTC)
        try:
            moment -= timedelta(hours=hours)
        except OverflowError:
            moment = datetime.min.replace(tzinfo=UTC)
        return Hour(moment.date().isoformat(), moment.hour)

    @property
    def folder(self) -> str:
        """Where this hour's files lie below their dataset: "date=2026-11-01/hour=05/"."""
        return f"date={self.date}/hour={self.hour:02d}/"

    def __str__(self) -> str:
        return f"{self.date}T{self.hour:02d}"


@lru_cache(maxsize=1024)  # a listing asks the same hour for each of its objects
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
        dataset: the dataset it belongs to.
        key: its key within the source: any prefix stripped, '/' separated, always starting with "exports/".
        etag: an opaque mark of its content; a replaced object has another one. On S3 it may be that of a
            multipart upload, so it is not an MD5.
        size: compressed bytes.
        hour: the UTC hour it was written in, from its key.
    """

    dataset: str
    key: str
    etag: str
    size: int
    hour: Hour


@dataclass
class Ignored:
    """What a listing saw and left alone.

    Attributes:
        count: the number of keys.
        examples: the first of them, at most 5, with unprintable characters escaped.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, key: str) -> None:
        """Count one key."""
        self.count += 1
        if len(self.examples) < 5:
            self.examples.append("".join(c if c.isprintable() else ascii(c)[1:-1] for c in key))


class Source(Protocol):
    """A place that exports are read from. It is never written to. Safe to use from several threads."""

    url: str
    """The place, for messages."""

    def datasets(self) -> builtins.list[str]:
        """Names of the folders below `exports/`, ascending. Raises SourceError."""
        ...

    def list(
        self,
        dataset: str,
        start: Hour | None = None,
        stop: Hour | None = None,
        ignored: Ignored | None = None,
    ) -> Iterator[SourceObject]:
        """The dataset's objects from the hour `start` to the hour `stop`, both inclusive, ascending by key.

        The listing streams: it never holds all objects, and does not look into hours outside the window.
        Keys within the window that are not exports are counted in `ignored`. Raises SourceError.
        """
        ...

    def open(self, obj: SourceObject) -> BinaryIO:
        """A readable stream of the object's raw, compressed bytes; close it, or use it in a `with`.

        This call and the stream's reads raise ObjectError when this one object cannot be read, ChangedObject
        when it is no longer the listed one, and SourceError when nothing can be read.
        """
        ...


class SourceConfig(Protocol):
    """What `open_source` needs to know; the `source` section of the config has it."""

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
        """AWS region; None leaves it to the environment."""
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
        """Tries of one request, and tries to get on with one object; the first included."""
        ...

    @property
    def connect_timeout(self) -> float:
        """Seconds."""
        ...

    @property
    def read_timeout(self) -> float:
        """Seconds without a byte."""
        ...

    @property
    def readers(self) -> int:
        """Objects read at a time."""
        ...


def source_object(key: str, etag: str, size: int) -> SourceObject | None:
    """The object that a listed key stands for; None when the key is not that of an export."""
    match = _KEY.fullmatch(key)
    hour = _valid_hour(match["date"], match["hour"]) if match else None
    if match is None or hour is None:
        return None
    return SourceObject(dataset=match["dataset"], key=key, etag=etag, size=size, hour=hour)


def key_window(dataset: str, start: Hour | None, stop: Hour | None) -> tuple[str, str]:
    """(after, before): the keys strictly between the two are those of the dataset in [start, stop].

    Keys order by code point, which is also S3's order of their UTF-8 bytes. "0" is the character after "/": it
    sorts behind all that lies in the folder.
    """
    folder = f"{EXPORTS}{dataset}/"
    after = folder + start.folder if start else folder
    last = folder + stop.folder if stop else folder
    return after, last.removesuffix("/") + "0"

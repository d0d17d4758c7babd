"""Content hashes: what a data file held when it was written, kept outside of the file.

The hash of a file is BLAKE2b over its bytes, 96 bits, in URL-safe Base64: 16 characters. It is stable across versions
and libraries, because nothing is decoded. It covers all columns that the file has, whatever the table's schema says
later. It is taken while the file is written, so that no file is read again.

The commit that adds the files keeps the hashes in its snapshot's summary. A writer names its files `<number>-<uuid>`,
so the summary has one entry per writer: `<number of its first file>-<16 hex digits of the uuid>=<hash><hash>…`.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa
from pyiceberg.manifest import DataFile

PROPERTY = "compactor.content"
"""The summary's property. A snapshot without it has no hashes: an older version or another engine wrote its files."""
_ATTRIBUTE = "content_hash"  # of a DataFile that this process has written
_LIMIT_BYTES = 64 << 10
"""Of the property: some 4,000 files of one writer. A summary stays in the metadata until its snapshot expires."""
_HASH_BYTES = 12
_HASH_LETTERS = 16
_READ_BYTES = 1 << 20
_NAME = re.compile(r"(\d{5,})-([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}\.parquet")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class HashingSink:
    """A stream to write to that hashes what it passes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = _digest()
        self._written = 0

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    @property
    def hash(self) -> str:
        """The hash of what was written so far."""
        return _text(self._digest)

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._stream.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def hash_of(stream: _Readable) -> str:
    """The hash of all that a stream gives."""
    digest = _digest()
    while block := stream.read(_READ_BYTES):
        digest.update(block)
    return _text(digest)


def attach(file: DataFile, hash_: str) -> None:
    """Keeps the hash with a file that no snapshot has yet."""
    setattr(file, _ATTRIBUTE, hash_)


def attached(file: DataFile) -> str | None:
    """The hash that was kept with a file."""
    found: str | None = getattr(file, _ATTRIBUTE, None)
    return found


def properties(files: Iterable[DataFile]) -> dict[str, str]:
    """The summary's properties for the files that a commit adds. Those beyond the limit have no hash."""
    writers: dict[str, dict[int, str]] = {}
    for file in files:
        found, name = attached(file), _NAME.fullmatch(base_name(file.file_path))
        if found and name:
            writers.setdefault("".join(name.groups()[1:]), {})[int(name[1])] = found
    text = ""
    for entry in _entries(writers):
        if len(text) + 1 + len(entry) > _LIMIT_BYTES:
            break
        text = f"{text} {entry}" if text else entry
    return {PROPERTY: text} if text else {}


def _entries(writers: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    """One entry for each run of numbers, cut so that the limit leaves out as little as possible."""
    for writer, hashes in sorted(writers.items()):
        # Numbers minus their place are equal within a run.
        for _, found in itertools.groupby(enumerate(sorted(hashes)), lambda each: each[1] - each[0]):
            numbers = [number for _, number in found]
            for start in range(0, len(numbers), 256):
                part = numbers[start : start + 256]
                yield f"{part[0]}-{writer}=" + "".join(hashes[number] for number in part)


def recorded(summaries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The hashes that summaries have, by file: see `key_of`."""
    found: dict[str, str] = {}
    for summary in summaries:
        for entry in str(summary.get(PROPERTY, "")).split():
            place, _, text = entry.partition("=")
            first, _, writer = place.partition("-")
            for offset in range(0, len(text), _HASH_LETTERS):
                number = int(first) + offset // _HASH_LETTERS
                found[f"{number}-{writer}"] = text[offset : offset + _HASH_LETTERS]
    return found


def key_of(path: str) -> str | None:
    """What `recorded` has a file under; None for a name that no writer of this program gives."""
    name = _NAME.fullmatch(base_name(path))
    return f"{int(name[1])}-{''.join(name.groups()[1:])}" if name else None


def base_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def sink(stream: Any) -> tuple[pa.NativeFile, HashingSink]:
    """An Arrow stream for a Parquet writer, and what hashes its bytes."""
    hashing = HashingSink(stream)
    return pa.PythonFile(hashing, mode="w"), hashing


def _digest() -> Any:
    return hashlib.blake2b(digest_size=_HASH_BYTES)


def _text(digest: Any) -> str:
    return base64.urlsafe_b64encode(digest.digest()).decode()

"""Writes the files of a sample export: gzipped NDJSON, with the layout and the faults of real deliveries."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

FULL_RECORDS = 50_000
FULL_BYTES = 50_000_000  # uncompressed
TINY_RECORDS = 60
BUSY_HOUR = 2_000  # records: an hour with more has mostly full-size files

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

Record = dict[str, Any]


def digest(*parts: object) -> str:
    """32 hex digits that depend only on the parts."""
    return hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def stamp(at: int) -> str:
    """A time, in milliseconds since 1970, as the export writes it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


@dataclass
class Counts:
    """The lines of one dataset: lines = distinct + duplicates + bad_lines."""

    files: int = 0
    lines: int = 0
    distinct: int = 0
    duplicates: int = 0
    bad_lines: int = 0


class Feed:
    """Writes the lines of one dataset as a sequence of files.

    All times are milliseconds since 1970, and never decrease from call to call: the time of its last line gives a file
    its name and folder. Only the compressed bytes of the open file are held in memory.
    """

    def __init__(self, exports: Path, dataset: str, seed: int) -> None:
        self.dataset = dataset
        self.counts = Counts()
        self.last = b""  # the newest line written by `new`
        self._exports = exports
        self._seed = seed
        self._rng = random.Random(f"{seed}:{dataset}")
        self._busy = False
        self._at = self._lines = self._size = self._limit = self._split_at = 0
        self._gzip = _member()
        self._chunks: list[bytes] = []
        # Lines to deliver again. Those of the open file wait, so that a duplicate is always in another file.
        self._waiting: list[bytes] = []
        self._again: deque[bytes] = deque(maxlen=500)

    def expect(self, records: int) -> None:
        """Sets the number of records of the next hour (or snapshot), which decides the size of its files."""
        self._busy = records >= BUSY_HOUR

    def new(self, at: int, record: Record) -> None:
        """Writes a record for the first time, and sometimes an earlier one again."""
        line = encode(record).encode()
        self._put(at, line)
        self.last = line
        self.counts.distinct += 1
        if self.counts.distinct % 30 == 1:
            self._waiting.append(line)
        if self.counts.distinct % 50 == 0 and self._again:
            self._put(at, self._again.popleft())
            self.counts.duplicates += 1

    def again(self, at: int, record: Record) -> None:
        """Writes a record whose id is also written by `new`."""
        self._put(at, encode(record).encode())
        self.counts.duplicates += 1

    def bad(self, at: int, line: bytes) -> None:
        """Writes a line that is not a valid record."""
        self._put(at, line)
        self.counts.bad_lines += 1

    def close(self) -> None:
        """Finishes the open file, if there is one."""
        if not self._lines:
            return
        if self._rng.random() > 0.1:  # else the last newline is missing
            self._write(b"\n")
        self._chunks.append(self._gzip.flush())
        written = datetime.fromtimestamp(self._at // SECOND, UTC)
        token = digest(self._seed, self.dataset, "file", self.counts.files)
        folder = self._exports / self.dataset / f"{written:date=%Y-%m-%d}" / f"{written:hour=%H}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.dataset}-{written:%Y%m%dT%H%M%SZ}-part-{token}.ndjson.gz"
        path.write_bytes(b"".join(self._chunks))
        self.counts.files += 1
        self._lines = self._size = 0
        self._chunks.clear()
        self._again.extend(self._waiting)
        self._waiting.clear()

    def _put(self, at: int, line: bytes) -> None:
        full = self._lines >= self._limit or self._size + len(line) + 1 > FULL_BYTES
        if self._lines and (full or at // HOUR != self._at // HOUR):
            self.close()
        if not self._lines:
            self._open()
        self._at = at
        self._write(b"\n" + line if self._lines else line)
        self._lines += 1
        self.counts.lines += 1
        if self._lines == self._split_at:
            self._chunks.append(self._gzip.flush())
            self._gzip = _member()

    def _open(self) -> None:
        full_size = self._busy and self._rng.random() < 0.8
        self._limit = FULL_RECORDS if full_size else self._rng.randint(1, TINY_RECORDS)
        self._split_at = self._rng.randint(1, self._limit) if self._rng.random() < 0.1 else 0
        self._gzip = _member()

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        chunk = self._gzip.compress(data)
        if chunk:
            self._chunks.append(chunk)


def _member() -> zlib._Compress:
    """A gzip member without a file name or a time, so that equal content gives equal bytes."""
    return zlib.compressobj(6, zlib.DEFLATED, 31)

"""Two nights of all datasets, for the comparison with other tools: what a loader meets in real life is in the second.

The first night is an export of 300,000 lines, with the duplicates of `bench_data`. The second has 87,000: new records,
of which many are older than what is stored; lines of the first night again, every second of them as a later run of the
export writes them, with another `emittedAt`; deletes of stored identifiers; and older records of the deleted ones.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench_data import EVENTS, IDENTITIES, MERGES, PROFILES, Part, write_export, write_object

_SECOND_NIGHT = 96
"""The number of the first file of the second night: four files in an hour, 24 hours later."""
_WRITTEN = datetime(2026, 11, 2, 23, tzinfo=UTC)
_AGAIN_EMITTED = b"2026-11-02T22:30:00.000Z"


@dataclass(frozen=True)
class Share:
    """Lines of a dataset: in the first night, newly made in the second, and of the first night again in the second."""

    dataset: str
    first: int
    second: int
    again: int


SHARES = (
    Share(EVENTS, 200_000, 57_000, 3_000),
    Share(PROFILES, 60_000, 14_000, 1_000),
    Share(IDENTITIES, 30_000, 7_400, 600),
    Share(MERGES, 10_000, 2_800, 200),
)
DELETES, AFTER_DELETE = 800, 200
"""Deletes of stored identifiers in the second night, and older records of so many of the deleted ones."""


def write_nights(folder: Path, part: int) -> list[tuple[Path, int]]:
    """Writes both nights, each as an export of its own; of all lines the `part`-th part. Returns folders and lines."""
    first, second = folder / "night-1", folder / "night-2"
    write_export(first, [Part(each.dataset, 2, each.first // part // 2) for each in SHARES])
    write_export(second, [Part(each.dataset, 2, each.second // part // 2, first=_SECOND_NIGHT) for each in SHARES])
    for each in SHARES:
        stored = list(itertools.islice(lines(first, each.dataset), each.again // part))
        again = [_later(line) if number % 2 else line for number, line in enumerate(stored)]
        write_object(second, each.dataset, _WRITTEN, 1, b"".join(again))
    deleted = list(itertools.islice(lines(first, IDENTITIES), each.again // part, (each.again + DELETES) // part))
    changes = [_changed(line, "x", "delete", "2026-11-02T20:00:00.000Z") for line in deleted]
    changes += [_changed(line, "y", "upsert", "2026-11-01T23:00:00.000Z") for line in deleted[: AFTER_DELETE // part]]
    write_object(second, IDENTITIES, _WRITTEN, 2, b"".join(changes))
    return [(night, sum(1 for each in SHARES for _ in lines(night, each.dataset))) for night in (first, second)]


def lines(night: Path, dataset: str) -> Iterator[bytes]:
    """The lines of a dataset in one night, in the order of its files."""
    for path in sorted((night / "exports" / dataset).rglob("*.ndjson.gz")):
        with gzip.open(path) as file:
            yield from file


def _later(line: bytes) -> bytes:
    """The same record as a later run of the export writes it."""
    return orjson.dumps(orjson.loads(line) | {"emittedAt": _AGAIN_EMITTED.decode()}) + b"\n"


def _changed(line: bytes, mark: str, operation: str, updated: str) -> bytes:
    """Another record of the same identifier. Ids are hexadecimal, so one with another mark is new."""
    record = orjson.loads(line)
    change = {"id": mark + record["id"][1:], "operation": operation, "updatedAt": updated}
    return orjson.dumps(record | change | {"emittedAt": "2026-11-02T21:00:00.000Z"}) + b"\n"

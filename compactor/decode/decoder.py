"""Lines of NDJSON to typed rows.

A chunk of lines takes two steps:

1. `scanner`, which is native code, reads the lines by the schema version that most lines of late had, then what is left
   by the others. It accepts the lines of which it is sure. Columns of an older version are converted
   (`registry.converted`).
2. What is left goes line by line through the exact path (`exact`), which alone decides what is rejected and why.

Step 1 may only accept what the exact path accepts, with the same values: tests hold the two against each other. Without
the native library all lines take step 2.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compactor.decode import exact, rejects, scanner
from compactor.decode.lines import Block, Lines, Places, joined, located
from compactor.decode.rejects import Reject, RejectedLines
from compactor.decode.scanner import Scanner
from compactor.duck.relations import Relations
from compactor.registry.converted import Flags, converted, promoted
from compactor.registry.dataset import EXTRA, Dataset
from compactor.types.field_type import MAP

Locate = Callable[[Places], tuple[Places, Places]]

_EXACT_BYTES = 1 << 20  # of the exact path's rows at once: Python's objects take many times the size of their text


@dataclass(frozen=True)
class Records:
    """Decoded records.

    Attributes:
        rows: with the columns of the dataset's tables.
        file_nos: the object of each.
        unknown: whether it has a field that no version of the registry declares and no promotion takes.
        unfit: by promoted column, whether the record's value does not fit it and is in the map alone.
    """

    rows: pa.RecordBatch
    file_nos: Places
    unknown: Flags
    unfit: Mapping[str, Flags]


@dataclass(frozen=True)
class DecodedChunk:
    """What became of the lines of a chunk.

    Attributes:
        records: of the lines that are records.
        rejected: the others, with the columns of `rejects.REJECTED`.
        lines: lines per file_no, blank ones apart.
        raw_bytes: of all lines.
    """

    records: Sequence[Records]
    rejected: pa.Table
    lines: Counter[int]
    raw_bytes: int


class Decoder:
    """Decodes the chunks of one dataset. Several threads may use one decoder."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, dataset: Dataset, keys: Sequence[str], *, line_limit: int
    ) -> None:
        """`keys`: the object key of each file_no. `line_limit`: bytes that a line may have."""
        self._con, self._dataset = con, dataset
        self._keys = pa.array(keys, pa.string())
        self._limit, self._too_long = line_limit, rejects.line_too_long(line_limit)
        self._own, self._exact = threading.local(), threading.Lock()
        self._known = pa.array(sorted(_known(dataset)), pa.string())
        self._scanners: dict[int, Scanner] = {}
        if scanner.available():
            self._scanners = {
                number: Scanner(dataset.versions[number], dataset.version_field, line_limit=line_limit)
                for number in sorted(dataset.versions, reverse=True)
            }

    def decode(self, blocks: Sequence[Block]) -> DecodedChunk:
        """Decodes the lines of some blocks."""
        data = blocks[0].data if len(blocks) == 1 else b"".join(block.data for block in blocks)
        return self._decoded(data, lambda places: located(blocks, places), lambda: Lines.of(blocks))

    def decode_lines(self, lines: Lines) -> DecodedChunk:
        """Decodes lines."""
        return self._decoded(lines.data, lines.located, lambda: lines)

    def _decoded(self, data: bytes | memoryview, locate: Locate, lines: Callable[[], Lines]) -> DecodedChunk:
        """Decodes lines, by what `_scanned` asks for."""
        scans = self._scanners and len(data) <= scanner.MOST_BYTES
        records, rest = self._scanned(data, locate, lines) if scans else ([], lines())
        rejected, counts = RejectedLines(), Counter[int]()
        for each in records:
            counts += _count(each.file_nos)
        with self._exact, _no_collections():
            records += self._one_by_one(rest, rejected, counts)
        return DecodedChunk([each for each in records if each.rows.num_rows], rejected.table(), counts, len(data))

    def _scanned(
        self, data: bytes | memoryview, locate: Locate, lines: Callable[[], Lines]
    ) -> tuple[list[Records], Lines]:
        """The records that the scanner accepts, and the other lines, blank ones apart.

        Args:
            data: whole lines.
            locate: gives the object and the number of lines by their 0-based places in `data`.
            lines: gives all lines of `data`.
        """
        records: list[Records] = []
        left: list[Lines] = []
        for number, reader in list(self._scanners.items()):
            scanned = reader.scan(data)
            file_nos, numbers = locate(scanned.lines)
            upgraded = converted(self._session, self._dataset.upgrades(number), scanned.rows)
            records.append(
                self._records(upgraded.columns, scanned.rows.column(EXTRA), file_nos, numbers, upgraded.sure)
            )
            if not upgraded.sure.all():
                left.append(lines().only(scanned.lines[~upgraded.sure]))
            unsure = scanned.unsure
            if not len(unsure):
                break
            if len(unsure) < scanned.rows.num_rows:
                self._prefer(number)
            pieces = [data[start:end] for start, end in unsure[:, 1:].tolist()]
            rest = Lines(*locate(unsure[:, 0]), np.cumsum(unsure[:, 2] - unsure[:, 1]), b"".join(pieces))
            data, locate, lines = rest.data, rest.located, partial(_itself, rest)
        else:
            left.append(lines())
        return records, joined(left)

    def _prefer(self, number: int) -> None:
        """Reads the next chunks by this version first: one look at a line is enough where all are of one version."""
        if next(iter(self._scanners)) != number:
            others = {each: reader for each, reader in self._scanners.items() if each != number}
            self._scanners = {number: self._scanners[number], **others}

    def _records(
        self,
        columns: Mapping[str, pa.Array],
        extra: pa.MapArray,
        file_nos: Places,
        numbers: Places,
        chosen: Flags | None = None,
    ) -> Records:
        """Records from the columns of the newest version. `chosen`: only these rows."""
        if chosen is not None and not chosen.all():
            mask = pa.array(chosen)
            columns = {name: column.filter(mask) for name, column in columns.items()}
            extra, file_nos, numbers = extra.filter(mask), file_nos[chosen], numbers[chosen]
        added = promoted(self._session, self._dataset.promoted, {**columns, EXTRA: extra})
        found = {
            **columns,
            **{name: each.values for name, each in added.items()},
            EXTRA: extra,
            "source_file": self._files(file_nos),
            "source_line": pa.array(numbers),
        }
        schema = self._dataset.stored_schema
        arrays = [found[field.name].cast(field.type) for field in schema]
        return Records(
            rows=pa.RecordBatch.from_arrays(arrays, schema=schema),
            file_nos=file_nos,
            unknown=self._unknown(extra),
            unfit={name: each.unfit for name, each in added.items()},
        )

    def _files(self, file_nos: Places) -> pa.Array:
        if len(file_nos) and file_nos[0] == file_nos[-1] and (file_nos == file_nos[0]).all():
            return pa.repeat(self._keys[int(file_nos[0])], len(file_nos))
        return self._keys.take(pa.array(file_nos))

    def _unknown(self, extra: pa.MapArray) -> Flags:
        """Which maps have a key that the registry does not know."""
        offsets = extra.offsets.to_numpy()
        first, last = int(offsets[0]), int(offsets[-1])
        if first == last:
            return np.zeros(len(extra), np.bool_)
        keys = extra.keys.slice(first, last - first)
        strange = ~pc.is_in(keys, self._known).to_numpy(zero_copy_only=False)
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(strange)])
        found: Flags = np.diff(before[offsets - first]) > 0
        return found

    def _one_by_one(self, lines: Lines, rejected: RejectedLines, counts: Counter[int]) -> Iterator[Records]:
        """Decodes lines by the exact path. Counts those that are not blank, per file_no."""
        rows: list[dict[str, Any]] = []
        places: list[tuple[int, int]] = []
        size = 0
        for index, (file_no, number) in enumerate(zip(lines.file_nos.tolist(), lines.numbers.tolist(), strict=True)):
            raw = lines.raw(index)
            found = exact.read_line(raw, self._dataset) if len(raw) <= self._limit + 1 else self._too_long
            if found is None:
                continue
            counts[file_no] += 1
            if isinstance(found, Reject):
                rejected.add(file_no, number, found, raw[: self._limit])
                continue
            rows.append(found)
            places.append((file_no, number))
            size += len(raw)
            if size > _EXACT_BYTES:
                yield self._of_rows(rows, places)
                rows, places, size = [], [], 0
        if rows:
            yield self._of_rows(rows, places)

    def _of_rows(self, rows: list[dict[str, Any]], places: list[tuple[int, int]]) -> Records:
        newest = self._dataset.newest.fields
        columns = {
            field.column: pa.array([row.get(field.column) for row in rows], field.type.arrow) for field in newest
        }
        extra = pa.array([row[EXTRA] for row in rows], MAP.arrow)
        file_nos, numbers = np.array(places, np.int64).T
        return self._records(columns, extra, file_nos, np.ascontiguousarray(numbers))

    def _session(self) -> Relations:
        """Of this thread: a connection serves one statement at a time."""
        if not hasattr(self._own, "relations"):
            self._own.relations = Relations(self._con.cursor())
        found: Relations = self._own.relations
        return found


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keeps Python from looking for circles among the values of lines, which have none, at up to ten times the cost."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _itself(lines: Lines) -> Lines:
    return lines


def _known(dataset: Dataset) -> set[str]:
    """The fields that a version of the registry declares, or a promotion takes."""
    known = {field.json for version in dataset.versions.values() for field in version.fields}
    return known | {each.key for each in dataset.promoted if each.source == EXTRA}


def _count(file_nos: Places) -> Counter[int]:
    found, counts = np.unique(file_nos, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))

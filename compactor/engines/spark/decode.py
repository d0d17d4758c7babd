"""On Spark's workers: objects to rows, by the same code as in a single process.

A worker gets rows of (file_no, key, etag, size) and gives rows of three kinds; the struct that is not NULL says which:

    record   a decoded record, as the tables take it, and whether it has a field that the registry does not declare
    reject   a line that is no record
    file     the sums of a file: once for each, after all of its lines
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor.config import Config, Resources
from compactor.decode.batch_reader import Sums, read_chunks
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.errors import CompactorError
from compactor.merge.canonical import as_decoded, canonical
from compactor.registry.dataset import Dataset
from compactor.source import Hour, SourceObject, open_source

OBJECTS = "file_no INT, key STRING, etag STRING, size BIGINT"
_ROWS = 8192
_REJECT = pa.struct([("version", pa.int64()), ("reason", pa.string()), ("detail", pa.string()), ("raw", pa.string())])
# `stopped`: why the worker gave up, in an operator's words. Nothing of the batch may be used then.
_FILE = pa.struct([("lines", pa.int64()), ("raw_bytes", pa.int64()), ("failed", pa.string()), ("stopped", pa.string())])


def decoded_schema(dataset: Dataset) -> str:
    """Spark's schema of what `Decode` gives."""
    return (
        f"file_no INT, line_no BIGINT, unknown BOOLEAN, record STRUCT<{spark_columns(dataset)}>,"
        " reject STRUCT<version: BIGINT, reason: STRING, detail: STRING, raw: STRING>,"
        " file STRUCT<lines: BIGINT, raw_bytes: BIGINT, failed: STRING, stopped: STRING>"
    )


def spark_columns(dataset: Dataset) -> str:
    """The record columns as fields of a Spark struct."""
    return ", ".join(f"`{name}`: {kind.spark}" for name, kind, _ in dataset.table_columns)


def alone(resources: Resources) -> Resources:
    """What a worker may use: Spark runs one for each core."""
    return resources.model_copy(update={"threads": 1})


@dataclass(frozen=True)
class Decode:
    """The function that Spark's workers run. It is sent to them, so it holds nothing but settings."""

    config: Config
    dataset: Dataset

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [row for batch in batches for row in batch.to_pylist()]
        if not rows:  # a worker more than there are objects
            return
        numbers = np.array([row["file_no"] for row in rows])
        objects, sums = [self._object(row) for row in rows], Sums()
        raw_bytes = 0
        config = self.config.model_copy(update={"resources": alone(self.config.resources)})
        try:
            with session.session(config.resources) as con:
                limit = int(config.limits.line_bytes)
                decoder = Decoder(con, self.dataset, [found.key for found in objects], line_limit=limit)
                for each in read_chunks(decoder, open_source(config.source), objects, config, sums):
                    if isinstance(each, DecodedChunk):
                        raw_bytes += each.raw_bytes
                        yield from self._of_chunk(each, numbers)
        except CompactorError as error:
            yield self._of_kind("file", [{"stopped": str(error)}], file_nos=[None])
            return
        read_files = [
            {"lines": sums.lines.get(n, 0), "raw_bytes": 0 if n else raw_bytes, "failed": sums.failed.get(n)}
            for n in range(len(rows))
        ]
        yield self._of_kind("file", read_files, file_nos=numbers.tolist())

    def _object(self, row: Mapping[str, Any]) -> SourceObject:
        hour = Hour.of_key(row["key"])
        assert hour is not None
        return SourceObject(self.dataset.name, row["key"], row["etag"], row["size"], hour)

    def _of_chunk(self, chunk: DecodedChunk, numbers: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """The records and the rejected lines of a chunk.

        `numbers` has the file_no of the whole batch for each file_no of this worker.
        """
        for each in chunk.records:
            record = pa.StructArray.from_arrays(each.rows.columns, each.rows.schema.names)
            lines = each.rows.column("source_line")
            whole = self._batch(pa.array(numbers[each.file_nos]), lines, unknown=pa.array(each.unknown), record=record)
            yield from _cut(whole)
        for some in chunk.rejected.to_batches(max_chunksize=_ROWS):
            file_nos, lines, *columns = some.columns
            reject = pa.StructArray.from_arrays(
                [column.cast(field.type) for column, field in zip(columns, _REJECT, strict=True)], fields=list(_REJECT)
            )
            yield self._batch(pa.array(numbers[file_nos.to_numpy()]), lines, reject=reject)

    def _of_kind(self, kind: str, rows: list[dict[str, Any]], file_nos: list[int | None]) -> pa.RecordBatch:
        return self._batch(
            pa.array(file_nos, pa.int32()), pa.nulls(len(rows), pa.int64()), **{kind: pa.array(rows, _FILE)}
        )

    def _batch(self, file_nos: pa.Array, lines: pa.Array, **given: pa.Array) -> pa.RecordBatch:
        kinds = {"unknown": pa.bool_(), "record": self._record, "reject": _REJECT, "file": _FILE}
        rest = {name: given.get(name, pa.nulls(len(file_nos), kind)) for name, kind in kinds.items()}
        return pa.record_batch({"file_no": file_nos.cast(pa.int32()), "line_no": lines.cast(pa.int64()), **rest})

    @property
    def _record(self) -> pa.StructType:
        return pa.struct(list(self.dataset.stored_schema))


@dataclass(frozen=True)
class Canonical:
    """Adds its canonical JSON, `text`, to each of the rows (file_no, line_no, record): see `merge.canonical`."""

    resources: Resources
    dataset: Dataset

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        places = "source_file, source_line, __file_no AS file_no, __line_no AS line_no"
        with session.session(alone(self.resources)) as con, Relations(con) as relations:
            for batch in batches:
                record = batch.column("record")
                flat = pa.table(record.flatten(), names=[field.name for field in record.type])
                flat = flat.append_column("__file_no", batch.column("file_no"))
                with relations.arrow("rows", flat.append_column("__line_no", batch.column("line_no"))) as rows:
                    found = con.execute(
                        f"SELECT id, emitted_at AT TIME ZONE 'UTC' AS emitted_at, {places},"
                        f" {canonical(self.dataset)} AS text FROM {as_decoded(self.dataset, rows)} r"
                    ).to_arrow_table()
                yield from found.to_batches()


CANONICAL = (
    "id STRING, emitted_at TIMESTAMP, source_file STRING, source_line BIGINT, file_no INT, line_no BIGINT, text STRING"
)


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, _ROWS):
        yield batch.slice(start, _ROWS)

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

import duckdb
import pyarrow as pa

from compactor.config import Config, Resources
from compactor.decode.batch_reader import Sums, has_unknown, read_chunks, register_files
from compactor.decode.bulk import Decoder
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.errors import CompactorError
from compactor.merge.canonical import as_decoded, canonical
from compactor.merge.columns import record_values
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
        numbers = [row["file_no"] for row in rows]
        objects, sums = [self._object(row) for row in rows], Sums()
        raw_bytes = 0
        try:
            with session.session(alone(self.config.resources)) as con, Relations(con) as relations:
                decoder = Decoder(relations, self.dataset)
                files = register_files(relations, [(row["key"], row["etag"], row["size"]) for row in rows])
                places = {"file_no": pa.array(range(len(numbers)), pa.int32()), "number": pa.array(numbers, pa.int32())}
                numbered = relations.stored("numbered", pa.table(places))
                for read in read_chunks(decoder, open_source(self.config.source), objects, self.config, sums):
                    raw_bytes += read.raw_bytes
                    yield from self._drain(con, decoder, files, numbered)
        except CompactorError as error:
            yield self._of_kind("file", [{"stopped": str(error)}], file_nos=[None])
            return
        read_files = [
            {"lines": sums.lines.get(n, 0), "raw_bytes": 0 if n else raw_bytes, "failed": sums.failed.get(n)}
            for n in range(len(rows))
        ]
        yield self._of_kind("file", read_files, file_nos=numbers)

    def _object(self, row: Mapping[str, Any]) -> SourceObject:
        hour = Hour.of_key(row["key"])
        assert hour is not None
        return SourceObject(self.dataset.name, row["key"], row["etag"], row["size"], hour)

    def _drain(
        self, con: duckdb.DuckDBPyConnection, decoder: Decoder, files: Relation, numbered: Relation
    ) -> Iterator[pa.RecordBatch]:
        """Gives what the decoder made of the last chunk, and empties its relations.

        `numbered` has the file_no of the whole batch (`number`) for each file_no of this worker.
        """
        names = [name for name, _, _ in self.dataset.table_columns]
        records = con.execute(
            f"SELECT p.number, r.__line_no, {has_unknown(self.dataset)}, {', '.join(record_values(self.dataset))}"
            f" FROM {decoder.records} r JOIN {files} f ON r.__file_no = f.file_no"
            f" JOIN {numbered} p ON f.file_no = p.file_no"
        ).to_arrow_reader(_ROWS)
        kind = self._record
        for batch in records:
            numbers, lines, unknown, *columns = batch.columns
            columns = [_as(column, field.type) for column, field in zip(columns, kind, strict=True)]
            record = pa.StructArray.from_arrays(columns, names)
            yield self._batch(numbers, lines, unknown=unknown, record=record)
        rejects = con.execute(
            "SELECT p.number, r.line_no, r.version, r.reason, r.detail, r.raw"
            f" FROM {decoder.rejected} r JOIN {numbered} p USING (file_no)"
        ).to_arrow_reader(_ROWS)
        for batch in rejects:
            numbers, lines, *columns = batch.columns
            reject = pa.StructArray.from_arrays(columns, fields=list(_REJECT))
            yield self._batch(numbers, lines, reject=reject)
        con.execute(f"DELETE FROM {decoder.records}")
        con.execute(f"DELETE FROM {decoder.rejected}")

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
        return pa.struct([(name, kind.arrow_stored) for name, kind, _ in self.dataset.table_columns])


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


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The engine's times have no zone, and are UTC; its enums are texts."""
    return column if column.type == kind else column.cast(kind)

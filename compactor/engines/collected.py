"""Decoded chunks as a batch of the engine in this process: rows in a store, keys and accounts in a session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import duckdb
import pyarrow as pa

from compactor.decode.batch_reader import Sums
from compactor.decode.decoded import Decoded
from compactor.decode.decoder import DecodedChunk
from compactor.decode.rejects import REJECTED
from compactor.duck.relations import Relation, Relations
from compactor.duck.row_store import RowStore
from compactor.duck.sql import number
from compactor.merge.rows import KeyWriter, Rows
from compactor.registry.dataset import Dataset

_FILES = pa.schema([("file_no", pa.int32()), ("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])
_UNKNOWN = "__unknown"


def collect(
    relations: Relations,
    dataset: Dataset,
    files: Relation,
    chunks: Iterable[DecodedChunk],
    sums: Sums,
    *,
    memory: int,
) -> Decoded[Rows]:
    """Brings decoded chunks into a batch, without those of files that could not be read whole.

    Args:
        files: see `register_files`.
        sums: complete when the chunks are.
        memory: see `RowStore`.
    """
    store = RowStore.beside(relations.con, dataset.stored_schema, memory=memory)
    flags = [_UNKNOWN, *map(_unfit, range(len(dataset.promoted)))]
    columns = [("__file_no", "INTEGER", pa.int32()), *((name, "BOOLEAN", pa.bool_()) for name in flags)]
    keys = KeyWriter(relations, dataset, "keys", columns)
    rejected = relations.empty("rejected", REJECTED)
    for chunk in chunks:
        for each in chunk.records:
            found = [each.file_nos, each.unknown, *(each.unfit[column.column] for column in dataset.promoted)]
            keys.add(store.add(each.rows), each.rows, [pa.array(values) for values in found])
        if chunk.rejected.num_rows:
            relations.append(rejected, chunk.rejected)
    keys.flush()
    decoded = Decoded(
        records=Rows(store, keys.keys),
        files=files,
        counts=relations.view("counts", f"SELECT __file_no AS file_no, count(*) AS n FROM {keys.keys} GROUP BY 1"),
        rejected=rejected,
        lines=sums.lines,
        raw_bytes=sums.raw_bytes,
        failed=sums.failed,
    )
    drop_files(relations.con, decoded, sums.failed)
    return decoded


def register_files(relations: Relations, files: Sequence[tuple[str, str, int]]) -> Relation:
    """The files of a batch: (file_no, key, etag, size)."""
    columns = [range(len(files)), *([file[n] for file in files] for n in range(3))]
    return relations.stored("files", pa.table([list(column) for column in columns], schema=_FILES))


def drop_files(con: duckdb.DuckDBPyConnection, decoded: Decoded[Rows], file_nos: Collection[int]) -> None:
    """Takes files, and all that came of them, out of a batch."""
    if file_nos:
        numbers = ", ".join(map(str, file_nos))
        con.execute(f"DELETE FROM {decoded.records.keys} WHERE __file_no IN ({numbers})")
        for relation in (decoded.files, decoded.rejected):
            con.execute(f"DELETE FROM {relation} WHERE file_no IN ({numbers})")


def count_unknown(con: duckdb.DuckDBPyConnection, records: Rows) -> int:
    """Records with a field that no version of the registry declares and no promotion takes."""
    return number(con, f"SELECT count(*) FROM {records.keys} WHERE {_UNKNOWN}")


def count_unfit(con: duckdb.DuckDBPyConnection, records: Rows, dataset: Dataset) -> Mapping[str, int]:
    """By promoted column, the records that have the entry in the map alone, because it does not fit; without zeros."""
    if not dataset.promoted:
        return {}
    counts = ", ".join(f"count(*) FILTER ({_unfit(number)})" for number in range(len(dataset.promoted)))
    (found,) = con.execute(f"SELECT {counts} FROM {records.keys}").fetchall()
    return {each.column: number for each, number in zip(dataset.promoted, found, strict=True) if number}


def _unfit(number: int) -> str:
    """The column of keys that says which records do not fit a promotion."""
    return f"__unfit_{number}"

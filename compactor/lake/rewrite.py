"""Writes data files again for another schema, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from compactor.errors import UsageError
from compactor.lake.table import DataFile, Schema, Table


def rewrite(
    table: Table,
    schema: Schema,
    files: Sequence[DataFile],
    transform: Callable[[pa.RecordBatchReader], pa.RecordBatchReader],
    *,
    target_bytes: int,
    bloom_columns: Sequence[str],
    on_progress: Callable[[int, int], None],
) -> list[DataFile]:
    """Writes the rows of data files again, with the columns of `schema`. Returns the new files; no snapshot has them.

    Each file is read as a stream, so that memory holds a row group that is read, one that is written, and a few
    batches. Its rows keep their partition and order, and are not mixed with those of another file: a sorted file stays
    sorted.

    Args:
        files: data files of the table's current snapshot.
        transform: called once for each file. It takes batches with today's columns, without the rows that another
            engine has deleted since. It gives batches with the columns of `schema`, in any order. It keeps the order
            of rows, and may drop some. It must not change the values that a row's partition is made of.
        target_bytes: see `DataFileWriter`.
        bloom_columns: see `DataFileWriter`; by their new names.
        on_progress: called in the calling thread with the number of files done and of rows written.

    Raises:
        ConflictError: a file is not in the table's current snapshot; plan again.
        UsageError: a file has another partition than the table.
        Exception: what the storage or `transform` raises. Files written so far are deleted, in each case.
    """
    added: list[DataFile] = []
    rows = 0
    try:
        for done, file in enumerate(files):
            if not table.is_of_default_spec(file):
                raise UsageError(
                    f"{table.identifier} has files of an earlier partition; let an engine rewrite them, then run again"
                )

            def counted(batches: pa.RecordBatchReader, done: int = done) -> Iterator[pa.RecordBatch]:
                nonlocal rows
                for batch in batches:
                    yield batch
                    rows += batch.num_rows
                    on_progress(done, rows)

            source = table.stream(file)
            with table.writer(
                target_bytes=target_bytes, bloom_columns=bloom_columns, schema=schema, like=file
            ) as writer:
                added += writer.write_all(counted(transform(source)))
            on_progress(done + 1, rows)
    except BaseException:
        table.discard(added)
        raise
    return added

"""Whether a data file can be read, and holds what was written into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, FileFormat

from compactor import diagnose
from compactor.lake import content
from compactor.lake.table import Table, summary
from compactor.lake.unreadable import DAMAGED, MISSING

CHANGED = "does not hold what was written into it"
_READ_ROWS = 16_384


def damage(error: Exception) -> str:
    """What is wrong with a file that was being read. Raises the error again if the storage or the machine failed.

    A damaged file can ask for any amount of memory, so a lack of memory counts as damage.
    """
    if isinstance(error, FileNotFoundError):
        return MISSING
    if not isinstance(error, MemoryError) and diagnose.reason(error) is not None:
        raise error
    return DAMAGED


def recorded_hashes(table: Table) -> Mapping[str, str]:
    """The content hashes that all kept snapshots of a table have: `content.key_of` a path -> hash."""
    return content.recorded(summary(snapshot) for snapshot in table._iceberg.metadata.snapshots)


def hash_recorded(hashes: Mapping[str, str], file: DataFile) -> str | None:
    """The hash that was recorded of a file; None if there is none."""
    return hashes.get(content.key_of(file.file_path) or "")


def wrong_with(table: Table, file: DataFile, hash_: str | None) -> str | None:
    """Reads a whole data file. Returns what is wrong with it; None if nothing is, or nothing can be seen.

    Args:
        hash_: what was recorded of it. None: only its pages are decoded, and checked where the file has checksums.
    """
    try:
        if hash_ is not None:
            with table.open(file.file_path) as stream:
                if content.hash_of(stream) == hash_:
                    return _wrong_count(_rows(table, file), file)
        return _wrong_count(sum(_decoded(table, file)), file) or (CHANGED if hash_ is not None else None)
    except Exception as error:  # noqa: BLE001  a damaged file makes the reader raise almost anything
        return damage(error)


def first_damaged(table: Table) -> tuple[str, str] | None:
    """The first file with rows or deletes that cannot be read, and what is wrong with it. Reads up to all of them."""
    for file in (*table.files, *table.delete_files):
        if wrong := wrong_with(table, file, None):
            return file.file_path, wrong
    return None


def _wrong_count(rows: int, file: DataFile) -> str | None:
    return None if rows == file.record_count else f"has {rows} rows, not {file.record_count}"


def _rows(table: Table, file: DataFile) -> int:
    """The number of rows that a file's footer has."""
    with table.open(file.file_path) as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def _decoded(table: Table, file: DataFile) -> Iterator[int]:
    """Decodes all columns of a file. Gives the number of rows of each batch."""
    if file.file_format != FileFormat.PARQUET:
        yield file.record_count  # of another engine; its own readers find out
        return
    with table.open(file.file_path) as stream:
        parquet = pq.ParquetFile(stream, pre_buffer=True, page_checksum_verification=True)
        for group in range(parquet.num_row_groups):
            yield from map(pa.RecordBatch.__len__, parquet.iter_batches(_READ_ROWS, row_groups=[group]))

"""Reads a batch of objects into a session: bytes to records, and the sums of each file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import BinaryIO

import duckdb
import pyarrow as pa

from compactor.config import Config
from compactor.decode.bulk import Decoder
from compactor.decode.decoded import Decoded
from compactor.decode.gunzip import Block, Done, read_blocks
from compactor.decode.lines import chunk_of, pieces
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, number
from compactor.errors import DamagedObject
from compactor.progress import Progress
from compactor.registry.dataset import EXTRA, Dataset
from compactor.source import Source, SourceObject

CHUNK_BYTES = 16 << 20
CHUNK_LINES = 1 << 18  # a chunk of good lines has some 50,000; one of empty lines would take gigabytes
_KEY = '"$key"'  # in a lambda: a column of the same name would be taken in its place
_FILES = pa.schema([("file_no", pa.int32()), ("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])


@dataclass
class Sums:
    """The sums of the objects that were read so far. Objects are identified by `file_no`, their place in the batch.

    Attributes:
        lines: per file, lines that are not blank.
        raw_bytes: of all files, uncompressed.
        failed: files that could not be read whole, with the reason.
    """

    lines: dict[int, int] = field(default_factory=dict)
    raw_bytes: int = 0
    failed: dict[int, str] = field(default_factory=dict)


def read_batch(
    relations: Relations,
    source: Source,
    dataset: Dataset,
    objects: Sequence[SourceObject],
    config: Config,
    progress: Progress,
) -> Decoded[Relation]:
    """Reads and decodes objects. Memory holds a few chunks, whatever their size.

    An object that cannot be read whole ends in `failed`; any other error is raised.
    """
    sums = Sums()
    files = register_files(relations, [(o.key, o.etag, o.size) for o in objects])
    decoder = Decoder(relations, dataset)
    for read in read_chunks(decoder, source, objects, config, sums):
        progress.advance(
            lines=read.lines, raw_bytes=read.raw_bytes, files=read.files, compressed_bytes=read.compressed_bytes
        )
    decoded = Decoded(
        records=decoder.records,
        files=files,
        counts=counts(relations, decoder.records),
        rejected=decoder.rejected,
        lines=sums.lines,
        raw_bytes=sums.raw_bytes,
        failed=sums.failed,
    )
    drop_files(relations.con, decoded, sums.failed)
    return decoded


@dataclass(frozen=True)
class Read:
    """What was read since the previous one of these."""

    lines: int = 0
    raw_bytes: int = 0
    files: int = 0
    compressed_bytes: int = 0


def read_chunks(
    decoder: Decoder, source: Source, objects: Sequence[SourceObject], config: Config, sums: Sums
) -> Iterator[Read]:
    """Reads objects chunk by chunk through a decoder, and keeps `sums` up to date.

    What the decoder has made of a file stays in its relations even if the file then ends in `failed`.
    """
    parts: list[tuple[int, int, bytes]] = []
    waiting = waiting_lines = 0

    def flush() -> Read:
        nonlocal waiting, waiting_lines
        decoded = decoder.decode(chunk_of(parts, int(config.limits.line_bytes)))
        for file_no, lines in decoded.items():
            sums.lines[file_no] = sums.lines.get(file_no, 0) + lines
        read = Read(lines=sum(decoded.values()), raw_bytes=waiting)
        parts.clear()
        waiting = waiting_lines = 0
        return read

    def open_object(file_no: int) -> BinaryIO:
        if objects[file_no].size == 0:
            key = objects[file_no].key
            raise DamagedObject(key, f"{key}: is empty, which no gzip file is; it stays pending until it is replaced")
        return source.open(objects[file_no])

    events = read_blocks(
        [found.key for found in objects],
        open_object,
        line_limit=int(config.limits.line_bytes),
        file_limit=int(config.limits.file_bytes),
        most_lines=config.limits.lines,
        readers=config.source.readers,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Block):
                for first_line, lines, data in pieces(event.first_line, event.data, CHUNK_LINES):
                    parts.append((event.file_no, first_line, data))
                    waiting += len(data)
                    waiting_lines += lines
                    if waiting >= CHUNK_BYTES or waiting_lines >= CHUNK_LINES:
                        yield flush()
            elif isinstance(event, Done):
                sums.raw_bytes += event.raw_bytes
                if event.error is not None:
                    sums.failed[event.file_no] = str(event.error)
                yield Read(files=1, compressed_bytes=objects[event.file_no].size)
        if parts:
            yield flush()


def register_files(relations: Relations, files: Sequence[tuple[str, str, int]]) -> Relation:
    """The files of a batch: (file_no, key, etag, size, source_file). `source_file` is the key again."""
    columns = [range(len(files)), *([file[n] for file in files] for n in range(3))]
    with relations.arrow("listing", pa.table([list(column) for column in columns], schema=_FILES)) as listing:
        # Each row names its object: as an enum, which is a number until it reaches the file, not a long text in sorts.
        key = relations.enum("object_key", f"SELECT DISTINCT key FROM {listing}")
        return relations.table("files", f"SELECT *, key::{key} AS source_file FROM {listing}")


def counts(relations: Relations, records: Relation) -> Relation:
    """A view of the number of records of each file: (file_no, n)."""
    return relations.view("counts", f"SELECT __file_no AS file_no, count(*) AS n FROM {records} GROUP BY 1")


def drop_files(con: duckdb.DuckDBPyConnection, decoded: Decoded[Relation], file_nos: Collection[int]) -> None:
    """Takes files, and all that came of them, out of a batch's relations."""
    if file_nos:
        numbers = ", ".join(map(str, file_nos))
        con.execute(f"DELETE FROM {decoded.records} WHERE __file_no IN ({numbers})")
        for relation in (decoded.files, decoded.rejected):
            con.execute(f"DELETE FROM {relation} WHERE file_no IN ({numbers})")


def count_unknown(con: duckdb.DuckDBPyConnection, records: Relation, dataset: Dataset) -> int:
    """Decoded records with a field that no version of the registry declares and no promotion takes."""
    return number(con, f"SELECT count(*) FROM {records} WHERE {has_unknown(dataset)}")


def has_unknown(dataset: Dataset) -> str:
    """SQL for whether a record has a field that no version of the registry declares and no promotion takes."""
    known = {field.json for version in dataset.versions.values() for field in version.fields}
    known |= {each.key for each in dataset.promoted if each.source == EXTRA}
    texts = ", ".join(map(literal, sorted(known)))
    unknown = f"list_filter(map_keys(extra), lambda {_KEY}: {_KEY} NOT IN ({texts}))"
    return f"cardinality(extra) > 0 AND len({unknown}) > 0"

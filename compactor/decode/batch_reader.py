"""Reads a batch of objects into a session: bytes to rows, and the sums of each file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import BinaryIO

import duckdb
import pyarrow as pa

from compactor.config import Config
from compactor.decode.bulk import Decoder
from compactor.decode.gunzip import Block, Done, read_blocks
from compactor.decode.lines import chunk_of
from compactor.decode.rejects import UNKNOWN_VERSION
from compactor.duck.sql import literal
from compactor.errors import DamagedObject
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject

_CHUNK_BYTES = 16 << 20


@dataclass
class Loaded:
    """A batch in a session. Objects are named by `file_no`, their place in `objects`.

    Attributes:
        lines: per file, lines that are not blank.
        raw_bytes: of all files, uncompressed.
        failed: files that could not be read whole, with the reason; nothing of them is in the session.
    """

    objects: Sequence[SourceObject]
    lines: dict[int, int] = field(default_factory=dict)
    raw_bytes: int = 0
    failed: dict[int, str] = field(default_factory=dict)


def read_batch(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    dataset: Dataset,
    objects: Sequence[SourceObject],
    config: Config,
    progress: Progress,
) -> Loaded:
    """Reads objects into `files`, `staged` and `rejected`. Memory holds a few chunks, whatever their size.

    An object that cannot be read whole ends in `failed`; any other error is raised.
    """
    loaded = Loaded(objects)
    register_files(con, [(o.key, o.etag, o.size) for o in objects])
    for read in read_chunks(Decoder(con, dataset), source, objects, config, loaded):
        progress.advance(
            lines=read.lines, raw_bytes=read.raw_bytes, files=read.files, compressed_bytes=read.compressed_bytes
        )
    drop_files(con, loaded.failed)
    return loaded


@dataclass
class Read:
    """How far reading has come since the last word of it."""

    lines: int = 0
    raw_bytes: int = 0
    files: int = 0
    compressed_bytes: int = 0


def read_chunks(
    decoder: Decoder, source: Source, objects: Sequence[SourceObject], config: Config, loaded: Loaded
) -> Iterator[Read]:
    """Reads objects chunk by chunk through a decoder, and keeps `loaded` up to date.

    What the decoder has made of a file stays in its tables even if the file then ends in `failed`.
    """
    parts: list[tuple[int, int, bytes]] = []
    waiting = 0

    def flush() -> Read:
        nonlocal waiting
        counts = decoder.decode(chunk_of(parts, int(config.limits.line_bytes)))
        for file_no, lines in counts.items():
            loaded.lines[file_no] = loaded.lines.get(file_no, 0) + lines
        read = Read(lines=sum(counts.values()), raw_bytes=waiting)
        parts.clear()
        waiting = 0
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
        readers=config.source.readers,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Block):
                parts.append((event.file_no, event.first_line, event.data))
                waiting += len(event.data)
                if waiting >= _CHUNK_BYTES:
                    yield flush()
            elif isinstance(event, Done):
                loaded.raw_bytes += event.raw_bytes
                if event.error is not None:
                    loaded.failed[event.file_no] = str(event.error)
                yield Read(files=1, compressed_bytes=objects[event.file_no].size)
        if parts:
            yield flush()


def register_files(con: duckdb.DuckDBPyConnection, files: Sequence[tuple[str, str, int]]) -> None:
    """Makes the table `files` (file_no, key, etag, size, source_file) of a batch; `source_file` is the key again."""
    columns = [range(len(files)), *([file[n] for file in files] for n in range(3))]
    schema = pa.schema([("file_no", pa.int32()), ("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])
    con.register("listing", pa.table([list(column) for column in columns], schema=schema))
    con.execute("CREATE TABLE files AS SELECT * FROM listing")
    # Each row names its object: as an enum that is a number until it reaches the file, not a long text in each sort.
    con.execute("CREATE TYPE object_key AS ENUM (SELECT DISTINCT key FROM files)")
    con.execute("ALTER TABLE files ADD COLUMN source_file object_key")
    con.execute("UPDATE files SET source_file = key")
    con.unregister("listing")


def unknown_versions(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The versions of rejected lines that the tables do not have, each with why."""
    found = con.execute(
        f"SELECT DISTINCT version, detail FROM rejected WHERE reason = {literal(UNKNOWN_VERSION)}"
    ).fetchall()
    return {str(version): detail for version, detail in found}


def drop_files(
    con: duckdb.DuckDBPyConnection,
    file_nos: Sequence[int] | dict[int, str],
    tables: Sequence[str] = ("files", "staged", "rejected"),
) -> None:
    """Takes files, and all that came of them, out of the session's tables."""
    if file_nos:
        numbers = ", ".join(map(str, file_nos))
        for table in tables:
            con.execute(f"DELETE FROM {table} WHERE file_no IN ({numbers})")


def count_unknown(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> int:
    """Staged rows with a field that no version of the registry declares and no promotion takes."""
    return int(con.execute(f"SELECT count(*) FROM staged WHERE {has_unknown(dataset)}").fetchall()[0][0])


def has_unknown(dataset: Dataset) -> str:
    """SQL for whether a staged row has a field that no version of the registry declares and no promotion takes."""
    known = {field.json for version in dataset.versions.values() for field in version.fields}
    known |= {each.key for each in dataset.promoted if each.source == "extra"}
    unknown = f"list_filter(map_keys(extra), lambda key: key NOT IN ({', '.join(map(literal, sorted(known)))}))"
    return f"cardinality(extra) > 0 AND len({unknown}) > 0"

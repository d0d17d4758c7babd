"""Reads a batch of objects: bytes to decoded chunks, and the sums of each file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import BinaryIO

from compactor.config import Config
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.decode.gunzip import Done, read_blocks
from compactor.decode.lines import Block
from compactor.errors import DamagedObject
from compactor.source import Source, SourceObject

CHUNK_BYTES = 1 << 20  # small objects share what a chunk costs
CHUNK_LINES = 1 << 18  # a chunk of good lines has some 5,000; one of empty lines would take gigabytes


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

    def add(self, chunk: DecodedChunk) -> None:
        for file_no, lines in chunk.lines.items():
            self.lines[file_no] = self.lines.get(file_no, 0) + lines


@dataclass(frozen=True)
class FileRead:
    """An object was read to its end, or could not be."""

    compressed_bytes: int


def read_chunks(
    decoder: Decoder, source: Source, objects: Sequence[SourceObject], config: Config, sums: Sums
) -> Iterator[DecodedChunk | FileRead]:
    """Reads objects chunk by chunk through a decoder, in several threads, and keeps `sums` up to date.

    Memory holds a few chunks, whatever the objects' size. An object that cannot be read whole ends in `sums.failed`,
    and what was decoded of it before must not be used; any other error is raised.
    """
    threads = config.resources.threads or os.cpu_count() or 1
    with (
        closing(_chunks(source, objects, config, sums)) as found,
        ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool,
    ):
        decoding: deque[Future[DecodedChunk]] = deque()
        for each in found:
            if isinstance(each, FileRead):
                yield each
                continue
            decoding.append(pool.submit(decoder.decode, each))
            while len(decoding) > threads or (decoding and decoding[0].done()):
                yield _ended(decoding, sums)
        while decoding:
            yield _ended(decoding, sums)


def _ended(decoding: deque[Future[DecodedChunk]], sums: Sums) -> DecodedChunk:
    chunk = decoding.popleft().result()
    sums.add(chunk)
    return chunk


def _chunks(
    source: Source, objects: Sequence[SourceObject], config: Config, sums: Sums
) -> Generator[list[Block] | FileRead, None, None]:
    """The blocks of objects, as many together as make a chunk."""
    blocks: list[Block] = []
    waiting = waiting_lines = 0

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
                for block in event.pieces(CHUNK_LINES):
                    if len(block.data) >= CHUNK_BYTES:
                        yield [block]  # by itself it is not copied
                        continue
                    blocks.append(block)
                    waiting += len(block.data)
                    waiting_lines += block.lines
                    if waiting >= CHUNK_BYTES or waiting_lines >= CHUNK_LINES:
                        yield blocks
                        blocks, waiting, waiting_lines = [], 0, 0
            elif isinstance(event, Done):
                sums.raw_bytes += event.raw_bytes
                if event.error is not None:
                    sums.failed[event.file_no] = str(event.error)
                yield FileRead(objects[event.file_no].size)
        if blocks:
            yield blocks

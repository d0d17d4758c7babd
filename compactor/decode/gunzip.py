"""Compressed objects to blocks of whole lines, several objects at a time, in bounded memory.

Reader threads fetch and unpack (both release the interpreter lock) and hand blocks over a short queue. Blocks of
different objects interleave; those of one object come in order, and its last event says whether it was whole.
"""

from __future__ import annotations

import gzip
import io
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from isal import igzip, igzip_lib

from compactor.decode import content
from compactor.decode.lines import Block
from compactor.errors import DamagedObject, ObjectError
from compactor.source.base import MOST_READERS

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub takes the class for a value

BLOCK_BYTES = 2 << 20  # a chunk, as it is: see `batch_reader`
QUEUED_BLOCKS = 8
FEWEST_READERS = 8
FAR_SECONDS = 0.01  # to open an object: more than a disk takes
SMALL_BYTES = 1 << 20  # unpacked: a larger object is read for longer than it is waited for


@dataclass(frozen=True)
class Done:
    """The end of an object. `error` says why it was not read whole; then none of its blocks may be used."""

    file_no: int
    raw_bytes: int = 0
    error: ObjectError | None = None


Event = Block | Done
OpenObject = Callable[[int], AbstractContextManager[BinaryIO]]
Unpack = Callable[[BinaryIO, str], Iterator[tuple[int, int, memoryview]]]


def read_blocks(
    keys: Sequence[str],
    open_object: OpenObject,
    *,
    line_limit: int,
    file_limit: int,
    readers: int | None,
    most_lines: int = sys.maxsize,
) -> Generator[Event, None, None]:
    """Reads the objects `0..len(keys)-1` and yields their blocks, then one `Done` each. `whole_lines` has the limits.

    Args:
        readers: objects that are read at a time. None: `FEWEST_READERS`, and up to `MOST_READERS` as long as objects
            are small, come from afar, and are waited for.

    An error of one object (any `ObjectError`) is in its `Done`; any other exception is raised here. Closing the
    generator stops the readers.
    """
    unpack = partial(whole_lines, line_limit=line_limit, file_limit=file_limit, most_lines=most_lines)
    pool = _Readers(keys, open_object, unpack, most=MOST_READERS if readers is None else readers)
    try:
        for _ in range(max(1, min(readers or FEWEST_READERS, len(keys)))):
            pool.add()
        ended = 0
        while ended < len(pool.threads):
            event = pool.events.get()
            if event is None:
                ended += 1
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event
    finally:
        pool.stop.set()
        for thread in pool.threads:
            thread.join()


class _Readers:
    """What the reader threads share. In `events`, None means that a thread has ended."""

    def __init__(self, keys: Sequence[str], open_object: OpenObject, unpack: Unpack, *, most: int) -> None:
        self.events: queue.Queue[Event | BaseException | None] = queue.Queue(QUEUED_BLOCKS)
        self.stop = threading.Event()
        self._keys, self._open, self._unpack = keys, open_object, unpack
        self._todo, self._lock = iter(range(len(keys))), threading.Lock()
        self._most = most
        self.threads: list[threading.Thread] = []

    def add(self) -> None:
        """Starts one more reader, unless there are as many as there may be."""
        with self._lock:
            if len(self.threads) < self._most and not self.stop.is_set():
                thread = threading.Thread(target=self.work, daemon=True)
                self.threads.append(thread)
                thread.start()

    def work(self) -> None:
        """Reads objects until none is left or the consumer has stopped."""
        try:
            while (file_no := self._next()) is not None:
                self._read(file_no)
        except BaseException as error:  # noqa: BLE001  raised again by the consumer: it must not get lost in a thread
            self._put(error)
        finally:
            self._put(None)

    def _next(self) -> int | None:
        with self._lock:
            return None if self.stop.is_set() else next(self._todo, None)

    def _read(self, file_no: int) -> None:
        raw_bytes = 0
        began = time.monotonic()
        try:
            with self._open(file_no) as stream:
                is_far = time.monotonic() - began > FAR_SECONDS
                for first_line, lines, data in self._unpack(stream, self._keys[file_no]):
                    self._put(Block(file_no, first_line, lines, data))
                    raw_bytes += len(data)
                    if self.stop.is_set():
                        return
        except ObjectError as error:
            self._put(Done(file_no, error=error))
        else:
            self._put(Done(file_no, raw_bytes))
            if is_far and raw_bytes < SMALL_BYTES and self.events.qsize() <= 1:  # the consumer has nothing else to do
                self.add()

    def _put(self, event: Event | BaseException | None) -> None:
        while not self.stop.is_set():
            try:
                self.events.put(event, timeout=0.2)
            except queue.Full:
                continue
            return


def whole_lines(
    stream: BinaryIO, key: str, *, line_limit: int, file_limit: int, most_lines: int = sys.maxsize
) -> Iterator[tuple[int, int, memoryview]]:
    """Unpacks a gzip stream (any number of members) into (number of the first line, lines, whole lines).

    A line that is in two blocks comes alone, so that no block is copied. Of a line over `line_limit` bytes only the
    first `line_limit` + 1 are kept, so that it is still seen as too long.

    Raises:
        DamagedObject: not gzip, truncated, a wrong checksum, more than `file_limit` bytes unpacked, or more than
            `most_lines` lines, blank ones included.
    """
    line, total = 1, 0
    rest = b""  # the beginning of a line whose end has not come yet
    for block in _unpacked(stream, key):
        total += len(block)
        if total > file_limit:
            raise DamagedObject(
                key, f"{key}: unpacks to more than {file_limit} bytes; raise limits.file_bytes if it is genuine"
            )
        lines, end = block.count(b"\n"), block.rfind(b"\n") + 1
        if line - 1 + lines + (end < len(block)) > most_lines:
            raise DamagedObject(key, f"{key}: has more than {most_lines} lines; raise limits.lines if it is genuine")
        start = 0
        if rest:
            start = block.find(b"\n") + 1
            rest += block[: start - 1 if start else len(block)][: line_limit + 1 - len(rest)]
            if start:
                yield line, 1, memoryview(rest + b"\n")
                line, lines, rest = line + 1, lines - 1, b""
        if lines:
            yield line, lines, memoryview(block)[start:end]
            line += lines
        if not rest:
            rest = block[end:][: line_limit + 1]
    if rest:
        yield line, 1, memoryview(rest + b"\n")


def _unpacked(stream: BinaryIO, key: str) -> Iterator[bytes]:
    beginning = stream.peek(content.BYTES) if isinstance(stream, io.BufferedReader) else b""
    try:
        with igzip.IGzipFile(fileobj=stream, mode="rb") as unpacker:  # type: ignore[no-untyped-call]
            block = unpacker.read(BLOCK_BYTES)
            while 0 < len(block) < content.BYTES and (more := unpacker.read(BLOCK_BYTES)):
                block += more
            _refuse_container(block, key)
            while block:
                yield block
                block = unpacker.read(BLOCK_BYTES)
    except (EOFError, gzip.BadGzipFile, _IsalError) as error:
        reason = "is truncated" if isinstance(error, EOFError) else "is not a sound gzip file"
        if what := content.likeness_of_file(beginning):
            reason = f"{reason}: it looks like {what}"
        raise DamagedObject(key, f"{key}: {reason}; it stays pending until it is delivered again") from error


def _refuse_container(beginning: bytes, key: str) -> None:
    what = content.container(beginning)
    if what == content.GZIP:
        raise DamagedObject(
            key, f"{key}: was compressed twice; it stays pending until it is delivered again, compressed once"
        )
    if what:
        raise DamagedObject(
            key, f"{key}: holds {what} instead of lines of JSON; it stays pending until it is delivered again"
        )

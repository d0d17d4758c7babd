"""Reads several streams at a time and gives their batches in the order of the streams.

To open a file on S3 takes three or four requests. One file after another, that is most of the time of a scan. Here
threads read the next files, as long as these are small: a large one is read for longer than it is waited for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

WIDTH = 16
"""Files that are read at a time."""
AHEAD_BYTES = 16 << 20
"""Of the files that are read at a time, as they are stored. A larger file is read alone."""
_AHEAD_BATCHES = 2  # of one file

Open = Callable[[], Iterator[pa.RecordBatch]]


def in_order(streams: Sequence[tuple[int, Open]]) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    """Gives the number of the stream with each batch. Raises what a stream raises, at its place.

    Closing it ends the threads.

    Args:
        streams: the bytes of a file, and what opens it.
    """
    if len(streams) == 1:
        yield from ((0, batch) for batch in streams[0][1]())
        return
    reading: deque[_Stream] = deque()
    waiting = deque(enumerate(streams))
    size = 0
    with ThreadPoolExecutor(WIDTH, "scan") as pool:
        try:
            while waiting or reading:
                while waiting and len(reading) < WIDTH and (not reading or size + waiting[0][1][0] <= AHEAD_BYTES):
                    number, (bytes_, opened) = waiting.popleft()
                    reading.append(_Stream(number, bytes_, opened))
                    pool.submit(reading[-1].read)
                    size += bytes_
                for batch in reading[0].batches():
                    yield reading[0].number, batch
                size -= reading.popleft().bytes
        finally:
            for stream in reading:
                stream.stop()


class _Stream:
    """One file on its way: a thread reads it, another takes its batches."""

    def __init__(self, number: int, bytes_: int, opened: Open) -> None:
        self.number = number
        self.bytes = bytes_
        self._open = opened
        self._changed = threading.Condition()
        self._batches: deque[pa.RecordBatch] = deque()
        self._failure: BaseException | None = None
        self._ended = self._stopped = False

    def read(self) -> None:
        """Reads the file, `_AHEAD_BATCHES` ahead at most."""
        failure: BaseException | None = None
        try:
            for batch in self._open():
                with self._changed:
                    self._batches.append(batch)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._stopped or len(self._batches) < _AHEAD_BATCHES)
                    if self._stopped:
                        break
        except BaseException as error:  # noqa: BLE001  raised again in the thread that takes the batches
            failure = error
        with self._changed:
            self._failure, self._ended = failure, True
            self._changed.notify_all()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as they come. Raises what reading has raised."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._batches or self._ended)
                if not self._batches:
                    break
                batch = self._batches.popleft()
                self._changed.notify_all()
            yield batch
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._batches.clear()
            self._changed.notify_all()

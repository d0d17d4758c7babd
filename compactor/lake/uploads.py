"""Files on their way to the storage: opened late, closed by a pool of threads, deleted many at a time.

A small file costs a request, or a sync of the disk, and little else. One after another, a thousand of them take a
minute; side by side they take seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from pyiceberg.io import FileIO

WIDTH = 16
"""Files that are closed or deleted at the same time."""
WAITING_BYTES = 64 << 20
"""Of the files that are being closed. A larger file waits until it is alone."""
_HELD_BYTES = 4 << 20


class LateFile:
    """A stream to write to that holds its first bytes, and opens the storage's own when there are more, or at the end.

    So a small file is opened, written and closed in one go, by whichever thread closes it.
    """

    def __init__(self, open_file: Callable[[], Any]) -> None:
        self._open = open_file
        self._stream: Any = None
        self._held: list[bytes] = []
        self._bytes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.write(data)
            return
        self._held.append(bytes(data))
        self._bytes += len(data)
        if self._bytes > _HELD_BYTES:
            self._pass_on()

    def flush(self) -> None:
        """Does nothing: what is held is written at the end."""

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self._stream is None:
                self._pass_on()
            self._stream.close()

    def abandon(self) -> None:
        """Closes what was opened; a file that was not is never made."""
        self.closed = True
        self._held = []
        if self._stream is not None:
            with suppress(OSError):  # the file is about to be deleted
                self._stream.close()

    def _pass_on(self) -> None:
        self._stream = self._open()
        self._stream.write(b"".join(self._held))
        self._held = []


class Uploads:
    """Runs what ends files, each in a thread of its own, as long as `WAITING_BYTES` are not exceeded.

    Leaving it waits for all of them, and raises what the first one raised that failed.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WIDTH, "upload")
        self._changed = threading.Condition()
        self._bytes = 0
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None and self._failure:
            raise self._failure

    def submit(self, size: int, end: Callable[[], None]) -> None:
        """Runs `end` of a file of so many bytes, as soon as there is room. Raises what an earlier one has raised."""
        size = min(size, WAITING_BYTES)
        with self._changed:
            self._changed.wait_for(lambda: self._bytes + size <= WAITING_BYTES)
            if self._failure:
                raise self._failure
            self._bytes += size
        self._pool.submit(self._run, size, end)

    def _run(self, size: int, end: Callable[[], None]) -> None:
        failure: BaseException | None = None
        try:
            end()
        except BaseException as error:  # noqa: BLE001  raised again by `submit` and at the end
            failure = error
        with self._changed:
            self._bytes -= size
            self._failure = self._failure or failure
            self._changed.notify_all()


def delete_all(io: FileIO, paths: Iterable[str]) -> None:
    """Deletes files that nothing refers to. One that cannot be deleted stays: it costs storage, not correctness."""

    def delete(path: str) -> None:
        with suppress(OSError):
            io.delete(path)

    with ThreadPoolExecutor(WIDTH, "delete") as pool:
        for done in [pool.submit(delete, path) for path in paths]:
            done.result()

"""What an object unpacks to, and the memory that this takes."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from compactor.decode.gunzip import whole_lines

ROOMY = 1 << 30


def lines_of(packed: bytes, *, line_limit: int = ROOMY, file_limit: int = ROOMY) -> dict[int, bytes]:
    """Line number -> line, of an object's bytes."""
    found: dict[int, bytes] = {}
    for first_line, count, view in whole_lines(io.BytesIO(packed), "key", line_limit=line_limit, file_limit=file_limit):
        *lines, end = bytes(view).split(b"\n")
        assert (len(lines), end) == (count, b"")
        for number, line in enumerate(lines, start=first_line):
            assert number not in found
            found[number] = line
    assert list(found) == list(range(1, len(found) + 1))
    return found


@contextmanager
def within(most: int) -> Iterator[None]:
    """Fails if more bytes than these are in use at one time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


def numbered(content: bytes) -> dict[int, bytes]:
    """Line number -> line; what follows the last newline is a line if there is anything."""
    lines = content.split(b"\n")
    return dict(enumerate(lines if lines[-1] else lines[:-1], start=1))

"""stdin, stdout and stderr, so that no character, no closed file and no reader that has gone breaks a verb."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def prepare() -> None:
    """Makes the standard streams usable, whatever the program was started with.

    A descriptor that is closed leads to /dev/null from now on. Otherwise the first file that the program opens, such as
    the catalog, would get its number, and whatever a library or another process prints. A character that the encoding
    of an output lacks is written as an escape. stdin is UTF-8.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives the lowest free number
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for the whole process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same
    _set(sys.stdin, encoding="utf-8", errors="surrogateescape")  # what is no UTF-8 is refused by who reads it
    for stream in (sys.stdout, sys.stderr):
        _set(stream, errors="backslashreplace")


def as_utf8(stream: TextIO) -> TextIO:
    """The stream, which writes UTF-8 from now on: for data, of which no character may be changed."""
    _set(stream, encoding="utf-8")
    return stream


@contextmanager
def until_closed() -> Iterator[None]:
    """For printing a result to stdout. If its reader has closed it, as `head` does, the rest is dropped in silence.

    The verb has done its work, so it ends with the exit code of that.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what is still buffered is dropped with the rest
        os.close(nowhere)


def _set(stream: TextIO, *, encoding: str | None = None, errors: str | None = None) -> None:
    if isinstance(stream, io.TextIOWrapper):  # not what a test or a notebook puts in its place
        stream.reconfigure(encoding=encoding, errors=errors)

"""Runs the command line and kills it (SIGKILL) at its N-th write: `python fault_run.py N ARGS…`.

A file that is made has four points: before it exists, empty, with half of its bytes, and whole. A deletion, and the
making of a namespace, of a table or of a commit, have two: before and after. With N = 0 nothing is killed, and the
number of points is printed on stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Self

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

_passed = 0
_fatal = int(sys.argv[1])


def _point(last_act: Callable[[], None] = lambda: None) -> None:
    global _passed  # noqa: PLW0603  a counter of the process
    _passed += 1
    if _passed == _fatal:
        last_act()
        os.kill(os.getpid(), signal.SIGKILL)


class _Stream:
    """A file being written."""

    def __init__(self, stream: Any, path: str) -> None:
        self._stream = stream
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._stream.closed:
            return
        _point(self._tear)
        self._stream.close()
        _point()

    def _tear(self) -> None:
        self._stream.flush()
        os.truncate(self._path, self._stream.tell() // 2)


def _create(self: PyArrowFile, overwrite: bool = False) -> Any:
    _point()
    stream = _original_create(self, overwrite)
    _point()
    return _Stream(stream, self._path)


def _counted(kind: type, name: str) -> None:
    original: Callable[..., Any] = getattr(kind, name)

    def counted(*args: Any, **options: Any) -> Any:
        _point()
        result = original(*args, **options)
        _point()
        return result

    setattr(kind, name, counted)


def _exit(code: int) -> None:
    if _fatal == 0:
        sys.stderr.write(f"{_passed} points\n")
        sys.stderr.flush()
    _original_exit(code)


_original_create: Callable[..., Any] = PyArrowFile.create
PyArrowFile.create = _create  # type: ignore[method-assign]
_original_exit: Callable[[int], None] = os._exit
os._exit = _exit  # type: ignore[assignment]
_counted(PyArrowFileIO, "delete")
_counted(SqlCatalog, "create_namespace")
_counted(SqlCatalog, "create_table")
_counted(SqlCatalog, "commit_table")

from compactor.cli.main import run  # noqa: E402
from compactor.publish import lease  # noqa: E402  after the faults are in place

lease.BEAT = 3600.0  # how often it is renewed depends on how long the run takes, and with it the number of points

sys.argv = ["compactor", *sys.argv[2:]]
run()

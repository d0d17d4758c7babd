"""Runs the command line and kills it (SIGKILL) at its N-th write: `python fault_run.py N ARGS…`.

A write is the making of a file, a deletion, or a catalog commit; a commit counts twice, before and after it lands.
With N = 0 nothing is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

_written = 0
_fatal = int(sys.argv[1])


def _point() -> None:
    global _written  # noqa: PLW0603  a counter of the process
    _written += 1
    if _written == _fatal:
        os.kill(os.getpid(), signal.SIGKILL)


def _counted(kind: type, name: str, *, after: bool = False) -> None:
    original: Callable[..., Any] = getattr(kind, name)

    def counted(*args: Any, **options: Any) -> Any:
        _point()
        result = original(*args, **options)
        if after:
            _point()
        return result

    setattr(kind, name, counted)


_counted(PyArrowFile, "create", after=True)
_counted(PyArrowFileIO, "delete")
_counted(SqlCatalog, "commit_table", after=True)
_counted(SqlCatalog, "create_table")

from compactor.cli import run  # noqa: E402  after the faults are in place

sys.argv = ["compactor", *sys.argv[2:]]
run()

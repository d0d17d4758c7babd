"""Runs that end at one of their writes, in this process."""

from __future__ import annotations

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

WRITES = ((PyArrowFile, "create"), (PyArrowFileIO, "delete"), (SqlCatalog, "commit_table"))


class CrashError(BaseException):
    """The end of a run at one of its writes; not an Exception, so that nothing handles it."""

"""Files on a local disk that outlast a power failure: synced, with their folders, when they are closed.

A catalog on a local disk is a database that syncs its own commits. What such a commit names must be on the disk before,
or a power failure leaves a table whose files are empty or gone. So each file that the program writes, be it data,
metadata or a commit intent, passes here: its bytes are synced when it is closed, then the folder that names it, and the
folders above it that were made for it. A commit comes after the files that it names were closed.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pyarrow.fs import FileSystem
from pyiceberg.io import S3_RETRY_STRATEGY_IMPL
from pyiceberg.io.pyarrow import PyArrowFileIO, PyArrowLocalFileSystem

IMPLEMENTATION = f"{__name__}.SyncedFileIO"
"""The value of PyIceberg's catalog property `py-io-impl`."""

# Where a folder cannot be synced: on some network shares, or without the right to list it. Files are, in any case.
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)


class SyncedFileIO(PyArrowFileIO):
    """PyIceberg's own, with synced files on a local disk, and one request for a small file on S3 instead of three."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        made = super()._initialize_s3_fs(netloc)
        if self.properties.get(S3_RETRY_STRATEGY_IMPL):  # is not among the settings of the file system
            return made
        rebuild, (settings,) = made.__reduce__()
        # Writes in the background wait for the eight threads that Arrow has for all of a process.
        return rebuild({**settings, "allow_delayed_open": True, "background_writes": False})

    def _initialize_local_fs(self) -> FileSystem:
        return _SyncedFolders()

    def sync(self, location: str) -> None:
        """Syncs a file that another program has written, and the folders of its table, on a local disk."""
        scheme, _, path = self.parse_location(location, self.properties)
        if scheme == "file":
            _sync(Path(path), os.O_RDONLY)
            for folder in Path(path).parents[:3]:
                _sync_folder(folder)


class _SyncedFolders(PyArrowLocalFileSystem):
    def open_output_stream(self, path: str, *_: Any, **__: Any) -> pa.NativeFile:
        make_folder(Path(path).parent)
        return _SyncedFile(path)


class _SyncedFile(pa.OSFile):  # type: ignore[misc]  # pyarrow has no types
    """A file being written."""

    def __new__(cls, path: str) -> Self:
        opened: Self = super().__new__(cls, path, mode="w")
        return opened

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        _sync(self._path, os.O_RDONLY)
        _sync_folder(self._path.parent)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, and syncs what names the new ones."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A source in a local folder, such as a synced copy of the bucket.

The ETag of a file is its size, its modification time and, after "~", a mark of its content: a hash of its first and its
last bytes, where a gzip file has the checksum of all that it unpacks to. A tool that keeps times can replace a file
by another of the same size. The time of the last change of the inode (ctime) would show that too, but it also changes
with a copy, a restored backup or a chmod of the whole folder, after which all of it would be read again. To open each
listed file costs 10 to 20 microseconds on a local disk. A file that cannot be opened has no mark; to read it fails with
the reason.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import stat
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from compactor.errors import ObjectError, SourceError, UsageError
from compactor.request_counts import RequestCounter
from compactor.source.base import (
    ETAG_MARK,
    EXPORTS,
    MOST_FOLDERS,
    Hour,
    IgnoredKeys,
    SourceObject,
    deleted_object,
    is_same_etag,
    key_window,
    replaced_object,
    source_object,
)

if TYPE_CHECKING:
    import builtins

    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

# The folders `date=` and `hour=` below a dataset may be links. Links further down are not followed: they are no part of
# the layout, and could form a cycle. No link may lead out of `exports/`: who may write there could have any file read.
_LINKED_DEPTH = 2
BUFFER_BYTES = 256 * 1024
_MARK_BYTES = 4096


class LocalSource:
    """A folder that contains `exports/`. See `Source` for the methods."""

    def __init__(self, url: str) -> None:
        """Takes a path or a `file://` URL. Raises UsageError for a `file://` URL of another machine."""
        self._root = _path_of(url)
        self.url = str(self._root)
        self.requests = RequestCounter()
        self._warned = False

    def datasets(self) -> builtins.list[str]:
        found = (key for key, _ in self._entries(EXPORTS, links=True))
        return sorted(key.removeprefix(EXPORTS)[:-1] for key in found if key.endswith("/"))

    def has_exports(self) -> bool:
        return (self._root / EXPORTS).is_dir()

    def folders(self) -> builtins.list[str]:
        found = (key.removesuffix("/") for key, _ in self._entries("", links=True) if key.endswith("/"))
        return list(islice(found, MOST_FOLDERS))

    def list(
        self,
        dataset: str,
        start: Hour | None = None,
        stop: Hour | None = None,
        ignored: IgnoredKeys | None = None,
    ) -> Iterator[SourceObject]:
        after, before = key_window(dataset, start, stop)
        if not self._is_inside(self._root / EXPORTS / dataset):
            if ignored is not None:
                ignored.add(f"{EXPORTS}{dataset}")
            return
        for key, entry in self._walk(f"{EXPORTS}{dataset}/", after, before):
            obj = self._listed(key, entry)
            if obj is not None:
                yield obj
            elif ignored is not None:
                ignored.add(key)

    def open(self, obj: SourceObject) -> BinaryIO:
        path = self._root / obj.key
        self.requests.add("get")
        try:
            if not self._is_inside(path):
                raise _leads_out(obj.key, path)
            file = ObjectFile(obj.key, path)
        except FileNotFoundError:
            raise deleted_object(str(path), obj.key) from None
        except OSError as error:
            raise _unreadable(obj.key, path, error) from error
        if not is_same_etag(_etag(os.fstat(file.fileno()), _mark(file.fileno())), obj.etag):
            file.close()
            raise replaced_object(str(path), obj.key)
        return io.BufferedReader(file, BUFFER_BYTES)

    def _walk(self, folder: str, after: str, before: str, depth: int = 0) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yields everything but folders, with a key strictly between `after` and `before`, ascending by key."""
        for key, entry in self._entries(folder, links=depth < _LINKED_DEPTH):
            if key >= before:
                return
            if key.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._walk(key, after, before, depth + 1)
            elif key > after:
                yield key, entry

    def _entries(self, folder: str, *, links: bool) -> builtins.list[tuple[str, os.DirEntry[str]]]:
        """The entries of a folder, ascending by key. Empty if the folder does not exist.

        The key of a folder ends with "/"; with `links`, so does that of a link to a folder. The "/" is part of the
        order, so that the content of a folder comes at its place in the order of keys: "a-b" < "a/b".
        """
        self.requests.add("list")
        try:
            with os.scandir(self._root / folder) as entries:
                keys = [(f"{folder}{e.name}/" if self._is_folder(e, links) else folder + e.name, e) for e in entries]
        except (FileNotFoundError, NotADirectoryError):
            if not self._root.is_dir():
                raise SourceError(
                    f"cannot list {self.url}: there is no such folder; create it, or correct source.url"
                ) from None
            return []
        except OSError as error:
            raise _unlisted(self._root / folder, error) from error
        return sorted(keys, key=itemgetter(0))

    def _is_folder(self, entry: os.DirEntry[str], links: bool) -> bool:  # noqa: FBT001
        try:
            if not entry.is_dir(follow_symlinks=links):
                return False
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False  # a link to itself
            raise
        return not entry.is_symlink() or self._is_inside(Path(entry.path))

    def _is_inside(self, path: Path) -> bool:
        """Whether a path is below `exports/`, all links followed. The first that is not is logged."""
        inside = os.path.realpath(path).startswith(os.path.realpath(self._root / EXPORTS) + os.sep)
        if not inside and not self._warned:
            self._warned = True
            log.warning("%s is a link that leads out of %s; such links are ignored", path, self._root / EXPORTS)
        return inside

    def _listed(self, key: str, entry: os.DirEntry[str]) -> SourceObject | None:
        """The object of a directory entry; None if it is not an export, or was removed meanwhile."""
        if Hour.of_key(key) is None or (entry.is_symlink() and not self._is_inside(Path(entry.path))):
            return None
        try:
            status = entry.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise _unlisted(self._root / key, error) from error
        if not stat.S_ISREG(status.st_mode):
            return None  # opening a pipe waits for a writer
        return source_object(key, _etag(status, _mark_of(self._root / key)), status.st_size)


class ObjectFile(io.FileIO):
    """A file whose reads raise ObjectError: a disk or a network mount can fail at any of them."""

    def __init__(self, key: str, path: Path) -> None:
        self._key = key
        self._path = path
        # A pipe that has taken the place of the file would be waited for.
        super().__init__(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise _unreadable(self._key, self._path, error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise _unreadable(self._key, self._path, error) from error


def _path_of(url: str) -> Path:
    if not url.startswith("file://"):
        return Path(url).expanduser()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"source.url '{url}' names a folder on another machine; write it as file:///path")
    return Path(url2pathname(parts.path))


def _etag(status: os.stat_result, mark: str) -> str:
    """Size and modification time (ns), in hex, and the mark of the content."""
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    return f"{etag}{ETAG_MARK}{mark}" if mark else etag


def _mark_of(path: Path) -> str:
    """The mark of a file's content; empty if it cannot be opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return _mark(file)
    finally:
        os.close(file)


def _mark(file: int) -> str:
    """A hash of the first and the last bytes of an open file; empty if it cannot be read.

    No CRC-32: the file has that of its content, with which it would cancel out.
    """
    try:
        first = os.pread(file, _MARK_BYTES, 0)
        last = os.pread(file, _MARK_BYTES, max(0, os.fstat(file).st_size - _MARK_BYTES))
    except OSError:
        return ""
    return hashlib.blake2b(first + last, digest_size=8).hexdigest()


def _leads_out(key: str, path: Path) -> ObjectError:
    return ObjectError(key, f"cannot read {path}: it has become a link that leads out of exports/; put the file there")


def _unlisted(path: Path, error: OSError) -> SourceError:
    return SourceError(f"cannot list {path}: {_reason(error)}; make it readable, then run again")


def _unreadable(key: str, path: Path, error: OSError) -> ObjectError:
    step = "make it readable" if isinstance(error, PermissionError) else "check the disk or mount"
    return ObjectError(key, f"cannot read {path}: {_reason(error)}; {step}, then run again")


def _reason(error: OSError) -> str:
    """The system's message, without the path that `str(error)` adds."""
    return (error.strerror or type(error).__name__).lower()

"""The folder for what a DuckDB session spills.

The folder that holds spill folders can be one that everybody may write to, such as /tmp. So nothing in it is trusted:
names are opened without following links, and only what is a folder or a file of this user is used or removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = "compactor-spill-"
_LOCK = "in-use"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# For writing, because some network file systems lock such files alone. It neither creates a file nor empties one.
_LOCK_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def folder(temp_dir: Path | None) -> Iterator[Path]:
    """A new folder that its user alone can read. Folders of killed runs are removed: no process holds their lock.

    A process id does not identify them: containers that share a folder each have a process 1.

    Args:
        temp_dir: the folder in which to make it; None: a folder of this user in the system's temporary folder.
    """
    if temp_dir:
        temp_dir.mkdir(parents=True, exist_ok=True)
    parent = temp_dir or _of_this_user(Path(tempfile.gettempdir()))
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with (made / "new").open("x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / "new").rename(made / _LOCK)  # no process sees a lock file before it is locked
        _remove_left(parent)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _of_this_user(shared: Path) -> Path:
    """`<shared>/compactor-<user id>`, for this user alone. `shared` itself if that name is taken by something else."""
    own = shared / f"compactor-{os.geteuid()}"
    try:
        own.mkdir(mode=0o700)
    except FileExistsError:
        pass
    try:
        descriptor = os.open(own, _FOLDER)
    except OSError:  # a link, or no folder
        descriptor = None
    if descriptor is not None:
        try:
            if _is_mine(os.fstat(descriptor)):
                os.fchmod(descriptor, 0o700)
                return own
        finally:
            os.close(descriptor)
    log.warning("%s is not a folder of this user; spilling beside it: remove it, or set resources.temp_dir", own)
    return shared


def _remove_left(parent: Path) -> None:
    """Removes the folders of killed runs. `parent` itself may be a link: the config, or this module, names it."""
    try:
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # it can be written, and not be listed
    try:
        for name in os.listdir(descriptor):  # noqa: PTH208  # a path has no listing of a descriptor
            if name.startswith(_PREFIX) and _is_left(name, descriptor):
                log.info("removed %s, which a killed run had left", parent / name)
    finally:
        os.close(descriptor)


def _is_left(name: str, parent: int) -> bool:
    """Whether a folder was left by a killed run of this user. It is removed then, while its lock is held."""
    try:
        inside = os.open(name, _FOLDER, dir_fd=parent)
    except OSError:
        return False  # a link, another user's, or removed just now
    try:
        # Before it is opened: opening a device or a pipe can have effects, and nothing but files is locked here.
        if not _is_mine(os.fstat(inside)) or not _is_file(os.stat(_LOCK, dir_fd=inside, follow_symlinks=False)):
            return False
        lock = os.open(_LOCK, _LOCK_FILE, dir_fd=inside)
        try:
            if not _is_file(os.fstat(lock)):
                return False
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(name, dir_fd=parent)  # this follows no link
        finally:
            os.close(lock)
    except OSError:
        return False  # in use, or removed just now
    finally:
        os.close(inside)
    return True


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and _is_mine(status)


def _is_mine(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid()

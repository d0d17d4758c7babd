"""A hard limit on the memory of a process, where the system lets us set one: a control group of its own (Linux)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_PLACES = ((_GROUPS / "memory", "memory.limit_in_bytes"), (_GROUPS, "memory.max"))
"""Version 1 of control groups, which has a folder for each resource, and version 2. Their file with the limit."""


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A control group that may use `limit` bytes. None where there are none, or where we may not make one.

    A process enters it by writing its id to the group's `cgroup.procs`. One that uses more is killed. Cached pages of
    files count as well, but the kernel drops these first.
    """
    group = _made(limit)
    try:
        yield group
    finally:
        if group:
            group.rmdir()  # its processes have ended


def _made(limit: int) -> Path | None:
    for place, name in _PLACES:
        group = place / f"compactor-bench-{uuid.uuid4().hex[:12]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(limit))
        except OSError:  # the folder is no control group, or has no limit on memory
            group.rmdir()
            continue
        return group
    return None

"""A DuckDB session, which sorts and joins in bounded memory and spills to a folder of its own."""

from __future__ import annotations

import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from compactor.config import Resources

log = logging.getLogger(__name__)

_PREFIX = "compactor-spill-"
_LOCK = "in-use"


@contextmanager
def session(resources: Resources, *, share: float = 1.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens an empty in-memory database that takes a share of `resources.memory` at most and spills past that."""
    with _spill_folder(resources) as folder:
        config: dict[str, str | int] = {
            "memory_limit": f"{int(resources.memory * share)}B",
            "temp_directory": str(folder),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        if resources.threads:
            config["threads"] = resources.threads
        con = duckdb.connect(config=config)  # type: ignore[arg-type]
        try:
            con.execute("LOAD icu")
            con.execute("SET TimeZone = 'UTC'")
            con.execute("SET enable_progress_bar = false")
            con.execute("SET python_enable_replacements = false")  # a Python variable is no table, whatever its name
            yield con
        finally:
            con.close()


@contextmanager
def _spill_folder(resources: Resources) -> Iterator[Path]:
    """A new folder. Folders of killed runs are removed: those whose lock no process holds.

    A process id does not identify them: containers that share a folder each have a process 1.
    """
    if resources.temp_dir:
        resources.temp_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=resources.temp_dir))
    with (folder / "new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _LOCK)  # no process sees a lock file before it is locked
        for other in folder.parent.glob(f"{_PREFIX}*/{_LOCK}"):
            _remove_if_left(other)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(lock_file: Path) -> None:
    try:
        with lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_file.parent)
    except OSError:
        return  # in use, another user's, or removed just now
    log.info("removed %s, which a killed run had left", lock_file.parent)

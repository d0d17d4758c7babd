"""A session of the in-process SQL engine that sorts and joins: bounded memory, spilling to a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from compactor.config import Resources


@contextmanager
def session(resources: Resources, *, share: float = 1.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens an empty in-memory database that takes a share of `resources.memory` at most and spills past that.

    The spill folder carries the process id, so that what a killed run left can be told from a living one's.
    """
    if resources.temp_dir:
        resources.temp_dir.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=f"compactor-{os.getpid()}-", dir=resources.temp_dir)
    config: dict[str, str | int] = {
        "memory_limit": f"{int(resources.memory * share)}B",
        "temp_directory": folder,
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
        yield con
    finally:
        con.close()
        shutil.rmtree(folder, ignore_errors=True)

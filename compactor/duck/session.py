"""A DuckDB session, which sorts and joins in bounded memory and spills to a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from compactor.duck import spill

if TYPE_CHECKING:  # the process of a query starts without the config and its libraries
    from compactor.config import Resources


@contextmanager
def session(resources: Resources, *, share: float = 1.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens an empty in-memory database that takes a share of `resources.memory` at most and spills past that."""
    with spill.folder(resources.temp_dir) as folder:
        con = connect(int(resources.memory * share), resources.threads, folder)
        try:
            yield con
        finally:
            con.close()


def connect(memory: int, threads: int | None, folder: Path) -> duckdb.DuckDBPyConnection:
    """An empty in-memory database.

    Args:
        memory: bytes that it takes at most.
        threads: None: one per core.
        folder: where it spills.
    """
    config: dict[str, str | int] = {
        "memory_limit": f"{memory}B",
        "temp_directory": str(folder),
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allocator_flush_threshold": "1MB",  # freed memory goes back to the system: the next step is not DuckDB's
    }
    if threads:
        config["threads"] = threads
    con = duckdb.connect(config=config)  # type: ignore[arg-type]
    try:
        con.execute("LOAD icu")
        con.execute("SET GLOBAL TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")
        con.execute("SET python_enable_replacements = false")  # a Python variable is no table, whatever its name
    except BaseException:
        con.close()
        raise
    return con

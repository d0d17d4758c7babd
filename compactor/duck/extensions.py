"""DuckDB's extensions, from the Python packages that carry them: nothing is downloaded while the program runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import duckdb

from compactor import diagnose
from compactor.duck.sql import literal
from compactor.errors import CompactorError


def load_extensions(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Loads extensions, such as "iceberg".

    Raises CompactorError for one that is not installed, or is of another DuckDB version.
    """
    for name in names:
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = list(package.submodule_search_locations or []) if package else []
        files = [file for folder in folders for file in Path(folder).rglob("*.duckdb_extension")]
        if not files:
            raise CompactorError(
                f"the package duckdb-extension-{name} is not installed; install the requirements again"
            )
        try:
            con.execute(f"LOAD {literal(str(files[0]))}")
        except duckdb.Error as error:
            if reason := diagnose.reason(error):
                raise CompactorError(f"duckdb-extension-{name} cannot be loaded: {reason}") from error
            raise CompactorError(
                f"duckdb-extension-{name} does not fit duckdb {duckdb.__version__}; install the pinned versions"
            ) from error

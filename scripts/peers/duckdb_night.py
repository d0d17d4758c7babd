"""Reads a night by DuckDB's JSON reader."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pyarrow as pa

from peer_tables import Dataset, kind

_TYPES = {"long": "BIGINT", "string": "VARCHAR", "timestamp": "TIMESTAMPTZ", "map": "MAP(VARCHAR, VARCHAR)"}


def connect() -> duckdb.DuckDBPyConnection:
    """A connection with the extensions that Iceberg needs, from their packages."""
    con = duckdb.connect()
    for name in ("avro", "httpfs", "iceberg"):
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = package.submodule_search_locations if package else None
        assert folders, f"duckdb-extension-{name} is not installed"
        con.execute(f"LOAD '{next(Path(folders[0]).rglob('*.duckdb_extension'))}'")
    con.execute("SET TimeZone = 'UTC'")
    return con


def read_night(con: duckdb.DuckDBPyConnection, night: Path, dataset: Dataset) -> None:
    """Makes the temporary table `incoming`: each record of the night once, the one that was emitted first."""
    files = f"{night}/exports/{dataset.name}/**/*.ndjson.gz"
    types = ", ".join(f"'{name}': '{_TYPES[kind(column)]}'" for name, column in dataset.names.items())
    columns = ", ".join(f'"{name}" AS {column}' for name, column in dataset.names.items())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE incoming AS SELECT {columns}"
        f" FROM read_json('{files}', format = 'newline_delimited', columns = {{{types}}})"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY emitted_at) = 1"
    )


def newest_rows(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> pa.Table:
    """Of `incoming`, the newest record of each key that is no delete."""
    live = "WHERE operation IS DISTINCT FROM 'delete'" if "operation" in dataset.columns else ""
    keys = ", ".join(dataset.key)
    return con.execute(
        f"FROM (FROM incoming QUALIFY row_number() OVER"
        f" (PARTITION BY {keys} ORDER BY {dataset.order} DESC, id DESC) = 1) {live}"
    ).to_arrow_table()

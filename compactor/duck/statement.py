"""What a statement of `query` may do: one SELECT that reads the tables and shows nothing of the session's settings.

DuckDB itself closes files and URLs: see `reader`. This module closes what that leaves open: functions that show keys
and settings, that change the session, that run SQL hidden in a text, or that take addresses of memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from compactor.errors import UsageError

_TABLE_FUNCTIONS = frozenset(
    {
        *("generate_series", "range", "repeat", "repeat_row", "unnest"),
        *("json_each", "json_tree", "icu_calendar_names", "pg_timezone_names", "pragma_version"),
        *("duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_tables", "duckdb_types", "duckdb_views"),
        *("iceberg_metadata", "iceberg_scan", "iceberg_snapshots"),
    }
)
"""Functions after FROM that compute, or that describe the tables."""

_FILE_FUNCTIONS = frozenset(
    {
        *("read_blob", "read_csv", "read_csv_auto", "read_json", "read_json_auto", "read_json_objects"),
        *("read_json_objects_auto", "read_ndjson", "read_ndjson_auto", "read_ndjson_objects", "read_parquet"),
        *("read_text", "parquet_scan", "parquet_file_metadata", "parquet_kv_metadata", "parquet_metadata"),
        *("parquet_schema", "glob", "sniff_csv"),
    }
)
"""Functions after FROM that read files."""

_SETTINGS = frozenset({"current_setting", "getenv", "pg_settings", "write_log"})
"""Functions and views that show settings, and one that writes."""


def check(con: duckdb.DuckDBPyConnection, sql: str, *, allow_files: bool) -> None:
    """Raises UsageError if the statement is not one SELECT, or uses a function or view that `query` does not allow.

    Raises duckdb.ParserException if it is no SQL.
    """
    statements = con.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError("query takes one SELECT statement")
    row = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:  # such as PRAGMA, which DuckDB counts as a SELECT
        raise UsageError("query takes one SELECT statement")
    for kind, name in _names(tree):
        if name in _SETTINGS or (kind == "table function" and name not in _TABLE_FUNCTIONS | _FILE_FUNCTIONS):
            raise UsageError(f"query does not allow '{name}'; it reads the tables and views of the lake")
        if kind == "table function" and name in _FILE_FUNCTIONS and not allow_files:
            raise UsageError(f"query reads the tables alone, and '{name}' reads files; give --allow-files if it should")


def _names(node: Any) -> Iterator[tuple[str, str]]:
    """The names of functions and tables in a statement's syntax tree, in lower case, with their kind."""
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield "table function", str(node["function"].get("function_name", "")).lower()
        elif node.get("type") == "BASE_TABLE":
            yield "table", str(node.get("table_name", "")).lower()
        elif node.get("class") == "FUNCTION":
            yield "function", str(node.get("function_name", "")).lower()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _names(inner)

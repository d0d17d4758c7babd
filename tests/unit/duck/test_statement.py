"""What a statement of `query` may do, by its syntax tree."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from compactor.duck import statement
from compactor.errors import UsageError

SETTINGS = [
    "from duckdb_secrets()",
    "select * from system.main.duckdb_secrets(redact=false)",
    "from which_secret('s3://bucket', 's3')",
    "from query('from duckdb_secrets()')",
    "from query_table('pg_settings')",
    "from json_execute_serialized_sql(json_serialize_sql('from duckdb_secrets()'))",
    "from duckdb_settings()",
    "from pg_settings",
    "select * from pg_catalog.pg_settings",
    "select current_setting('s3_secret_access_key')",
    "select system.main.current_setting('s3_secret_access_key')",
    "select 1 order by current_setting('s3_secret_access_key')",
    "select getenv('AWS_SECRET_ACCESS_KEY')",
    "select write_log('x')",
    "from enable_logging()",
    "from enable_profiling()",
    "from arrow_scan(1::pointer, 2::pointer, 3::pointer)",
    "from pandas_scan(1::pointer)",
    "from duckdb_extensions()",
]
NO_SELECT = [
    "set threads = 1",
    "set lock_configuration = false",
    "reset enable_external_access",
    "pragma database_list",
    "pragma table_info('fan_track_events')",
    "install httpfs",
    "load httpfs",
    "attach '/tmp/x.db'",
    "copy fan_track_events to '/tmp/out.csv'",
    "export database '/tmp/out'",
    "create secret (type s3)",
    "create table a as select 1",
    "create macro a() as table from duckdb_secrets()",
    "drop view fan_track_events",
    "call duckdb_secrets()",
    "explain analyze select 1",
    "prepare a as select 1",
    "checkpoint",
    "select 1; from duckdb_secrets()",
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        yield con


@pytest.mark.parametrize("allow_files", [False, True])
@pytest.mark.parametrize("sql", SETTINGS)
def test_settings_keys_and_the_session_itself_are_refused(
    con: duckdb.DuckDBPyConnection, sql: str, allow_files: bool
) -> None:
    with pytest.raises(UsageError, match="query does not allow"):
        statement.check(con, sql, allow_files=allow_files)


@pytest.mark.parametrize("allow_files", [False, True])
@pytest.mark.parametrize("sql", NO_SELECT)
def test_what_is_no_select_is_refused(con: duckdb.DuckDBPyConnection, sql: str, allow_files: bool) -> None:
    with pytest.raises(UsageError, match="query takes one SELECT statement"):
        statement.check(con, sql, allow_files=allow_files)


@pytest.mark.parametrize("name", ["read_csv", "READ_TEXT", "main.read_parquet", "glob", "sniff_csv"])
def test_functions_that_read_files_have_to_be_allowed(con: duckdb.DuckDBPyConnection, name: str) -> None:
    sql = f"select 1 where exists (from {name}('x'))"
    with pytest.raises(UsageError, match="reads files; give --allow-files if it should"):
        statement.check(con, sql, allow_files=False)
    statement.check(con, sql, allow_files=True)


def test_all_other_functions_after_from_that_duckdb_has_are_refused(con: duckdb.DuckDBPyConnection) -> None:
    """Also those of a newer version: what is not listed is closed."""
    found = con.execute(
        "select distinct function_name from duckdb_functions() where function_type = 'table'"
    ).fetchall()
    refused = []
    for (name,) in found:
        try:
            statement.check(con, f"from {name}()", allow_files=True)
        except UsageError:
            refused.append(name)
    assert {"duckdb_secrets", "which_secret", "query", "duckdb_settings", "arrow_scan", "checkpoint"} < set(refused)
    assert {"range", "read_csv", "duckdb_tables"}.isdisjoint(refused)

"""`query`: SQL over the tables, in this process.

DuckDB's own Iceberg reader reads the tables, so deletes and schema changes apply. It reads the metadata file that the
catalog names, never a folder: a folder may hold the metadata of a commit that failed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlparse

import duckdb
import pyarrow as pa

from compactor.config import Config
from compactor.duck import session
from compactor.duck.extensions import load_extensions
from compactor.duck.sql import literal, quote
from compactor.errors import CompactorError, UnreadableError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import OWN_TABLES
from compactor.lake.table import Table
from compactor.registry.loader import Registry
from compactor.source import aws_credentials
from compactor.views import definition
from compactor.views.definition import Definition

log = logging.getLogger(__name__)

_BATCH_ROWS = 8192
_CHECK = "check that the storage can be read"


def query(config: Config, registry: Registry, sql: str) -> pa.RecordBatchReader:
    """Runs one SELECT statement over the current snapshots.

    The tables have their names of the catalog. The views of the config's folder of views can be used like tables.

    Returns:
        The rows in batches, with the columns of the statement. The DuckDB session ends with the last batch.

    Raises:
        UsageError: the SQL does not parse, names an unknown table or column, or is not one SELECT statement.
        CompactorError: the catalog or the storage cannot be read.
    """
    lake = Lakehouse(config)
    batches = _run(lake, registry, sql)
    schema = next(batches)
    assert isinstance(schema, pa.Schema)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _run(lake: Lakehouse, registry: Registry, sql: str) -> Iterator[pa.Schema | pa.RecordBatch]:
    """Yields the schema of the result, then its batches. The session lives as long as this iterator."""
    with session.session(lake.config.resources) as con:
        load_extensions(con, ["avro", "iceberg"])
        try:
            statements = con.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("query takes one SELECT statement")
            definitions = _definitions(lake, sql)
            _attach(con, lake, _tables(lake, registry, sql, definitions))
            _make_views(con, lake, registry, definitions)
            reader = con.execute(statements[0]).to_arrow_reader(_BATCH_ROWS)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise UsageError(f"the SQL is not valid: {str(error).strip()}") from error
        except duckdb.Error as error:
            raise CompactorError(f"the query failed ({type(error).__name__}); {_CHECK}") from error
        yield reader.schema
        try:
            yield from reader
        except duckdb.Error as error:
            raise CompactorError(f"the query failed while it ran ({type(error).__name__})") from error


def _definitions(lake: Lakehouse, sql: str) -> dict[str, Definition]:
    """The views that the statement names, and the views that these need. No file is read if it names none."""
    words = set(re.findall(r"\w+", sql.lower()))
    named = words.intersection(definition.names(lake.config.views))
    if not named:
        return {}
    definitions = definition.load(lake.config.views)
    return {name: definitions[name] for name in definition.closure(definitions, named)}


def _make_views(
    con: duckdb.DuckDBPyConnection, lake: Lakehouse, registry: Registry, definitions: Mapping[str, Definition]
) -> None:
    if not definitions:
        return
    needs = {table for each in definitions.values() for table in each.needs}
    views, left_out = definition.render(definitions, lake.columns(registry, needs), "duckdb", ())
    for missing in left_out:
        log.warning("%s", missing.reason)
    for view in views:
        con.execute(view.create)


def _tables(lake: Lakehouse, registry: Registry, sql: str, definitions: Mapping[str, Definition]) -> list[Table]:
    """The tables that the statement or its views name. All tables, if none is named.

    Each table costs about twelve requests to S3, so a table that is not needed is not opened.
    """
    names = [*OWN_TABLES]
    for dataset in registry.datasets.values():
        names += [dataset.history_table, *([dataset.current_table] if dataset.current_table else [])]
    of_views = {table for each in definitions.values() for table in each.needs}
    words = set(re.findall(r"\w+", sql.lower()))
    named = [name for name in names if name in of_views or name.lower() in words]
    found = [lake.table(name) for name in named if name in of_views]
    others = [name for name in named or names if name not in of_views]
    found += filter(None, (_found(lake, name, needed=bool(named)) for name in others))
    if not found and not any(lake.exists(name) for name in names):
        raise CompactorError("there are no tables yet; run `compactor compact` first")
    return found


def _found(lake: Lakehouse, name: str, *, needed: bool) -> Table | None:
    """A table, if it exists. One that cannot be read is skipped with a warning where the statement does not need it."""
    try:
        return lake.find(name)
    except UnreadableError as error:
        if needed:
            raise
        log.warning("skipped: %s", error)
        return None


def _attach(con: duckdb.DuckDBPyConnection, lake: Lakehouse, tables: Sequence[Table]) -> None:
    try:
        if any(urlparse(table.metadata_location).scheme in ("s3", "s3a") for table in tables):
            load_extensions(con, ["httpfs"])
            con.execute(_s3_secret(lake.storage_properties()))
        for table in tables:
            location = literal(table.metadata_location)
            con.execute(f"CREATE VIEW {quote(table.name)} AS SELECT * FROM iceberg_scan({location})")
    except duckdb.Error as error:
        # Without the error's text: it may quote the statement, which holds the credentials.
        raise CompactorError(f"the tables cannot be opened ({type(error).__name__}); {_CHECK}") from error


def _s3_secret(properties: Mapping[str, str]) -> str:
    """The statement that lets DuckDB read S3: with the key of the catalog's properties, else of the environment."""
    endpoint = urlparse(properties.get("s3.endpoint", ""))

    def of_storage(name: str) -> str | None:
        return properties.get(f"s3.{name}") or properties.get(f"client.{name}")

    key, secret, token = of_storage("access-key-id"), of_storage("secret-access-key"), of_storage("session-token")
    region = of_storage("region")
    if key is None and (own := aws_credentials()):
        key, secret, token, region = own.access_key, own.secret_key, own.token, region or own.region
    options = {
        "TYPE": "s3",
        "KEY_ID": key,
        "SECRET": secret,
        "SESSION_TOKEN": token,
        "REGION": region,
        "ENDPOINT": endpoint.netloc,
        "URL_STYLE": "path" if endpoint.netloc else None,
        "USE_SSL": "false" if endpoint.scheme == "http" else None,
    }
    listed = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    return f"CREATE SECRET ({listed})"

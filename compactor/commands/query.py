"""SQL over the tables, in process: what a new user sees first.

The engine's own Iceberg reader answers, pointed at the metadata that the catalog names (never at a folder, where a
commit that did not land could be picked up), so deletes and schema changes are followed. Its extensions come as
Python packages: nothing is downloaded when a query runs.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlparse

import duckdb
import pyarrow as pa

from compactor.config import Config
from compactor.duck import session
from compactor.duck.sql import literal, quote
from compactor.errors import CompactorError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.registry.loader import Registry
from compactor.source import aws_credentials
from compactor.views import definition
from compactor.views.definition import Recipe

log = logging.getLogger(__name__)

_BATCH_ROWS = 8192
_CHECK = "check that the storage can be read"


def query(config: Config, registry: Registry, sql: str) -> pa.RecordBatchReader:
    """Runs one SQL statement that reads. Tables are views of the current snapshots, named as in the catalog, and
    the views of the config's folder are there too.

    Raises:
        UsageError: the SQL does not parse, names a table or column that does not exist, or is no query.
        CompactorError: the catalog or the storage cannot be read.
    """
    lake = Lakehouse(config)
    batches = _run(lake, registry, sql)
    schema = next(batches)
    assert isinstance(schema, pa.Schema)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _run(lake: Lakehouse, registry: Registry, sql: str) -> Iterator[pa.Schema | pa.RecordBatch]:
    """Yields the result's schema, then its batches; the session lives as long as this iterator."""
    with session.session(lake.config.resources) as con:
        _load_extensions(con, ["avro", "iceberg"])
        try:
            statements = con.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("query takes one SELECT statement")
            recipes = _recipes(lake, sql)
            _attach(con, lake, _tables(lake, registry, sql, recipes))
            _make_views(con, lake, registry, recipes)
            reader = con.execute(statements[0]).to_arrow_reader(_BATCH_ROWS)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise UsageError(f"the query is not right: {str(error).strip()}") from error
        except duckdb.Error as error:
            raise CompactorError(f"the query failed ({type(error).__name__}); {_CHECK}") from error
        yield reader.schema
        try:
            yield from reader
        except duckdb.Error as error:
            raise CompactorError(f"the query failed while it ran ({type(error).__name__})") from error


def _recipes(lake: Lakehouse, sql: str) -> dict[str, Recipe]:
    """The views whose names are in the statement, and those that they need. Without any, no file is read."""
    words = set(re.findall(r"\w+", sql.lower()))
    named = words.intersection(definition.names(lake.config.views))
    if not named:
        return {}
    recipes = definition.load(lake.config.views)
    return {name: recipes[name] for name in definition.closure(recipes, named)}


def _make_views(
    con: duckdb.DuckDBPyConnection, lake: Lakehouse, registry: Registry, recipes: Mapping[str, Recipe]
) -> None:
    if not recipes:
        return
    needs = {table for each in recipes.values() for table in each.needs}
    views, left_out = definition.render(recipes, lake.columns(registry, needs), "duckdb", ())
    for missing in left_out:
        log.warning("%s", missing.reason)
    for view in views:
        con.execute(view.create)


def _tables(lake: Lakehouse, registry: Registry, sql: str, recipes: Mapping[str, Recipe]) -> list[Table]:
    """The tables whose names are in the statement or in its views; all, if none is: attaching one takes a dozen
    requests to S3.
    """
    names = [FILES, QUARANTINE, RUNS]
    for dataset in registry.datasets.values():
        names += [dataset.history_table, *([dataset.current_table] if dataset.current_table else [])]
    of_views = {table for each in recipes.values() for table in each.needs}
    named = [name for name in names if name in of_views or name.lower() in sql.lower()]
    found = [lake.table(name) for name in named or names if name in of_views or lake.exists(name)]
    if not found and not any(lake.exists(name) for name in names):
        raise CompactorError("there are no tables yet; run `compactor compact` first")
    return found


def _attach(con: duckdb.DuckDBPyConnection, lake: Lakehouse, tables: Sequence[Table]) -> None:
    try:
        if any(urlparse(table.metadata_location).scheme in ("s3", "s3a") for table in tables):
            _load_extensions(con, ["httpfs"])
            con.execute(_s3_secret(lake.storage_properties()))
        for table in tables:
            location = literal(table.metadata_location)
            con.execute(f"CREATE VIEW {quote(table.name)} AS SELECT * FROM iceberg_scan({location})")
    except duckdb.Error as error:
        # Not its text: that may quote the statement, which has the credentials.
        raise CompactorError(f"the tables cannot be opened ({type(error).__name__}); {_CHECK}") from error


def _load_extensions(con: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    for name in names:
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = list(package.submodule_search_locations or []) if package else []
        files = [file for folder in folders for file in Path(folder).rglob("*.duckdb_extension")]
        if not files:
            raise CompactorError(f"package duckdb-extension-{name} is not installed; install the requirements again")
        try:
            con.execute(f"LOAD {literal(str(files[0]))}")
        except duckdb.Error as error:
            raise CompactorError(
                f"duckdb-extension-{name} does not fit duckdb {duckdb.__version__}; install the pinned versions"
            ) from error


def _s3_secret(properties: Mapping[str, str]) -> str:
    """The statement that lets the engine read S3: by the catalog's properties, else with the environment's key."""
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
    given = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    return f"CREATE SECRET ({given})"

"""`query`: SQL over the tables, in a process of its own that can read nothing else.

DuckDB's own Iceberg reader reads the tables, so deletes and schema changes apply. It reads the metadata file that the
catalog names, never a folder: a folder may hold the metadata of a commit that failed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlparse

import pyarrow as pa

from compactor.config import Config
from compactor.duck import reader_process, spill
from compactor.duck.reader import Job
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


def query(config: Config, registry: Registry, sql: str, *, allow_files: bool = False) -> pa.RecordBatchReader:
    """Runs one SELECT statement over the current snapshots.

    The tables have their names of the catalog. The views of the config's folder of views can be used like tables.

    Args:
        allow_files: the statement may also read files and URLs, with the rights of this user.

    Returns:
        The rows in batches, with the columns of the statement. The reading process ends with the last batch.

    Raises:
        UsageError: the SQL does not parse, names an unknown table or column, is not one SELECT statement, or reads what
            it may not.
        CompactorError: the catalog or the storage cannot be read.
    """
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise UsageError("the SQL is not UTF-8 text; correct the encoding of the command or of the file") from None
    batches = _run(config, registry, sql, allow_files=allow_files)
    schema = next(batches)
    assert isinstance(schema, pa.Schema)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _run(config: Config, registry: Registry, sql: str, *, allow_files: bool) -> Iterator[pa.Schema | pa.RecordBatch]:
    """Yields the schema of the result, then its batches. The process lives as long as this iterator."""
    with spill.folder(config.resources.temp_dir) as folder, reader_process.started() as reader:
        lake = Lakehouse(config)
        definitions = _definitions(lake, sql)
        tables = _tables(lake, registry, sql, definitions)
        in_s3 = any(urlparse(table.metadata_location).scheme in ("s3", "s3a") for table in tables)
        yield from reader.answer(
            Job(
                sql=sql,
                setup=[*([_s3_secret(lake.storage_properties())] if in_s3 else []), *map(_as_view, tables)],
                views=_views(lake, registry, definitions),
                places=sorted({place for table in tables for place in table.places()}),
                extensions=["avro", "iceberg", *(["httpfs"] if in_s3 or allow_files else [])],
                allow_files=allow_files,
                memory=int(config.resources.memory),
                threads=config.resources.threads,
                folder=str(folder),
            )
        )


def _definitions(lake: Lakehouse, sql: str) -> dict[str, Definition]:
    """The views that the statement names, and the views that these need. No file is read if it names none."""
    words = set(re.findall(r"\w+", sql.lower()))
    named = words.intersection(definition.names(lake.config.views))
    if not named:
        return {}
    definitions = definition.load(lake.config.views)
    return {name: definitions[name] for name in definition.closure(definitions, named)}


def _views(lake: Lakehouse, registry: Registry, definitions: Mapping[str, Definition]) -> list[str]:
    """The statements that create views."""
    if not definitions:
        return []
    needs = {table for each in definitions.values() for table in each.needs}
    views, left_out = definition.render(definitions, lake.columns(registry, needs), "duckdb", ())
    for missing in left_out:
        log.warning("%s", missing.reason)
    return [view.create for view in views]


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


def _as_view(table: Table) -> str:
    return f"CREATE VIEW {quote(table.name)} AS SELECT * FROM iceberg_scan({literal(table.metadata_location)})"


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

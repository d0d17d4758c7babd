"""Opens the catalog, and creates the tables that the registry asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NotInstalledError, TableAlreadyExistsError
from pyiceberg.table import Table as IcebergTable
from tenacity import (
    Retrying,
    retry,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from compactor import diagnose
from compactor.config import Config
from compactor.errors import CompactorError, ConflictError, MissingTableError, UsageError
from compactor.lake import layout, own_tables, remains, table_version
from compactor.lake.own_tables import OWN_TABLES, OwnTable
from compactor.lake.table import Schema, Table
from compactor.registry.dataset import Dataset, TableLayout
from compactor.registry.loader import Registry
from compactor.types.field_type import FieldType

log = logging.getLogger(__name__)


class Lakehouse:
    """The catalog, the namespace, and the tables in it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.namespace = config.namespace
        self._catalog = _connect(config)
        self._has_own = False

    def table(self, name: str) -> Table:
        """Loads a table. Raises CompactorError where it does not exist."""
        with _explained(f"cannot load table {self.namespace}.{name}"):
            return Table(self._catalog, f"{self.namespace}.{name}")

    def find(self, name: str) -> Table | None:
        """Loads a table; None where it does not exist."""
        try:
            return self.table(name)
        except MissingTableError:
            return None

    def load_iceberg(self, name: str) -> IcebergTable:
        """A table as PyIceberg has it, for notebooks. Raises CompactorError where it does not exist."""
        return self.table(name)._iceberg

    def storage_properties(self) -> dict[str, str]:
        """How the tables' storage is reached: the catalog's properties, as the catalog itself has completed them."""
        return dict(self._catalog.properties)

    def glue_entry(self, name: str) -> Mapping[str, Any] | None:
        """Glue's entry of a table, as its API gives it; None where the catalog is another."""
        glue = getattr(self._catalog, "glue", None)  # the library's own client
        if glue is None:
            return None
        with _explained(f"cannot load table {self.namespace}.{name}"):
            found: Mapping[str, Any] = glue.get_table(DatabaseName=self.namespace, Name=name)["Table"]
        return found

    def exists(self, name: str) -> bool:
        with _explained(f"cannot load table {self.namespace}.{name}"):
            return self._catalog.table_exists(f"{self.namespace}.{name}")

    def at_table_version(self, dataset: Dataset) -> Dataset:
        """The dataset at the version of its tables (see `table_version`); as the registry has it without tables."""
        history = self.find(dataset.history_table)
        if history is None:
            return dataset
        current = self.find(dataset.current_table) if dataset.current_table else None
        return table_version.of_dataset(dataset, history, current)

    def columns(self, registry: Registry, tables: Container[str] | None = None) -> dict[str, dict[str, FieldType]]:
        """Types by column, of these tables (None: all) that a lake of the registry has or will have."""
        found = {name: {column: kind for column, kind, _ in own.columns} for name, own in OWN_TABLES.items()}
        for dataset in registry.datasets.values():
            names = [name for name in (dataset.history_table, dataset.current_table) if name]
            if tables is None or any(name in tables for name in names):
                columns = {column: kind for column, kind, _ in self.at_table_version(dataset).table_columns}
                found |= dict.fromkeys(names, columns)
        return found

    def ensure_own(self, replaces: Container[str] = ()) -> None:
        """Creates the namespace and the program's own tables where they do not exist yet, and updates these tables.

        Args:
            replaces: tables to create even if they were there before.

        Raises:
            LostTableError: a table was there before.
            ConflictError: other runs kept committing first.
        """
        if self._has_own:
            return
        with _explained(f"cannot make namespace {self.namespace}"):
            if not self._catalog.namespace_exists(self.namespace):  # asked first: not everyone may create one
                try:
                    self._catalog.create_namespace(self.namespace)
                except Exception:
                    # Another process was faster. Catalogs say so in many ways, a SQL one by an error of its database.
                    if not self._catalog.namespace_exists(self.namespace):
                        raise
        for name, own in OWN_TABLES.items():
            self._ensure_own_table(name, own, replaces)
        self._has_own = True

    def _ensure_own_table(self, name: str, own: OwnTable, replaces: Container[str]) -> None:
        schema = layout.iceberg_schema(own.columns, ())
        for attempt in Retrying(
            retry=retry_if_exception_type(ConflictError),
            stop=stop_after_attempt(self.config.commit.attempts),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            reraise=True,
        ):
            with attempt:
                try:
                    table = self.table(name)
                except MissingTableError:
                    if name not in replaces:
                        made_with = [each for each in remains.FIRST_OWN if each != name]
                        self._refuse_if_gone(name, made_with=made_with if name in remains.FIRST_OWN else ())
                    self._create(name, schema, own.layout, {})
                    return
                if own_tables.update(table):
                    table = table.reload()
                layout.check(table, schema, layout.partition_spec(schema, own.layout))

    def ensure(self, registry: Registry, datasets: Sequence[str], replaces: Container[str] = ()) -> None:
        """Creates the namespace, the program's own tables and those of these datasets where they do not exist yet.

        Args:
            replaces: tables to create even if they were there before.

        Raises:
            LostTableError: a table was there before.
            UsageError: a table is not what the registry says of the table's version.
        """
        self.ensure_own(replaces)
        for listed in map(registry.get, datasets):
            dataset = self.at_table_version(listed)
            table_version.warn_if_behind(listed, dataset)
            self._ensure_table(dataset, dataset.history_table, dataset.history, ("id",), replaces)
            if dataset.current_table and dataset.current:
                self._ensure_table(dataset, dataset.current_table, dataset.current, dataset.key, replaces)

    def looking(self) -> AbstractContextManager[None]:
        """Around a look for what remains of tables: a failure of AWS names what is missing."""
        return _explained(f"cannot look for tables of {self.namespace} that are gone")

    def _refuse_if_gone(self, name: str, *, dataset: str | None = None, made_with: Sequence[str] = ()) -> None:
        with self.looking():
            remains.refuse_if_gone(self, name, dataset=dataset, made_with=made_with)

    def _ensure_table(
        self,
        dataset: Dataset,
        name: str,
        table_layout: TableLayout,
        identifier: Sequence[str],
        replaces: Container[str],
    ) -> None:
        schema = layout.iceberg_schema(dataset.table_columns, identifier)
        try:
            layout.check(self.table(name), schema, layout.partition_spec(schema, table_layout))
        except MissingTableError:
            if name not in replaces:
                both = (dataset.history_table, dataset.current_table)
                made_with = [each for each in both if each and each != name]
                self._refuse_if_gone(name, dataset=dataset.name, made_with=made_with)
            properties = {
                # For other engines that write to the table: this program's writer gets the columns as an argument.
                **{f"write.parquet.bloom-filter-enabled.column.{column}": "true" for column in bloom(dataset)},
                **table_version.marks(dataset),
            }
            self._create(name, schema, table_layout, properties)

    def _create(self, name: str, schema: Schema, table_layout: TableLayout, properties: Mapping[str, str]) -> None:
        """Creates a table, unless another process was faster."""
        properties = {
            **properties,
            "format-version": "2",
            "write.parquet.compression-codec": "zstd",
            "write.metadata.delete-after-commit.enabled": "true",
            "write.metadata.previous-versions-max": "50",
            "write.target-file-size-bytes": str(self.config.tables.target_file_bytes),
            **self.config.tables.properties,
        }
        try:
            with _explained(f"cannot make table {self.namespace}.{name}"):
                self._catalog.create_table(
                    f"{self.namespace}.{name}",
                    schema,
                    partition_spec=layout.partition_spec(schema, table_layout),
                    sort_order=layout.sort_order(schema, table_layout),
                    properties=properties,
                )
            log.info("made table %s.%s", self.namespace, name)
        except TableAlreadyExistsError:
            pass


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turns a failure of AWS beneath PyIceberg, and no other, into a CompactorError that names what is missing."""
    try:
        yield
    except Exception as error:
        reason = diagnose.reason(error)
        if reason is None:
            raise
        raise CompactorError(f"{doing}: {reason}") from error


def bloom(dataset: Dataset) -> tuple[str, ...]:
    """The columns of point lookups. They get bloom filters, because the sort order does not serve all of them."""
    return tuple(dict.fromkeys(("id", *dataset.key)))


# Seconds, for the tables' bucket. Arrow's S3 client has 1 and 3 by default, which abort large files on a busy line.
_TIMEOUTS = {"s3.connect-timeout": "10", "s3.request-timeout": "60"}


def _connect(config: Config) -> Catalog:
    properties = _TIMEOUTS | config.catalog_properties()
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        Path(urlparse(uri).path.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
    try:
        return _retried(lambda: load_catalog(config.catalog.name, **properties))
    except Exception as error:
        doing = f"cannot open the catalog {config.catalog.name!r}"
        reason = diagnose.reason(error)
        if reason:
            raise CompactorError(f"{doing}: {reason}") from error
        if isinstance(error, NotInstalledError):
            raise UsageError(
                f"{doing}: its driver is not installed; for PostgreSQL: pip install '.[postgres]', see docs/catalogs.md"
            ) from error
        raise CompactorError(
            f"{doing} ({type(error).__name__}); check catalog.properties and the credentials"
        ) from error


@retry(
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    retry=retry_if_not_exception_type((CompactorError, ValueError, ImportError, NotInstalledError)),
    reraise=True,
)
def _retried(connect: Callable[[], Catalog]) -> Catalog:
    # Two processes that create a SQL catalog's own tables at the same time can collide once.
    return connect()

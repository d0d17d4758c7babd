"""Opens the catalog, and creates the tables that the registry asks for."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pyiceberg.exceptions import TableAlreadyExistsError
from pyiceberg.table import Table as IcebergTable

from compactor import diagnose
from compactor.config import Config
from compactor.errors import CompactorError, MissingTableError, UnreadableError
from compactor.lake import catalogs, layout, own_tables, place, remains, table_version, unreadable
from compactor.lake.connection import connect
from compactor.lake.own_tables import OWN_TABLES, RUNS, OwnTable
from compactor.lake.retry import on_conflict
from compactor.lake.table import Schema, Table
from compactor.registry.dataset import Dataset, TableLayout
from compactor.registry.loader import Registry
from compactor.request_counts import RequestCounter
from compactor.types.field_type import FieldType

log = logging.getLogger(__name__)

METADATA = "the metadata file that the catalog names"


class Lakehouse:
    """The catalog, the namespace, and the tables in it.

    `table` and `find` ask the catalog each time, so what they give is as new as the call: what a plan or a check of the
    commit protocol is made from. `seen` gives a table as this program has last loaded or committed it, without a
    request: for what is checked again later, or holds for an older version as well.

    Attributes:
        requests: what the catalog and the storage of the tables were asked for since this was opened.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.namespace = config.namespace
        self.requests = RequestCounter()
        self._catalog = connect(config, self.requests)
        self._has_own = False
        self._own: dict[str, Table] = {}

    def table(self, name: str) -> Table:
        """Loads a table.

        Raises MissingTableError where it does not exist, UnreadableError where its metadata file cannot be read.
        """
        identifier = f"{self.namespace}.{name}"
        with _explained(f"cannot load table {identifier}"):
            try:
                return self._kept(Table(self._catalog, identifier))
            except Exception as error:
                if why := unreadable.of_metadata(error):
                    raise UnreadableError(
                        identifier, place.pointer(self._catalog, identifier) or METADATA, why
                    ) from error
                raise

    def _kept(self, loaded: Table) -> Table:
        """One of the program's own tables as it was loaded before, if it has not changed: its manifests are read once.

        Not for a table of records: the list of its files can be long.
        """
        if loaded.name not in OWN_TABLES:
            return loaded
        known = self._own.get(loaded.name)
        if known is None or known.metadata_location != loaded.metadata_location:
            loaded.keeps_plan = True
            known = self._own[loaded.name] = loaded
        return known

    def drop(self, name: str) -> None:
        """Takes a table out of the catalog, whether it can be read or not. Deletes no file."""
        with _explained(f"cannot drop table {self.namespace}.{name}"):
            self._catalog.drop_table(f"{self.namespace}.{name}")

    def find(self, name: str) -> Table | None:
        """Loads a table; None where it does not exist."""
        try:
            return self.table(name)
        except MissingTableError:
            return None

    def seen(self, name: str) -> Table | None:
        """A table as it was last loaded or committed here, or else as `find` loads it."""
        known = catalogs.newest(self._catalog, (self.namespace, name))
        if known is None:
            return self.find(name)
        return self._kept(Table(self._catalog, f"{self.namespace}.{name}", known))

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
        """Whether the catalog has a table, even if it cannot be read.

        Raises MisplacedTableError where it lies elsewhere than the config says.
        """
        try:
            return self.find(name) is not None
        except UnreadableError:
            return True

    def at_table_version(self, dataset: Dataset, *, checked: bool = True, seen: bool = False) -> Dataset:
        """The dataset at the version of its tables (see `table_version`); as the registry has it without tables.

        Args:
            checked: raise UsageError where a table is not what the registry says of that version.
            seen: the tables as they were last loaded here.
        """
        find = self.seen if seen else self.find
        history = find(dataset.history_table)
        current = find(dataset.current_table) if dataset.current_table else None
        if history is None:
            if current is not None:
                self.version_of(dataset, current)
            return dataset
        if dataset.kind == "events" and table_version.RULE not in history.properties:
            self._check_events(dataset)
        found = table_version.of_dataset(dataset, history, current)
        for table in filter(None, (history, current) if checked else ()):
            layout.check_dataset(table, found)
        return found

    def version_of(self, dataset: Dataset, table: Table) -> Dataset:
        """The dataset at the version of one of its tables (see `table_version.of_table`)."""
        current = table if table.name == dataset.current_table else None
        if current is None and dataset.current_table and table_version.RULE not in table.properties:
            current = self.find(dataset.current_table)
        return table_version.of_table(dataset, table, current)

    def _check_events(self, dataset: Dataset) -> None:
        """Raises UsageError where tables that do not name their kind are those of a state."""
        if self.exists(f"{dataset.name}_history"):
            table_version.check_kind(dataset, "state")

    def columns(self, registry: Registry, tables: Container[str] | None = None) -> dict[str, dict[str, FieldType]]:
        """Types by column, of these tables (None: all) that a lake of the registry has or will have.

        Where a table cannot be read, they are those of the registry's newest version, with a warning.
        """
        found = {name: {column: kind for column, kind, _ in own.columns} for name, own in OWN_TABLES.items()}
        for dataset in registry.datasets.values():
            names = dataset.tables
            if tables is None or any(name in tables for name in names):
                try:
                    at_version = self.at_table_version(dataset, checked=False)
                except UnreadableError as error:
                    log.warning("%s: its columns are taken from the registry, because %s", dataset.name, error)
                    at_version = dataset
                columns = {column: kind for column, kind, _ in at_version.table_columns}
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
            try:
                self._ensure_own_table(name, own, replaces)
            except UnreadableError:
                if name != RUNS:  # without it a run lists all hours, and reports that
                    raise
        self._has_own = True

    def _ensure_own_table(self, name: str, own: OwnTable, replaces: Container[str]) -> None:
        schema = layout.iceberg_schema(own.columns, ())
        find = self.seen  # a run has just looked at it; if it has to change, an older version is a conflict
        for attempt in on_conflict(self.config.commit.attempts):
            with attempt:
                table, find = find(name), self.find
                if table is None:
                    if name not in replaces:
                        made_with = [each for each in remains.FIRST_OWN if each != name]
                        self._refuse_if_gone(name, made_with=made_with if name in remains.FIRST_OWN else ())
                    self._create(name, schema, own.layout, own.properties)
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
            dataset = self.at_table_version(listed, seen=True)
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
        table = self.seen(name)
        if table is None:
            if name not in replaces:
                made_with = [each for each in dataset.tables if each != name]
                self._refuse_if_gone(name, dataset=dataset.name, made_with=made_with)
            self._create(name, schema, table_layout, {**bloom_properties(dataset), **table_version.marks(dataset)})
            return
        layout.check(table, schema, layout.partition_spec(schema, table_layout))
        table_version.adopt(table, dataset)

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
                place.check_new(self._catalog, f"{self.namespace}.{name}")
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
        if reason is None or isinstance(error, CompactorError):
            raise
        raise CompactorError(f"{doing}: {reason}") from error


def bloom(dataset: Dataset) -> tuple[str, ...]:
    """The columns of point lookups. They get bloom filters, because the sort order does not serve all of them."""
    return tuple(dict.fromkeys(("id", *dataset.key)))


def bloom_properties(dataset: Dataset) -> dict[str, str]:
    """Table properties for other engines that write to the table: this program's writer gets the columns directly."""
    return {f"write.parquet.bloom-filter-enabled.column.{column}": "true" for column in bloom(dataset)}

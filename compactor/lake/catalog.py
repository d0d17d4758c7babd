"""Opens the catalog and makes the tables that the registry asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NotInstalledError, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, MonthTransform, Transform
from pyiceberg.types import NestedField
from tenacity import retry, retry_if_not_exception_type, stop_after_attempt, wait_random_exponential

from compactor import diagnose
from compactor.config import Config
from compactor.errors import CompactorError, MissingTableError, UsageError
from compactor.lake import table_version
from compactor.lake.schema_change import iceberg_type
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset, Partition, TableLayout
from compactor.registry.loader import Registry

log = logging.getLogger(__name__)

FILES, QUARANTINE, RUNS = "compactor_files", "compactor_quarantine", "compactor_runs"
_UNPARTITIONED = TableLayout(Partition("none", None, None), ())

# name -> (column, registry type, required), and the sort order
_OWN_TABLES: dict[str, tuple[list[tuple[str, str, bool]], tuple[str, ...]]] = {
    FILES: (
        [
            ("dataset", "string", True),
            ("key", "string", True),
            ("etag", "string", True),
            ("size", "long", True),
            ("lines", "long", True),
            ("new", "long", True),
            ("duplicates", "long", True),
            ("quarantined", "long", True),
            ("run_id", "string", True),
            ("loaded_at", "timestamp", True),
        ],
        ("dataset", "key"),
    ),
    QUARANTINE: (
        [
            ("dataset", "string", True),
            ("source_file", "string", True),
            ("source_line", "long", True),
            ("version", "long", False),
            ("reason", "string", True),
            ("detail", "string", False),
            ("raw", "string", False),
            ("run_id", "string", True),
            ("quarantined_at", "timestamp", True),
            # A key can be replaced: the ETag says which of its contents the line was in.
            ("etag", "string", True),
        ],
        ("dataset", "source_file", "source_line"),
    ),
    RUNS: (
        [
            ("run_id", "string", True),
            ("dataset", "string", True),
            ("verb", "string", True),
            ("started_at", "timestamp", True),
            ("finished_at", "timestamp", True),
            ("objects", "long", True),
            ("lines", "long", True),
            ("new", "long", True),
            ("duplicates", "long", True),
            ("quarantined", "long", True),
            ("failed_objects", "long", True),
            ("raw_bytes", "long", True),
            ("history_snapshot_id", "long", False),
            ("current_snapshot_id", "long", False),
            # All objects of hours before this one were listed and loaded: where the next run's window ends.
            ("frontier", "string", False),
        ],
        ("run_id", "dataset"),
    ),
}


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

    def storage_properties(self) -> dict[str, str]:
        """How the tables' storage is reached: the catalog's properties, as the catalog itself has completed them."""
        return dict(self._catalog.properties)

    def glue_entry(self, name: str) -> Mapping[str, Any] | None:
        """What Glue has of a table, as its API tells; None where the catalog is another."""
        glue = getattr(self._catalog, "glue", None)  # the library's own client
        if glue is None:
            return None
        with _explained(f"cannot load table {self.namespace}.{name}"):
            found: Mapping[str, Any] = glue.get_table(DatabaseName=self.namespace, Name=name)["Table"]
        return found

    def exists(self, name: str) -> bool:
        with _explained(f"cannot load table {self.namespace}.{name}"):
            return self._catalog.table_exists(f"{self.namespace}.{name}")

    def shaped(self, dataset: Dataset) -> Dataset:
        """The dataset as its tables take it (see `table_version`); as the registry has it while there are none."""
        if not self.exists(dataset.history_table):
            return dataset
        current = dataset.current_table if dataset.current_table and self.exists(dataset.current_table) else None
        return table_version.of_dataset(
            dataset, self.table(dataset.history_table), self.table(current) if current else None
        )

    def columns(self, registry: Registry, tables: Container[str] | None = None) -> dict[str, dict[str, str]]:
        """Registry types by column, of these tables (None: all) that a lake of the registry has or is going to have."""
        found = {name: {column: kind for column, kind, _ in columns} for name, (columns, _) in _OWN_TABLES.items()}
        for dataset in registry.datasets.values():
            names = [name for name in (dataset.history_table, dataset.current_table) if name]
            if tables is None or any(name in tables for name in names):
                columns = {column: kind for column, kind, _ in self.shaped(dataset).table_columns}
                found |= dict.fromkeys(names, columns)
        return found

    def ensure_own(self) -> None:
        """Makes the namespace and the program's own tables where they do not exist yet."""
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
        for name, (columns, sort) in _OWN_TABLES.items():
            layout = TableLayout(_UNPARTITIONED.partition, sort)
            self._ensure(name, columns, layout, identifier=(), properties={})
        self._has_own = True

    def ensure(self, registry: Registry, datasets: Sequence[str]) -> None:
        """Makes the namespace, the program's own tables and those of these datasets where they do not exist yet.

        Raises UsageError where the registry says of the tables' version what they are not.
        """
        self.ensure_own()
        for listed in map(registry.get, datasets):
            dataset = self.shaped(listed)
            table_version.tell_if_behind(listed, dataset)
            columns = dataset.table_columns
            properties = {
                # For other engines that write to the table: this program's writer is told directly.
                **{f"write.parquet.bloom-filter-enabled.column.{column}": "true" for column in bloom(dataset)},
                **table_version.marks(dataset),
            }
            self._ensure(dataset.history_table, columns, dataset.history, identifier=("id",), properties=properties)
            if dataset.current_table and dataset.current:
                self._ensure(
                    dataset.current_table, columns, dataset.current, identifier=dataset.key, properties=properties
                )

    def _ensure(
        self,
        name: str,
        columns: Sequence[tuple[str, str, bool]],
        layout: TableLayout,
        *,
        identifier: Sequence[str],
        properties: Mapping[str, str],
    ) -> None:
        schema = _schema(columns, identifier)
        try:
            _refuse_other_shape(self.table(name), schema, _spec(schema, layout))
        except MissingTableError:
            pass
        else:
            return
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
                    partition_spec=_spec(schema, layout),
                    sort_order=_order(schema, layout),
                    properties=properties,
                )
            log.info("made table %s.%s", self.namespace, name)
        except TableAlreadyExistsError:
            pass  # another process was faster


def check_shape(table: Table, dataset: Dataset) -> None:
    """Raises UsageError where one of the dataset's tables is not what the registry says of the table's version."""
    layout = dataset.current if table.name == dataset.current_table else dataset.history
    assert layout is not None
    schema = _schema(dataset.table_columns, ())
    _refuse_other_shape(table, schema, _spec(schema, layout))


def _refuse_other_shape(table: Table, schema: Schema, spec: PartitionSpec) -> None:
    """Raises UsageError where a table that exists cannot take what the registry says. It may have more columns."""
    found = {field.name: str(field.field_type) for field in table.iceberg.schema().fields}
    for field in schema.fields:
        if field.name not in found:
            raise UsageError(
                f"table {table.identifier} has no column '{field.name}', which the registry now has in the version of"
                " the table; a field that came unannounced is promoted from `extra`, any other comes with a new version"
            )
        if found[field.name] != str(field.field_type):
            raise UsageError(
                f"column '{field.name}' of table {table.identifier} is a {found[field.name]}, by the registry it would"
                f" be a {field.field_type}; put the old type back: a field changes its type by a new version (`retype`)"
            )
    there, due = _partition(table.iceberg.schema(), table.iceberg.spec()), _partition(schema, spec)
    if there != due:
        raise UsageError(
            f"table {table.identifier} is partitioned by {there}, by the registry it would be by {due};"
            " a table does not follow the registry by itself: put the old partition back"
        )


def _partition(schema: Schema, spec: PartitionSpec) -> str:
    parts = [f"{field.transform}({schema.find_field(field.source_id).name})" for field in spec.fields]
    return ", ".join(parts) or "none"


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turns a failure of AWS beneath PyIceberg into a CompactorError that names the missing right, and no other."""
    try:
        yield
    except Exception as error:
        reason = diagnose.reason(error)
        if reason is None:
            raise
        raise CompactorError(f"{doing}: {reason}") from error


def bloom(dataset: Dataset) -> tuple[str, ...]:
    """The columns that point lookups go by: bloom filters serve them where sorting does not."""
    return tuple(dict.fromkeys(("id", *dataset.key)))


# Seconds, for the tables' bucket. The defaults of Arrow's S3 client, 1 and 3, break off large files on a busy line.
_PATIENCE = {"s3.connect-timeout": "10", "s3.request-timeout": "60"}


def _connect(config: Config) -> Catalog:
    properties = _PATIENCE | config.catalog_properties()
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        Path(urlparse(uri).path.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
    try:
        return _patiently(lambda: load_catalog(config.catalog.name, **properties))
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
def _patiently(connect: Callable[[], Catalog]) -> Catalog:
    # Two processes that make a SQL catalog's own tables at the same moment can collide once.
    return connect()


def _schema(columns: Sequence[tuple[str, str, bool]], identifier: Sequence[str]) -> Schema:
    nested = iter(range(len(columns) + 1, 10_000))
    fields = [
        NestedField(number, name, iceberg_type(kind, nested), required=required)
        for number, (name, kind, required) in enumerate(columns, 1)
    ]
    ids = [field.field_id for field in fields if field.name in identifier]
    return Schema(*fields, identifier_field_ids=ids)


def _spec(schema: Schema, layout: TableLayout) -> PartitionSpec:
    partition = layout.partition
    if partition.transform == "none" or partition.column is None:
        return UNPARTITIONED_PARTITION_SPEC
    transforms: dict[str, Transform[Any, Any]] = {"day": DayTransform(), "month": MonthTransform()}
    transform = transforms.get(partition.transform) or BucketTransform(partition.buckets or 16)
    source = schema.find_field(partition.column).field_id
    return PartitionSpec(PartitionField(source, 1000, transform, f"{partition.column}_{partition.transform}"))


def _order(schema: Schema, layout: TableLayout) -> SortOrder:
    if not layout.sort:
        return UNSORTED_SORT_ORDER
    return SortOrder(*(SortField(schema.find_field(name).field_id, IdentityTransform()) for name in layout.sort))

"""One table on a catalog, apart from any dataset, for tests of what is done to tables: 'fans'."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.manifest import (
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles

from compactor.duck.extensions import load_extensions
from compactor.lake.layout import iceberg_schema, partition_spec, sort_order
from compactor.lake.schema_change import TargetColumn
from compactor.lake.table import DataFile, Table
from compactor.registry.dataset import Partition, TableLayout
from compactor.registry.fields import type_of

Row = dict[str, Any]
COLUMNS = [
    ("id", "string", True),
    ("updated_at", "timestamp", True),
    ("tier", "string", False),
    ("spend", "decimal(9,2)", False),
    ("joined_at", "string", False),
    ("traits", "map", False),
    ("visits", "long", True),
]
PARTITIONS = {
    "none": Partition("none", None, None),
    "day": Partition("day", "updated_at", None),
    "month": Partition("month", "updated_at", None),
    "bucket": Partition("bucket", "id", 4),
}
# The library's own schema of these has positions of 32 bits, which DuckDB refuses; the specification says 64.
_POSITIONS = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
    ]
)
_PATH_OF_DELETE = 2147483546  # the field id of file_path
START = datetime(2026, 10, 25, tzinfo=UTC)


def columns(**changes: TargetColumn | None) -> list[TargetColumn]:
    """All of today's columns as they are, but for those named: None leaves one out; a name of no column adds one."""
    kept = {name: TargetColumn(name, type_of(kind), required, name) for name, kind, required in COLUMNS}
    return [column for column in {**kept, **changes}.values() if column is not None]


def new(name: str, kind: str, *, required: bool = False) -> TargetColumn:
    return TargetColumn(name, type_of(kind), required, None)


def rows(count: int, first: int = 0) -> list[Row]:
    """Rows of ten days and two months. Every seventh has NULL where it may."""
    return [
        {
            "id": f"fan-{number:07d}",
            "updated_at": START + timedelta(days=number % 10, seconds=number),
            "tier": None if number % 7 == 0 else ("gold", "silver")[number % 2],
            "spend": None if number % 7 == 0 else Decimal(number * 7 % 1_000_000) / 100,
            "joined_at": None if number % 7 == 0 else f"2025-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            "traits": None if number % 7 == 0 else {"team": str(number % 3)},
            "visits": number,
        }
        for number in range(first, first + count)
    ]


class Warehouse:
    """A catalog and the table in it."""

    def __init__(
        self,
        catalog: Catalog,
        partition: str = "none",
        properties: Mapping[str, str] | None = None,
        sort: Sequence[str] = ("updated_at", "id"),
    ) -> None:
        self.catalog = catalog
        layout = TableLayout(PARTITIONS[partition], tuple(sort))
        schema = iceberg_schema([(name, type_of(kind), required) for name, kind, required in COLUMNS], ("id",))
        catalog.create_namespace_if_not_exists("rover")
        catalog.create_table(
            "rover.fans",
            schema,
            partition_spec=partition_spec(schema, layout),
            sort_order=sort_order(schema, layout),
            properties={"format-version": "2", **(properties or {})},
        )

    @staticmethod
    def in_folder(
        folder: Path,
        partition: str = "none",
        properties: Mapping[str, str] | None = None,
        sort: Sequence[str] = ("updated_at", "id"),
    ) -> Warehouse:
        """On the embedded catalog."""
        return Warehouse(_embedded(folder), partition, properties, sort)

    @staticmethod
    def reopened(folder: Path) -> Warehouse:
        """One that is in a folder already."""
        found = Warehouse.__new__(Warehouse)
        found.catalog = _embedded(folder)
        return found

    @property
    def table(self) -> Table:
        return Table(self.catalog, "rover.fans")

    @property
    def iceberg(self) -> IcebergTable:
        """The table as PyIceberg has it."""
        return self.catalog.load_table("rover.fans")

    def write(self, table: Table, new_rows: Sequence[Row], **options: Any) -> list[DataFile]:
        """Data files of these rows, sorted, one or more a partition; nothing has them yet."""
        found = pa.Table.from_pylist(list(new_rows), table.schema)
        spec = self.iceberg.spec()
        if not spec.is_unpartitioned():
            source = table.iceberg_schema.find_field(spec.fields[0].source_id)
            values = spec.fields[0].transform.pyarrow_transform(source.field_type)(
                found.column(source.name).combine_chunks()
            )
            found = found.append_column("_partition", values.cast(pa.int32()))
        keys = [("_partition", "ascending")] if "_partition" in found.column_names else []
        found = found.sort_by([*keys, *((name, "ascending") for name in table.sort_columns)])
        with table.writer(
            **{"target_bytes": 1 << 30, "bloom_columns": ["id"], "sorted_by": table.sort_columns, **options}
        ) as writer:
            return writer.write_all(found.to_batches(max_chunksize=1000))

    def append(self, new_rows: Sequence[Row], commit_id: str = "append", **options: Any) -> int:
        table = self.table
        return table.commit(self.write(table, new_rows, **options), [], {}, commit_id=commit_id)

    def by_arrow(self, names: Sequence[str] | None = None, **options: Any) -> list[Row]:
        """All rows by id, as PyIceberg reads them."""
        table = self.table
        then = table.at(options["snapshot_id"]) if "snapshot_id" in options else table
        batches = table.scan(names or then.schema.names, **options).batches
        return by_id(row for batch in batches for row in batch.to_pylist())

    def by_duckdb(self, snapshot_id: int | None = None) -> list[Row]:
        """All rows by id, as DuckDB's own Iceberg reader reads them."""
        at = f", snapshot_from_id = {snapshot_id}" if snapshot_id else ""
        found = _engine().execute(f"SELECT * FROM iceberg_scan('{self.table.metadata_location}'{at})")
        return by_id(found.to_arrow_table().to_pylist())

    def delete_rows(self, file: DataFile, positions: Sequence[int]) -> None:
        """Deletes rows of a file as another engine does: by position, in a file of its own."""
        delete_by_position(self.iceberg, file, positions)


def delete_by_position(iceberg: IcebergTable, file: DataFile, positions: Sequence[int]) -> None:
    """Deletes rows of a table's data file as another engine does: by position, in a file of its own.

    Its entry has the bounds of the paths in it, by which engines skip delete files of other data files.
    """
    path = f"{iceberg.location()}/data/{uuid.uuid4()}-deletes.parquet"
    content = pa.Table.from_pylist([{"file_path": file.file_path, "pos": pos} for pos in positions])
    bounds = {_PATH_OF_DELETE: file.file_path.encode()}
    with iceberg.io.new_output(path).create() as stream:
        pq.write_table(content.cast(_POSITIONS.with_metadata({"delete-type": "position"})), stream)
    transaction = iceberg.transaction()
    producer = _Deletion(Operation.DELETE, transaction=transaction, io=iceberg.io)
    producer.file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=file.partition,
        record_count=len(positions),
        file_size_in_bytes=len(iceberg.io.new_input(path)),
        lower_bounds=bounds,
        upper_bounds=bounds,
        split_offsets=[4],
    )
    producer.file.spec_id = file.spec_id
    producer.commit()
    transaction.commit_transaction()


def _embedded(folder: Path) -> Catalog:
    return load_catalog("local", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")


class _DeleteManifest(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _Deletion(_OverwriteFiles):
    """The library writes no delete files itself."""

    file: DataFile

    def _manifests(self) -> list[ManifestFile]:
        spec = self.spec(self.file.spec_id)
        output = self.new_manifest_output()
        with _DeleteManifest(spec, self.schema(), output, self.snapshot_id, "deflate") as writer:
            status, snapshot_id = ManifestEntryStatus.ADDED, self.snapshot_id
            writer.add(ManifestEntry.from_args(status=status, snapshot_id=snapshot_id, data_file=self.file))
        return [writer.to_manifest_file(), *self._existing_manifests()]


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("LOAD icu")
    con.execute("SET TimeZone = 'UTC'")
    load_extensions(con, ["avro", "iceberg"])
    return con


def by_id(found: Iterator[Row] | Sequence[Row]) -> list[Row]:
    """Rows in the order of ids, maps as dicts."""
    plain = ({name: dict(v) if isinstance(v, list) else v for name, v in row.items()} for row in found)
    return sorted(plain, key=lambda row: str(row.get("id")))


def paths(table: Table) -> list[str]:
    return sorted(file.file_path for file in table.files)


def in_file(table: Table, file: DataFile, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows of one data file, in its order."""
    batches = table.scan(names, paths=[file.file_path]).batches
    return list(itertools.chain.from_iterable(zip(*batch.to_pydict().values(), strict=True) for batch in batches))

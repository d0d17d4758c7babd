"""The tables that the peers write, and the catalog in which they are: PyIceberg's, on a SQLite file.

The columns are those of the compactor's own tables, without `extra`, `source_file` and `source_line`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import IcebergType, LongType, MapType, NestedField, StringType, TimestamptzType

NAMESPACE = "rover"
_COMMON = {"id": "id", "version": "version", "roverID": "rover_id", "emittedAt": "emitted_at"}


@dataclass(frozen=True)
class Dataset:
    """A dataset of the export.

    Attributes:
        names: column by JSON name.
        key: columns of the entity key.
        order: the column by which the newest record of a key wins.
        sort: the columns by which our layout sorts.
        state: it has a table of current rows beside its history.
    """

    name: str
    names: dict[str, str]
    key: tuple[str, ...]
    order: str
    sort: tuple[str, ...]
    state: bool = True

    @property
    def records(self) -> str:
        """The table that has each distinct record once."""
        return f"{self.name}_history" if self.state else self.name

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.names.values())


_UPDATED = _COMMON | {"updatedAt": "updated_at"}
DATASETS = (
    Dataset(
        "fan_track_events",
        _COMMON | {"event": "event", "occurredAt": "occurred_at", "attributes": "attributes", "device": "device"},
        ("id",),
        "occurred_at",
        ("rover_id", "occurred_at"),
        state=False,
    ),
    Dataset("fan_profiles", _UPDATED | {"traits": "traits"}, ("rover_id",), "updated_at", ("rover_id",)),
    Dataset(
        "fan_identity_graph",
        _UPDATED
        | {"identifierType": "identifier_type", "identifierValue": "identifier_value", "operation": "operation"},
        ("identifier_type", "identifier_value"),
        "updated_at",
        ("identifier_type", "identifier_value"),
    ),
    Dataset(
        "fan_profile_merges",
        _COMMON | {"fromRoverID": "from_rover_id", "toRoverID": "to_rover_id", "mergedAt": "merged_at"},
        ("from_rover_id",),
        "merged_at",
        ("from_rover_id",),
    ),
)
MAPS = ("attributes", "device", "traits")


def kind(column: str) -> str:
    """The type of a column: `long`, `timestamp`, `map` or `string`."""
    if column == "version":
        return "long"
    if column in MAPS:
        return "map"
    return "timestamp" if column.endswith("_at") else "string"


def open_catalog(lake: Path) -> SqlCatalog:
    (lake / "warehouse").mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("peers", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}/warehouse")
    catalog.create_namespace_if_not_exists(NAMESPACE)
    return catalog


def create(catalog: SqlCatalog, tables: dict[str, Dataset], *, our_layout: bool) -> None:
    """Creates the tables that are missing. With our layout they have the compactor's partitions and sort order."""
    for name, dataset in tables.items():
        if catalog.table_exists((NAMESPACE, name)):
            continue
        schema = _schema(dataset)
        spec, order = UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER
        if our_layout:
            source = schema.find_field(dataset.order).field_id
            spec = PartitionSpec(PartitionField(source, 1000, DayTransform(), f"{dataset.order}_day"))
            ids = [schema.find_field(column).field_id for column in dataset.sort]
            order = SortOrder(*(SortField(each, transform=IdentityTransform()) for each in ids))
        catalog.create_table(
            (NAMESPACE, name),
            schema,
            partition_spec=spec,
            sort_order=order,
            properties={"format-version": "2", "write.parquet.compression-codec": "zstd"},
        )


def all_tables() -> dict[str, Dataset]:
    """Those of the compactor: a table of records for each dataset, and a current one for a dataset of state."""
    return {each.records: each for each in DATASETS} | current_tables()


def current_tables() -> dict[str, Dataset]:
    """One table for each dataset: events, and the current rows of the others."""
    return {each.name: each for each in DATASETS}


def _schema(dataset: Dataset) -> Schema:
    fields, number = [], len(dataset.columns)
    for position, column in enumerate(dataset.columns, start=1):
        type_: IcebergType = StringType()
        match kind(column):
            case "long":
                type_ = LongType()
            case "timestamp":
                type_ = TimestamptzType()
            case "map":
                type_ = MapType(number + 1, StringType(), number + 2, StringType(), value_required=False)
                number += 2
        fields.append(NestedField(position, column, type_, required=False))
    return Schema(*fields)

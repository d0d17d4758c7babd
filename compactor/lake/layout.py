"""How a table is laid out in Iceberg: the types of its columns, its partition spec and its sort order.

The registry says the layout in its own words (`TableLayout`, and (name, type, required) for each column).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, MonthTransform, Transform
from pyiceberg.types import NestedField

from compactor.errors import UsageError
from compactor.lake import outside
from compactor.lake.iceberg_type import iceberg_type
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset, TableLayout
from compactor.types.field_type import FieldType

_FIRST_PARTITION_ID = 1000  # where the specification lets the ids of partition fields begin


def iceberg_schema(columns: Sequence[tuple[str, FieldType, bool]], identifier: Sequence[str]) -> Schema:
    """The schema of a new table.

    Args:
        columns: (name, type, required), in order.
        identifier: the columns that identify a row.
    """
    nested = iter(range(len(columns) + 1, 10_000))
    fields = [
        NestedField(number, name, iceberg_type(kind, nested), required=required)
        for number, (name, kind, required) in enumerate(columns, 1)
    ]
    ids = [field.field_id for field in fields if field.name in identifier]
    return Schema(*fields, identifier_field_ids=ids)


def partition_spec(schema: Schema, layout: TableLayout) -> PartitionSpec:
    """The partition spec of a new table."""
    partition = layout.partition
    if partition.transform == "none" or partition.column is None:
        return UNPARTITIONED_PARTITION_SPEC
    transforms: dict[str, Transform[Any, Any]] = {"day": DayTransform(), "month": MonthTransform()}
    transform = transforms.get(partition.transform) or BucketTransform(partition.buckets or 16)
    source = schema.find_field(partition.column).field_id
    name = f"{partition.column}_{partition.transform}"
    return PartitionSpec(PartitionField(source, _FIRST_PARTITION_ID, transform, name))


def sort_order(schema: Schema, layout: TableLayout) -> SortOrder:
    """The sort order of a new table."""
    if not layout.sort:
        return UNSORTED_SORT_ORDER
    return SortOrder(*(SortField(schema.find_field(name).field_id, IdentityTransform()) for name in layout.sort))


@dataclass(frozen=True)
class MadeWith:
    """What a table was made with, by its columns' names of today, whatever another engine has changed since.

    Attributes:
        identifier: its identifier fields.
        day_of: the column whose day partitioned it; None for another partition.
    """

    identifier: tuple[str, ...]
    day_of: str | None


def made_with(table: Table) -> MadeWith:
    """What the oldest schema and the oldest partition spec of a table say."""
    metadata, today = table._iceberg.metadata, table._iceberg.schema()
    schema = min(metadata.schemas, key=lambda each: each.schema_id)
    spec = min(metadata.partition_specs, key=lambda each: each.spec_id)
    names = [today.find_column_name(number) for number in schema.identifier_field_ids]
    days = [field.source_id for field in spec.fields if isinstance(field.transform, DayTransform)]
    return MadeWith(
        identifier=tuple(name for name in names if name) if all(names) else (),
        day_of=today.find_column_name(days[0]) if len(days) == len(spec.fields) == 1 else None,
    )


def check_dataset(table: Table, dataset: Dataset) -> None:
    """Raises UsageError where one of the dataset's tables is not what the registry says of the table's version."""
    layout = dataset.current if table.name == dataset.current_table else dataset.history
    assert layout is not None
    schema = iceberg_schema(dataset.table_columns, ())
    check(table, schema, partition_spec(schema, layout))


def check(table: Table, schema: Schema, spec: PartitionSpec) -> None:
    """Raises UsageError where an existing table lacks a column, or has another type or partition, than expected.

    The table may have more columns, which another engine has added, as long as rows can be written beside them.
    """
    iceberg = table._iceberg
    today = iceberg.schema()
    found = {field.name: str(field.field_type) for field in today.fields}
    for field in schema.fields:
        if field.name not in found:
            raise UsageError(
                outside.absent(iceberg, field.name)
                or f"table {table.identifier} has no column '{field.name}', which the registry now lists in the version"
                " of the table; promote a field that came unannounced from `extra`, and list any other in a new version"
            )
        kind = str(field.field_type)
        if found[field.name] != kind:
            column = f"column '{field.name}' of table {table.identifier} is a {found[field.name]}"
            if outside.retyped(iceberg, field.name, kind):
                raise UsageError(
                    f"{column}, and another engine has made it so: it was a {kind}; go back to the table's metadata"
                    " from before (a backup of the catalog); or, for a table of records, list the new type in the"
                    " registry, and change the column of the dataset's other table too"
                )
            raise UsageError(
                f"{column}, but the registry says {kind}; put the old type back: a field changes its type by a new"
                " version (`retype`)"
            )
    if reason := outside.unusable(iceberg, [field.name for field in schema.fields]):
        raise UsageError(reason)
    there, expected = outside.words(today, iceberg.spec()), outside.words(schema, spec)
    if there != expected:
        found_out = f"table {table.identifier} is partitioned by {there}"
        if outside.repartitioned(iceberg, expected):
            raise UsageError(
                f"{found_out}, and another engine has made it so: it was {expected}; put the old partition back"
                f" (`ALTER TABLE {table.identifier} REPLACE PARTITION FIELD`, or ADD and DROP)"
            )
        raise UsageError(
            f"{found_out}, but the registry says {expected}; put the old partition back: the partition of a table does"
            " not change with the registry"
        )

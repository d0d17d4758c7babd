"""The columns of the tables of records: their names, their values from decoded rows, and the order of their rows."""

from __future__ import annotations

from collections.abc import Sequence

from compactor.duck.relations import Relation
from compactor.duck.sql import literal, quote
from compactor.registry.dataset import Dataset, Partition, TableLayout


def record_columns(dataset: Dataset) -> list[str]:
    """The columns of the dataset's tables, in order."""
    return [name for name, _, _ in dataset.table_columns]


def record_values(dataset: Dataset) -> list[str]:
    """SQL for each of the record columns, from a decoded row `r` and its file `f`."""
    values = [f"r.{quote(name)}" for name, _, _ in dataset.columns]
    return [*values, "r.extra", "f.source_file", "r.__line_no AS source_line"]


def columns_for_current(dataset: Dataset) -> Sequence[str]:
    """The columns that decide a record's place among its entity's records."""
    names = [*dataset.key, dataset.order, "id"]
    return list(dict.fromkeys([*names, dataset.delete.column] if dataset.delete else names))


def rows_to_write(layout: TableLayout, rows: Relation | str, bucket: str | None = None) -> str:
    """The statement that streams rows in the order of a table's files.

    Args:
        rows: a FROM item with the record columns, and those that another engine has added.
        bucket: the SQL function of Iceberg's bucket transform, for a layout that has one.
    """
    order = ", ".join(["__partition", *(quote(name) for name in layout.sort)])
    return f"SELECT *, {partition_value(layout.partition, bucket)} AS __partition FROM {rows} ORDER BY {order}"


def partition_value(partition: Partition, bucket: str | None) -> str:
    """SQL for a row's partition value, as Iceberg's transforms define it (days or months since 1970, murmur3)."""
    if partition.transform == "none" or partition.column is None:
        return "NULL::INTEGER"
    column = quote(partition.column)
    if partition.transform == "bucket":
        assert bucket is not None
        return f"{bucket}({column})"
    return f"date_diff({literal(partition.transform)}, DATE '1970-01-01', CAST({column} AS DATE))::INTEGER"

"""The columns of the tables of records: their names, and the partition of a row."""

from __future__ import annotations

from collections.abc import Sequence

from compactor.duck.sql import literal, quote
from compactor.registry.dataset import Dataset, Partition


def record_columns(dataset: Dataset) -> list[str]:
    """The columns of the dataset's tables, in order."""
    return [name for name, _, _ in dataset.table_columns]


def columns_for_current(dataset: Dataset) -> Sequence[str]:
    """The columns that decide a record's place among its entity's records."""
    names = [*dataset.key, dataset.order, "id"]
    return list(dict.fromkeys([*names, dataset.delete.column] if dataset.delete else names))


def partition_value(partition: Partition, bucket: str | None) -> str:
    """SQL for a row's partition value, as Iceberg's transforms define it (days or months since 1970, murmur3)."""
    if partition.transform == "none" or partition.column is None:
        return "NULL::INTEGER"
    column = quote(partition.column)
    if partition.transform == "bucket":
        assert bucket is not None
        return f"{bucket}({column})"
    return f"date_diff({literal(partition.transform)}, DATE '1970-01-01', CAST({column} AS DATE))::INTEGER"

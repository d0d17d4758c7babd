"""What another engine does to the columns, the partition and the sort order of a table."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from tests.support.lake import Lake

VALUES: dict[str, tuple[IcebergType, Any]] = {
    "f_string": (StringType(), "vip"),
    "F_Upper": (StringType(), "up"),
    'f spaced "quoted"': (StringType(), "odd"),
    "f_int": (IntegerType(), 7),
    "f_float": (FloatType(), 1.5),
    "f_decimal": (DecimalType(9, 2), Decimal("12.30")),
    "f_date": (DateType(), dt.date(2026, 1, 2)),
    "f_time": (TimeType(), dt.time(3, 4, 5, 6)),
    "f_timestamp": (TimestampType(), dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC).replace(tzinfo=None)),
    "f_timestamptz": (TimestamptzType(), dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC)),
    "f_binary": (BinaryType(), b"\x00\xff"),
    "f_fixed": (FixedType(3), b"abc"),
    "f_uuid": (UUIDType(), uuid.UUID(int=5)),
    "f_list": (ListType(100, StringType(), element_required=False), ["a", None, "b"]),
    "f_map": (MapType(101, StringType(), 102, LongType(), value_required=False), [("k", 1)]),
    "f_struct": (
        StructType(
            NestedField(103, "inner", StringType(), required=False),
            NestedField(104, "deep", ListType(105, IntegerType(), element_required=False), required=False),
        ),
        {"inner": "i", "deep": [1, 2]},
    ),
}
"""Columns of all kinds that another engine can add, each with a value."""


def open_table(lake: Lake, name: str) -> Table:
    return lake.catalog.load_table(f"{lake.config.namespace}.{name}")


def add_columns(lake: Lake, name: str, columns: dict[str, tuple[IcebergType, Any]], *, fill: bool = True) -> None:
    """Adds optional columns to a table and, with `fill`, gives them their values in all rows."""
    with open_table(lake, name).update_schema() as update:
        for column, (kind, _) in columns.items():
            update.add_column((column,), kind)
    table = open_table(lake, name)
    if not fill or table.current_snapshot() is None:
        return
    rows = table.scan().to_arrow()
    fields = {field.name: field.type for field in Schema(*table.schema().fields).as_arrow()}
    for column, (_, value) in columns.items():
        filled = pa.array([value] * rows.num_rows, fields[column])
        rows = rows.set_column(rows.schema.get_field_index(column), column, filled)
    table.overwrite(rows)


def values(lake: Lake, name: str, key: str, columns: dict[str, tuple[IcebergType, Any]]) -> dict[str, dict[str, Any]]:
    """The values of the columns in each row, by a column that identifies it."""
    rows = open_table(lake, name).scan().to_arrow().to_pylist()
    return {row[key]: {column: row[column] for column in columns} for row in rows}

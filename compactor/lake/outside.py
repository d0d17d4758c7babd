"""What another engine has changed in a table's columns or its partition, in words: for messages.

The metadata keep the schemas and the partition specs that a table has had, so they show whether a column that is
expected has been renamed, dropped or retyped since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import NestedField


def absent(table: IcebergTable, column: str) -> str | None:
    """Where a column is that the table has had, with the next step; None if it has never had one of that name."""
    name = ".".join(table.name())
    if now := renamed_to(table, column):
        return (
            f"column '{column}' of table {name} is called '{now}' now; another engine has renamed it: rename it back"
            f" (`ALTER TABLE {name} RENAME COLUMN {now} TO {column}`)"
        )
    past = next(_past(table, column), None)
    if past is None:
        return None
    return (
        f"another engine has dropped column '{column}' of table {name}; go back to the table's metadata from before (a"
        f" backup of the catalog), or add it again as a {past.field_type}: then the rows that are there have NULL in it"
    )


def renamed_to(table: IcebergTable, column: str) -> str | None:
    """The name of today of a column that once had this one."""
    past = next(_past(table, column), None)
    return table.schema().find_column_name(past.field_id) if past else None


def retyped(table: IcebergTable, column: str, expected: str) -> bool:
    """Whether a column has had the type that is expected of it, and another engine has changed it since."""
    today = table.schema().find_field(column)
    return any(past.field_id == today.field_id and str(past.field_type) == expected for past in _past(table, column))


def unusable(table: IcebergTable, known: Iterable[str]) -> str | None:
    """Why rows cannot be written beside a column that another engine has added, with the next step."""
    name, names = ".".join(table.name()), set(known)
    folded = {each.casefold() for each in names}
    for field in table.schema().fields:
        if field.name in names:
            continue
        column = f"table {name} has a column '{field.name}', which another engine has added"
        if field.required:
            return (
                f"{column} as a required one, and new rows have no value for it; make it optional (`ALTER TABLE {name}"
                f" ALTER COLUMN {field.name} DROP NOT NULL`), or drop it"
            )
        if field.name.startswith("__"):
            return f"{column}; names that begin with __ belong to this program: rename it"
        if field.name.casefold() in folded:
            return f"{column}, and one that is different only in upper and lower case: rename it"
        folded.add(field.name.casefold())
    return None


def repartitioned(table: IcebergTable, expected: str) -> bool:
    """Whether a table has had the partition that is expected of it, and another engine has changed it since."""
    return any(words(table.schema(), spec) == expected for spec in table.metadata.partition_specs)


def words(schema: Schema, spec: PartitionSpec) -> str:
    """A partition spec in words."""
    return (
        ", ".join(f"{field.transform}({schema.find_column_name(field.source_id)})" for field in spec.fields) or "none"
    )


def _past(table: IcebergTable, column: str) -> Iterator[NestedField]:
    """The fields of that name in the schemas that a table has had, the newest first."""
    for schema in sorted(table.metadata.schemas, key=lambda each: each.schema_id, reverse=True):
        yield from (field for field in schema.fields if field.name == column)

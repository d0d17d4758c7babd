"""The schema that a table is to have after a change of its columns.

A column is its field id, not its name. A column that keeps its id keeps its data in every file, whatever its name, so
most changes rewrite no file. A change that cannot be made in place, because files or engines would read wrong values,
is refused here. `rewrite` writes files for the new schema, `table_changes.change_columns` commits it. See
docs/design/0004-schema-migration.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, IcebergType, MapType, NestedField

from compactor.errors import UsageError
from compactor.lake.iceberg_type import iceberg_type
from compactor.lake.table import Table
from compactor.types.field_type import FieldType

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,254}")  # what Athena and Glue take


@dataclass(frozen=True)
class TargetColumn:
    """One column of the schema that a table is to have.

    Attributes:
        name: its new name.
        type: its type then. None: the one that it has, which only a column of today can have.
        required: it is never NULL.
        source: today's column whose field id and data it keeps: unchanged, renamed, moved or widened. None: the column
            is new, even if it has the name of a column that is dropped.
    """

    name: str
    type: FieldType | None
    required: bool
    source: str | None


def evolved_schema(
    table: Table, columns: Sequence[TargetColumn], *, rewritten: bool = False, identifier: Sequence[str] | None = None
) -> Schema:
    """The schema that a table is to have: columns that stay keep their field ids, new ones get ids never used before.

    Args:
        columns: all columns, in order. A column of today that is the source of none of them is dropped.
        rewritten: all files are rewritten, so that new columns may be required.
        identifier: the columns that identify a row then, by their new names. None: the fields that do so today.
            Iceberg allows required columns alone: if one is not, the table has no identifier fields.

    Raises:
        UsageError: files or engines would read wrong values after the change; nothing was changed.
    """
    today = table._iceberg.schema()
    ids = itertools.count(table._iceberg.metadata.last_column_id + 1)
    _check_names(table, columns)
    fields: list[NestedField] = []
    leaving = set() if identifier is None else set(today.identifier_field_ids)
    for column in columns:
        if column.source is None:
            assert column.type is not None
            if column.required and not rewritten:
                raise _refused(
                    table, column.name, "is new and required, but the rows of today have no value; make it optional"
                )
            fields.append(NestedField(next(ids), column.name, iceberg_type(column.type, ids), required=column.required))
            continue
        found = next((field for field in today.fields if field.name == column.source), None)
        if found is None:
            raise _refused(table, column.name, f"is to keep the data of '{column.source}', which is not a column today")
        fields.append(_kept(table, found, column, leaving))
    identifiers = list(today.identifier_field_ids)
    if identifier is not None:
        chosen = [field for field in fields if field.name in identifier]
        identifiers = [field.field_id for field in chosen] if all(field.required for field in chosen) else []
    _check_dropped(table, {field.field_id for field in fields}, leaving)
    return Schema(*fields, identifier_field_ids=identifiers)


def _check_names(table: Table, columns: Sequence[TargetColumn]) -> None:
    partitions = {field.name for spec in table._iceberg.specs().values() for field in spec.fields}
    names: set[str] = set()
    sources: set[str] = set()
    for column in columns:
        if column.type is not None and not _NAME.fullmatch(column.name):
            raise _refused(
                table, column.name, "has a name that not all engines accept; use a to z, 0 to 9 and _, at most 255"
            )
        if column.name in names:
            raise _refused(table, column.name, "is a duplicate; rename one of them")
        if column.source in sources:
            raise _refused(
                table, column.name, f"has the source '{column.source}', as another has; make one of them new"
            )
        if column.name in partitions and column.name != column.source:
            raise _refused(table, column.name, "has the name of a partition field; choose another")
        names.add(column.name)
        if column.source is not None:
            sources.add(column.source)


def _kept(table: Table, field: NestedField, column: TargetColumn, leaving: set[int]) -> NestedField:
    """Today's field under its new name, widened or made optional where the column says so.

    Args:
        leaving: the ids of the fields that identify a row today and will not.
    """
    if column.type is None:
        return field.model_copy(update={"name": column.name})
    kind = iceberg_type(column.type, itertools.count())
    same = isinstance(kind, MapType) and str(field.field_type).startswith("map<string, string>")
    if same:
        kind = field.field_type  # its nested ids
    elif str(kind) != str(field.field_type) and not _widens(field.field_type, kind):
        raise _refused(
            table,
            column.name,
            f"cannot become a {kind} in place, because it is a {field.field_type} in the files;"
            " make it a new column, filled by a rewrite",
        )
    if column.required and not field.required:
        raise _refused(table, column.name, "cannot become required in place: there may be NULLs; leave it optional")
    if not column.required and field.field_id in {*table._iceberg.schema().identifier_field_ids} - leaving:
        raise _refused(table, column.name, "is an identifier field of the table; leave it required")
    return field.model_copy(update={"name": column.name, "field_type": kind, "required": column.required})


def _widens(today: IcebergType, then: IcebergType) -> bool:
    """Whether a type only gets more digits. A change of scale does not count: filters would then lose rows."""
    return (
        isinstance(today, DecimalType)
        and isinstance(then, DecimalType)
        and then.scale == today.scale
        and then.precision > today.precision
    )


def _check_dropped(table: Table, kept: set[int], leaving: set[int]) -> None:
    iceberg = table._iceberg
    roles = {field.source_id: "sorts the table" for field in iceberg.sort_order().fields}
    # All partition specs that the table has had: as long as the metadata lists one, it must find its column.
    roles |= {field.source_id: "partitions the table" for spec in iceberg.specs().values() for field in spec.fields}
    roles |= dict.fromkeys({*iceberg.schema().identifier_field_ids} - leaving, "is an identifier field of the table")
    for field in iceberg.schema().fields:
        if field.field_id not in kept and field.field_id in roles:
            raise _refused(table, field.name, f"{roles[field.field_id]}; keep it, with its type")


def _refused(table: Table, column: str, reason: str) -> UsageError:
    return UsageError(f"table {table.identifier}: column '{column}' {reason}")

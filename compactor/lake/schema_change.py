"""A table's columns, changed: the schema it is to have, and its files rewritten for it where their data must change.

A column is its field id, not its name: what keeps the id keeps its data, in every file, whatever it is called, so most
changes rewrite nothing. What must not be done in place, because files or engines would read wrong, is refused here.
`Table.reshape` commits the result. See docs/design/0004-schema-migration.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from compactor.errors import UsageError
from compactor.lake.table import DataFile, Table

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,254}")  # what Athena and Glue take


@dataclass(frozen=True)
class TargetColumn:
    """One column of the shape a table is to have, in order.

    Attributes:
        name: its name then.
        type: a type of the registry: string, long, double, boolean, timestamp, date, decimal(P,S) or map.
        required: it is never NULL.
        source: today's column whose field id and data it keeps: unchanged, renamed, moved or widened. None: it is new,
            even if it has the name of a column that goes.
    """

    name: str
    type: str
    required: bool
    source: str | None


def iceberg_type(kind: str, ids: Iterator[int]) -> IcebergType:
    """A registry type as Iceberg has it; `ids` numbers what is nested in it."""
    if kind.startswith("decimal("):
        precision, scale = kind.removeprefix("decimal(").removesuffix(")").split(",")
        return DecimalType(int(precision), int(scale))
    if kind == "map":
        return MapType(next(ids), StringType(), next(ids), StringType(), value_required=False)
    simple: dict[str, IcebergType] = {
        "string": StringType(),
        "long": LongType(),
        "double": DoubleType(),
        "boolean": BooleanType(),
        "timestamp": TimestamptzType(),
        "date": DateType(),
    }
    return simple[kind]


def evolved_schema(table: Table, columns: Sequence[TargetColumn], *, rewritten: bool = False) -> Schema:
    """The schema that a table is to have: the field ids of what stays, ids never used before for what is new.

    Args:
        columns: all columns, in order. Today's columns that none of them has as its source are dropped.
        rewritten: all files are rewritten, so that new columns may be required.

    Raises:
        UsageError: the change would make files or engines read wrong; nothing was changed.
    """
    today = table.iceberg.schema()
    ids = itertools.count(table.iceberg.metadata.last_column_id + 1)
    _check_names(table, columns)
    fields: list[NestedField] = []
    for column in columns:
        if column.source is None:
            if column.required and not rewritten:
                raise _refused(table, column.name, "is new and required: rows of today have no value; make it optional")
            fields.append(NestedField(next(ids), column.name, iceberg_type(column.type, ids), required=column.required))
            continue
        found = next((field for field in today.fields if field.name == column.source), None)
        if found is None:
            raise _refused(table, column.name, f"is to keep the data of '{column.source}', which is no column today")
        fields.append(_kept(table, found, column))
    _check_dropped(table, {field.field_id for field in fields})
    return Schema(*fields, identifier_field_ids=today.identifier_field_ids)


def _check_names(table: Table, columns: Sequence[TargetColumn]) -> None:
    partitions = {field.name for spec in table.iceberg.specs().values() for field in spec.fields}
    names: set[str] = set()
    sources: set[str] = set()
    for column in columns:
        if not _NAME.fullmatch(column.name):
            raise _refused(
                table, column.name, "has a name that not all engines take; use a to z, 0 to 9 and _, at most 255"
            )
        if column.name in names:
            raise _refused(table, column.name, "is there twice; rename one of them")
        if column.source in sources:
            raise _refused(table, column.name, f"has the source '{column.source}', as another has; take one as new")
        if column.name in partitions and column.name != column.source:
            raise _refused(table, column.name, "has the name of a partition field; choose another")
        names.add(column.name)
        if column.source is not None:
            sources.add(column.source)


def _kept(table: Table, field: NestedField, column: TargetColumn) -> NestedField:
    """The field of today under its new name, widened or made optional where that is asked."""
    kind = iceberg_type(column.type, itertools.count())
    same = isinstance(kind, MapType) and str(field.field_type).startswith("map<string, string>")
    if same:
        kind = field.field_type  # its nested ids
    elif str(kind) != str(field.field_type) and not _widens(field.field_type, kind):
        raise _refused(
            table,
            column.name,
            f"cannot become a {kind} in place, as it is a {field.field_type} in the files;"
            " make it a new column, filled by a rewrite",
        )
    if column.required and not field.required:
        raise _refused(table, column.name, "cannot become required in place: there may be NULLs; leave it optional")
    if not column.required and field.field_id in table.iceberg.schema().identifier_field_ids:
        raise _refused(table, column.name, "is an identifier field of the table; leave it required")
    return field.model_copy(update={"name": column.name, "field_type": kind, "required": column.required})


def _widens(today: IcebergType, then: IcebergType) -> bool:
    """Whether a type only gets more digits. A change of scale is no such change: filters would then lose rows."""
    return (
        isinstance(today, DecimalType)
        and isinstance(then, DecimalType)
        and then.scale == today.scale
        and then.precision > today.precision
    )


def _check_dropped(table: Table, kept: set[int]) -> None:
    iceberg = table.iceberg
    roles = {field.source_id: "sorts the table" for field in iceberg.sort_order().fields}
    # All partition specs that the table has had: each must find its column as long as the metadata has it.
    roles |= {field.source_id: "partitions the table" for spec in iceberg.specs().values() for field in spec.fields}
    roles |= dict.fromkeys(iceberg.schema().identifier_field_ids, "is an identifier field of the table")
    for field in iceberg.schema().fields:
        if field.field_id not in kept and field.field_id in roles:
            raise _refused(table, field.name, f"{roles[field.field_id]}: keep it, with its type")


def _refused(table: Table, column: str, reason: str) -> UsageError:
    return UsageError(f"table {table.identifier}: column '{column}' {reason}")


def rewrite(
    table: Table,
    schema: Schema,
    files: Sequence[DataFile],
    transform: Callable[[pa.RecordBatchReader], pa.RecordBatchReader],
    *,
    target_bytes: int,
    bloom_columns: Sequence[str],
    on_progress: Callable[[int, int], None],
) -> list[DataFile]:
    """Writes the rows of data files anew, with the columns of `schema`. Returns the new files, which nothing names yet.

    Each file is read as a stream, so that memory holds a row group that is read, one
    that is written, and a few batches. Its rows keep their partition
    and order, and are not mixed with those of another file: what is sorted stays sorted.

    Args:
        files: of the table's current snapshot.
        transform: called once for each file: batches with today's columns, rows deleted since left out, in; batches
            with the columns of `schema`, in any order, out. It keeps the order of rows, and may drop some. It must not
            change what a row's partition is made from.
        target_bytes: see `DataFileWriter`; so is `bloom_columns`, by their new names.
        on_progress: told, from the calling thread, the number of files done and of rows written.

    Raises:
        ConflictError: a file is not in the table's current snapshot; plan again.
        UsageError: a file has another partition than the table.
        Exception: what the storage or `transform` raises. Files written so far are deleted, in each case.
    """
    added: list[DataFile] = []
    rows = 0
    try:
        for done, file in enumerate(files):
            if file.spec_id != table.iceberg.metadata.default_spec_id:
                raise UsageError(
                    f"{table.identifier} has files of an earlier partition; let an engine rewrite them, then run again"
                )

            def counted(batches: pa.RecordBatchReader, done: int = done) -> Iterator[pa.RecordBatch]:
                nonlocal rows
                for batch in batches:
                    yield batch
                    rows += batch.num_rows
                    on_progress(done, rows)

            source = table.stream(file)
            with table.writer(
                target_bytes=target_bytes, bloom_columns=bloom_columns, schema=schema, like=file
            ) as writer:
                added += writer.write_all(counted(transform(source)))
            on_progress(done + 1, rows)
    except BaseException:
        table.discard(added)
        raise
    return added

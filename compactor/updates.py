"""What a change of a table's shape tells the catalog: pure functions of the metadata that was loaded.

PyIceberg's own `update_schema` cannot drop and add a column of one name, cannot go back to an earlier schema, and
commits by itself; these make the updates of one commit, for `table` to stage together with a change of files.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertRefSnapshotId,
    RemovePropertiesUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
)

# Table properties for other engines that end with a column's name.
_OF_COLUMN = ("write.parquet.bloom-filter-enabled.column.", "write.metadata.metrics.column.")


def as_loaded(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    """The table must be as it was loaded: its rows, its partition, its columns. The library adds its UUID."""
    snapshot = metadata.current_snapshot()
    return (
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=snapshot.snapshot_id if snapshot else None),
        AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
        AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
        AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),
    )


def to_schema(metadata: TableMetadata, schema: Schema) -> tuple[TableUpdate, ...]:
    """Makes a schema the current one. One that the table has had keeps its id, as the specification asks.

    PyIceberg adds whatever schema it is given, under whatever id: two of the same id would hide one another.
    """
    known = next((each for each in metadata.schemas if each == schema), None)
    if known is not None:
        return (SetCurrentSchemaUpdate(schema_id=known.schema_id),)
    new_id = max(each.schema_id for each in metadata.schemas) + 1
    # -1 is the schema that was added last, whatever id a REST catalog gives it.
    added = Schema(*schema.fields, schema_id=new_id, identifier_field_ids=schema.identifier_field_ids)
    return (AddSchemaUpdate(schema_=added), SetCurrentSchemaUpdate(schema_id=-1))


def to_properties(
    metadata: TableMetadata, schema: Schema, properties: Mapping[str, str | None]
) -> tuple[TableUpdate, ...]:
    """Sets properties, and removes those that are None. Those that name a column follow it to `schema`."""
    changes = {**_of_columns(metadata, schema), **properties}
    gone = [name for name, value in changes.items() if value is None and name in metadata.properties]
    kept = {name: value for name, value in changes.items() if value is not None}
    return (RemovePropertiesUpdate(removals=gone), SetPropertiesUpdate(updates=kept))


def _of_columns(metadata: TableMetadata, schema: Schema) -> dict[str, str | None]:
    """What becomes of the properties that name a column which has another name in `schema`, or none."""
    names = {field.name: schema.find_column_name(field.field_id) for field in metadata.schema().fields}
    taken = set(schema.column_names)
    gone: dict[str, str | None] = {}
    moved: dict[str, str | None] = {}
    for prefix in _OF_COLUMN:
        for name, new_name in names.items():
            value = metadata.properties.get(prefix + name)
            # A column that went, with another in place of it: what holds for the name still holds.
            if value is None or new_name == name or (new_name is None and name in taken):
                continue
            gone[prefix + name] = None
            if new_name is not None:
                moved[prefix + new_name] = value
    return {**gone, **moved}

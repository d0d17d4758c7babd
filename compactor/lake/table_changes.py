"""Changes of a table other than new rows: its columns, a way back, its tags, its snapshots.

Each is one commit, under the same rule as a commit of files: the table must still be as it was loaded. So each raises,
besides what is said at it:

    ConflictError    another commit came first. Nothing of this one was published; load the table again.
    CompactorError   the catalog failed and the commit did not land; new data files must be left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.update import RemoveSnapshotRefUpdate, SetCurrentSchemaUpdate, SetPropertiesUpdate

from compactor.errors import ConflictError, UsageError
from compactor.lake import commits
from compactor.lake.table import COMMIT_ID, DataFile, Schema, Table

CHANGE_ID = "compactor.reshape-id"
"""A table property: the id of the last change of columns, which may have made no snapshot."""
_EMPTY_AT_TAG = "compactor.empty-at-tag."  # a table property, where there is no snapshot yet that a tag could name


def change_columns(
    table: Table,
    schema: Schema,
    add: Iterable[DataFile],
    remove: Iterable[DataFile],
    *,
    properties: Mapping[str, str | None],
    summary: Mapping[str, str],
    commit_id: str,
    snapshot: bool = False,
) -> int | None:
    """Changes the columns, and files where some are given, in one commit. Returns the snapshot's id, if any.

    Args:
        schema: what `schema_change.evolved_schema` made of this table's schema.
        add: files of that schema, in place of `remove`. Without either, no snapshot is made.
        properties: table properties to set; None removes one.
        summary: properties of the snapshot.
        snapshot: make one in any case. Then who has loaded the table before has a conflict with this change even if
            it leaves columns and files as they are.
    """
    transaction = commits.transaction(table._iceberg)
    metadata = table._iceberg.metadata
    marked = {**properties, CHANGE_ID: commit_id}
    transaction._stage(
        (*commits.to_schema(metadata, schema), *commits.to_properties(metadata, schema, marked)),
        commits.as_loaded(metadata),
    )
    add, remove = list(add), list(remove)
    producer = None
    if add or remove or snapshot:  # planned on the staged columns: snapshot and manifests are to name the new schema
        producer = commits.replace(transaction, add, remove, {**summary, COMMIT_ID: commit_id})
    commits.publish(transaction, producer, lambda: _is_marked(table, commit_id))
    return producer.snapshot_id if producer else None


def set_properties(table: Table, properties: Mapping[str, str | None], *, commit_id: str) -> None:
    """Sets table properties; None removes one."""
    change_columns(table, table.iceberg_schema, [], [], properties=properties, summary={}, commit_id=commit_id)


def roll_back(
    table: Table, tag_name: str, *, schema_id: int, properties: Mapping[str, str | None], commit_id: str
) -> None:
    """Goes back to the rows that a tag was put on and to a schema that the table has had, in one commit.

    What was committed after the tag is no longer in the table, and the tag stays.

    Raises UsageError where the table has no such tag, or never had that schema.
    """
    metadata = table._iceberg.metadata
    schema = metadata.schema_by_id(schema_id)
    if schema is None:
        raise UsageError(f"{table.identifier} has no schema {schema_id}; choose one that it has had")
    snapshot_id = table.tagged(tag_name)
    if not _is_tagged(table, tag_name, snapshot_id):
        raise UsageError(f"{table.identifier} has no tag '{tag_name}'; choose one that it has")
    transaction = commits.transaction(table._iceberg)
    if snapshot_id is None:
        rows: Any = (RemoveSnapshotRefUpdate(ref_name=MAIN_BRANCH),)
    else:
        rows, _ = transaction._set_ref_snapshot(snapshot_id, MAIN_BRANCH, SnapshotRefType.BRANCH)
    marked = {**properties, CHANGE_ID: commit_id}
    transaction._stage(
        (*rows, SetCurrentSchemaUpdate(schema_id=schema_id), *commits.to_properties(metadata, schema, marked)),
        commits.as_loaded(metadata),
    )
    commits.publish(transaction, None, lambda: _is_marked(table, commit_id))


def empty(table: Table, *, commit_id: str) -> None:
    """Takes all rows out of a table without reading any of its files: for one whose manifests are damaged.

    Its snapshots stay in the metadata. None of them is the current one.
    """
    transaction = commits.transaction(table._iceberg)
    changes = (RemoveSnapshotRefUpdate(ref_name=MAIN_BRANCH), SetPropertiesUpdate(updates={CHANGE_ID: commit_id}))
    transaction._stage(changes, commits.as_loaded(table._iceberg.metadata))
    commits.publish(transaction, None, lambda: _is_marked(table, commit_id))


def tag(table: Table, name: str) -> int | None:
    """Tags the current snapshot, so that it can be read and gone back to. Returns its id; None without rows yet.

    Idempotent. Raises UsageError where the tag is on another snapshot.
    """
    snapshot_id = table.snapshot_id
    if _is_tagged(table, name, snapshot_id):
        return snapshot_id
    if name in table._iceberg.metadata.refs or _is_tagged(table, name, None):
        raise UsageError(f"{table.identifier} has a tag '{name}' on another snapshot; choose another name")
    transaction = commits.transaction(table._iceberg)
    required: tuple[Any, ...] = commits.as_loaded(table._iceberg.metadata)
    if snapshot_id is None:
        changes: Any = (SetPropertiesUpdate(updates={_EMPTY_AT_TAG + name: "true"}),)
    else:
        changes, absent = transaction._set_ref_snapshot(snapshot_id, name, SnapshotRefType.TAG)
        required += absent
    transaction._stage(changes, required)
    commits.publish(transaction, None, lambda: _is_tagged(table.reload(), name, snapshot_id))
    return snapshot_id


def forget_snapshots(table: Table, snapshot_ids: Iterable[int]) -> None:
    """Takes snapshots out of the metadata, except those that a branch or a tag is on. Deletes no file."""
    named = {ref.snapshot_id for ref in table._iceberg.metadata.refs.values()}
    try:
        table._iceberg.maintenance.expire_snapshots().by_ids([n for n in snapshot_ids if n not in named]).commit()
    except CommitFailedException as error:
        raise ConflictError(f"{table.identifier}: another writer committed first") from error


def _is_tagged(table: Table, name: str, snapshot_id: int | None) -> bool:
    if snapshot_id is None:
        return _EMPTY_AT_TAG + name in table.properties
    return table.tagged(name) == snapshot_id


def _is_marked(table: Table, commit_id: str) -> bool:
    """Whether the catalog has the change of columns."""
    return table.reload().properties.get(CHANGE_ID) == commit_id

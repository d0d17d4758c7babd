"""What a commit sends to the catalog, and how it is found out whether the commit landed.

`Table.commit` and `table_changes` put these together. The updates and requirements are made by pure functions of the
metadata that was loaded. PyIceberg's own `update_schema` cannot drop and add a column of one name, cannot go back to an
earlier schema, and commits by itself.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertRefSnapshotId,
    RemovePropertiesUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
    UpdatesAndRequirements,
)
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles

from compactor import diagnose
from compactor.errors import CompactorError, ConflictError
from compactor.lake import content

log = logging.getLogger(__name__)
# It announces a retry before `Replace` refuses it; the caller that plans again logs what really happens.
logging.getLogger("pyiceberg.table").setLevel(logging.ERROR)

_MANIFEST_TARGET_BYTES = 8 << 20
_MANIFESTS_BEFORE_MERGE = 20
# Table properties for other engines that end with a column's name.
_OF_COLUMN = ("write.parquet.bloom-filter-enabled.column.", "write.metadata.metrics.column.")


def as_loaded(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    """The table must still be as it was loaded: rows, partition, columns. The library adds the table's UUID."""
    snapshot = metadata.current_snapshot()
    return (
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=snapshot.snapshot_id if snapshot else None),
        AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
        AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
        AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),
    )


def to_schema(metadata: TableMetadata, schema: Schema) -> tuple[TableUpdate, ...]:
    """Makes a schema the current one. One that the table has had keeps its id, as the specification asks.

    PyIceberg adds any schema under any id: two schemas with the same id would hide one another.
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
    """The changes of the properties that name a column which has another name in `schema`, or none."""
    names = {field.name: schema.find_column_name(field.field_id) for field in metadata.schema().fields}
    taken = set(schema.column_names)
    gone: dict[str, str | None] = {}
    moved: dict[str, str | None] = {}
    for prefix in _OF_COLUMN:
        for name, new_name in names.items():
            value = metadata.properties.get(prefix + name)
            # The column was dropped and another has its name: the property still holds for the name.
            if value is None or new_name == name or (new_name is None and name in taken):
                continue
            gone[prefix + name] = None
            if new_name is not None:
                moved[prefix + new_name] = value
    return {**gone, **moved}


class _Transaction(Transaction):
    """PyIceberg's, which copies all metadata each time that they are asked for: some twenty times per commit."""

    _seen: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        if not self._updates:
            return self._table.metadata
        if self._seen is None or self._seen[0] is not self._updates:
            self._seen = (self._updates, super().table_metadata)
        return self._seen[1]


def transaction(table: Table) -> Transaction:
    """Opens a transaction on a table as it was loaded. That stays as it is: PyIceberg would change it by the commit."""
    return _Transaction(copy.copy(table))


class Replace(_OverwriteFiles):
    """An overwrite that never rebases by itself, keeps manifests few, and never has an earlier time than the last."""

    def _commit(self) -> UpdatesAndRequirements:
        # A clock can be set back. Iceberg's Java library (Trino, Spark, Athena) refuses to load a table whose snapshots
        # or metadata versions go back by more than a minute; PyIceberg does not check this.
        updates, requirements = super()._commit()
        earliest = self._transaction.table_metadata.last_updated_ms + 1
        return tuple(_not_before(earliest, update) for update in updates), requirements

    def _refresh_for_retry(self) -> None:
        raise CommitFailedException("the table has changed since this commit was planned")

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        # The library's manager groups manifests by partition spec alone and writes each group as one data manifest.
        # A delete manifest of another engine among them would turn its delete files into data files.
        data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
        deletes = [manifest for manifest in manifests if manifest.content == ManifestContent.DELETES]
        manager: _ManifestMergeManager[_OverwriteFiles] = _ManifestMergeManager(
            target_size_bytes=_MANIFEST_TARGET_BYTES,
            min_count_to_merge=_MANIFESTS_BEFORE_MERGE,
            merge_enabled=True,
            snapshot_producer=self,
        )
        return [*manager.merge_manifests(data), *deletes]


def _not_before(earliest: int, update: TableUpdate) -> TableUpdate:
    if isinstance(update, AddSnapshotUpdate):
        snapshot = update.snapshot
        time = {"timestamp_ms": max(snapshot.timestamp_ms, earliest)}
        return AddSnapshotUpdate(snapshot=snapshot.model_copy(update=time))
    return update


def replace(
    transaction: Transaction, add: Iterable[DataFile], remove: Iterable[DataFile], properties: dict[str, str]
) -> Replace:
    """A change of files. Its snapshot and manifests name the schema that is staged in the transaction."""
    add = list(add)
    properties = {**properties, **content.properties(add)}
    producer = Replace(
        Operation.OVERWRITE, transaction=transaction, io=transaction._table.io, snapshot_properties=properties
    )
    for file in remove:
        producer.delete_data_file(file)
    for file in add:
        producer.append_data_file(file)
    return producer


def publish(transaction: Transaction, producer: Replace | None, landed: Callable[[], bool]) -> None:
    """Commits what is staged, and a change of files.

    Args:
        landed: asks the catalog again whether the commit is in place.

    Raises:
        ConflictError: another commit came first. Nothing of this one was published; its data files may be deleted.
        CompactorError: the catalog failed and the commit did not land; its data files must be left alone.
    """
    name = ".".join(transaction._table.name())
    try:
        if producer:
            producer.commit()
        transaction.commit_transaction()
    except Exception as error:
        # The answer was lost or the catalog failed: only a fresh load shows whether the commit landed. Even a conflict
        # can be with this commit itself, if the transport sent the request again after a lost answer.
        conflict = isinstance(error, CommitFailedException | ValidationException)
        reason = "conflict" if conflict else diagnose.reason(error) or type(error).__name__
        try:
            done = landed()
        except Exception:  # noqa: BLE001  no failure of the check says anything about the commit
            raise CompactorError(
                f"{name}: the commit failed ({reason}) and the catalog does not say whether it landed;"
                " run again when the catalog answers: that run finds out"
            ) from error
        if done:
            log.warning("%s: the catalog failed after applying the commit; it is in place", name)
        elif conflict:
            raise ConflictError(f"{name}: another writer committed first") from error
        else:
            raise CompactorError(
                f"{name}: the commit failed ({reason}); nothing of it was published, run again"
            ) from error

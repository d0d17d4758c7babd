"""The tables, as the rest of the program sees them: load, scan, commit.

All that is private to PyIceberg 0.12 and that we rely on is here, in `commits` and in `datafile`, held by tests.

A commit replaces files: `remove` leaves, `add` arrives, in one snapshot, if and only if the table is still at the
metadata that was loaded to plan it. There is no rebasing: after a conflict the caller plans again from a fresh load,
because a plan says what is new *relative to what it saw*. A change of columns (`reshape`) and its undoing
(`roll_back`) are commits under the same rule.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, In
from pyiceberg.io.pyarrow import ArrowScan, _read_all_delete_files
from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update import (
    RemoveSnapshotRefUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
)
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import PrimitiveType, TimestamptzType
from pyiceberg.utils.datetime import micros_to_timestamptz

from compactor.errors import CompactorError, ConflictError, MissingTableError, UsageError
from compactor.lake import commits
from compactor.lake.parquet import DataFileWriter, arrow_schema, by_row_group

# DataFile, Schema and Snapshot: what callers hand from a scan to a commit.
__all__ = ["COMMIT_ID", "RESHAPE_ID", "RUN_ID", "DataFile", "Scan", "Schema", "Snapshot", "Table", "summary"]

log = logging.getLogger(__name__)

COMMIT_ID = "compactor.commit-id"
RUN_ID = "compactor.run-id"
RESHAPE_ID = "compactor.reshape-id"  # a table property: the last change of columns, which may have made no snapshot
_EMPTY_AT_TAG = "compactor.empty-at-tag."  # a table property, for want of a snapshot that a tag could name
FILE_COLUMN = "_file"


@dataclass(frozen=True)
class Scan:
    """A stream of rows: the asked columns and, if asked for, `_file`, the number of the row's file in `files`."""

    batches: pa.RecordBatchReader
    files: Sequence[DataFile]
    has_deletes: bool = False  # another engine has deleted rows by position: files have more rows than they show


class Table:
    """One Iceberg table at one version of its metadata. Load again to see more."""

    def __init__(self, catalog: Catalog, identifier: str) -> None:
        self._catalog = catalog
        self.identifier = identifier
        try:
            self.iceberg: IcebergTable = catalog.load_table(identifier)
        except NoSuchTableError as error:
            raise MissingTableError(f"table {identifier} does not exist yet; run `compactor compact` first") from error
        self._tasks: list[FileScanTask] | None = None

    def reload(self) -> Table:
        return Table(self._catalog, self.identifier)

    @property
    def name(self) -> str:
        return self.identifier.rsplit(".", 1)[-1]

    @property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema, without field ids."""
        return pa.schema([(field.name, field.type) for field in arrow_schema(self.iceberg.schema())])

    @property
    def snapshot_id(self) -> int | None:
        snapshot = self.iceberg.current_snapshot()
        return snapshot.snapshot_id if snapshot else None

    @property
    def schema_id(self) -> int:
        return self.iceberg.metadata.current_schema_id

    @property
    def properties(self) -> Mapping[str, str]:
        return self.iceberg.metadata.properties

    def at(self, snapshot_id: int) -> Table:
        """The table as a snapshot left it, with the columns of that time, to read. A commit on it is a conflict.

        Columns that changed in place after the snapshot, before the next one, have their names from before.
        Raises CompactorError where the snapshot is no longer kept.
        """
        now = self.iceberg
        snapshot = now.metadata.snapshot_by_id(snapshot_id)
        if snapshot is None:
            raise CompactorError(
                f"{self.identifier}: snapshot {snapshot_id} is no longer kept; choose one that the table still has"
            )
        schema_id = now.metadata.current_schema_id if snapshot.schema_id is None else snapshot.schema_id
        # The library would bind a filter to today's columns.
        metadata = now.metadata.model_copy(update={"current_snapshot_id": snapshot_id, "current_schema_id": schema_id})
        past = copy.copy(self)
        past.iceberg = IcebergTable(now.name(), metadata, now.metadata_location, now.io, now.catalog)
        past._tasks = None
        return past

    @property
    def files(self) -> list[DataFile]:
        return [task.file for task in self._all_tasks()]

    @property
    def has_deletes(self) -> bool:
        """Whether another engine has deleted rows by position or value: files have more rows than they show."""
        return any(task.delete_files for task in self._all_tasks())

    def _all_tasks(self) -> list[FileScanTask]:
        if self._tasks is None:
            self._tasks = list(self.iceberg.scan().plan_files())
        return self._tasks

    def scan(
        self,
        columns: Sequence[str],
        *,
        where: Mapping[str, Sequence[str] | str] | None = None,
        paths: Iterable[str] | None = None,
        with_file: bool = False,
        snapshot_id: int | None = None,
    ) -> Scan:
        """Streams columns of the table, file by file, so that memory holds a few batches whatever the table's size.

        Args:
            columns: names, in the order wanted.
            where: only rows whose column is the value, or one of the values; files that cannot hold such rows are
                not opened.
            paths: only these data files.
            with_file: adds `_file` int32.
            snapshot_id: reads the table as that snapshot left it, columns by their names of that time (see `at`).
        """
        if snapshot_id is not None:
            return self.at(snapshot_id).scan(columns, where=where, paths=paths, with_file=with_file)
        row_filter: BooleanExpression = AlwaysTrue()
        for name, value in (where or {}).items():
            row_filter = And(
                row_filter, EqualTo(term=name, value=value) if isinstance(value, str) else In(term=name, literals=value)
            )
        tasks = list(self.iceberg.scan(row_filter=row_filter).plan_files()) if where else self._all_tasks()
        if paths is not None:
            wanted = set(paths)
            tasks = [task for task in tasks if task.file.file_path in wanted]
        return self._scan_tasks(columns, tasks, row_filter, with_file=with_file)

    def scan_files(self, columns: Sequence[str], files: Iterable[DataFile]) -> Scan:
        """Streams columns of given data files, also of files that the current snapshot no longer has."""
        return self._scan_tasks(columns, [FileScanTask(file) for file in files], AlwaysTrue(), with_file=False)

    def stream(self, file: DataFile) -> pa.RecordBatchReader:
        """All rows of one file, in its order, a row group at a time: `scan` reads far ahead, the more the larger it is.

        Raises ConflictError where the table does not have the file.
        """
        tasks = [task for task in self._all_tasks() if task.file.file_path == file.file_path]
        if not tasks:
            raise ConflictError(f"{self.identifier}: a file to read is no longer in the table; load it again")
        return self._scan_tasks(self.schema.names, tasks, AlwaysTrue(), with_file=False, ahead=False).batches

    def _scan_tasks(
        self,
        columns: Sequence[str],
        tasks: list[FileScanTask],
        row_filter: BooleanExpression,
        *,
        with_file: bool,
        ahead: bool = True,
    ) -> Scan:
        table = self.iceberg
        fields = [pa.field(name, self.schema.field(name).type) for name in columns]
        schema = pa.schema([*fields, pa.field(FILE_COLUMN, pa.int32())] if with_file else fields)
        reader = ArrowScan(table.metadata, table.io, table.schema().select(*columns), row_filter)
        deletes = _read_all_delete_files(table.io, tasks)

        def batches() -> Iterator[pa.RecordBatch]:
            for number, task in enumerate(tasks):
                # The library's public reader loads each file whole; its inner generator streams it.
                found = (
                    reader._record_batches_from_scan_tasks_and_deletes([task], deletes)
                    if ahead
                    else by_row_group(table, task.file, deletes.get(task.file.file_path))
                )
                for batch in found:
                    arrays = [batch.column(name) for name in columns]
                    arrays = [
                        array if array.type == field.type else array.cast(field.type)
                        for array, field in zip(arrays, fields, strict=True)
                    ]
                    if with_file:
                        arrays.append(pa.repeat(pa.scalar(number, pa.int32()), batch.num_rows))
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        return Scan(pa.RecordBatchReader.from_batches(schema, batches()), [task.file for task in tasks], bool(deletes))

    def writer(
        self,
        *,
        target_bytes: int,
        bloom_columns: Sequence[str] = (),
        schema: Schema | None = None,
        like: DataFile | None = None,
    ) -> DataFileWriter:
        return DataFileWriter(
            self.iceberg, target_bytes=target_bytes, bloom_columns=bloom_columns, schema=schema, like=like
        )

    def commit(
        self, add: Iterable[DataFile], remove: Iterable[DataFile], properties: Mapping[str, str], *, commit_id: str
    ) -> int:
        """Publishes a change of files as one snapshot and returns its id.

        Raises:
            ConflictError: another commit came first; nothing of this one is visible, its data files may be deleted.
            CompactorError: the catalog failed and the commit did not land; its data files must be left alone.
        """
        transaction = self.iceberg.transaction()
        transaction._stage((), commits.as_loaded(self.iceberg.metadata))
        producer = commits.replace(transaction, add, remove, {**properties, COMMIT_ID: commit_id})
        commits.publish(transaction, producer, lambda: self.reload().find(commit_id) is not None)
        return producer.snapshot_id

    def reshape(
        self,
        schema: Schema,
        add: Iterable[DataFile],
        remove: Iterable[DataFile],
        *,
        properties: Mapping[str, str | None],
        summary: Mapping[str, str],
        commit_id: str,
    ) -> int | None:
        """Changes the columns, and files where some are given, in one commit. Returns the snapshot's id, if any.

        Args:
            schema: what `compactor.lake.schema_change.evolved_schema` made of this table's.
            add: files of that schema, in place of `remove`. Without either, no snapshot is made.
            properties: table properties to set; None removes one.
            summary: properties of the snapshot.

        Raises: as `commit` does.
        """
        transaction = self.iceberg.transaction()
        metadata = self.iceberg.metadata
        marked = {**properties, RESHAPE_ID: commit_id}
        transaction._stage(
            (*commits.to_schema(metadata, schema), *commits.to_properties(metadata, schema, marked)),
            commits.as_loaded(metadata),
        )
        add, remove = list(add), list(remove)
        producer = None
        if add or remove:  # planned on the staged columns: snapshot and manifests are to name the new schema
            producer = commits.replace(transaction, add, remove, {**summary, COMMIT_ID: commit_id})
        commits.publish(transaction, producer, lambda: self._is_marked(commit_id))
        return producer.snapshot_id if producer else None

    def roll_back(self, tag: str, *, schema_id: int, properties: Mapping[str, str | None], commit_id: str) -> None:
        """Goes back to the rows that `tag` was put on and to a schema that the table has had, in one commit.

        What was committed after the tag is no longer in the table, and the tag stays.

        Raises: as `commit` does; UsageError where the table was never tagged so, or never had that schema.
        """
        metadata = self.iceberg.metadata
        schema = metadata.schema_by_id(schema_id)
        if schema is None:
            raise UsageError(f"{self.identifier} has no schema {schema_id}; choose one that it has had")
        snapshot_id = self.tagged(tag)
        if not self._is_tagged(tag, snapshot_id):
            raise UsageError(f"{self.identifier} has no tag '{tag}'; choose one that it has")
        transaction = self.iceberg.transaction()
        if snapshot_id is None:
            rows: Any = (RemoveSnapshotRefUpdate(ref_name=MAIN_BRANCH),)
        else:
            rows, _ = transaction._set_ref_snapshot(snapshot_id, MAIN_BRANCH, SnapshotRefType.BRANCH)
        marked = {**properties, RESHAPE_ID: commit_id}
        transaction._stage(
            (*rows, SetCurrentSchemaUpdate(schema_id=schema_id), *commits.to_properties(metadata, schema, marked)),
            commits.as_loaded(metadata),
        )
        commits.publish(transaction, None, lambda: self._is_marked(commit_id))

    def tag(self, name: str) -> int | None:
        """Tags the current snapshot, so that it can be read and gone back to. Returns its id; None without rows yet.

        Done twice, it changes nothing.

        Raises: as `commit` does; UsageError where the tag is on another snapshot.
        """
        snapshot_id = self.snapshot_id
        if self._is_tagged(name, snapshot_id):
            return snapshot_id
        if name in self.iceberg.metadata.refs or self._is_tagged(name, None):
            raise UsageError(f"{self.identifier} has a tag '{name}' on another snapshot; choose another name")
        transaction = self.iceberg.transaction()
        required: tuple[Any, ...] = commits.as_loaded(self.iceberg.metadata)
        if snapshot_id is None:
            changes: Any = (SetPropertiesUpdate(updates={_EMPTY_AT_TAG + name: "true"}),)
        else:
            changes, absent = transaction._set_ref_snapshot(snapshot_id, name, SnapshotRefType.TAG)
            required += absent
        transaction._stage(changes, required)
        commits.publish(transaction, None, lambda: self.reload()._is_tagged(name, snapshot_id))
        return snapshot_id

    def tagged(self, name: str) -> int | None:
        """The id of the snapshot that a tag is on; None if there is no such tag, or the table had no rows then."""
        ref = self.iceberg.metadata.refs.get(name)
        return ref.snapshot_id if ref and ref.snapshot_ref_type == SnapshotRefType.TAG else None

    def _is_tagged(self, name: str, snapshot_id: int | None) -> bool:
        if snapshot_id is None:
            return _EMPTY_AT_TAG + name in self.properties
        return self.tagged(name) == snapshot_id

    def _is_marked(self, commit_id: str) -> bool:
        """Whether the catalog has the change of columns."""
        return self.reload().properties.get(RESHAPE_ID) == commit_id

    def forget(self, snapshot_ids: Iterable[int]) -> None:
        """Takes snapshots out of the metadata, but for those that a branch or a tag is on. Deletes no file.

        Raises ConflictError if another commit came first.
        """
        named = {ref.snapshot_id for ref in self.iceberg.metadata.refs.values()}
        try:
            self.iceberg.maintenance.expire_snapshots().by_ids([n for n in snapshot_ids if n not in named]).commit()
        except CommitFailedException as error:
            raise ConflictError(f"{self.identifier}: another writer committed first") from error

    def bucket(self, column: str, buckets: int) -> Callable[[pa.Array], pa.Array]:
        """Iceberg's bucket transform of a column's values."""
        kind = self.iceberg.schema().find_field(column).field_type
        return BucketTransform(buckets).pyarrow_transform(kind)

    def upper_bound(self, column: str) -> Any:
        """The greatest value of a column that the files' statistics tell of, as Python has it; None without files."""
        field = self.iceberg.schema().find_field(column)
        bounds = [file.upper_bounds.get(field.field_id) for file in self.files if file.upper_bounds]
        kind = field.field_type
        values = [from_bytes(kind, bound) for bound in bounds if bound is not None and isinstance(kind, PrimitiveType)]
        if not values:
            return None
        newest: Any = max(values)
        return micros_to_timestamptz(newest) if isinstance(kind, TimestamptzType) else newest

    @property
    def sort_columns(self) -> list[str]:
        """The columns of the table's sort order."""
        schema = self.iceberg.schema()
        return [schema.find_field(field.source_id).name for field in self.iceberg.sort_order().fields]

    @property
    def location(self) -> str:
        return self.iceberg.location().rstrip("/")

    def create(self, path: str) -> AbstractContextManager[Any]:
        """Opens a new object next to the table's own, for writing bytes."""
        return self.iceberg.io.new_output(path).create(overwrite=True)

    def open(self, path: str) -> Any:
        return self.iceberg.io.new_input(path).open()

    def has(self, path: str) -> bool:
        return bool(self.iceberg.io.new_input(path).exists())

    def delete(self, path: str) -> None:
        self.iceberg.io.delete(path)

    def discard(self, files: Iterable[DataFile]) -> None:
        """Deletes data files that a commit would have added, and provably has not."""
        for file in files:
            try:
                self.delete(file.file_path)
            except OSError:
                continue  # an orphan costs storage, not correctness

    def history(self) -> Iterable[Snapshot]:
        """Snapshots from the current one back."""
        return ancestors_of(self.iceberg.current_snapshot(), self.iceberg.metadata)

    def find(self, commit_id: str) -> Snapshot | None:
        """The snapshot of one of our commits, if it is part of the table's history."""
        return next((found for found in self.history() if summary(found).get(COMMIT_ID) == commit_id), None)

    def last_commit(self) -> Snapshot | None:
        """The newest snapshot that one of our commits made (others may write to the table too)."""
        return next((found for found in self.history() if COMMIT_ID in summary(found)), None)

    def changed_files(self, snapshot: Snapshot) -> tuple[list[DataFile], list[DataFile]]:
        """The data files that a snapshot added and removed."""
        added: list[DataFile] = []
        removed: list[DataFile] = []
        for manifest in snapshot.manifests(self.iceberg.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            for entry in manifest.fetch_manifest_entry(self.iceberg.io, discard_deleted=False):
                if entry.snapshot_id != snapshot.snapshot_id:
                    continue
                if entry.status == ManifestEntryStatus.ADDED:
                    added.append(entry.data_file)
                elif entry.status == ManifestEntryStatus.DELETED:
                    removed.append(entry.data_file)
        return added, removed


def summary(snapshot: Snapshot) -> Mapping[str, Any]:
    """A snapshot's properties."""
    return snapshot.summary.additional_properties if snapshot.summary else {}

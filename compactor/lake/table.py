"""One Iceberg table as the rest of the program sees it: load, scan, commit files.

What is private to PyIceberg 0.12 is used in `lake` alone and held by tests. Changes of columns, tags and snapshots are
in `table_changes`.

A commit replaces files: `remove` leaves, `add` arrives, in one snapshot, if and only if the table is still at the
metadata that was loaded to plan it. There is no rebasing: after a conflict the caller plans again from a fresh load,
because a plan says what is new *relative to what it saw*.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.visitors import _InclusiveMetricsEvaluator
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntryStatus
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.sorting import SortDirection
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import DateType, PrimitiveType, TimestamptzType
from pyiceberg.utils.datetime import micros_to_timestamptz

from compactor.errors import CompactorError, ConflictError, MissingTableError
from compactor.lake import commits, place, unreadable
from compactor.lake.data_writer import DataFileWriter
from compactor.lake.parquet import rows_schema
from compactor.lake.scan import Scan, row_filter, scan_tasks
from compactor.lake.synced_files import SyncedFileIO
from compactor.lake.uploads import delete_all

# DataFile, Schema and Snapshot: what callers hand from a scan to a commit.
__all__ = ["COMMIT_ID", "RUN_ID", "DataFile", "Scan", "Schema", "Snapshot", "Table", "summary"]

_DAY = 86_400_000_000  # in microseconds
COMMIT_ID = "compactor.commit-id"
RUN_ID = "compactor.run-id"


@dataclass(frozen=True)
class ForeignChange:
    """The data files that a commit of another engine has added and removed, and the snapshot `before` it, if any."""

    before: int | None
    added: Sequence[DataFile]
    removed: Sequence[DataFile]


class Table:
    """One Iceberg table at one version of its metadata. Load again to see more.

    Attributes:
        keeps_plan: the manifests are read once for all scans. For a table of few files that is scanned many times.
    """

    keeps_plan = False

    def __init__(self, catalog: Catalog, identifier: str, loaded: IcebergTable | None = None) -> None:
        self._catalog = catalog
        self.identifier = identifier
        try:
            self._iceberg: IcebergTable = loaded or catalog.load_table(identifier)
        except NoSuchTableError as error:
            raise MissingTableError(f"table {identifier} does not exist yet; run `compactor compact` first") from error
        except OSError as error:
            place.check_unreadable(catalog, identifier, error)
            raise
        place.check(catalog, identifier, self._iceberg.location(), self._iceberg.metadata_location)
        self._tasks: list[FileScanTask] | None = None

    def reload(self) -> Table:
        return Table(self._catalog, self.identifier)

    @property
    def for_clone(self) -> IcebergTable:
        """PyIceberg's table, for `engines.spark.clone` alone, which writes the table's metadata to another place."""
        return self._iceberg

    @property
    def name(self) -> str:
        return self.identifier.rsplit(".", 1)[-1]

    @property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema, without field ids."""
        return rows_schema(self._iceberg.schema())

    @property
    def iceberg_schema(self) -> Schema:
        """The table's schema with its field ids, to hand to a writer or a commit."""
        return self._iceberg.schema()

    @property
    def schema_id(self) -> int:
        return self._iceberg.metadata.current_schema_id

    @property
    def required_columns(self) -> set[str]:
        return {field.name for field in self._iceberg.schema().fields if field.required}

    def foreign_columns(self, known: Collection[str]) -> list[str]:
        """The columns that are not among `known`: another engine has added them."""
        return [field.name for field in self._iceberg.schema().fields if field.name not in known]

    @property
    def sort_columns(self) -> list[str]:
        """The columns of the table's sort order; none if it is not by columns, ascending, as this program's are."""
        schema, fields = self._iceberg.schema(), self._iceberg.sort_order().fields
        plain = all(
            isinstance(field.transform, IdentityTransform) and field.direction == SortDirection.ASC for field in fields
        )
        names = [schema.find_column_name(field.source_id) for field in fields] if plain else []
        return [name for name in names if name] if all(names) else []

    @property
    def properties(self) -> Mapping[str, str]:
        return self._iceberg.metadata.properties

    @property
    def location(self) -> str:
        return self._iceberg.location().rstrip("/")

    @property
    def metadata_location(self) -> str:
        """Where the metadata file lies that this table was loaded from."""
        return self._iceberg.metadata_location

    def places(self) -> set[str]:
        """The folders that hold the table's files, by its metadata. Each ends with "/"."""
        named = (self._iceberg.properties.get(name) for name in ("write.data.path", "write.metadata.path"))
        found = (self.location, self.metadata_location.rpartition("/")[0], *named)
        return {f"{place.rstrip('/')}/" for place in found if place}

    @property
    def snapshot_id(self) -> int | None:
        snapshot = self._iceberg.current_snapshot()
        return snapshot.snapshot_id if snapshot else None

    def at(self, snapshot_id: int) -> Table:
        """The table as a snapshot left it, with the columns of that time, to read. A commit on it is a conflict.

        Columns that changed in place after the snapshot and before the next one have their names from before.

        Raises CompactorError where the snapshot is no longer kept.
        """
        now = self._iceberg
        snapshot = now.metadata.snapshot_by_id(snapshot_id)
        if snapshot is None:
            raise CompactorError(
                f"{self.identifier}: snapshot {snapshot_id} is no longer kept; choose one that the table still has"
            )
        schema_id = now.metadata.current_schema_id if snapshot.schema_id is None else snapshot.schema_id
        # The library would bind a filter to today's columns.
        metadata = now.metadata.model_copy(update={"current_snapshot_id": snapshot_id, "current_schema_id": schema_id})
        past = copy.copy(self)
        past._iceberg = IcebergTable(now.name(), metadata, now.metadata_location, now.io, now.catalog)
        past._tasks = None
        return past

    @property
    def files(self) -> list[DataFile]:
        return [task.file for task in self._all_tasks()]

    @property
    def has_deletes(self) -> bool:
        """Whether another engine has deleted rows by position or value: files have more rows than they show."""
        return any(task.delete_files for task in self._all_tasks())

    @property
    def delete_files(self) -> list[DataFile]:
        """The files by which other engines have deleted rows."""
        found = {file.file_path: file for task in self._all_tasks() for file in task.delete_files}
        return list(found.values())

    def _all_tasks(self) -> list[FileScanTask]:
        if self._tasks is None:
            self._tasks = self._plan()
        return self._tasks

    def _plan(self, rows: BooleanExpression | None = None) -> list[FileScanTask]:
        """The data files that can have such rows. Raises UnreadableError where a manifest cannot be read."""
        try:
            if rows is not None and self.keeps_plan:
                can_have = _InclusiveMetricsEvaluator(self._iceberg.schema(), rows).eval
                return [task for task in self._all_tasks() if can_have(task.file)]
            return list(self._iceberg.scan(row_filter=AlwaysTrue() if rows is None else rows).plan_files())
        except Exception as error:
            if found := unreadable.of_manifests(self._iceberg, self._iceberg.current_snapshot()):
                raise found from error
            raise

    def is_of_default_spec(self, file: DataFile) -> bool:
        """Whether a data file is partitioned as the table is today."""
        return file.spec_id == self._iceberg.metadata.default_spec_id

    def scan(
        self,
        columns: Sequence[str],
        *,
        where: Mapping[str, Sequence[str] | str] | None = None,
        at_least: Mapping[str, str] | None = None,
        paths: Iterable[str] | None = None,
        with_file: bool = False,
        snapshot_id: int | None = None,
    ) -> Scan:
        """Streams columns of the table, file by file, so that memory holds a few batches whatever the table's size.

        Args:
            columns: names, in the order of the result.
            where: only rows whose column is the value, or one of the values; files that cannot hold such rows are
                not opened.
            at_least: together with `where`, only rows whose column has no smaller value.
            paths: only these data files. They are read to be written again, so their pages' checksums are checked.
            with_file: adds `__file` int32.
            snapshot_id: reads the table as that snapshot left it, columns by their names of that time (see `at`).
        """
        if snapshot_id is not None:
            return self.at(snapshot_id).scan(columns, where=where, paths=paths, with_file=with_file)
        rows = row_filter(where or {}, at_least=at_least)
        tasks = self._plan(rows) if where else self._all_tasks()
        if paths is not None:
            chosen = set(paths)
            tasks = [task for task in tasks if task.file.file_path in chosen]
        checked = paths is not None and not where and all(_is_parquet(task.file) for task in tasks)
        return scan_tasks(self._iceberg, columns, tasks, rows, with_file=with_file, ahead=not checked)

    def scan_files(self, columns: Sequence[str], files: Iterable[DataFile]) -> Scan:
        """Streams columns of given data files, also of files that the current snapshot no longer has."""
        return scan_tasks(self._iceberg, columns, [FileScanTask(file) for file in files])

    def stream(self, file: DataFile, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """All rows of one file, in its order, a row group at a time: `scan` reads far ahead, the more the larger it is.

        The checksums of its pages are checked. Rows that another engine has deleted are left out.

        Args:
            columns: names, in the order of the result. Default: all.

        Raises ConflictError where the table does not have the file.
        """
        tasks = [task for task in self._all_tasks() if task.file.file_path == file.file_path]
        if not tasks:
            raise ConflictError(f"{self.identifier}: a file to read is no longer in the table")
        return scan_tasks(self._iceberg, columns or self.schema.names, tasks, ahead=False).batches

    def bucket(self, column: str, buckets: int) -> Callable[[pa.Array], pa.Array]:
        """Iceberg's bucket transform of a column's values."""
        kind = self._iceberg.schema().find_field(column).field_type
        return BucketTransform(buckets).pyarrow_transform(kind)

    def count_empty(self, column: str) -> int:
        """How many rows have NULL in a column. No file is read if it is required."""
        if self._iceberg.schema().find_field(column).required:
            return 0
        return sum(batch.column(0).null_count for batch in self.scan([column]).batches)

    def upper_bound(self, column: str) -> Any:
        """The greatest value of a column by the statistics of the files.

        A timestamp is an aware datetime, and so is a date: its beginning in UTC. None without files, or where another
        engine has renamed or dropped the column.
        """
        if column not in self._iceberg.schema().column_names:
            return None
        bounds = [bound for bound in (self._bound(file, column) for file in self.files) if bound is not None]
        return max(bounds, default=None)

    def newest_first(
        self, column: str, *, where: Mapping[str, str] | None = None, filled: Sequence[str] = ()
    ) -> list[tuple[DataFile, Any]]:
        """The data files that can have such rows, each with the greatest value of a column, the greatest first.

        By the statistics of the files, so none is read. A file without them comes first, with None.

        Args:
            where: rows whose column is the value.
            filled: rows that have a value in these columns.
        """
        rows = row_filter(where or {}, filled)
        found = [(task.file, self._bound(task.file, column)) for task in self._plan(rows)]
        known = sorted((each for each in found if each[1] is not None), key=itemgetter(1), reverse=True)
        return [*(each for each in found if each[1] is None), *known]

    def _bound(self, file: DataFile, column: str) -> Any:
        field = self._iceberg.schema().find_field(column)
        bound, kind = (file.upper_bounds or {}).get(field.field_id), field.field_type
        if bound is None or not isinstance(kind, PrimitiveType):
            return None
        value: Any = from_bytes(kind, bound)
        if isinstance(kind, DateType):
            return micros_to_timestamptz(value * _DAY)
        return micros_to_timestamptz(value) if isinstance(kind, TimestamptzType) else value

    def writer(
        self,
        *,
        target_bytes: int,
        bloom_columns: Sequence[str] = (),
        schema: Schema | None = None,
        like: DataFile | None = None,
        sorted_by: Sequence[str] = (),
    ) -> DataFileWriter:
        """Opens a writer of data files (see `DataFileWriter`).

        Args:
            sorted_by: the order of the rows within a partition. Files say that they have the table's sort order only if
                it is this one: another engine, or a migration, can have made the table's another.
        """
        return DataFileWriter(
            self._iceberg,
            target_bytes=target_bytes,
            bloom_columns=bloom_columns,
            schema=schema,
            like=like,
            in_order=bool(sorted_by) and list(sorted_by) == self.sort_columns,
        )

    def commit(
        self, add: Iterable[DataFile], remove: Iterable[DataFile], properties: Mapping[str, str], *, commit_id: str
    ) -> int:
        """Publishes a change of files as one snapshot and returns its id.

        Raises:
            ConflictError: another commit came first. Nothing of this one was published; its data files may be deleted.
            CompactorError: the catalog failed and the commit did not land; its data files must be left alone.
        """
        transaction = commits.transaction(self._iceberg)
        transaction._stage((), commits.as_loaded(self._iceberg.metadata))
        producer = commits.replace(transaction, add, remove, {**properties, COMMIT_ID: commit_id})
        commits.publish(transaction, producer, lambda: self.reload().find(commit_id) is not None)
        return producer.snapshot_id

    def tagged(self, name: str) -> int | None:
        """The id of the snapshot that a tag is on; None if there is no such tag, or the table had no rows then."""
        ref = self._iceberg.metadata.refs.get(name)
        return ref.snapshot_id if ref and ref.snapshot_ref_type == SnapshotRefType.TAG else None

    @property
    def snapshots(self) -> Sequence[Snapshot]:
        """All snapshots that are kept, also those of branches and those that were rolled back."""
        return self._iceberg.metadata.snapshots

    def history(self) -> Iterable[Snapshot]:
        """Snapshots from the current one back."""
        return ancestors_of(self._iceberg.current_snapshot(), self._iceberg.metadata)

    def find(self, commit_id: str) -> Snapshot | None:
        """The snapshot of one of our commits, if it is part of the table's history."""
        return next((found for found in self.history() if summary(found).get(COMMIT_ID) == commit_id), None)

    def last_commit(self) -> Snapshot | None:
        """The newest snapshot that one of our commits made (others may write to the table too)."""
        return next((found for found in self.history() if COMMIT_ID in summary(found)), None)

    def changed_files(self, snapshot: Snapshot) -> tuple[list[DataFile], list[DataFile]]:
        """The data files that a snapshot added and removed."""
        try:
            return self._changed_files(snapshot)
        except Exception as error:
            if found := unreadable.of_manifests(self._iceberg, snapshot):
                raise found from error
            raise

    def _changed_files(self, snapshot: Snapshot) -> tuple[list[DataFile], list[DataFile]]:
        added: list[DataFile] = []
        removed: list[DataFile] = []
        for manifest in snapshot.manifests(self._iceberg.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            for entry in manifest.fetch_manifest_entry(self._iceberg.io, discard_deleted=False):
                if entry.snapshot_id != snapshot.snapshot_id:
                    continue
                if entry.status == ManifestEntryStatus.ADDED:
                    added.append(entry.data_file)
                elif entry.status == ManifestEntryStatus.DELETED:
                    removed.append(entry.data_file)
        return added, removed

    def foreign_changes(self) -> list[ForeignChange]:
        """What other engines have put in and taken out, as far as snapshots are kept; the newest first."""
        found = []
        for snapshot in self.history():
            if COMMIT_ID not in summary(snapshot):
                added, removed = (
                    [file for file in files if file.content == DataFileContent.DATA]
                    for files in self.changed_files(snapshot)
                )
                if added or removed:
                    found.append(ForeignChange(snapshot.parent_snapshot_id, added, removed))
        return found

    def create(self, path: str) -> AbstractContextManager[Any]:
        """Opens a new object next to the table's own, for writing bytes."""
        return self._iceberg.io.new_output(path).create(overwrite=True)

    def open(self, path: str) -> Any:
        return self._iceberg.io.new_input(path).open()

    def has(self, path: str) -> bool:
        return bool(self._iceberg.io.new_input(path).exists())

    def delete(self, path: str) -> None:
        self._iceberg.io.delete(path)

    def sync(self, files: Iterable[DataFile]) -> None:
        """Waits until data files that another program has written are on the disk, where ours would (see the io)."""
        if isinstance(self._iceberg.io, SyncedFileIO):
            for file in files:
                self._iceberg.io.sync(file.file_path)

    def discard(self, files: Iterable[DataFile]) -> None:
        """Deletes data files that a commit would have added, and provably has not."""
        delete_all(self._iceberg.io, [file.file_path for file in files])


def _is_parquet(file: DataFile) -> bool:
    return file.file_format == FileFormat.PARQUET


def summary(snapshot: Snapshot) -> Mapping[str, Any]:
    """A snapshot's properties."""
    return snapshot.summary.additional_properties if snapshot.summary else {}

"""A batch on Spark: read by its workers, decided by Spark SQL, merged into clones by Iceberg's own runtime.

What is used several times is kept by `localCheckpoint`, not computed again: an object that is replaced while a batch
runs must not be read twice. Should an executor be lost with it, the run fails and nothing of the batch is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from compactor.decode import batch_reader
from compactor.engines.base import Change
from compactor.engines.local import wrong_count
from compactor.engines.spark import statements
from compactor.engines.spark.clone import cloned
from compactor.engines.spark.decode import CANONICAL, OBJECTS, Canonical, Decode, decoded_schema
from compactor.errors import SourceError
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import DataFile, Snapshot, Table
from compactor.merge.history import HistoryPlan
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject

_TASK_BYTES = 32 << 20  # compressed bytes of objects that one task reads, where there are many
_REJECTED = pa.schema(
    [
        ("file_no", pa.int32()),
        ("line_no", pa.int64()),
        ("version", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)
_RECORDS = pa.schema([("file_no", pa.int32()), ("n", pa.int64()), ("unknown", pa.int64())])
_ROWS_AT_ONCE = 256  # rejected lines on their way to this process, each of up to `limits.line_bytes`


class SparkBatch:
    """A batch on a Spark session. See `compactor.engines.base.Batch`."""

    def __init__(self, spark: SparkSession, lake: Lakehouse, con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
        self.con = con
        self._spark, self._lake, self._dataset = spark, lake, dataset
        self._dropped: set[int] = set()
        self._decoded: DataFrame | None = None
        self._fresh: DataFrame | None = None

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> batch_reader.Loaded:  # noqa: ARG002  each worker opens the source itself
        batch_reader.register_files(self.con, [(o.key, o.etag, o.size) for o in objects])
        size = sum(o.size for o in objects)
        tasks = min(len(objects), max(self._spark.sparkContext.defaultParallelism, size // _TASK_BYTES + 1))
        rows = [(number, o.key, o.etag, o.size) for number, o in enumerate(objects)]
        listed = self._spark.createDataFrame(rows, OBJECTS).repartition(tasks)
        decode = Decode(self._lake.config, self._dataset)
        self._decoded = listed.mapInArrow(decode, decoded_schema(self._dataset)).localCheckpoint()
        loaded = self._sums(self._decoded, objects)
        self._dropped |= loaded.failed.keys()
        rejected = "SELECT file_no, line_no, reject.* FROM {decoded} WHERE reject IS NOT NULL"
        self._enter("rejected", _REJECTED, self._sql(rejected, decoded=self._decoded))
        records = "SELECT file_no, count(*) AS n, count_if(unknown) AS unknown FROM {staged} GROUP BY file_no"
        self._enter("records", _RECORDS, self._sql(records, staged=self._staged()))
        self._drop_of_accounts(loaded.failed)
        lines = sum(loaded.lines.values())
        progress.advance(files=len(objects), lines=lines, raw_bytes=loaded.raw_bytes, compressed_bytes=size)
        return loaded

    def _sums(self, decoded: DataFrame, objects: Sequence[SourceObject]) -> batch_reader.Loaded:
        loaded = batch_reader.Loaded(objects)
        for row in self._sql("SELECT file_no, file.* FROM {decoded} WHERE file IS NOT NULL", decoded=decoded).collect():
            if row.stopped:
                raise SourceError(row.stopped)
            loaded.lines[row.file_no] = row.lines
            loaded.raw_bytes += row.raw_bytes
            if row.failed:
                loaded.failed[row.file_no] = row.failed
        return loaded

    def _enter(self, name: str, schema: pa.Schema, rows: DataFrame) -> None:
        """Brings rows into a table of the session in this process, a few at a time."""
        self.con.register("none", schema.empty_table())
        self.con.execute(f"CREATE TABLE {name} AS SELECT * FROM none")
        waiting: list[dict[str, Any]] = []

        def insert() -> None:
            self.con.register("rows", pa.Table.from_pylist(waiting, schema))
            self.con.execute(f"INSERT INTO {name} SELECT * FROM rows")
            waiting.clear()

        for row in rows.toLocalIterator():
            waiting.append(row.asDict())
            if len(waiting) >= _ROWS_AT_ONCE:
                insert()
        if waiting:
            insert()

    def drop(self, file_nos: Sequence[int]) -> None:
        self._dropped |= set(file_nos)
        self._drop_of_accounts(file_nos)

    def _drop_of_accounts(self, file_nos: Sequence[int] | dict[int, str]) -> None:
        batch_reader.drop_files(self.con, file_nos, tables=("files", "rejected", "records"))

    def unknown_versions(self) -> Mapping[str, str]:
        return batch_reader.unknown_versions(self.con)

    def count_unknown(self) -> int:
        return int(self.con.execute("SELECT coalesce(sum(unknown), 0) FROM records").fetchall()[0][0])

    def plan(self, history: Table) -> tuple[HistoryPlan, Sequence[DataFile]]:
        with cloned(self._spark, history) as clone:
            stored = self._spark.table(clone.name)
            candidates = self._sql(statements.CANDIDATES, staged=self._staged(), history=stored).localCheckpoint()
            fresh, more = statements.FRESH, {}
            if judged := self._judged(candidates, stored):
                fresh, more = fresh + statements.FRESH_OF_JUDGED, {"judged": judged}
            self._fresh = self._sql(fresh, candidates=candidates, **more).localCheckpoint()
        counts = self._sql(
            "SELECT file_no, count_if(NOT _replaces) AS new, count_if(_replaces) AS replaced FROM {fresh}"
            " GROUP BY file_no",
            fresh=self._fresh,
        ).collect()
        new = {row.file_no: row.new for row in counts if row.new}
        return HistoryPlan(new, sum(row.replaced for row in counts), ()), []

    def _judged(self, candidates: DataFrame, stored: DataFrame) -> DataFrame | None:
        """The candidates that have the smallest canonical JSON of their id's; None if no id is contested."""
        (ties,) = self._sql(
            "SELECT count_if(_n > 1 OR _stored = _moment) AS n, CAST(min(_moment) FILTER (WHERE _stored = _moment) AS"
            " STRING) AS earliest, CAST(max(_moment) FILTER (WHERE _stored = _moment) AS STRING) AS latest"
            " FROM {candidates}",
            candidates=candidates,
        ).collect()
        if not ties.n:
            return None
        contested = self._sql(statements.CONTESTED, candidates=candidates)
        if ties.earliest:
            tied = statements.tied(self._dataset, ties.earliest, ties.latest)
            contested = contested.unionAll(self._sql(tied, history=stored, candidates=candidates))
        ranked = contested.mapInArrow(Canonical(self._lake.config.resources, self._dataset), CANONICAL)
        return self._sql(statements.JUDGED, ranked=ranked)

    def history_change(self, history: Table, planned: HistoryPlan, rewrite: Sequence[DataFile]) -> Change:  # noqa: ARG002  the merge itself finds what to rewrite
        with cloned(self._spark, history) as clone:
            if planned.rows:
                statement = statements.into_history(self._dataset, clone.name, replaces=bool(planned.replaced))
                self._sql(statement, fresh=self._fresh)
            change = clone.change()
        more, due = _count(change.add) - _count(change.remove), planned.rows - planned.replaced
        if more != due and not history.has_deletes:
            raise wrong_count(history, _count(change.add), _count(change.remove) + due)
        return change

    def take(self, history: Table, snapshot: Snapshot) -> None:
        added, _ = history.changed_files(snapshot)
        with cloned(self._spark, history) as clone:
            rows = f"SELECT * FROM {clone.name} WHERE {statements.in_files([file.file_path for file in added])}"
            self._fresh = self._sql(rows).localCheckpoint()

    def current_change(self, current: Table, load_history: Callable[[], Table]) -> Change | None:
        winners = self._sql(statements.winners(self._dataset, "{fresh}"), fresh=self._fresh)
        if self._dataset.delete:
            with cloned(self._spark, load_history()) as clone:
                statement = statements.unburied(self._dataset)
                winners = self._sql(statement, winners=winners, history=self._spark.table(clone.name)).localCheckpoint()
        return self._merged(current, winners, statements.into_current)

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        added, removed = ([file.file_path for file in files] for files in history.changed_files(snapshot))
        with cloned(self._spark, history) as clone:
            touched = statements.keys_in(self._dataset, clone.name, added)
            if removed:
                before = f"{clone.name} VERSION AS OF {snapshot.parent_snapshot_id}"
                touched = f"{touched} UNION {statements.keys_in(self._dataset, before, removed)}"
            winners = self._sql(
                statements.derived(self._dataset), history=self._spark.table(clone.name), touched=self._sql(touched)
            ).localCheckpoint()
        return self._merged(current, winners, statements.as_derived)

    def _merged(self, current: Table, winners: DataFrame, merge: Callable[[Dataset, str], str]) -> Change | None:
        with cloned(self._spark, current) as clone:
            self._sql(merge(self._dataset, clone.name), winners=winners)
            change = clone.change()
        return change if change.add or change.remove else None

    def _staged(self) -> DataFrame:
        assert self._decoded is not None
        dropped = f" AND file_no NOT IN ({', '.join(map(str, sorted(self._dropped)))})" if self._dropped else ""
        return self._sql(f"SELECT * FROM {{decoded}} WHERE record IS NOT NULL{dropped}", decoded=self._decoded)

    def _sql(self, statement: str, **frames: Any) -> DataFrame:
        return self._spark.sql(statement, **frames)


def _count(files: Sequence[DataFile]) -> int:
    return sum(file.record_count for file in files)

"""A batch on Spark: read by its workers, decided by Spark SQL, merged into clones by Iceberg's own runtime.

What is used several times is kept by `localCheckpoint`, not computed again: an object that is replaced while a batch
runs must not be read twice. Should an executor be lost with it, the run fails and nothing of the batch is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa
from pyspark.sql import DataFrame, Row, SparkSession

from compactor.decode.batch_reader import Sums
from compactor.decode.decoded import Decoded
from compactor.decode.rejects import REJECTED
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number
from compactor.engines.base import Change, HistoryPlan
from compactor.engines.collected import register_files
from compactor.engines.sorted_rows import wrong_count
from compactor.engines.spark import statements
from compactor.engines.spark.clone import cloned
from compactor.engines.spark.decode import CANONICAL, OBJECTS, Canonical, Decode, decoded_schema
from compactor.errors import SourceError
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import DataFile, Snapshot, Table
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject

_TASK_BYTES = 32 << 20  # compressed bytes of objects that one task reads, where there are many
_COUNTS = {"file_no": "INTEGER", "n": "BIGINT", "unknown": "BIGINT"}
_ROWS_AT_ONCE = 256  # rejected lines on their way to this process, each of up to `limits.line_bytes`


class SparkBatch:
    """A batch on a Spark session. See `compactor.engines.base.Batch`; its rows are data frames.

    The accounts (files, counts, rejected lines) lie in relations of a session of this process.
    """

    def __init__(self, spark: SparkSession, lake: Lakehouse, relations: Relations, dataset: Dataset) -> None:
        self.con: duckdb.DuckDBPyConnection = relations.con
        self.relations = relations
        self.spark, self._lake, self._dataset = spark, lake, dataset

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> Decoded[DataFrame]:  # noqa: ARG002  each worker opens the source itself
        files = register_files(self.relations, [(o.key, o.etag, o.size) for o in objects])
        size = sum(o.size for o in objects)
        tasks = min(len(objects), max(self.spark.sparkContext.defaultParallelism, size // _TASK_BYTES + 1))
        numbered = [(number, o.key, o.etag, o.size) for number, o in enumerate(objects)]
        listed = self.spark.createDataFrame(numbered, OBJECTS).repartition(tasks)
        decode = Decode(self._lake.config, self._dataset)
        rows = listed.mapInArrow(decode, decoded_schema(self._dataset)).localCheckpoint()
        sums = self._sums(rows)
        records = self._sql("SELECT * FROM {rows} WHERE record IS NOT NULL", rows=rows)
        decoded = Decoded(
            records=records,
            files=files,
            counts=self._collected("counts", _COUNTS, self._sql(statements.COUNTS, records=records)),
            rejected=self._collected("rejected", REJECTED, self._sql(statements.REJECTED, rows=rows)),
            lines=sums.lines,
            raw_bytes=sums.raw_bytes,
            failed=sums.failed,
        )
        lines = sum(sums.lines.values())
        progress.advance(files=len(objects), lines=lines, raw_bytes=sums.raw_bytes, compressed_bytes=size)
        return self.drop(decoded, list(sums.failed))

    def _sums(self, rows: DataFrame) -> Sums:
        sums = Sums()
        for row in self._sql("SELECT file_no, file.* FROM {rows} WHERE file IS NOT NULL", rows=rows).collect():
            if row.stopped:
                raise SourceError(row.stopped)
            sums.lines[row.file_no] = row.lines
            sums.raw_bytes += row.raw_bytes
            if row.failed:
                sums.failed[row.file_no] = row.failed
        return sums

    def _collected(self, word: str, columns: Mapping[str, str], rows: DataFrame) -> Relation:
        """Rows in a relation of the session in this process, brought there a few at a time."""
        relation = self.relations.empty(word, columns)
        schema = self.con.execute(f"SELECT * FROM {relation} LIMIT 0").to_arrow_table().schema
        waiting: Iterator[Row] = rows.toLocalIterator()
        while some := list(islice(waiting, _ROWS_AT_ONCE)):
            self.relations.append(relation, pa.Table.from_pylist([row.asDict() for row in some], schema))
        return relation

    def drop(self, decoded: Decoded[DataFrame], file_nos: Sequence[int]) -> Decoded[DataFrame]:
        if not file_nos:
            return decoded
        numbers = ", ".join(map(str, file_nos))
        for relation in (decoded.files, decoded.counts, decoded.rejected):
            self.con.execute(f"DELETE FROM {relation} WHERE file_no IN ({numbers})")
        records = self._sql(f"SELECT * FROM {{records}} WHERE file_no NOT IN ({numbers})", records=decoded.records)
        return replace(decoded, records=records)

    def count_unknown(self, decoded: Decoded[DataFrame]) -> int:
        return number(self.con, f"SELECT sum(unknown) FROM {decoded.counts}")

    def count_unfit(self, decoded: Decoded[DataFrame]) -> dict[str, int]:
        if not self._dataset.promoted:
            return {}
        (counts,) = self._sql(statements.unfit(self._dataset), records=decoded.records).collect()
        return {each.column: n for each, n in zip(self._dataset.promoted, counts, strict=True) if n}

    def plan(self, relations: Relations, decoded: Decoded[DataFrame], history: Table) -> HistoryPlan[DataFrame]:  # noqa: ARG002  what lasts as long as the plan are data frames
        with cloned(self.spark, history) as clone:
            stored = self.spark.table(clone.name)
            candidates = self._sql(statements.CANDIDATES, records=decoded.records, history=stored).localCheckpoint()
            statement, more = statements.FRESH, {}
            if judged := self._judged(candidates, stored):
                statement, more = statement + statements.FRESH_OF_JUDGED, {"judged": judged}
            fresh = self._sql(statement, candidates=candidates, **more).localCheckpoint()
        counts = self._sql(
            "SELECT __file_no AS file_no, count_if(NOT __replaces) AS new, count_if(__replaces) AS replaced"
            " FROM {fresh} GROUP BY __file_no",
            fresh=fresh,
        ).collect()
        new = {row.file_no: row.new for row in counts if row.new}
        return HistoryPlan(fresh=fresh, new=new, replaced=sum(row.replaced for row in counts))

    def _judged(self, candidates: DataFrame, stored: DataFrame) -> DataFrame | None:
        """The candidates that have the smallest canonical JSON of their id's; None if no id is contested."""
        (ties,) = self._sql(
            "SELECT count_if(__n > 1 OR __stored = __emitted_at) AS n,"
            " CAST(min(__emitted_at) FILTER (WHERE __stored = __emitted_at) AS STRING) AS earliest,"
            " CAST(max(__emitted_at) FILTER (WHERE __stored = __emitted_at) AS STRING) AS latest"
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

    def history_change(self, history: Table, plan: HistoryPlan[DataFrame]) -> Change:
        with cloned(self.spark, history) as clone:
            if plan.rows:  # the merge itself finds which files to rewrite
                statement = statements.into_history(
                    self._dataset, clone.name, self._foreign(history), replaces=bool(plan.replaced)
                )
                self._sql(statement, fresh=plan.fresh)
            change = clone.change()
        more, expected = _count(change.add) - _count(change.remove), plan.rows - plan.replaced
        if more != expected and not history.has_deletes:
            raise wrong_count(history, _count(change.add), _count(change.remove) + expected)
        return change

    def adopt_snapshot(self, history: Table, snapshot: Snapshot) -> DataFrame:
        added, _ = history.changed_files(snapshot)
        with cloned(self.spark, history) as clone:
            rows = f"SELECT * FROM {clone.name} WHERE {statements.in_files([file.file_path for file in added])}"
            return self._sql(rows).localCheckpoint()

    def current_change(self, fresh: DataFrame, current: Table, load_history: Callable[[], Table]) -> Change | None:
        winners = self._sql(statements.winners(self._dataset, "{fresh}"), fresh=fresh)
        if self._dataset.delete:
            with cloned(self.spark, load_history()) as clone:
                statement = statements.unburied(self._dataset)
                winners = self._sql(statement, winners=winners, history=self.spark.table(clone.name)).localCheckpoint()
        return self._merged(current, winners, statements.into_current)

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        added, removed = ([file.file_path for file in files] for files in history.changed_files(snapshot))
        with cloned(self.spark, history) as clone:
            touched = statements.keys_in(self._dataset, clone.name, added)
            if removed:
                before = f"{clone.name} VERSION AS OF {snapshot.parent_snapshot_id}"
                touched = f"{touched} UNION {statements.keys_in(self._dataset, before, removed)}"
            winners = self._sql(
                statements.derived(self._dataset), history=self.spark.table(clone.name), touched=self._sql(touched)
            ).localCheckpoint()
        return self._merged(current, winners, statements.as_derived)

    def _merged(
        self, current: Table, winners: DataFrame, merge: Callable[[Dataset, str, Sequence[str]], str]
    ) -> Change | None:
        with cloned(self.spark, current) as clone:
            self._sql(merge(self._dataset, clone.name, self._foreign(current)), winners=winners)
            change = clone.change()
        return change if change.add or change.remove else None

    def _foreign(self, table: Table) -> list[str]:
        return table.foreign_columns(self._dataset.column_names)

    def _sql(self, statement: str, **frames: Any) -> DataFrame:
        return self.spark.sql(statement, **frames)


def _count(files: Sequence[DataFile]) -> int:
    return sum(file.record_count for file in files)

"""The engine in this process: reads a batch into a session, decides by SQL, and writes the files that change.

Data files are rewritten whole (copy-on-write); only those that hold a row to change. What is in memory is bounded by
`resources.memory`, past which a session spills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from compactor.decode import batch_reader
from compactor.decode.decoded import Decoded
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import quote
from compactor.engines import rebuild
from compactor.engines.base import Change, HistoryPlan
from compactor.engines.foreign import with_foreign
from compactor.engines.rebuild import bucket_function, columns_of_place
from compactor.errors import InvariantError
from compactor.lake.catalog import Lakehouse, bloom
from compactor.lake.table import DataFile, Scan, Snapshot, Table
from compactor.merge.columns import columns_for_current, record_columns, rows_to_write
from compactor.merge.current import CurrentDecision, current_rows, decide_current
from compactor.merge.history import decide_history, history_rows
from compactor.progress import Progress
from compactor.registry.dataset import Dataset, TableLayout
from compactor.registry.promotions import unfit_counts
from compactor.source import Source, SourceObject

_BATCH_ROWS = 65_536


@contextmanager
def open_batch(lake: Lakehouse, dataset: Dataset) -> Iterator[LocalBatch]:
    """A batch in a session of its own."""
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        yield LocalBatch(lake, relations, dataset)


class LocalBatch:
    """A batch in a session of this process. See `compactor.engines.base.Batch`; its rows are relations."""

    def __init__(self, lake: Lakehouse, relations: Relations, dataset: Dataset) -> None:
        self.con: duckdb.DuckDBPyConnection = relations.con
        self.relations = relations
        self._lake, self._dataset = lake, dataset

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> Decoded[Relation]:
        return batch_reader.read_batch(self.relations, source, self._dataset, objects, self._lake.config, progress)

    def drop(self, decoded: Decoded[Relation], file_nos: Sequence[int]) -> Decoded[Relation]:
        batch_reader.drop_files(self.con, decoded, file_nos)
        return decoded

    def count_unknown(self, decoded: Decoded[Relation]) -> int:
        return batch_reader.count_unknown(self.con, decoded.records, self._dataset)

    def count_unfit(self, decoded: Decoded[Relation]) -> dict[str, int]:
        return unfit_counts(self.con, decoded.records, self._dataset.promoted)

    def plan(self, relations: Relations, decoded: Decoded[Relation], history: Table) -> HistoryPlan[Relation]:
        narrow = history.scan(["id", "emitted_at"], with_file=True)

        def full(numbers: list[int]) -> pa.RecordBatchReader:
            paths = [narrow.files[number].file_path for number in numbers]
            return history.scan(record_columns(self._dataset), paths=paths).batches

        decision = decide_history(relations, self._dataset, decoded.records, decoded.files, narrow.batches, full)
        return HistoryPlan(
            fresh=decision.fresh,
            new=decision.new,
            replaced=decision.replaced,
            replaced_ids=decision.replaced_ids,
            rewrite=[narrow.files[number] for number in decision.rewrite],
        )

    def history_change(self, history: Table, plan: HistoryPlan[Relation]) -> Change:
        def rows(fresh: Relation, rewritten: Relation | None) -> str:
            return history_rows(fresh, plan.replaced_ids, rewritten)

        dropped = plan.replaced + plan.surplus
        return self.rewritten(history, self._dataset.history, plan.rows, dropped, plan.rewrite, plan.fresh, rows)

    def adopt_snapshot(self, history: Table, snapshot: Snapshot) -> Relation:
        added, _ = history.changed_files(snapshot)
        return self.relations.stored("adopted", history.scan_files(record_columns(self._dataset), added).batches)

    def current_change(self, fresh: Relation, current: Table, load_history: Callable[[], Table]) -> Change | None:
        delete = self._dataset.delete

        def deletes() -> pa.RecordBatchReader:
            where = {delete.column: list(delete.values)} if delete else {}
            return load_history().scan(columns_for_current(self._dataset), where=where).batches

        scan = current.scan(columns_of_place(self._dataset), with_file=True)
        with Relations(self.con) as relations:
            decision = decide_current(relations, self._dataset, fresh, scan.batches, deletes if delete else None)
            return self._current_rewritten(current, fresh, decision, scan)

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        added, removed = history.changed_files(snapshot)
        keys = ", ".join(map(quote, self._dataset.key))
        with Relations(self.con) as relations:
            changed = history.scan_files(list(self._dataset.key), [*added, *removed]).batches
            with relations.arrow("changed", changed) as rows:
                touched = relations.table("touched", f"SELECT DISTINCT {keys} FROM {rows}")
            return self.derived(
                current, history, rebuild.plan_derived(relations, self._dataset, touched, current, history)
            )

    def derived(
        self, current: Table, history: Table, plan: rebuild.DerivedPlan, lost: Sequence[DataFile] = ()
    ) -> Change | None:
        """Writes what `rebuild.plan_derived` planned, and takes the files `lost`, which cannot be read, out."""
        with Relations(self.con) as relations:
            fresh = rebuild.inserted_rows(relations, self._dataset, history, plan.decision.inserted)
            change = self._current_rewritten(current, fresh, plan.decision, plan.scan)
        if change is None:
            return Change([], lost) if lost else None
        return Change(change.add, [*change.remove, *lost])

    def _current_rewritten(
        self, current: Table, fresh: Relation, decision: CurrentDecision, scan: Scan
    ) -> Change | None:
        if not decision.rows and not decision.dropped:
            return None
        assert self._dataset.current is not None
        rewrite = [scan.files[number] for number in decision.rewrite]

        def rows(fresh: Relation, rewritten: Relation | None) -> str:
            return current_rows(self._dataset, fresh, decision, rewritten)

        return self.rewritten(current, self._dataset.current, decision.rows, decision.dropped, rewrite, fresh, rows)

    def rewritten(
        self,
        table: Table,
        layout: TableLayout,
        rows: int,
        dropped: int,
        remove: Sequence[DataFile],
        fresh: Relation,
        source: Callable[[Relation, Relation | None], str],
    ) -> Change:
        """Writes `rows` rows and what stays of the files to remove: of these, `dropped` rows leave.

        Args:
            fresh: has the rows, with the record columns.
            source: a FROM item of what is to be written, from `fresh` and the relation of the files to remove (None
                without any). Both have the columns that another engine has added, too.
        """
        dataset, names = self._dataset, record_columns(self._dataset)
        foreign = table.foreign_columns(names)
        staying = table.scan([*names, *foreign], paths=[file.file_path for file in remove])
        expected = rows + sum(file.record_count for file in remove) - dropped
        target = int(self._lake.config.tables.target_file_bytes)
        with (
            Relations(self.con) as relations,
            bucket_function(self.con, dataset, table, layout) as bucket,
            self.relations.arrow("rewritten", staying.batches) as rewritten,
            table.writer(target_bytes=target, bloom_columns=bloom(dataset), sorted_by=layout.sort) as writer,
        ):
            fresh = with_foreign(relations, fresh, table, remove, foreign, ["id"])
            statement = rows_to_write(layout, source(fresh, rewritten if remove else None), bucket)
            added = writer.write_all(self.con.execute(statement).to_arrow_reader(_BATCH_ROWS))
            if writer.rows != expected and not staying.has_deletes:
                raise wrong_count(table, writer.rows, expected)
        return Change(added, remove)


def wrong_count(table: Table, written: int, expected: int) -> InvariantError:
    return InvariantError(
        f"{table.identifier}: {written} rows written where {expected} were expected; nothing was published."
        " Run `compactor verify --repair`, which finds duplicate rows; if it finds none, this is a defect: please"
        " report it with the log of the run"
    )

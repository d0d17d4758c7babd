"""The engine in this process: reads a batch, decides by SQL on its keys, and writes the files that change.

Data files are rewritten whole (copy-on-write); only those that hold a row to change. What is in memory is bounded by
`resources.memory`, past which a session and a store spill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from compactor.decode.batch_reader import FileRead, Sums, read_chunks
from compactor.decode.decoded import Decoded
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.row_store import RowStore, release_unused
from compactor.duck.sql import quote
from compactor.engines import collected, rebuild
from compactor.engines.base import Change, HistoryPlan
from compactor.engines.rebuild import columns_of_place
from compactor.engines.sorted_rows import Leaving, Rewriting, row_memory, write_sorted
from compactor.engines.stored_rows import rows_at, with_places
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import DataFile, Scan, Snapshot, Table
from compactor.merge.columns import columns_for_current, record_columns
from compactor.merge.current import CurrentDecision, decide_current
from compactor.merge.history import decide_history
from compactor.merge.rows import Rows, rows_of
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject

_BATCH_ROWS = 65_536
_SESSION_SHARE = 1 / 2  # of `resources.memory`; a store has 3/8, and the rest is for rows on their way


@contextmanager
def open_batch(lake: Lakehouse, dataset: Dataset) -> Iterator[LocalBatch]:
    """A batch in a session of its own."""
    with session.session(lake.config.resources, share=_SESSION_SHARE) as con, Relations(con) as relations:
        batch = LocalBatch(lake, relations, dataset)
        try:
            yield batch
        finally:
            batch.close()


class LocalBatch:
    """A batch in this process. See `compactor.engines.base.Batch`."""

    def __init__(self, lake: Lakehouse, relations: Relations, dataset: Dataset) -> None:
        self.con: duckdb.DuckDBPyConnection = relations.con
        self.relations = relations
        self._lake, self._dataset = lake, dataset
        self._memory = row_memory(lake)
        self._stores: list[RowStore] = []

    def close(self) -> None:
        """Gives the memory of all rows back, even where something still refers to them."""
        for store in self._stores:
            store.clear()
        release_unused()

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> Decoded[Rows]:
        files = collected.register_files(self.relations, [(o.key, o.etag, o.size) for o in objects])
        config, sums = self._lake.config, Sums()
        decoder = Decoder(
            self.con, self._dataset, [found.key for found in objects], line_limit=int(config.limits.line_bytes)
        )

        def chunks() -> Iterator[DecodedChunk]:
            for each in read_chunks(decoder, source, objects, config, sums):
                if isinstance(each, FileRead):
                    progress.advance(files=1, compressed_bytes=each.compressed_bytes)
                else:
                    progress.advance(lines=each.lines.total(), raw_bytes=each.raw_bytes)
                    yield each

        return self.collect(files, chunks(), sums)

    def collect(self, files: Relation, chunks: Iterator[DecodedChunk], sums: Sums) -> Decoded[Rows]:
        """A batch of decoded chunks. See `collected.collect`."""
        decoded = collected.collect(self.relations, self._dataset, files, chunks, sums, memory=self._memory)
        release_unused()
        self._stores.append(decoded.records.store)
        return decoded

    def adopt(self, rows: pa.RecordBatchReader) -> Rows:
        """Rows with the columns of the dataset's tables, as rows of the batch."""
        found = rows_of(self.relations, self._dataset, rows, memory=self._memory)
        self._stores.append(found.store)
        return found

    def drop(self, decoded: Decoded[Rows], file_nos: Sequence[int]) -> Decoded[Rows]:
        collected.drop_files(self.con, decoded, file_nos)
        return decoded

    def count_unknown(self, decoded: Decoded[Rows]) -> int:
        return collected.count_unknown(self.con, decoded.records)

    def count_unfit(self, decoded: Decoded[Rows]) -> Mapping[str, int]:
        return collected.count_unfit(self.con, decoded.records, self._dataset)

    def plan(self, relations: Relations, decoded: Decoded[Rows], history: Table) -> HistoryPlan[Rows]:
        narrow = history.scan(["id", "emitted_at"], with_file=True)

        def full(places: Relation) -> pa.RecordBatchReader:
            found = relations.stream(f"SELECT * FROM {places} ORDER BY ALL", _BATCH_ROWS)
            return rows_at(history, narrow.files, found, self._dataset.stored_schema)

        decision = decide_history(relations, self._dataset, decoded.records, with_places(narrow), full)
        release_unused()
        return HistoryPlan(
            fresh=decision.fresh,
            new=decision.new,
            replaced=decision.replaced,
            replaced_ids=decision.replaced_ids,
            rewrite=[narrow.files[number] for number in decision.rewrite],
        )

    def history_change(self, history: Table, plan: HistoryPlan[Rows]) -> Change:
        leaving = Leaving(plan.replaced_ids, ["id"]) if plan.replaced_ids else None
        rewriting = Rewriting(self._dataset.history, plan.fresh, plan.rewrite, leaving)
        return self.rewritten(history, rewriting, plan.rows, plan.replaced + plan.surplus)

    def adopt_snapshot(self, history: Table, snapshot: Snapshot) -> Rows:
        added, _ = history.changed_files(snapshot)
        return self.adopt(history.scan_files(record_columns(self._dataset), added).batches)

    def current_change(self, fresh: Rows, current: Table, load_history: Callable[[], Table]) -> Change | None:
        delete = self._dataset.delete

        def deletes() -> pa.RecordBatchReader:
            where = {delete.column: list(delete.values)} if delete else {}
            return load_history().scan(columns_for_current(self._dataset), where=where).batches

        scan = current.scan(columns_of_place(self._dataset), with_file=True)
        with Relations(self.con) as relations:
            found = decide_current(relations, self._dataset, fresh.keys, scan.batches, deletes if delete else None)
            chosen = relations.table("chosen", f"SELECT * FROM {fresh.keys} SEMI JOIN {found.inserted} USING (id)")
            return self._current_rewritten(current, Rows(fresh.store, chosen), found, scan)

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
            fresh = rebuild.inserted_rows(self._lake, relations, self._dataset, history, plan.decision.inserted)
            change = self._current_rewritten(current, fresh, plan.decision, plan.scan)
        if change is None:
            return Change([], lost) if lost else None
        return Change(change.add, [*change.remove, *lost])

    def _current_rewritten(self, current: Table, fresh: Rows, decision: CurrentDecision, scan: Scan) -> Change | None:
        if not decision.rows and not decision.dropped:
            return None
        assert self._dataset.current is not None
        remove = [scan.files[number] for number in decision.rewrite]
        leaving = Leaving(decision.removed, self._dataset.key)
        rewriting = Rewriting(self._dataset.current, fresh, remove, leaving)
        return self.rewritten(current, rewriting, decision.rows, decision.dropped)

    def rewritten(self, table: Table, rewriting: Rewriting, rows: int, dropped: int) -> Change:
        """Writes `rows` new rows and what stays of the files to remove: of these, `dropped` rows leave."""
        remove = rewriting.remove
        expected = rows + sum(file.record_count for file in remove) - dropped
        return Change(write_sorted(self._lake, self.con, self._dataset, table, rewriting, expected), remove)

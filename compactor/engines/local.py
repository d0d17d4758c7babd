"""The engine in this process: reads a batch into a session, decides by SQL, and writes the files that change.

Data files are rewritten whole (copy-on-write); only those that hold a row to change. What is in memory is bounded by
`resources.memory`, past which a session spills.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType

from compactor.decode import batch_reader
from compactor.duck import session
from compactor.duck.sql import quote
from compactor.engines.base import Change
from compactor.errors import InvariantError
from compactor.lake.catalog import Lakehouse, bloom
from compactor.lake.table import DataFile, Schema, Snapshot, Table
from compactor.merge.columns import columns_for_current, record_columns, rows_to_write
from compactor.merge.current import current_ids, current_source, plan_current, replan_current, sizes
from compactor.merge.history import HistoryPlan, SourceOf, history_source, plan_history
from compactor.progress import Progress
from compactor.registry.dataset import Dataset, TableLayout
from compactor.source import Source, SourceObject

_BATCH_ROWS = 65_536


@contextmanager
def open_batch(lake: Lakehouse, dataset: Dataset) -> Iterator[LocalBatch]:
    """A batch in a session of its own."""
    with session.session(lake.config.resources) as con:
        yield LocalBatch(lake, con, dataset)


class LocalBatch:
    """A batch in a session of the engine in this process. See `compactor.engines.base.Batch`."""

    def __init__(self, lake: Lakehouse, con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
        self.con = con
        self._lake, self._dataset = lake, dataset

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> batch_reader.Loaded:
        return batch_reader.read_batch(self.con, source, self._dataset, objects, self._lake.config, progress)

    def drop(self, file_nos: Sequence[int]) -> None:
        batch_reader.drop_files(self.con, file_nos)

    def unknown_versions(self) -> Mapping[str, str]:
        return batch_reader.unknown_versions(self.con)

    def count_unknown(self) -> int:
        return batch_reader.count_unknown(self.con, self._dataset)

    def plan(self, history: Table) -> tuple[HistoryPlan, Sequence[DataFile]]:
        narrow = history.scan(["id", "emitted_at"], with_file=True)

        def full(numbers: list[int]) -> pa.RecordBatchReader:
            paths = [narrow.files[number].file_path for number in numbers]
            return history.scan(record_columns(self._dataset), paths=paths).batches

        planned = plan_history(self.con, self._dataset, narrow.batches, full)
        return planned, [narrow.files[number] for number in planned.rewrite]

    def history_change(self, history: Table, planned: HistoryPlan, rewrite: Sequence[DataFile]) -> Change:
        return self._rewritten(
            history,
            self._dataset.history,
            rows=planned.rows,
            dropped=planned.replaced + planned.surplus,
            remove=rewrite,
            source=history_source,
        )

    def take(self, history: Table, snapshot: Snapshot) -> None:
        added, _ = history.changed_files(snapshot)
        self.con.register("added", history.scan_files(record_columns(self._dataset), added).batches)
        self.con.execute("CREATE TABLE fresh AS SELECT * FROM added")
        self.con.unregister("added")

    def current_change(self, current: Table, load_history: Callable[[], Table]) -> Change | None:
        delete = self._dataset.delete

        def deletes() -> pa.RecordBatchReader:
            where = {delete.column: list(delete.values)} if delete else {}
            return load_history().scan(columns_for_current(self._dataset), where=where).batches

        scan = current.scan(_columns_of_place(self._dataset), with_file=True)
        numbers = plan_current(self.con, self._dataset, scan.batches, deletes if delete else None)
        return self._current_rewritten(current, [scan.files[number] for number in numbers])

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        added, removed = history.changed_files(snapshot)
        keys = ", ".join(map(quote, self._dataset.key))
        self.con.register("changed", history.scan_files(list(self._dataset.key), [*added, *removed]).batches)
        self.con.execute(f"CREATE OR REPLACE TABLE touched AS SELECT DISTINCT {keys} FROM changed")
        self.con.unregister("changed")
        return self.derived(current, history, plan_derived(self.con, self._dataset, current, history))

    def derived(
        self, current: Table, history: Table, rewrite: Sequence[DataFile], lost: Sequence[DataFile] = ()
    ) -> Change | None:
        """Writes what `plan_derived` planned, and takes the files `lost`, which cannot be read, out of the table."""
        con = self.con
        con.register("history_rows", history.scan(record_columns(self._dataset)).batches)
        con.execute("CREATE OR REPLACE TABLE fresh AS SELECT * FROM history_rows SEMI JOIN inserted USING (id)")
        con.unregister("history_rows")
        if con.execute("SELECT count(*) > (SELECT count(*) FROM inserted) FROM fresh").fetchall()[0][0]:
            # An id stands twice in the history, by another engine. Either will do until `repair` has put that right.
            con.execute("CREATE OR REPLACE TABLE fresh AS SELECT DISTINCT ON (id) * FROM fresh ORDER BY id, emitted_at")
        change = self._current_rewritten(current, rewrite)
        if change is None:
            return Change([], lost) if lost else None
        return Change(change.add, [*change.remove, *lost])

    def _current_rewritten(self, current: Table, rewrite: Sequence[DataFile]) -> Change | None:
        inserted, removed = sizes(self.con)
        if not inserted and not removed:
            return None
        assert self._dataset.current is not None
        return self._rewritten(
            current, self._dataset.current, rows=inserted, dropped=removed, remove=rewrite, source=current_source
        )

    def _rewritten(
        self,
        table: Table,
        layout: TableLayout,
        *,
        rows: int,
        dropped: int,
        remove: Sequence[DataFile],
        source: SourceOf,
    ) -> Change:
        """Writes `rows` rows and what stays of the files to `remove`."""
        dataset = self._dataset
        if layout.partition.transform == "bucket":
            _register_bucket(self.con, dataset, table, layout)
        staying = table.scan(record_columns(dataset), paths=[file.file_path for file in remove])
        if remove:
            self.con.register("rewritten", staying.batches)
        statement = rows_to_write(dataset, layout, source(dataset, rewritten=bool(remove)))
        expected = rows + sum(file.record_count for file in remove) - dropped
        target = int(self._lake.config.tables.target_file_bytes)
        with table.writer(target_bytes=target, bloom_columns=bloom(dataset)) as writer:
            added = writer.write_all(self.con.execute(statement).to_arrow_reader(_BATCH_ROWS))
            if writer.rows != expected and not staying.has_deletes:
                raise wrong_count(table, writer.rows, expected)
        if remove:
            self.con.unregister("rewritten")
        return Change(added, remove)


def wrong_count(table: Table, written: int, expected: int) -> InvariantError:
    return InvariantError(
        f"{table.identifier}: {written} rows written where {expected} were due; nothing was published."
        " Run `compactor verify --repair`, which tells of rows that stand twice; if it finds none, this is a"
        " defect: please report it with the log of the run"
    )


def plan_derived(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, current: Table, history: Table, lost: Collection[str] = ()
) -> list[DataFile]:
    """Plans the current rows of the keys in `touched` anew from history, into `removed` and `inserted`.

    History must have been loaded after the current table: it then has all that the current table can have seen, and a
    batch under way finds its rows in place. `lost` are paths of data files that cannot be read. Returns the files to
    rewrite.
    """
    paths = [file.file_path for file in current.files if file.file_path not in lost] if lost else None
    scan = current.scan(_columns_of_place(dataset), paths=paths, with_file=True)
    past = history.scan(columns_for_current(dataset))
    return [scan.files[number] for number in replan_current(con, dataset, scan.batches, past.batches)]


def rebuild_current(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    history: Table,
    current: Table,
    schema: Schema,
) -> list[DataFile]:
    """Writes all rows that the current table is to have, from history. Nothing names the files yet."""
    assert dataset.current is not None
    if dataset.current.partition.transform == "bucket":
        _register_bucket(con, dataset, history, dataset.current)
    con.register("past", history.scan(columns_for_current(dataset)).batches)
    con.execute(f"CREATE OR REPLACE TABLE due AS {current_ids(dataset, 'past')}")
    con.unregister("past")
    names = record_columns(dataset)
    con.register("history_rows", history.scan(names).batches)
    rows = f"(SELECT {', '.join(map(quote, names))} FROM history_rows h SEMI JOIN due ON h.id = due._id)"
    statement = rows_to_write(dataset, dataset.current, rows)
    target = int(lake.config.tables.target_file_bytes)
    with current.writer(target_bytes=target, bloom_columns=bloom(dataset), schema=schema) as writer:
        added = writer.write_all(con.execute(statement).to_arrow_reader(_BATCH_ROWS))
    con.unregister("history_rows")
    return added


def _register_bucket(con: duckdb.DuckDBPyConnection, dataset: Dataset, table: Table, layout: TableLayout) -> None:
    partition = layout.partition
    assert partition.column is not None
    assert partition.buckets is not None
    kind = next(kind for name, kind, _ in dataset.columns if name == partition.column).duckdb
    transform = table.bucket(partition.column, partition.buckets)
    con.execute("DROP MACRO IF EXISTS iceberg_bucket")
    try:
        con.remove_function("iceberg_bucket_of_arrow")
    except duckdb.InvalidInputException:
        pass  # the first table of the session

    def bucket(values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  the engine would resolve annotations
        return transform(values)

    con.create_function("iceberg_bucket_of_arrow", bucket, [kind], "INTEGER", type=PythonUDFType.ARROW)
    con.execute(f"CREATE TEMP MACRO iceberg_bucket(value) AS iceberg_bucket_of_arrow(value::{kind})")


def _columns_of_place(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys((*dataset.key, dataset.order, "id")))

"""The program's own tables: which objects are loaded, which lines were rejected, what each run did.

All three change by `put`: rows replace those with the same key, in one commit that is planned again after a conflict.
A put that is repeated changes nothing, which is what lets an interrupted batch be finished by whoever comes next.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import duckdb
import pyarrow as pa
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from compactor.duck import session
from compactor.duck.sql import quote
from compactor.errors import CompactorError, ConflictError, ShapeChanged
from compactor.lake.catalog import FILES, RUNS, Lakehouse
from compactor.lake.table import RUN_ID, DataFile, Table
from compactor.source import Hour, Source, SourceObject
from compactor.source.base import IgnoredKeys

log = logging.getLogger(__name__)

OBJECT = ("dataset", "key", "etag")
LINES_OF_OBJECT = ("dataset", "source_file", "etag")
RUN = ("run_id", "dataset")
_BATCH_ROWS = 65_536
_LISTED = pa.schema([("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])


def on_conflict(attempts: int) -> Retrying:
    """Planning again after a conflict, a little later each time, `attempts` times at most."""
    return _again(ConflictError, attempts)


def on_new_shape() -> Retrying:
    """Beginning again with the tables' new shape, should they be migrated meanwhile. That happens once, if at all."""
    return _again(ShapeChanged, 3)


def _again(kind: type[CompactorError], attempts: int) -> Retrying:
    def tell(state: RetryCallState) -> None:
        log.info("%s; planning again", _conflict(state))

    def give_up(state: RetryCallState) -> NoReturn:
        raise ConflictError(f"{_conflict(state)}, time after time; run again, or raise commit.attempts")

    return Retrying(
        retry=retry_if_exception_type(kind),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        before_sleep=tell,
        retry_error_callback=give_up,
    )


def _conflict(state: RetryCallState) -> str:
    """What the attempt met; without the advice of a loop within this one that gave up."""
    assert state.outcome is not None
    return str(state.outcome.exception()).partition(",")[0]


def put(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    name: str,
    rows: str,
    key: Sequence[str],
    *,
    commit_id: str,
    run_id: str,
    existing: Literal["replace", "keep"] = "replace",
    scope: str | None = None,
    needed: Callable[[], bool] | None = None,
) -> None:
    """Puts rows into one of the program's own tables.

    Args:
        rows: a FROM item with the table's columns.
        key: the columns by which a row, or a group of rows, is told.
        existing: what happens to rows that the table has under the same key: they are replaced, or they stay and the
            incoming ones are dropped.
        scope: a FROM item with the key columns: whose rows are replaced. Default: those of `rows`.
        needed: asked after the table was loaded; if it says no, somebody else has put these rows, and nothing is done.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            if needed and not needed():
                return
            incoming, remove = _plan_put(con, table, rows, key, existing, scope or rows)
            order = ", ".join(quote(field) for field in table.sort_columns)
            with table.writer(target_bytes=int(lake.config.tables.target_file_bytes)) as writer:
                added = writer.write_all(con.execute(f"{incoming} ORDER BY {order}").to_arrow_reader(_BATCH_ROWS))
            if not added and not remove:
                return
            try:
                table.commit(added, remove, {RUN_ID: run_id}, commit_id=commit_id)
            except ConflictError:
                writer.remove()
                raise


def _plan_put(
    con: duckdb.DuckDBPyConnection, table: Table, rows: str, key: Sequence[str], existing: str, scope: str
) -> tuple[str, list[DataFile]]:
    """The statement that gives the rows to write, and the data files that they replace."""
    keys = ", ".join(map(quote, key))
    con.execute(f"CREATE OR REPLACE TEMP TABLE scope AS SELECT DISTINCT {keys} FROM {scope}")
    scan = table.scan(key, with_file=True)
    con.register("present", scan.batches)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE met AS SELECT DISTINCT {keys}, _file FROM present SEMI JOIN scope USING ({keys})"
    )
    con.unregister("present")
    names = ", ".join(quote(name) for name in table.schema.names)
    incoming = f"SELECT {names} FROM {rows}"
    remove: list[DataFile] = []
    if existing == "keep":
        incoming += f" ANTI JOIN met USING ({keys})"
    else:
        numbers = con.execute("SELECT DISTINCT _file FROM met ORDER BY 1").fetchall()
        remove = [scan.files[number] for (number,) in numbers]
    if remove:
        staying = table.scan(table.schema.names, paths=[file.file_path for file in remove])
        con.register("staying", staying.batches)
        incoming += f" UNION ALL SELECT {names} FROM staying ANTI JOIN scope USING ({keys})"
    return f"SELECT * FROM ({incoming})", remove


def load_known(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: str) -> None:
    """Loads what the ledger says of a dataset into the session: `known` (key, etag)."""
    if not lake.exists(FILES):
        con.execute("CREATE OR REPLACE TABLE known (key VARCHAR, etag VARCHAR)")
        return
    scan = lake.table(FILES).scan(["key", "etag"], where={"dataset": dataset})
    con.register("ledger_rows", scan.batches)
    con.execute("CREATE OR REPLACE TABLE known AS SELECT key, etag FROM ledger_rows")
    con.unregister("ledger_rows")


@dataclass(frozen=True)
class LastRun:
    """The newest run that listed a dataset; `frontier` is the hour up to which everything was listed and loaded."""

    run_id: str
    frontier: Hour


def last_run(
    con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: str, *, tag: str | None = None
) -> LastRun | None:
    """The newest run over a dataset, by the times that `record_run` has put in order; None before the first.

    With a tag, as the runs were then.
    """
    if not lake.exists(RUNS):
        return None
    columns, where = ["run_id", "frontier", "finished_at"], {"dataset": dataset}
    runs = lake.table(RUNS)
    con.register("run_rows", _past(runs, columns, where, tag) if tag else runs.scan(columns, where=where).batches)
    found = con.execute(
        "SELECT run_id, frontier FROM run_rows WHERE frontier IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
    ).fetchone()
    con.unregister("run_rows")
    return LastRun(found[0], Hour.parse(found[1])) if found else None


def _past(table: Table, columns: Sequence[str], where: Mapping[str, str], tag: str) -> pa.RecordBatchReader:
    """Columns of a table as it was when it was tagged."""
    snapshot_id = table.tagged(tag)
    if snapshot_id is None:
        return pa.RecordBatchReader.from_batches(pa.schema([table.schema.field(name) for name in columns]), [])
    return table.scan(columns, where=where, snapshot_id=snapshot_id).batches


def loaded_since(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: str, tag: str) -> tuple[int, int, int]:
    """What was loaded since a tag: the number of objects, and of their lines and new records."""
    table, columns, where = lake.table(FILES), ["key", "etag", "lines", "new"], {"dataset": dataset}
    con.register("rows_now", table.scan(columns, where=where).batches)
    con.register("rows_then", _past(table, columns, where, tag))
    found = con.execute(
        "SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(new), 0) FROM rows_now"
        " ANTI JOIN rows_then USING (key, etag)"
    ).fetchall()[0]
    con.unregister("rows_now")
    con.unregister("rows_then")
    return int(found[0]), int(found[1]), int(found[2])


def restore(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    name: str,
    key: Sequence[str],
    dataset: str,
    tag: str,
    *,
    run_id: str,
) -> None:
    """Puts a dataset's rows of one of the program's own tables back as they were when it was tagged."""
    table, where = lake.table(name), {"dataset": dataset}
    con.register("rows_then", _past(table, table.schema.names, where, tag))
    con.execute("CREATE OR REPLACE TABLE rows_to_restore AS SELECT * FROM rows_then")
    con.unregister("rows_then")
    keys = ", ".join(map(quote, key))
    con.register("rows_now", table.scan(key, where=where).batches)
    both = f"SELECT {keys} FROM rows_now UNION SELECT {keys} FROM rows_to_restore"
    con.execute(f"CREATE OR REPLACE TABLE rows_to_replace AS {both}")
    con.unregister("rows_now")
    put(lake, con, name, "rows_to_restore", key, scope="rows_to_replace", commit_id=uuid.uuid4().hex, run_id=run_id)


@dataclass(frozen=True)
class Listed:
    """What a listing found: the newest run before it, and the newest hour that it saw."""

    after: LastRun | None
    newest: Hour | None

    @property
    def frontier(self) -> Hour | None:
        return self.after.frontier if self.after else None


def list_pending(
    con: duckdb.DuckDBPyConnection,
    lake: Lakehouse,
    source: Source,
    dataset: str,
    ignored: IgnoredKeys,
    *,
    start: Hour | None = None,
    stop: Hour | None = None,
    full_scan: bool = False,
) -> Listed:
    """Lists the source into `pending` (key, etag, size): what the ledger does not have.

    Without `start` and `full_scan` the listing begins `source.window_hours` before the frontier. Neither the listing
    nor the ledger is held in Python.
    """
    load_known(con, lake, dataset)
    after = last_run(con, lake, dataset)
    if start is None and not full_scan and after is not None:
        start = after.frontier.minus(lake.config.source.window_hours)
    con.execute("CREATE OR REPLACE TABLE listed (key VARCHAR, etag VARCHAR, size BIGINT)")
    newest: Hour | None = None

    def page(objects: Iterable[SourceObject]) -> Iterator[list[SourceObject]]:
        rows: list[SourceObject] = []
        for found in objects:
            rows.append(found)
            if len(rows) == 10_000:
                yield rows
                rows = []
        if rows:
            yield rows

    for objects in page(source.list(dataset, start, stop, ignored)):
        newest = objects[-1].hour if newest is None else max(newest, objects[-1].hour)
        columns = [[o.key for o in objects], [o.etag for o in objects], [o.size for o in objects]]
        con.register("page", pa.table(columns, schema=_LISTED))
        con.execute("INSERT INTO listed SELECT * FROM page")
        con.unregister("page")
    con.execute("CREATE OR REPLACE TABLE pending AS SELECT * FROM listed ANTI JOIN known USING (key, etag)")
    con.execute("DROP TABLE listed")
    con.execute("DROP TABLE known")
    return Listed(after, newest)


def record_run(lake: Lakehouse, row: dict[str, object], frontier: Hour | None, after: LastRun | None) -> None:
    """Writes down what a run did for a dataset, as the newest of its runs.

    Its time is never before that of a run that is there: the newest run says where the next one lists from, and a clock
    can be set back. And where another run was recorded since this one has listed (`after`), what that one left pending
    must not be hidden: of the two frontiers the earlier stays.
    """
    dataset = str(row["dataset"])
    with session.session(lake.config.resources) as con:

        def date() -> bool:
            table = lake.table(RUNS)
            con.register("run_rows", table.scan(["finished_at"], where={"dataset": dataset}).batches)
            (newest,) = con.execute("SELECT coalesce(epoch_us(max(finished_at)), -1) FROM run_rows").fetchall()[0]
            con.unregister("run_rows")
            finished = max(now(), dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=newest + 1))
            last = last_run(con, lake, dataset)
            reached = min(frontier, last.frontier) if frontier and last and last != after else frontier
            dated = {"finished_at": finished, "frontier": str(reached) if reached else None}
            con.register("run_row", pa.Table.from_pylist([row | dated], table.schema))
            return True

        # Asked for once the table is loaded: if another run is recorded after that, the commit is a conflict.
        put(lake, con, RUNS, "run_row", RUN, commit_id=uuid.uuid4().hex, run_id=str(row["run_id"]), needed=date)


def now() -> dt.datetime:
    """The present as the tables keep times: UTC, microseconds."""
    return dt.datetime.now(dt.UTC)

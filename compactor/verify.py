"""Checks that the tables hold together: each row once, all sums right, current state as history says."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from compactor import engine, inventory, merge
from compactor.catalog import FILES, QUARANTINE, RUNS, Lakehouse
from compactor.config import Config
from compactor.note import Note
from compactor.registry import Dataset, Registry
from compactor.report import Check, VerifyReport
from compactor.sql import quote


def verify(config: Config, registry: Registry, *, rebuild: bool, files: bool = False) -> VerifyReport:
    """Runs all checks. `rebuild` also derives current state from history and compares it row by row; `files` looks
    for files that tables refer to and that are gone, and for files that no table refers to.

    Nothing is changed. Raises CompactorError where the catalog or the storage cannot be read.
    """
    lake = Lakehouse(config)
    checks: list[Check] = []
    with engine.session(config.resources) as con:
        checks += _ledger(con, lake)
    for dataset in (lake.shaped(registry.datasets[name]) for name in sorted(registry.datasets)):
        if lake.exists(dataset.history_table):
            with engine.session(config.resources) as con:
                checks += _dataset(con, lake, dataset)
            if rebuild and dataset.current_table:
                with engine.session(config.resources) as con:
                    checks.append(_rebuild(con, lake, dataset))
    if files:
        names = [name for each in registry.datasets.values() for name in (each.history_table, each.current_table)]
        for name in (*sorted(filter(None, names)), FILES, QUARANTINE, RUNS):
            checks += _files(lake, name) if lake.exists(name) else ()
    return VerifyReport(tuple(checks))


def _ledger(con: duckdb.DuckDBPyConnection, lake: Lakehouse) -> Iterator[Check]:
    table = lake.table(FILES)
    con.register("entries", table.scan(["dataset", "key", "etag", "lines", "new", "duplicates", "quarantined"]).batches)
    con.execute("CREATE TABLE ledger AS SELECT * FROM entries")
    rows, objects = _row(con, "SELECT count(*), count(DISTINCT (dataset, key, etag)) FROM ledger")
    yield Check("each object once", FILES, rows == objects, f"{rows} rows, {objects} objects")
    (wrong,) = _row(con, "SELECT count(*) FROM ledger WHERE lines <> new + duplicates + quarantined")
    yield Check("lines = new + duplicates + quarantined", FILES, wrong == 0, f"{wrong} of {rows} objects differ")


def _dataset(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset) -> Iterator[Check]:
    history = lake.table(dataset.history_table)
    unfinished = Note.of(lake, history) is not None
    hint = "the last batch is unfinished; run `compactor compact`" if unfinished else "the last batch is finished"
    yield Check("nothing unfinished", history.name, not unfinished, hint)

    con.register("ids", history.scan(["id"]).batches)
    rows, ids = _row(con, "SELECT count(*), count(DISTINCT id) FROM ids")
    yield Check("each record once", history.name, rows == ids, f"{rows} rows, {ids} ids")

    where = {"dataset": dataset.name}
    con.register("entries", lake.table(FILES).scan(["new", "quarantined"], where=where).batches)
    new, quarantined = _row(con, "SELECT coalesce(sum(new), 0), coalesce(sum(quarantined), 0) FROM entries")
    yield Check("rows = new lines of the ledger", history.name, rows == new, f"{rows} rows, {new} new lines")
    con.register("lines", lake.table(QUARANTINE).scan(["reason"], where=where).batches)
    (kept,) = _row(con, "SELECT count(*) FROM lines")
    detail = f"{kept} rows of {dataset.name}, {quarantined} quarantined lines"
    yield Check("rows = quarantined lines of the ledger", QUARANTINE, kept == quarantined, detail)

    if dataset.current_table:
        con.register("current_keys", lake.table(dataset.current_table).scan(dataset.key).batches)
        keys = ", ".join(map(quote, dataset.key))
        rows, distinct = _row(con, f"SELECT count(*), count(DISTINCT ({keys})) FROM current_keys")
        yield Check("each key once", dataset.current_table, rows == distinct, f"{rows} rows, {distinct} keys")


def _rebuild(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset) -> Check:
    """Derives current state from history and compares whole rows, by a hash of all columns."""
    assert dataset.current_table is not None
    current, history = lake.table(dataset.current_table), lake.table(dataset.history_table)
    columns = merge.record_columns(dataset)
    whole = f"hash({', '.join(map(quote, columns))}) AS content"
    con.register("past", history.scan(merge.columns_for_current(dataset)).batches)
    con.execute(f"CREATE TABLE due AS {merge.current_ids(dataset, 'past')}")
    con.register("rows", history.scan(columns).batches)
    con.execute(f"CREATE TABLE expected AS SELECT id, {whole} FROM rows SEMI JOIN due USING (id)")
    con.register("rows", current.scan(columns).batches)
    con.execute(f"CREATE TABLE found AS SELECT id, {whole} FROM rows")
    (missing,) = _row(con, "SELECT count(*) FROM due ANTI JOIN found USING (id)")
    (surplus,) = _row(con, "SELECT count(*) FROM found ANTI JOIN due USING (id)")
    (different,) = _row(con, "SELECT count(*) FROM expected e JOIN found f USING (id) WHERE e.content <> f.content")
    (rows,) = _row(con, "SELECT count(*) FROM found")
    ok = missing == surplus == different == 0
    detail = f"{rows} rows; {missing} missing, {surplus} that history does not call for, {different} different"
    return Check("current = what history says", current.name, ok, detail)


def _row(con: duckdb.DuckDBPyConnection, statement: str) -> tuple[int, ...]:
    row = con.execute(statement).fetchone()
    assert row is not None
    return tuple(map(int, row))


def _files(lake: Lakehouse, name: str) -> Iterator[Check]:
    found = inventory.take(lake.table(name))
    such_as = f", such as {found.missing[0]}" if found.missing else ""
    detail = f"{found.referenced} files, {len(found.missing)} missing{such_as}"
    yield Check("each file is there", name, not found.missing, detail)
    if found.left_over:
        size = sum(found.left_over.values()) / 1e6
        detail = (
            f"{len(found.left_over)} files ({size:,.1f} MB) of killed runs, or of one under way,"
            f" such as {next(iter(found.left_over))}; left alone"
        )
        yield Check("files that nothing refers to", name, ok=True, detail=detail)

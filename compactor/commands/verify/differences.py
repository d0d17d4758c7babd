"""What differs from what is due, as set operations: what `verify` counts, and what `repair` then puts right.

Tables are read, none is written. As in `merge`, each function leaves tables in the session of the engine:

    twice     keys that stand in more than one row of a table (`find_twice`)
    copies    all rows of the ids in `twice`; `keep` and `fresh` of them what the history keeps (`plan_once`)
    due / expected / found    the current rows that history calls for, and those that are there (`compare`)
    touched / spared          keys to derive anew, and keys to leave alone (`touch`)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from compactor.duck.sql import quote
from compactor.lake.table import DataFile, Table
from compactor.merge.canonical import as_staged, canonical
from compactor.merge.columns import columns_for_current, record_columns
from compactor.merge.current import current_ids
from compactor.merge.history import HistoryPlan
from compactor.registry.dataset import Dataset


@dataclass(frozen=True)
class Twice:
    """`keys` stand in more than one row of a table, `surplus` rows more than one each, which lie in `files`.

    `disputed` keys are not among them: their rows do not agree, so that none can be taken for the right one.
    """

    keys: int
    surplus: int
    files: list[DataFile]
    disputed: int = 0

    @property
    def rows(self) -> int:
        """How many rows are written to have each once."""
        return sum(file.record_count for file in self.files) - self.surplus


@dataclass(frozen=True)
class Difference:
    """How a current table of `rows` rows differs from what history says. `doubled`: rows beyond the first of a key."""

    rows: int
    missing: int
    surplus: int
    different: int
    doubled: int

    @property
    def is_none(self) -> bool:
        return not (self.missing or self.surplus or self.different or self.doubled)

    def __str__(self) -> str:
        twice = f", {self.doubled} of a key that has one already" if self.doubled else ""
        return (
            f"{self.rows} rows; {self.missing} missing, {self.surplus} that history does not call for,"
            f" {self.different} different{twice}"
        )


def find_twice(con: duckdb.DuckDBPyConnection, table: Table, key: Sequence[str], agreeing: Sequence[str] = ()) -> Twice:
    """Makes `twice` (key) of the keys that stand in several rows, all of which have the same in `agreeing`."""
    keys = _names(key)
    agree = f"min(({_names(agreeing)})) = max(({_names(agreeing)}))" if agreeing else "true"
    con.register("rows", table.scan([*key, *agreeing]).batches)
    con.execute(
        f"CREATE OR REPLACE TABLE repeated AS SELECT {keys}, count(*) - 1 AS _surplus, {agree} AS _agree FROM rows"
        f" GROUP BY {keys} HAVING count(*) > 1"
    )
    con.execute(f"CREATE OR REPLACE TABLE twice AS SELECT {keys} FROM repeated WHERE _agree")
    total, agreed, surplus = counts(
        con,
        "SELECT count(*), count(*) FILTER (_agree), coalesce(sum(_surplus) FILTER (_agree), 0) FROM repeated",
    )
    files: list[DataFile] = []
    if agreed:
        scan = table.scan(key, with_file=True)
        con.register("rows", scan.batches)
        numbers = con.execute(f"SELECT DISTINCT _file FROM rows SEMI JOIN twice USING ({keys}) ORDER BY 1").fetchall()
        files = [scan.files[number] for (number,) in numbers]
    return Twice(agreed, surplus, files, total - agreed)


def plan_once(con: duckdb.DuckDBPyConnection, dataset: Dataset, history: Table, found: Twice) -> HistoryPlan:
    """Plans a history with each id of `twice` once: by rule 1 the earliest, then the smaller canonical JSON."""
    paths = [file.file_path for file in found.files]
    con.register("rows", history.scan(record_columns(dataset), paths=paths).batches)
    con.execute("CREATE OR REPLACE TABLE copies AS SELECT * FROM rows SEMI JOIN twice USING (id)")
    con.unregister("rows")
    rank = f"{{'moment': r.emitted_at, 'text': {canonical(dataset)}, 'key': source_file, 'line': source_line}}"
    con.execute(
        f"CREATE OR REPLACE TABLE keep AS SELECT id, arg_min(_rid, {rank}) AS rid, true AS replaces"
        f" FROM {as_staged(dataset, '(SELECT *, rowid AS _rid FROM copies)')} r GROUP BY id"
    )
    con.execute(
        f"CREATE OR REPLACE VIEW fresh AS SELECT {_names(record_columns(dataset))} FROM copies"
        " SEMI JOIN keep ON copies.rowid = keep.rid"
    )
    return HistoryPlan({}, found.keys, (), found.surplus)


def compare(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, current: Table, history: Table, lost: Collection[str] = ()
) -> Difference:
    """Derives current state from history and compares whole rows, by a hash of all columns.

    `lost` are paths of data files of the current table that cannot be read: their rows count as missing.
    """
    columns, keys = record_columns(dataset), _names(dataset.key)
    content = f"hash({_names(columns)}) AS _content"
    con.register("past", history.scan(columns_for_current(dataset)).batches)
    con.execute(f"CREATE OR REPLACE TABLE due AS {current_ids(dataset, 'past')}")
    con.unregister("past")
    con.register("rows", history.scan(columns).batches)
    con.execute(
        f"CREATE OR REPLACE TABLE expected AS SELECT rows.id AS _id, {content} FROM rows"
        " SEMI JOIN due ON rows.id = due._id"
    )
    paths = [file.file_path for file in current.files if file.file_path not in lost]
    con.register("rows", current.scan(columns, paths=paths).batches)
    con.execute(f"CREATE OR REPLACE TABLE found AS SELECT {keys}, id AS _id, {content} FROM rows")
    con.unregister("rows")
    rows, distinct = counts(con, f"SELECT count(*), count(DISTINCT ({keys})) FROM found")
    (missing,) = counts(con, "SELECT count(*) FROM due ANTI JOIN found USING (_id)")
    (surplus,) = counts(con, "SELECT count(*) FROM found ANTI JOIN due USING (_id)")
    (different,) = counts(
        con, "SELECT count(*) FROM expected e JOIN found f USING (_id) WHERE e._content <> f._content"
    )
    return Difference(rows, missing, surplus, different, rows - distinct)


def touch(con: duckdb.DuckDBPyConnection, dataset: Dataset, history: Table, *, spare: bool) -> int:
    """Makes `touched` of the keys that differ, after `compare`. Returns how many keys are spared.

    Args:
        spare: the history lacks records. A current row whose record it does not have may then be the only copy of it,
            so that its key is left alone.
    """
    keys = _names(dataset.key)
    con.execute(f"CREATE OR REPLACE TABLE spared AS SELECT {keys}, _id FROM found ANTI JOIN due USING (_id)")
    (strays,) = counts(con, "SELECT count(*) FROM spared")
    if not spare:
        con.execute("DELETE FROM spared")
    elif strays:
        con.register("rows", history.scan(["id"]).batches)
        con.execute("CREATE OR REPLACE TABLE known AS SELECT DISTINCT id AS _id FROM rows SEMI JOIN spared ON id = _id")
        con.unregister("rows")
        con.execute("DELETE FROM spared WHERE _id IN (SELECT _id FROM known)")
    differing = "SELECT _id FROM expected e JOIN found f USING (_id) WHERE e._content <> f._content"
    con.execute(
        f"CREATE OR REPLACE TABLE touched AS SELECT DISTINCT {keys} FROM ("
        f"SELECT {keys} FROM due ANTI JOIN found USING (_id)"
        f" UNION ALL SELECT {keys} FROM found ANTI JOIN due USING (_id)"
        # Of a row whose key was changed, both keys: what it is filed under, and what it should be.
        f" UNION ALL SELECT {keys} FROM found SEMI JOIN ({differing}) USING (_id)"
        f" UNION ALL SELECT {keys} FROM due SEMI JOIN ({differing}) USING (_id)"
        f" UNION ALL SELECT {keys} FROM found GROUP BY ALL HAVING count(*) > 1"
        f") ANTI JOIN spared USING ({keys})"
    )
    return counts(con, f"SELECT count(DISTINCT ({keys})) FROM spared")[0]


def counts(con: duckdb.DuckDBPyConnection, statement: str) -> tuple[int, ...]:
    """The one row of numbers that a statement gives."""
    row = con.execute(statement).fetchone()
    assert row is not None
    return tuple(map(int, row))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))

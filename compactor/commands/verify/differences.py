"""How tables differ from what they should hold, as set operations: what `verify` counts and `repair` repairs.

Tables are read, none is written. Each function takes the relations that it reads and returns those that it makes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number, quote
from compactor.lake.scan import FILE_COLUMN
from compactor.lake.table import DataFile, Table
from compactor.merge.canonical import as_decoded, canonical
from compactor.merge.columns import columns_for_current, record_columns
from compactor.merge.current import current_ids
from compactor.registry.dataset import Dataset


@dataclass(frozen=True)
class Duplicates:
    """Keys that have more than one row in a table.

    Attributes:
        keys: (key columns) of the keys whose rows agree; only these can be repaired.
        count: how many these are.
        surplus: their rows beyond one each.
        files: the data files that have their rows.
        disputed: how many other keys have rows that do not agree, so that none of them can be taken for the right one.
    """

    keys: Relation
    count: int
    surplus: int
    files: Sequence[DataFile]
    disputed: int = 0

    @property
    def rows(self) -> int:
        """How many rows a repair writes."""
        return sum(file.record_count for file in self.files) - self.surplus


@dataclass(frozen=True)
class Difference:
    """How a current table differs from what history says.

    Attributes:
        rows: what the table has.
        missing: rows that it lacks.
        surplus: rows that it should not have.
        different: rows with other values.
        duplicates: rows beyond the first of a key.
    """

    rows: int
    missing: int
    surplus: int
    different: int
    duplicates: int

    @property
    def is_none(self) -> bool:
        return not (self.missing or self.surplus or self.different or self.duplicates)

    def __str__(self) -> str:
        duplicates = f", {self.duplicates} duplicates of a key" if self.duplicates else ""
        return (
            f"{self.rows} rows; {self.missing} missing, {self.surplus} that history does not call for,"
            f" {self.different} different{duplicates}"
        )


@dataclass(frozen=True)
class Comparison:
    """A current table beside what history says. `__content` is a hash of all columns of a row.

    Attributes:
        expected_ids: (key columns, __id) of the rows that the table should have.
        expected: (__id, __content) of these.
        found: (key columns, __id, __content) of the rows that it has.
    """

    expected_ids: Relation
    expected: Relation
    found: Relation
    difference: Difference


@dataclass(frozen=True)
class KeysToDerive:
    """Keys whose current rows differ.

    Attributes:
        keys: (key columns) of those to derive again from history.
        count: how many these are.
        spared: how many others are left alone.
    """

    keys: Relation
    count: int
    spared: int


def find_duplicates(relations: Relations, table: Table, key: Sequence[str], agreeing: Sequence[str] = ()) -> Duplicates:
    """Finds the keys that have several rows. The rows of a key agree if they are equal in the columns `agreeing`."""
    con, names = relations.con, _names(key)
    agree = f"min(({_names(agreeing)})) = max(({_names(agreeing)}))" if agreeing else "true"
    with relations.arrow("rows", table.scan([*key, *agreeing]).batches) as rows:
        repeated = relations.table(
            "repeated",
            f"SELECT {names}, count(*) - 1 AS __surplus, {agree} AS __agree FROM {rows}"
            f" GROUP BY {names} HAVING count(*) > 1",
        )
    keys = relations.table("duplicate_keys", f"SELECT {names} FROM {repeated} WHERE __agree")
    total, agreed, surplus = counts(
        con,
        "SELECT count(*), count(*) FILTER (__agree), coalesce(sum(__surplus) FILTER (__agree), 0)::BIGINT"
        f" FROM {repeated}",
    )
    files: list[DataFile] = []
    if agreed:
        scan = table.scan(key, with_file=True)
        with relations.arrow("rows", scan.batches) as rows:
            numbers = con.execute(
                f"SELECT DISTINCT {FILE_COLUMN} FROM {rows} SEMI JOIN {keys} USING ({names}) ORDER BY 1"
            ).fetchall()
        files = [scan.files[each] for (each,) in numbers]
    return Duplicates(keys, agreed, surplus, files, total - agreed)


def winning_copies(relations: Relations, dataset: Dataset, history: Table, found: Duplicates) -> Relation:
    """The row that stays of each duplicate id of a history, with the record columns.

    It is the earliest record, then the one with the smaller canonical JSON (the contract, "Which record wins").
    """
    names = record_columns(dataset)
    paths = [file.file_path for file in found.files]
    with relations.arrow("rows", history.scan(names, paths=paths).batches) as rows:
        copies = relations.table("copies", f"SELECT * FROM {rows} SEMI JOIN {found.keys} USING (id)")
    order = f"r.emitted_at, {canonical(dataset)}, r.source_file, r.source_line"
    return relations.table(
        "winning_copies",
        f"SELECT DISTINCT ON (r.id) {_names(names)} FROM {as_decoded(dataset, copies)} r ORDER BY r.id, {order}",
    )


def compare(
    relations: Relations, dataset: Dataset, current: Table, history: Table, lost: Collection[str] = ()
) -> Comparison:
    """Derives current state from history and compares whole rows.

    Args:
        lost: paths of data files of the current table that cannot be read. Their rows count as missing.
    """
    con, columns, keys = relations.con, record_columns(dataset), _names(dataset.key)
    content = f"hash({_names(columns)}) AS __content"
    with relations.arrow("past", history.scan(columns_for_current(dataset)).batches) as past:
        named = f"SELECT * FROM ({current_ids(dataset, past)}) AS ids({keys}, __id)"
        expected_ids = relations.table("expected_ids", named)
    with relations.arrow("history", history.scan(columns).batches) as rows:
        expected = relations.table(
            "expected", f"SELECT id AS __id, {content} FROM {rows} SEMI JOIN {expected_ids} ON id = __id"
        )
    paths = [file.file_path for file in current.files if file.file_path not in lost]
    with relations.arrow("current", current.scan(columns, paths=paths).batches) as rows:
        found = relations.table("found", f"SELECT {keys}, id AS __id, {content} FROM {rows}")
    rows_found, distinct = counts(con, f"SELECT count(*), count(DISTINCT ({keys})) FROM {found}")
    difference = Difference(
        rows=rows_found,
        missing=number(con, f"SELECT count(*) FROM {expected_ids} ANTI JOIN {found} USING (__id)"),
        surplus=number(con, f"SELECT count(*) FROM {found} ANTI JOIN {expected_ids} USING (__id)"),
        different=number(con, f"SELECT count(*) FROM ({_differing(expected, found)})"),
        duplicates=rows_found - distinct,
    )
    return Comparison(expected_ids, expected, found, difference)


def keys_to_derive(
    relations: Relations, dataset: Dataset, history: Table, compared: Comparison, *, spare: bool
) -> KeysToDerive:
    """The keys that differ.

    Args:
        spare: the history may lack records. A current row whose record it does not have can then be the only copy of
            the record, so its key is left alone.
    """
    con, keys = relations.con, _names(dataset.key)
    expected_ids, found = compared.expected_ids, compared.found
    spared = _only_copies(relations, dataset, history, compared) if spare else None
    differing = f"SELECT __id FROM ({_differing(compared.expected, found)})"
    without = f" ANTI JOIN {spared} USING ({keys})" if spared else ""
    touched = relations.table(
        "touched",
        f"SELECT DISTINCT {keys} FROM ("
        f"SELECT {keys} FROM {expected_ids} ANTI JOIN {found} USING (__id)"
        f" UNION ALL SELECT {keys} FROM {found} ANTI JOIN {expected_ids} USING (__id)"
        # Of a row whose key was changed both keys differ: the one that it has, and the one that it should have.
        f" UNION ALL SELECT {keys} FROM {found} SEMI JOIN ({differing}) USING (__id)"
        f" UNION ALL SELECT {keys} FROM {expected_ids} SEMI JOIN ({differing}) USING (__id)"
        f" UNION ALL SELECT {keys} FROM {found} GROUP BY ALL HAVING count(*) > 1"
        f"){without}",
    )
    left_alone = number(con, f"SELECT count(DISTINCT ({keys})) FROM {spared}") if spared else 0
    return KeysToDerive(touched, relations.count(touched), left_alone)


def _only_copies(relations: Relations, dataset: Dataset, history: Table, compared: Comparison) -> Relation:
    """(key columns) of the current rows whose records the history does not have."""
    keys = _names(dataset.key)
    strays = relations.table(
        "strays", f"SELECT {keys}, __id FROM {compared.found} ANTI JOIN {compared.expected_ids} USING (__id)"
    )
    if not relations.count(strays):
        return strays
    with relations.arrow("ids", history.scan(["id"]).batches) as ids:
        known = relations.table("known", f"SELECT DISTINCT id AS __id FROM {ids} SEMI JOIN {strays} ON id = __id")
    return relations.table("only_copies", f"SELECT {keys} FROM {strays} ANTI JOIN {known} USING (__id)")


def _differing(expected: Relation, found: Relation) -> str:
    """The statement that gives the `__id` of each pair of rows with one id and other values."""
    return f"SELECT __id FROM {expected} e JOIN {found} f USING (__id) WHERE e.__content <> f.__content"


def counts(con: duckdb.DuckDBPyConnection, statement: str) -> tuple[int, ...]:
    """The one row of numbers that a statement gives."""
    row = con.execute(statement).fetchone()
    assert row is not None
    return tuple(map(int, row))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))

"""Relations of a DuckDB session as values.

Who makes a table or a view returns it as a `Relation`; who reads it takes that as an argument. No step reaches for a
name that another step has left in the session. Names are unique in the process, and `Relations` drops what it has made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import duckdb
import pyarrow as pa

from compactor.duck.sql import number, quote

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Relation:
    """A table or a view of a session.

    In SQL it stands as it is: `f"SELECT id FROM {relation}"`.

    Attributes:
        name: unique in the process; made of the maker's word for it and a number.
        schema: (column, DuckDB type) in order.
    """

    name: str
    schema: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.name

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for column, _ in self.schema)


class Relations:
    """Makes the relations of one piece of work in a session, and drops them when the work ends.

    A `word` is what the maker calls a relation: letters and underscores. It shows in query plans and errors.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con
        self._made: list[tuple[Literal["TABLE", "VIEW"], str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._made:  # a view before the tables that it reads
            what, name = self._made.pop()
            self.con.execute(f"DROP {what} IF EXISTS {name}")

    def table(self, word: str, select: str, parameters: Sequence[Any] = ()) -> Relation:
        """A table of the rows that a statement gives."""
        name = _name(word)
        self.con.execute(f"CREATE TABLE {name} AS {select}", list(parameters))
        return self._added("TABLE", name)

    def view(self, word: str, select: str) -> Relation:
        """A view: the statement is run each time that it is read."""
        name = _name(word)
        self.con.execute(f"CREATE VIEW {name} AS {select}")
        return self._added("VIEW", name)

    def empty(self, word: str, columns: Mapping[str, str]) -> Relation:
        """A table without rows yet, from column -> DuckDB type."""
        name = _name(word)
        self.con.execute(f"CREATE TABLE {name} ({', '.join(f'{quote(key)} {kind}' for key, kind in columns.items())})")
        return self._added("TABLE", name)

    def stored(self, word: str, data: pa.Table | pa.RecordBatch | pa.RecordBatchReader) -> Relation:
        """A table of the rows of Arrow data."""
        with self.arrow(word, data) as rows:
            return self.table(word, f"SELECT * FROM {rows}")

    @contextmanager
    def arrow(self, word: str, data: pa.Table | pa.RecordBatch | pa.RecordBatchReader) -> Iterator[Relation]:
        """Arrow data, to read inside the context. A stream (a reader) can be read once.

        What making the stream raises is raised here as it is: DuckDB passes on the text of an error alone.
        """
        name = _name(word)
        failed: list[BaseException] = []
        if isinstance(data, pa.RecordBatchReader):
            data = pa.RecordBatchReader.from_batches(data.schema, _watched(data, failed))
        self.con.register(name, data)
        try:
            yield Relation(name, tuple((field.name, str(field.type)) for field in data.schema))
        except duckdb.Error as error:
            if failed:
                raise failed[0] from error
            raise
        finally:
            self.con.unregister(name)

    @contextmanager
    def right_side_first(self) -> Iterator[None]:
        """Joins inside the context are planned as written: the right side is held in memory, the left side streams.

        DuckDB takes a stream for one row, and would hold the stream.
        """
        self.con.execute("SET disabled_optimizers = 'build_side_probe_side,join_order'")
        try:
            yield
        finally:
            self.con.execute("RESET disabled_optimizers")

    def stream(self, select: str, rows: int) -> pa.RecordBatchReader:
        """The rows of a statement, so many at a time.

        A connection of its own reads them, so that the session can be used between two of them.
        """
        return self.con.cursor().execute(select).to_arrow_reader(rows)

    def append(self, relation: Relation, data: pa.Table | pa.RecordBatch | pa.RecordBatchReader) -> None:
        """Adds the rows of Arrow data, whose columns are in the table's order."""
        with self.arrow("more", data) as rows:
            self.con.execute(f"INSERT INTO {relation} SELECT * FROM {rows}")

    def drop(self, *relations: Relation) -> None:
        """Drops relations before the work ends, to give their memory back."""
        for relation in relations:
            what = next(what for what, name in self._made if name == relation.name)
            self._made.remove((what, relation.name))
            self.con.execute(f"DROP {what} {relation}")

    def count(self, relation: Relation) -> int:
        """The number of its rows."""
        return number(self.con, f"SELECT count(*) FROM {relation}")

    def _added(self, what: Literal["TABLE", "VIEW"], name: str) -> Relation:
        self._made.append((what, name))
        found = self.con.table(name) if what == "TABLE" else self.con.view(name)
        return Relation(name, tuple(zip(found.columns, map(str, found.types), strict=True)))


def _watched(batches: Iterable[pa.RecordBatch], failed: list[BaseException]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except GeneratorExit:  # DuckDB needs no more of them
        raise
    except BaseException as error:
        failed.append(error)
        raise


def _name(word: str) -> str:
    return f"{word}_{next(_numbers)}"

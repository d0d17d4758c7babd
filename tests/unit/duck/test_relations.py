"""Relations are values: their names never meet, and nothing of them is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from compactor.config import Resources
from compactor.duck.relations import Relations
from compactor.duck.session import session

ROWS = pa.table({"id": ["a", "b"], "n": [1, 2]})


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with session(Resources()) as con:
        yield con


def left(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute("SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views()"
                        " WHERE NOT internal").fetchall()  # fmt: skip
    return [name for (name,) in found]


def test_two_relations_of_one_word_are_two(con: duckdb.DuckDBPyConnection) -> None:
    with Relations(con) as relations:
        first = relations.table("rows", "SELECT 1 AS n")
        second = relations.table("rows", "SELECT 2 AS n")
        assert con.execute(f"SELECT a.n, b.n FROM {first} a, {second} b").fetchall() == [(1, 2)]


def test_a_relation_knows_its_columns(con: duckdb.DuckDBPyConnection) -> None:
    with Relations(con) as relations:
        stored = relations.stored("rows", ROWS)
        assert stored.schema == (("id", "VARCHAR"), ("n", "BIGINT"))
        assert relations.view("ids", f"SELECT id FROM {stored}").columns == ("id",)
        assert relations.empty("none", {"id": "VARCHAR", "top": "STRUCT(n BIGINT)"}).columns == ("id", "top")
        assert relations.count(stored) == 2
        relations.append(stored, ROWS.to_reader())
        assert relations.count(stored) == 4


def test_nothing_is_left_when_the_work_ends_even_by_an_error(con: duckdb.DuckDBPyConnection) -> None:
    def work() -> None:
        with Relations(con) as relations:
            stored = relations.stored("rows", ROWS)
            relations.view("ids", f"SELECT id FROM {stored}")
            relations.drop(relations.table("early", "SELECT 1"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert left(con) == []


def test_a_python_variable_is_no_table(con: duckdb.DuckDBPyConnection) -> None:
    rows = ROWS
    with pytest.raises(duckdb.CatalogException):
        con.execute("SELECT * FROM rows")
    assert rows.num_rows == 2

"""Rows of one table version converted to the next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from compactor.duck.relations import Relations
from compactor.evolution.rows import RowConversion
from compactor.registry import loader
from compactor.registry.dataset import Dataset

THINGS = """\
dataset: things
kind: events
order: emitted_at
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      joinedAt: string
      tier: string
  2:
    changes:
      - retype: {field: joinedAt, to: timestamp}
      - rename: {from: tier, to: level}
"""
OLD = pa.schema(
    [
        ("id", pa.string()),
        ("version", pa.int64()),
        ("emitted_at", pa.timestamp("us", "UTC")),
        ("joined_at", pa.string()),
        ("tier", pa.string()),
        ("extra", pa.map_(pa.string(), pa.string())),
        ("source_file", pa.string()),
        ("source_line", pa.int64()),
    ]
)
AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def relations() -> Iterator[Relations]:
    con = duckdb.connect()
    con.execute("LOAD icu; SET TimeZone = 'UTC'; SET python_enable_replacements = false")
    with con, Relations(con) as found:
        yield found


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Dataset, Dataset]:
    (tmp_path / "things.yaml").write_text(THINGS, encoding="utf-8")
    new = loader.load(tmp_path).get("things")
    return new.at(1, ()), new


def row(number: int, joined: str | None) -> dict[str, Any]:
    values = {"id": f"r{number}", "version": 1, "emitted_at": AT, "joined_at": joined, "tier": "gold", "extra": []}
    return {**values, "source_file": "a-key", "source_line": number}


def read(*batches: list[dict[str, Any]]) -> pa.RecordBatchReader:
    found = [pa.RecordBatch.from_pylist(rows, OLD) for rows in batches]
    return pa.RecordBatchReader.from_batches(OLD, found)


def test_rows_keep_their_order_whether_sql_or_python_converts_them(
    relations: Relations, versions: tuple[Dataset, Dataset]
) -> None:
    convert = RowConversion(relations, *versions)
    texts = ["2026-01-01T00:00:00Z", "2026-01-01t02:00:00+02:00", None, "2026-01-01T00:00:00.000000Z"]

    found = convert(read([row(n, text) for n, text in enumerate(texts)], [row(9, None)])).read_all()

    assert found.column("id").to_pylist() == ["r0", "r1", "r2", "r3", "r9"]
    joined = [value and value.replace(tzinfo=None) for value in found.column("joined_at").to_pylist()]
    assert joined == [datetime(2026, 1, 1), datetime(2026, 1, 1), None, datetime(2026, 1, 1), None]  # noqa: DTZ001
    assert set(found.column("level").to_pylist()) == {"gold"}
    assert not [name for name in found.column_names if name.startswith("__")]
    assert relations.count(convert.refused) == 0


def test_a_row_that_cannot_be_converted_is_refused_as_a_line(
    relations: Relations, versions: tuple[Dataset, Dataset]
) -> None:
    convert = RowConversion(relations, *versions)

    found = convert(read([row(0, "soon"), row(1, None)])).read_all()

    assert found.column("id").to_pylist() == ["r1"]
    (refused,) = relations.con.execute(f"SELECT * FROM {convert.refused}").to_arrow_table().to_pylist()
    assert (refused["source_file"], refused["source_line"], refused["version"]) == ("a-key", 0, 1)
    assert "joined_at" in refused["detail"]
    assert "soon" not in refused["detail"]
    assert '"joinedAt":"soon"' in refused["raw"]


def test_two_conversions_in_one_session_do_not_share_what_they_refuse(
    relations: Relations, versions: tuple[Dataset, Dataset]
) -> None:
    first, second = RowConversion(relations, *versions), RowConversion(relations, *versions)
    first(read([row(0, "soon")])).read_all()
    second(read([row(1, "later"), row(2, "never")])).read_all()
    assert (relations.count(first.refused), relations.count(second.refused)) == (1, 2)

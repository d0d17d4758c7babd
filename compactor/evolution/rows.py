"""Rows of a table in an older shape, brought to the newest: in SQL, and by the letter where SQL is not sure.

A row that cannot be brought there is left out and kept in the session's table `refused`, as a line that can be read
again: a value is never made NULL in silence.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from compactor.duck.sql import quote
from compactor.registry import expressions
from compactor.registry.dataset import Dataset, Promotion
from compactor.registry.expressions import Expression
from compactor.types.field_type import MAP

_REFUSED = pa.schema(
    [
        ("source_file", pa.string()),
        ("source_line", pa.int64()),
        ("version", pa.int64()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)


class Rewriting:
    """Brings rows of `old` to the shape of `new`. Makes the table `refused` in the session.

    Called with a stream of batches of the old columns, in the form that `compactor.evolution.schema.rewrite` asks for.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, old: Dataset, new: Dataset) -> None:
        self._con = con
        self._old, self._new = old, new
        self._expressions: Mapping[str, Expression] = new.upgrades(old.newest.number)
        self._statement = self._select()
        con.register("none_refused", _REFUSED.empty_table())
        con.execute("CREATE OR REPLACE TABLE refused AS SELECT * FROM none_refused")
        con.unregister("none_refused")

    def __call__(self, batches: pa.RecordBatchReader) -> pa.RecordBatchReader:
        stream = self._convert_all(batches)
        first = next(stream)
        assert isinstance(first, pa.Schema)
        return pa.RecordBatchReader.from_batches(first, stream)

    def _convert_all(self, batches: pa.RecordBatchReader) -> Iterator[Any]:
        """Yields the schema of what follows, then the batches."""
        schema = self._convert(batches.schema.empty_table()).schema
        yield schema
        for batch in batches:
            yield from self._convert(pa.Table.from_batches([batch])).cast(schema).to_batches()

    def _convert(self, olds: pa.Table) -> pa.Table:
        numbered = olds.append_column("__n", pa.array(range(olds.num_rows), pa.int64()))
        self._con.register("olds", numbered)
        found = self._con.execute(self._statement).to_arrow_table()
        self._con.unregister("olds")
        unsure = found.filter(pa.compute.invert(found.column("__sure")))
        if unsure.num_rows:
            rows = self._by_the_letter(olds, unsure.to_pylist())
            exact = pa.Table.from_pylist(rows, found.schema)
            found = pa.concat_tables([found.filter(found.column("__sure")), exact]).sort_by("__n")
        return found.drop_columns(["__sure", "__n"])

    def _by_the_letter(self, olds: pa.Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with their upgraded columns made one by one. Those that cannot be made go to `refused`."""
        accepted, refused = [], []
        for row in rows:
            old = {name: _naive(value) for name, value in olds.slice(row["__n"], 1).to_pylist()[0].items()}
            try:
                exact = expressions.row(self._expressions, old)
            except expressions.BadUpgrade as bad:
                place = {name: old[name] for name in ("source_file", "source_line", "version")}
                refused.append({**place, "detail": str(bad), "raw": as_line(self._old, old)})
            else:
                accepted.append({**row, **{name: exact.get(name) for name in self._expressions}, "__sure": True})
        if refused:
            self._con.register("more_refused", pa.Table.from_pylist(refused, _REFUSED))
            self._con.execute("INSERT INTO refused SELECT * FROM more_refused")
            self._con.unregister("more_refused")
        return accepted

    def _select(self) -> str:
        times = {name for name, kind, _ in self._old.columns if kind.zoned}

        def column(name: str) -> str:
            return f"{quote(name)}::TIMESTAMP" if name in times else quote(name)

        values, conditions = [], ["true"]
        for name, expression in self._expressions.items():
            value, more = expressions.sql(expression, column)
            values.append(f"{value} AS {quote(name)}")
            conditions += more
        for promotion in self._new.promoted:
            if kept := kept_promotion(self._old, self._new, promotion):
                value = column(kept)
            else:
                source, _ = expressions.sql(self._map_of(promotion), column)
                value = promotion.value(source)
            values.append(f"{value} AS {quote(promotion.column)}")
        values += ["extra", "source_file", "source_line"]
        sure = f"coalesce({' AND '.join(conditions)}, false) AS __sure"
        return f"SELECT {', '.join(values)}, {sure}, __n FROM olds ORDER BY __n"

    def _map_of(self, promotion: Promotion) -> Expression:
        return self._expressions.get(promotion.source, expressions.Column(promotion.source, MAP))


def kept_promotion(old: Dataset, new: Dataset, promotion: Promotion) -> str | None:
    """The old table's column of the same promotion, under whatever name; None if its rows have to be filled."""
    source: str | None = promotion.source
    if source != "extra":
        source = expressions.kept(new.upgrades(old.newest.number)[promotion.source])
    for each in old.promoted:
        same = (each.source, each.key, each.type) == (source, promotion.key, promotion.type)
        if same and (each.filled or not promotion.filled):
            return each.column
    return None


def as_line(dataset: Dataset, row: Mapping[str, Any]) -> str:
    """A stored row as a line of its dataset's newest version, which reads as that row again."""
    entries = {}
    for field in dataset.newest.fields:
        value: Any = dataset.newest.number if field.column == "version" else row.get(field.column)
        if value is None:
            continue
        entries[field.json] = field.type.write(value)
    entries |= dict(row.get("extra") or ())
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in entries.items()) + "}"


def _naive(value: Any) -> Any:
    """Times of the tables have a zone, those of the engine and of `upgrade` have none: both are UTC."""
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value

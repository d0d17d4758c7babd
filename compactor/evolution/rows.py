"""Rows of an older table version, converted to a newer one: by SQL, and in Python where SQL may differ.

A row that cannot be converted is left out and kept as a line that can be read again: no value becomes NULL in silence.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import quote
from compactor.registry import expressions
from compactor.registry.dataset import EXTRA, Dataset, Promotion
from compactor.registry.expressions import Expression
from compactor.registry.promotions import are_sure, unfit_counts, with_values

_REFUSED = pa.schema(
    [
        ("source_file", pa.string()),
        ("source_line", pa.int64()),
        ("version", pa.int64()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)
_ROW, _SURE = "__n", "__sure"  # the number of a row in its batch, and whether its SQL is surely what Python gives


class RowConversion:
    """Converts rows of `old` to rows of `new`.

    Called with a stream of batches of the old columns, as `compactor.lake.rewrite.rewrite` asks for.

    Attributes:
        refused: (source_file, source_line, version, detail, raw) of the rows left out so far.
        unfit: by promoted column that is filled, the rows so far whose value does not fit it: it is in the map alone.
    """

    def __init__(self, relations: Relations, old: Dataset, new: Dataset, foreign: Sequence[str] = ()) -> None:
        """`foreign`: the columns that another engine has added. They pass as they are."""
        self._relations = relations
        self._old, self._new, self._foreign = old, new, foreign
        self._expressions: Mapping[str, Expression] = new.upgrades(old.newest.number)
        self._filled = [each for each in new.promoted if kept_promotion(old, new, each) is None]
        self.unfit: Counter[str] = Counter()
        self.refused: Relation = relations.stored("refused", _REFUSED.empty_table())

    def __call__(self, batches: pa.RecordBatchReader) -> pa.RecordBatchReader:
        schema = self._convert(batches.schema.empty_table()).schema
        return pa.RecordBatchReader.from_batches(schema, self._convert_all(batches, schema))

    def _convert_all(self, batches: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from self._convert(pa.Table.from_batches([batch])).cast(schema).to_batches()

    def _convert(self, rows: pa.Table) -> pa.Table:
        numbered = rows.append_column(_ROW, pa.array(range(rows.num_rows), pa.int64()))
        with self._relations.arrow("old_rows", numbered) as old_rows:
            found = self._relations.con.execute(self._select(old_rows)).to_arrow_table()
        unsure = found.filter(pa.compute.invert(found.column(_SURE)))
        if unsure.num_rows:
            exact = pa.Table.from_pylist(self._convert_exactly(rows, unsure.to_pylist()), found.schema)
            found = pa.concat_tables([found.filter(found.column(_SURE)), exact]).sort_by(_ROW)
        if self._filled:
            with self._relations.arrow("new_rows", found) as new_rows:
                self.unfit.update(unfit_counts(self._relations.con, new_rows, self._filled))
        return found.drop_columns([_SURE, _ROW])

    def _convert_exactly(self, old_rows: pa.Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with their columns converted one by one in Python. Those that cannot be go to `refused`."""
        accepted, refused = [], []
        for row in rows:
            old = {name: _naive(value) for name, value in old_rows.slice(row[_ROW], 1).to_pylist()[0].items()}
            try:
                exact = expressions.row(self._expressions, old)
            except expressions.BadUpgrade as bad:
                place = {name: old[name] for name in ("source_file", "source_line", "version")}
                refused.append({**place, "detail": str(bad), "raw": as_line(self._old, old)})
            else:
                found = {name: exact.get(name) for name in self._expressions}
                filled = {each.column: each.value({**exact, EXTRA: old[EXTRA]}) for each in self._filled}
                accepted.append({**row, **found, **filled, _SURE: True})
        if refused:
            self._relations.append(self.refused, pa.Table.from_pylist(refused, _REFUSED))
        return accepted

    def _select(self, old_rows: Relation) -> str:
        """The statement for the new columns of the old rows, `__sure` and `__n`."""
        times = {name for name, kind, _ in self._old.columns if kind.zoned}

        def column(name: str) -> str:
            return f"{quote(name)}::TIMESTAMP" if name in times else quote(name)

        values, conditions = [], ["true"]
        for name, expression in self._expressions.items():
            value, more = expressions.sql(expression, column)
            values.append(f"{value} AS {quote(name)}")
            conditions += more
        kept = {each.column: kept_promotion(self._old, self._new, each) for each in self._new.promoted}
        values += [f"{column(old)} AS {quote(new)}" for new, old in kept.items() if old]
        sure = f"coalesce({' AND '.join(conditions)}, false) AS {_SURE}"
        kept_columns = f"{EXTRA}, source_file, source_line{''.join(f', {quote(each)}' for each in self._foreign)}"
        converted = f"SELECT {', '.join(values)}, {kept_columns}, {sure}, {_ROW} FROM {old_rows}"
        listed = [quote(name) for name in (*(name for name, _, _ in self._new.table_columns), *self._foreign)]
        sure = f"{_SURE} AND {are_sure(self._filled)} AS {_SURE}"
        return f"SELECT {', '.join(listed)}, {sure}, {_ROW} FROM {with_values(self._filled, converted)} ORDER BY {_ROW}"


def kept_promotion(old: Dataset, new: Dataset, promotion: Promotion) -> str | None:
    """The old table's column of the same promotion, under any name; None if its rows have to be filled."""
    source: str | None = promotion.source
    if source != EXTRA:
        source = expressions.kept(new.upgrades(old.newest.number)[promotion.source])
    for each in old.promoted:
        same = (each.source, each.key, each.type) == (source, promotion.key, promotion.type)
        if same and (each.filled or not promotion.filled) and (each.exact or not promotion.exact):
            return each.column
    return None


def as_line(dataset: Dataset, row: Mapping[str, Any]) -> str:
    """A stored row as a line of its dataset's newest version. Decoding the line gives the row again."""
    entries = {}
    for field in dataset.newest.fields:
        value: Any = dataset.newest.number if field.column == "version" else row.get(field.column)
        if value is None:
            continue
        entries[field.json] = field.type.write(value)
    entries |= dict(row.get(EXTRA) or ())
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in entries.items()) + "}"


def _naive(value: Any) -> Any:
    """A time without its zone. Times of the tables have a zone, those of DuckDB here have none; both are UTC."""
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value

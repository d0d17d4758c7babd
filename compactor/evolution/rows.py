"""Rows of an older table version, converted to a newer one: by SQL, and in Python where SQL may differ.

A row that cannot be converted is left out and kept as a line that can be read again: no value becomes NULL in silence.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.registry import expressions
from compactor.registry.converted import Converted, converted, promoted
from compactor.registry.dataset import EXTRA, Dataset, Promotion
from compactor.registry.expressions import Expression

_REFUSED = pa.schema(
    [
        ("source_file", pa.string()),
        ("source_line", pa.int64()),
        ("version", pa.int64()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)


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
        schema = self._convert(pa.RecordBatch.from_pylist([], batches.schema)).schema
        return pa.RecordBatchReader.from_batches(schema, self._convert_all(batches, schema))

    def _convert_all(self, batches: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield self._convert(batch).cast(schema)

    def _convert(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        found = converted(self._session, self._expressions, rows)
        columns = dict(found.columns)
        if not found.sure.all():
            rows, columns = self._with_exact(rows, found)
        for name in (EXTRA, "source_file", "source_line", *self._foreign):
            columns[name] = rows.column(name)
        added = promoted(self._session, self._filled, columns)
        for each in self._new.promoted:
            if each.column in added:
                columns[each.column] = added[each.column].values
            else:
                columns[each.column] = rows.column(kept_promotion(self._old, self._new, each))
        self.unfit += Counter({name: int(each.unfit.sum()) for name, each in added.items()})
        return pa.record_batch({name: columns[name] for name in (*self._new.column_names, *self._foreign)})

    def _session(self) -> Relations:
        return self._relations

    def _with_exact(self, rows: pa.RecordBatch, found: Converted) -> tuple[pa.RecordBatch, dict[str, pa.Array]]:
        """The old rows that can be converted, and their new columns: those of rows that are not sure by Python.

        Rows that cannot be converted go to `refused`.
        """
        exact, kept, refused = [], [], []
        for number in np.flatnonzero(~found.sure).tolist():
            old = {name: _naive(value) for name, value in rows.slice(number, 1).to_pylist()[0].items()}
            try:
                exact.append(expressions.row(self._expressions, old))
                kept.append(number)
            except expressions.BadUpgrade as bad:
                place = {name: old[name] for name in ("source_file", "source_line", "version")}
                refused.append({**place, "detail": str(bad), "raw": as_line(self._old, old)})
        if refused:
            self._relations.append(self.refused, pa.Table.from_pylist(refused, _REFUSED))
        places = np.concatenate([np.flatnonzero(found.sure), np.array(kept, np.int64)])
        order = pa.array(np.argsort(places))
        sure = pa.array(found.sure)
        columns = {
            name: pa.concat_arrays([column.filter(sure), pa.array([row.get(name) for row in exact], column.type)]).take(
                order
            )
            for name, column in found.columns.items()
        }
        return rows.take(pa.array(np.sort(places))), columns


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

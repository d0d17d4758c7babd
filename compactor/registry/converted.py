"""Columns of a newer version, and of promoted keys, from Arrow data: by SQL on the columns that they are made of.

Where the SQL is not sure to give what Python gives for one value, Python decides: for a promoted key here, for another
column where its row is read or rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from compactor.duck.relations import Relations
from compactor.duck.sql import quote
from compactor.registry import expressions
from compactor.registry.dataset import EXTRA, Promotion
from compactor.registry.expressions import Column, Expression, Nothing
from compactor.types.field_type import FieldType

Flags = npt.NDArray[np.bool_]
Session = Callable[[], Relations]
"""Where SQL is evaluated; asked for only if there is some."""
_ROW, _SURE = "__n", "__sure"


@dataclass(frozen=True)
class Converted:
    """Columns of a newer version.

    Attributes:
        columns: by name.
        sure: the rows whose columns are what `expressions.row` gives. The others have to ask it.
    """

    columns: Mapping[str, pa.Array]
    sure: Flags


def converted(session: Session, wanted: Mapping[str, Expression], rows: pa.RecordBatch) -> Converted:
    """Evaluates expressions over the columns of an older version. Columns that they keep are not copied."""
    columns: dict[str, pa.Array] = {}
    made: dict[str, tuple[str, FieldType]] = {}
    conditions, sources = ["true"], dict[str, Column]()
    for name, expression in wanted.items():
        if isinstance(expression, Column):
            columns[name] = _naive(rows.column(expression.name), expression.type)
        elif isinstance(expression, Nothing):
            columns[name] = pa.nulls(rows.num_rows, expression.type.arrow)
        else:
            value, more = expressions.sql(expression, quote)
            made[name] = value, expression.type
            conditions += more
            sources |= {each.name: each for each in expressions.inputs(expression)}
    sure = np.ones(rows.num_rows, np.bool_)
    if made:
        old = {name: _naive(rows.column(name), each.type) for name, each in sources.items()}
        values = {name: value for name, (value, _) in made.items()}
        values[_SURE] = f"coalesce({' AND '.join(conditions)}, false)"
        found = _evaluated(session(), old, values, rows.num_rows)
        sure = found.pop(_SURE).to_numpy(zero_copy_only=False)
        columns |= {name: _as(found[name], kind) for name, (_, kind) in made.items()}
    return Converted({name: columns[name] for name in wanted}, sure)


@dataclass(frozen=True)
class Promoted:
    """The column of a promotion. `unfit`: the rows whose entry does not fit it, and is in the map alone."""

    values: pa.Array
    unfit: Flags


def promoted(session: Session, promotions: Sequence[Promotion], maps: Mapping[str, pa.MapArray]) -> dict[str, Promoted]:
    """The columns of promotions, by name. `maps` has their sources."""
    if not promotions:
        return {}
    texts = {f"t{number}": _entries(each, maps[each.source]) for number, each in enumerate(promotions)}
    values = {}
    for number, each in enumerate(promotions):
        reading, text = each.reading, f"t{number}"
        values[f"v{number}"] = reading.sql.replace("{x}", text)
        values[f"c{number}"] = f"coalesce({reading.certain.replace('{x}', text)}, true)"
    rows = len(texts["t0"])
    found = _evaluated(session(), texts, values, rows)
    result = {}
    for number, each in enumerate(promotions):
        column, text = _as(found[f"v{number}"], each.type), texts[f"t{number}"]
        missing = pc.and_(pc.is_valid(text), pc.is_null(column))
        asked = pc.and_(missing, pc.invert(found[f"c{number}"]))
        if pc.any(asked).as_py():
            answers = [each.reading.value(one) for one in text.filter(asked).to_pylist()]
            column = pc.replace_with_mask(column, asked, pa.array(answers, each.type.arrow))
            missing = pc.and_(missing, pc.is_null(column))
        result[each.column] = Promoted(column, missing.to_numpy(zero_copy_only=False))
    return result


def _entries(promotion: Promotion, maps: pa.MapArray) -> pa.Array:
    """The text of each row's entry. NULL where the record has none, or null in it."""
    text = pc.map_lookup(maps, pa.scalar(promotion.key), "first")
    if promotion.source == EXTRA:
        return pc.if_else(pc.equal(text, "null"), None, text)
    return text


def _evaluated(
    relations: Relations, columns: Mapping[str, pa.Array], values: Mapping[str, str], rows: int
) -> dict[str, pa.Array]:
    """The values of SQL expressions over columns, in the order of the rows."""
    table = pa.table({**columns, _ROW: pa.array(np.arange(rows))})
    listed = ", ".join(f"{value} AS {quote(name)}" for name, value in values.items())
    with relations.arrow("columns", table) as given:
        found = relations.con.execute(f"SELECT {listed} FROM {given} ORDER BY {_ROW}").to_arrow_table()
    found = found.combine_chunks()
    return {name: _one(found.column(name)) for name in values}


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _naive(column: pa.Array, kind: FieldType) -> pa.Array:
    """Times of the tables have a zone, those of a session have none; both are UTC."""
    return column.cast(kind.arrow) if column.type != kind.arrow else column


def _as(column: pa.Array, kind: FieldType) -> pa.Array:
    return column if column.type == kind.arrow else column.cast(kind.arrow)

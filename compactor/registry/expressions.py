"""How the columns of one shape of a record come from those of an older one: expressions over the older columns.

A schema version states what changed since the one before (see `version_changes`). Put into each other, these statements
make one expression per column of the newest shape, for each older version. The same expressions serve one record in
Python (`row`), columns in SQL (`sql`), and the plan of a migration (`kept`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from compactor.duck.sql import literal
from compactor.types.casts import Conversion, conversion
from compactor.types.field_type import STRING, FieldType
from compactor.types.json_values import BadValue


@dataclass(frozen=True)
class Column:
    """A column of the older shape, as it is."""

    name: str
    type: FieldType


@dataclass(frozen=True)
class Nothing:
    """NULL: the older shape has nothing of it."""

    type: FieldType


@dataclass(frozen=True)
class Converted:
    """Another type; `unit` is what a whole number counts that is to be a timestamp."""

    of: Expression
    type: FieldType
    unit: str | None = None

    @property
    def conversion(self) -> Conversion:
        found = conversion(self.of.type, self.type, self.unit)
        assert found is not None  # the registry was refused otherwise
        return found


@dataclass(frozen=True)
class Part:
    """Part `number` (from 0) of a text cut at the first `count - 1` separators; NULL if there are fewer parts."""

    of: Expression
    number: int
    count: int
    separator: str
    type: FieldType = STRING


@dataclass(frozen=True)
class Joined:
    """The texts that are not NULL, in order; NULL if all are."""

    of: tuple[Expression, ...]
    separator: str
    type: FieldType = STRING


@dataclass(frozen=True)
class Filled:
    """A value in the place of NULL. `text` is that value as it is written in the registry."""

    of: Expression
    text: str
    type: FieldType

    @property
    def value(self) -> Any:
        return default_value(self.text, self.type)


Expression: TypeAlias = Column | Nothing | Converted | Part | Joined | Filled


class BadUpgrade(Exception):
    """A value cannot be brought to the newest shape. `str(error)` names the column and says why, without the value."""


def default_value(text: str, type_: FieldType) -> Any:
    """The value of a default. Raises BadValue if the text is no value of that type."""
    if type_ == STRING:
        return text
    found = conversion(STRING, type_)
    if found is None:
        raise BadValue(f"no default can be written for a {type_}")
    return found.value(text)


def inputs(expression: Expression) -> Iterator[Column]:
    """The older columns that an expression needs."""
    if isinstance(expression, Column):
        yield expression
    elif isinstance(expression, Joined):
        for each in expression.of:
            yield from inputs(each)
    elif not isinstance(expression, Nothing):
        yield from inputs(expression.of)


def put_into(expression: Expression, older: Mapping[str, Expression]) -> Expression:
    """The expression with its columns replaced by what these are in a still older shape."""
    if isinstance(expression, Column):
        return older[expression.name]
    if isinstance(expression, Nothing):
        return expression
    if isinstance(expression, Joined):
        return Joined(tuple(put_into(each, older) for each in expression.of), expression.separator)
    below = put_into(expression.of, older)
    if isinstance(expression, Converted):
        return Converted(below, expression.type, expression.unit)
    if isinstance(expression, Part):
        return Part(below, expression.number, expression.count, expression.separator)
    return Filled(below, expression.text, expression.type)


def kept(expression: Expression) -> str | None:
    """The older column that a table can keep as this one without touching a data file; None if there is none.

    Iceberg widens a decimal in place: more digits, the same scale. No other change of type is one of metadata alone.
    """
    if isinstance(expression, Column):
        return expression.name
    if isinstance(expression, Converted) and isinstance(expression.of, Column):
        old, new = expression.of.type.digits, expression.type.digits
        if old and new and old[1] == new[1] and old[0] <= new[0]:
            return expression.of.name
    return None


def row(expressions: Mapping[str, Expression], older: Mapping[str, Any]) -> dict[str, Any]:
    """A record's row in the newer shape, absent columns left out. Raises BadUpgrade."""
    found = {}
    for column, expression in expressions.items():
        try:
            value = _value(expression, older)
        except BadValue as bad:
            raise BadUpgrade(f"column {column}, made of an older version's: {bad}") from bad
        if value is not None:
            found[column] = value
    return found


def _value(expression: Expression, older: Mapping[str, Any]) -> Any:
    if isinstance(expression, Column):
        return older.get(expression.name)
    if isinstance(expression, Nothing):
        return None
    if isinstance(expression, Joined):
        texts = [_value(each, older) for each in expression.of]
        present = [text for text in texts if text is not None]
        return expression.separator.join(present) if present else None
    below = _value(expression.of, older)
    if isinstance(expression, Filled):
        return expression.value if below is None else below
    if below is None:
        return None
    if isinstance(expression, Converted):
        return expression.conversion.value(below)
    parts = below.split(expression.separator, expression.count - 1)
    return parts[expression.number] if expression.number < len(parts) else None


def sql(expression: Expression, column: Callable[[str], str]) -> tuple[str, list[str]]:
    """SQL for a column's value, and the conditions under which it surely is what `row` gives.

    Args:
        column: SQL for an older column, by its name; timestamps are without a zone.
    """
    if isinstance(expression, Column):
        return column(expression.name), []
    if isinstance(expression, Nothing):
        return f"CAST(NULL AS {expression.type.duckdb})", []
    if isinstance(expression, Joined):
        both = [sql(each, column) for each in expression.of]
        texts = ", ".join(text for text, _ in both)
        joined = f"CASE WHEN coalesce({texts}) IS NOT NULL THEN concat_ws({literal(expression.separator)}, {texts}) END"
        return joined, [condition for _, conditions in both for condition in conditions]
    below, conditions = sql(expression.of, column)
    if isinstance(expression, Filled):
        return f"coalesce({below}, {_constant(expression)})", conditions
    if isinstance(expression, Converted):
        found = expression.conversion
        value = found.sql.replace("{x}", below)
        return value, [*conditions, f"({below} IS NULL OR ({found.sure.replace('{x}', below)}))"]
    cut = f"string_split({below}, {literal(expression.separator)})"
    if expression.number < expression.count - 1:
        return f"{cut}[{expression.number + 1}]", conditions
    rest = f"array_to_string({cut}[{expression.count}:], {literal(expression.separator)})"
    return f"CASE WHEN len({cut}) >= {expression.count} THEN {rest} END", conditions


def _constant(filled: Filled) -> str:
    value = filled.value
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return f"CAST({literal(text)} AS {filled.type.duckdb})"

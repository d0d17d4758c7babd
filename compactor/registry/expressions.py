"""The columns of a schema version as expressions over the columns of an older version.

A version lists its changes since the version before (see `version_changes`). Substituted into each other, they give one
expression per column of the newest version, for each older version. The same expressions convert one record in Python
(`row`) and columns in SQL (`sql`), and plan a migration (`kept`).
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
    """A column of the older version, unchanged."""

    name: str
    type: FieldType


@dataclass(frozen=True)
class Nothing:
    """NULL: the older version has no such column."""

    type: FieldType


@dataclass(frozen=True)
class Converted:
    """A conversion to another type; `unit` is what a whole number counts that becomes a timestamp."""

    of: Expression
    type: FieldType
    unit: str | None = None

    @property
    def conversion(self) -> Conversion:
        found = conversion(self.of.type, self.type, self.unit)
        assert found is not None  # else `version_changes` would have refused the registry
        return found


@dataclass(frozen=True)
class Part:
    """Part `number` (0-based) of a string cut at the first `count - 1` separators; NULL if it has fewer parts."""

    of: Expression
    number: int
    count: int
    separator: str
    type: FieldType = STRING


@dataclass(frozen=True)
class Joined:
    """The strings that are not NULL, joined in order; NULL if all are."""

    of: tuple[Expression, ...]
    separator: str
    type: FieldType = STRING


@dataclass(frozen=True)
class Filled:
    """A default instead of NULL. `text` is the default as the registry writes it."""

    of: Expression
    text: str
    type: FieldType

    @property
    def value(self) -> Any:
        return default_value(self.text, self.type)


Expression: TypeAlias = Column | Nothing | Converted | Part | Joined | Filled


class BadUpgrade(Exception):
    """A value cannot be converted to the newest version. `str(error)` gives the column and why, without the value."""


def default_value(text: str, type_: FieldType) -> Any:
    """The value of a default. Raises BadValue if the text is no value of that type."""
    if type_ == STRING:
        return text
    found = conversion(STRING, type_)
    if found is None:
        raise BadValue(f"no default can be written for a {type_}")
    return found.value(text)


def inputs(expression: Expression) -> Iterator[Column]:
    """The older columns that an expression reads."""
    if isinstance(expression, Column):
        yield expression
    elif isinstance(expression, Joined):
        for each in expression.of:
            yield from inputs(each)
    elif not isinstance(expression, Nothing):
        yield from inputs(expression.of)


def put_into(expression: Expression, older: Mapping[str, Expression]) -> Expression:
    """The expression with its columns replaced by their expressions over a still older version."""
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
    """The older column that a table can keep as this one without rewriting data files; None if there is none.

    Iceberg widens a decimal in place: more digits, the same scale. Each other change of type rewrites data.
    """
    if isinstance(expression, Column):
        return expression.name
    if isinstance(expression, Converted) and isinstance(expression.of, Column):
        old, new = expression.of.type.digits, expression.type.digits
        if old and new and old[1] == new[1] and old[0] <= new[0]:
            return expression.of.name
    return None


def row(expressions: Mapping[str, Expression], older: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a record in the newer version, without absent columns. Raises BadUpgrade."""
    found = {}
    for column, expression in expressions.items():
        try:
            value = _value(expression, older)
        except BadValue as bad:
            raise BadUpgrade(f"column {column}, converted from an older version: {bad}") from bad
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
    """SQL for the value of a column, and the conditions under which it surely is what `row` gives.

    Args:
        column: gives the SQL for an older column, by its name. Timestamps have no zone.
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

"""What the contract says of promoted columns, as plain Python: a value by the text that the map keeps, or NULL.

It knows nothing of the product's code, as `model` does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

from tests.support.model import BadLineError, Number, Row, converter


class Promoted(NamedTuple):
    """A key of a map that has a column, of a type as the registry writes it."""

    source: str
    key: str
    column: str
    kind: str

    @property
    def yaml(self) -> str:
        key, kind = json.dumps(self.key, ensure_ascii=False), json.dumps(self.kind)
        return f"  - {{from: {self.source}, key: {key}, column: {self.column}, type: {kind}}}\n"

    def value(self, row: Row) -> Any:
        """The column's value in a row, None where the map has no entry or the entry does not fit."""
        text = (row[self.source] or {}).get(self.key)
        if text is None:
            return None
        return of_json(text, self.kind) if self.source == "extra" else of_bare_text(text, self.kind)

    def is_unfit(self, row: Row) -> bool:
        text = (row[self.source] or {}).get(self.key)
        absent = text is None or (self.source == "extra" and text == "null")
        return not absent and self.value(row) is None


def with_promoted(row: Row, promoted: Iterable[Promoted]) -> Row:
    return row | {each.column: each.value(row) for each in promoted}


def of_json(text: str, kind: str) -> Any:
    """A JSON value as a declared field takes it; a column of strings takes any other value as its JSON text."""
    value = _parsed(text)
    if kind == "string" and value is not None and type(value) is not str:
        return text
    return _fitting(value, kind)


def of_bare_text(text: str, kind: str) -> Any:
    """A text as the JSON value of that type, which it may be with or without quotes."""
    if kind in ("string", "timestamp", "date"):
        return _fitting(text, kind)
    return None if text != text.strip() else _fitting(_parsed(text), kind)


def _fitting(value: Any, kind: str) -> Any:
    try:
        return None if value is None else converter(kind)(value)
    except BadLineError:
        return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
    except ValueError:
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


KINDS = (
    *("string", "long", "double", "boolean", "timestamp", "date"),
    *("decimal(10,2)", "decimal(38,20)", "decimal(18,0)", "decimal(4,4)"),
)


def of_each_kind(source: str, key: str, prefix: str) -> tuple[Promoted, ...]:
    """A column of each type for one key."""
    return tuple(Promoted(source, key, f"{prefix}_{number}", kind) for number, kind in enumerate(KINDS))

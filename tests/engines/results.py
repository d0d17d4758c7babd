"""What is asked of an engine, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class EngineError(Exception):
    """The engine refused; the text is its own."""


@dataclass(frozen=True)
class Result:
    """`types` are the engine's own names of them. Rows hold Python's values: maps are dicts, times aware and in UTC."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

    @property
    def dicts(self) -> list[dict[str, Any]]:
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Condition:
    """`column` compared with a value: `operator` is =, < or >=."""

    column: str
    operator: str
    value: Any

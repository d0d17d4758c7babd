"""What an engine answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """`types` are the engine's own names of them. Rows hold Python's values: maps are dicts, times aware and in UTC."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

"""What is asked of an engine that has no SQL here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """`what` is rows, files (the number that would be read), extremes (count, min, max of `column`) or entries
    (`id`, and the value of `key` in the map `column`). `where` are triples of column, operator (=, <, >=) and value.
    """

    metadata: str
    what: str = "rows"
    where: list[tuple[str, str, Any]] = field(default_factory=list)
    snapshot: int | None = None
    tag: str | None = None
    column: str = ""
    key: str = ""

"""What was checked with which engine, for the table that the run prints at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import pytest
from trino.exceptions import Error as TrinoError

from tests.engines.results import EngineError

NOT_RUN = "not run"


@dataclass(frozen=True)
class Limit:
    """What an engine cannot do: a sentence for the table, and what the failing check says, as a pattern."""

    reason: str
    says: str


@dataclass
class Board:
    """`checks` are the rows of the table, in its order; `engines` its columns, key -> name with version."""

    checks: Mapping[str, str]
    engines: dict[str, str] = field(default_factory=dict)
    cells: dict[tuple[str, str], str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @contextmanager
    def check(self, engine: str, check: str, limit: Limit | None) -> Iterator[None]:
        """Runs a check. One with a limit has to fail as that says: where it does not, the limit is out of date."""
        assert check in self.checks, f"{check} has no row in the table"
        self.cells[check, engine] = "FAILED"
        if limit is None:
            yield
            self.cells[check, engine] = "ok"
        else:
            with pytest.raises((AssertionError, EngineError, TrinoError, duckdb.Error), match=limit.says):
                yield
            self.cells[check, engine] = f"no: {limit.reason}"

    @property
    def complete(self) -> bool:
        return all(self.cells.get((check, engine)) for check in self.checks for engine in self.engines)

    def lines(self) -> list[str]:
        """The table as Markdown, which is as good to read in a terminal; the reasons are notes below it."""
        notes: dict[str, int] = {}
        table = [["", *self.engines.values()]]
        for check, title in self.checks.items():
            row = [title]
            for engine in self.engines:
                cell = self.cells.get((check, engine), NOT_RUN)
                if cell.startswith("no: "):
                    number = notes.setdefault(cell.removeprefix("no: "), len(notes) + 1)
                    cell = f"no ({number})"
                row.append(cell)
            table.append(row)
        widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in table
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return [*lines, "", *(f"{number}. {reason}" for reason, number in notes.items())]

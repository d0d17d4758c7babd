"""The parts of a printed report: tables, sections, sentences, and numbers and times as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compactor.log import printable
from compactor.reports.report import Problem, said_once

SHOWN = 10
"""Objects that are printed with their reason."""

_UNDERLINE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


class Output(Console):
    """A console on stdout."""

    def on_broken_pipe(self) -> NoReturn:
        """Leaves it to `streams.until_closed`; the base class would end the program with 1."""
        raise BrokenPipeError


def new_table(columns: Mapping[str, bool], rows: Iterable[Sequence[str]], *, header: bool = True) -> Table:
    """A table without a frame. Long cells are wrapped, not cut.

    Args:
        columns: name -> whether the column holds numbers. Numbers are aligned to the right.
        rows: the cells of each row.
        header: show the names of the columns.
    """
    box = _UNDERLINE if header else None
    table = Table(box=box, show_header=header, show_edge=False, pad_edge=False, padding=(0, 1 if header else 2, 0, 0))
    for name, is_number in columns.items():
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def section(console: Console, title: str, columns: Mapping[str, bool], rows: Sequence[Sequence[str]]) -> None:
    """Prints a title and a table; one line if the table has no rows."""
    if not rows:
        say(console, f"{title}: none")
        return
    say(console, f"{title}:")
    console.print(new_table(columns, [[printable(cell) for cell in row] for row in rows]))
    say(console, "")


def say(console: Console, sentence: str) -> None:
    """Prints one line, never wrapped, so that a command in it can be copied."""
    console.print(Text(printable(sentence)), soft_wrap=True)


def say_problems(problems: Sequence[Problem], console: Console) -> None:
    """Prints each problem with its next step; what several subjects share is said once."""
    found = said_once(problems)
    if found:
        say(console, f"{counted(len(found), 'problem')}:")
    for problem in found:
        say(console, f"  {problem}")


def counted(number: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def megabytes(size: int) -> str:
    """Bytes in MB of 10**6 bytes."""
    return f"{size / 1e6:,.1f}"


def day(time: datetime | None) -> str:
    """`2026-11-01`, in UTC; `-` for None."""
    return minute(time).split()[0]


def minute(time: Any) -> str:
    """`2026-11-01 05:00`, in UTC; `-` for None."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if isinstance(time, datetime) else str(time or "-")

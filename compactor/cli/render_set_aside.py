"""Prints the reports of `acknowledge` and `relocate`, and what a run met that was acknowledged before."""

from __future__ import annotations

from rich.console import Console

from compactor.cli.console import counted, megabytes, minute, say, section
from compactor.reports.acknowledgement import Acknowledgement, AcknowledgeReport
from compactor.reports.relocation import RelocateReport
from compactor.reports.report import DatasetReport

_SHOWN = 50


def show_set_aside(report: AcknowledgeReport | RelocateReport, console: Console, command: str) -> None:
    if isinstance(report, AcknowledgeReport):
        _show_acknowledged(report, console, command)
    else:
        _show_relocation(report, console, command)


def _show_acknowledged(report: AcknowledgeReport, console: Console, command: str) -> None:
    """Each object, and lines together as they were acknowledged; then the counts and the way back."""
    for entry in report.entries[:_SHOWN]:
        say(console, f"{entry.dataset}: {_what(entry)}")
        say(console, f"  {entry.reason}")
        say(console, f"  acknowledged {minute(entry.at)}: {entry.because}")
    if more := report.entries[_SHOWN:]:
        say(console, f"and {len(more):,} more; --json lists them all")
    counts = f"{counted(report.objects, 'object')}, {counted(report.lines, 'line')}"
    if report.action == "listed" and not report.entries:
        say(console, "nothing is acknowledged")
        return
    if report.action == "undone":
        say(console, f"{counts} no longer acknowledged; to read them again:   {command} compact, {command} replay")
        return
    say(console, f"{counts} acknowledged" + (f", {report.before:,} before" if report.before else ""))
    if report.action == "acknowledged":
        say(console, f"to see all:   {command} acknowledge --list")


def say_acknowledged(total: DatasetReport, console: Console, command: str) -> None:
    """What a run met that was acknowledged before."""
    parts = [
        counted(number, noun)
        for number, noun in ((total.acknowledged_objects, "object"), (total.acknowledged_lines, "line"))
        if number
    ]
    if parts:
        say(console, f"{', '.join(parts)} acknowledged; to see them:   {command} acknowledge --list")


def _what(entry: Acknowledgement) -> str:
    place = entry.key or "several objects"
    if not entry.lines:
        return place
    return f"{f'line {entry.line}' if entry.line is not None else counted(entry.lines, 'line')} of {place}"


def _show_relocation(report: RelocateReport, console: Console, command: str) -> None:
    """Each table, what is missing or wrong, and what was done or is to be done next."""
    tables = [each for each in report.tables if each.is_to_do]
    say(console, f"from   {report.source or '-'}")
    say(console, f"to     {report.target}")
    numbers = ("snapshots", "files", "MB", "to write", "MB to write")
    rows = [
        (
            each.table,
            each.state,
            f"{each.snapshots:,}",
            f"{each.files:,}",
            megabytes(each.bytes),
            f"{each.metadata_files:,}",
            megabytes(each.metadata_bytes),
        )
        for each in tables
    ]
    section(console, "tables", dict.fromkeys(("table", "what"), False) | dict.fromkeys(numbers, True), rows)
    for each in report.tables:
        if each.missing or each.differing:
            lacking = f"{counted(each.missing, 'file')} missing, {each.differing:,} of another size"
            say(console, f"{each.table}: {lacking}, such as {each.examples[0]}")
        for problem in each.problems:
            say(console, f"{each.table}: {problem}")
    for state in ("in place", "elsewhere"):
        if names := [each.table for each in report.tables if each.state == state]:
            what = "already at the new place" if state == "in place" else "at neither place, left alone"
            say(console, f"{counted(len(names), 'table')} {what}: {', '.join(names)}")
    _say_what_next(report, console, command, to_do=bool(tables))


def _say_what_next(report: RelocateReport, console: Console, command: str, *, to_do: bool) -> None:
    if report.done:
        say(console, f"relocated; to check:   {command} verify --rebuild --files")
    elif not report.is_possible:
        only_missing = not any(each.problems for each in report.tables)
        say(console, "nothing was changed" if report.refused else "nothing was changed, and `apply` refuses it")
        say(console, "copy what is missing, then run again" if only_missing else "see above what to do, then run again")
        if only_missing:
            say(console, f"to have the tables as incomplete as the copy:   {command} relocate apply --allow-missing")
    elif to_do:
        say(console, f"nothing was changed; to relocate:   {command} relocate apply")
    else:
        say(console, "the tables are where the config points; nothing to do")

"""Prints what was set aside: the reports of `acknowledge`, and the counts of a run and of the status."""

from __future__ import annotations

from rich.console import Console

from compactor.cli.console import counted, minute, say, section
from compactor.reports.acknowledgement import Acknowledgement, AcknowledgeReport
from compactor.reports.report import DatasetReport

_SHOWN = 50


def show_acknowledged(report: AcknowledgeReport, console: Console, command: str) -> None:
    """Each object, and lines together as they were acknowledged; then the counts and the way back."""
    columns = dict.fromkeys(("dataset", "what", "reason", "because", "when"), False)
    section(console, "acknowledged", columns, [_row(entry) for entry in report.entries[:_SHOWN]])
    if more := report.entries[_SHOWN:]:
        say(console, f"and {len(more):,} more; --json lists them all")
    counts = f"{counted(report.objects, 'object')}, {counted(report.lines, 'line')}"
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


def _row(entry: Acknowledgement) -> tuple[str, ...]:
    place = entry.key or "several objects"
    if entry.lines:
        lines = f"line {entry.line}" if entry.line is not None else counted(entry.lines, "line")
        place = f"{lines} of {place}"
    return (entry.dataset, place, entry.reason, entry.because, minute(entry.at))

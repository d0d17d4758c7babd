"""Prints the report of `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console

from compactor.cli.console import SHOWN, megabytes, minute, say, say_problems, section
from compactor.reports.report import Acknowledged, StatusReport, TableStatus, named

_RUN_COUNTS = ("listed", "objects", "lines", "new", "quarantined")


def show(report: StatusReport, console: Console) -> None:
    """Tables, pending objects, last runs, quarantine. An empty section is one line."""
    columns = {"table": False, "rows": True, "newest": False, "files": True, "MB": True, "snapshot": True}
    section(console, "tables", columns, [_table_row(table) for table in report.tables])

    none = Acknowledged()
    pending = [
        (name, f"{left.objects:,}", megabytes(left.bytes), f"{report.acknowledged.get(name, none).objects:,}")
        for name, left in report.pending.items()
        if left.objects or report.acknowledged.get(name, none).objects
    ]
    section(console, "pending", {"dataset": False, "objects": True, "MB": True, "acknowledged": True}, pending)

    columns = dict.fromkeys(("started", "verb", "dataset"), False) | dict.fromkeys(_RUN_COUNTS, True) | {"": False}
    section(console, "last runs", columns, list(_run_rows(report.runs)))
    _say_reasons(report.runs, console)

    reasons = [
        (name, reason, f"{rows:,}", f"{report.acknowledged.get(name, none).lines.get(reason, 0):,}")
        for name, each in report.quarantine.items()
        for reason, rows in each.items()
    ]
    columns = {"dataset": False, "reason": False, "rows": True, "acknowledged": True}
    section(console, "quarantine", columns, reasons)
    say_problems(report.problems, console)


def _table_row(table: TableStatus) -> tuple[str, ...]:
    newest, snapshot = minute(table.newest), str(table.snapshot_id or "-")
    return (table.table, f"{table.rows:,}", newest, f"{table.data_files:,}", megabytes(table.bytes), snapshot)


def _run_rows(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """One line for each dataset of a run that had news or failed, and one for all others of the run together."""
    for _, group in groupby(runs, key=lambda run: run["run_id"]):
        rows = list(group)
        busy = [row for row in rows if row["lines"] or row["objects"] or row["failed_objects"] or row.get("error")]
        yield from (_run_row(row, row["dataset"], row.get("listed")) for row in busy)
        if quiet := [row for row in rows if row not in busy]:
            name = quiet[0]["dataset"] if len(quiet) == 1 else f"{len(quiet)} {'other ' if busy else ''}datasets"
            listed = [row["listed"] for row in quiet if row.get("listed") is not None]
            yield _run_row(quiet[0], name, sum(listed) if listed else None)


def _run_row(run: Mapping[str, Any], dataset: str, listed: int | None) -> tuple[str, ...]:
    """The columns of a row of `compactor_runs` that fit into a line. `listed`: None in rows of older versions."""
    pending = f"{run['failed_objects']:,} pending" if run["failed_objects"] else ""
    return (
        minute(run["started_at"]),
        run["verb"],
        dataset,
        "-" if listed is None else f"{listed:,}",
        *(f"{run[name]:,}" for name in _RUN_COUNTS[1:]),
        "FAILED" if run.get("error") else pending,
    )


def _say_reasons(runs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Why the newest of the runs left objects pending, or failed."""
    newest = [run for run in runs if run["run_id"] == runs[0]["run_id"]]
    reasons = [f"{run['dataset']}: {run['error']}" for run in newest if run.get("error")]
    reasons += [named(each["key"], each["reason"]) for run in newest for each in run["failures"]]
    if reasons:
        say(console, f"the last run, {newest[0]['run_id']}, did not load all:")
    for reason in reasons[:SHOWN]:
        say(console, f"  {reason}")
    if reasons:
        say(console, "")

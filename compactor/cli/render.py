"""Reports as tables for people, on stdout: 100 columns, ASCII lines, no colour where stdout is no terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compactor.reports.data import DatasetDrift, DriftReport, FieldDrift, InferReport, RegistryCheckReport
from compactor.reports.migration import MigrationPlan, MigrationReport, RollbackReport
from compactor.reports.report import (
    DatasetReport,
    Repair,
    Report,
    RunReport,
    StatusReport,
    TableStatus,
    VerifyReport,
    ViewsReport,
)

_WIDTH = 100
_FAILED_SHOWN = 10
_WHY_QUARANTINED = '"select dataset, reason, count(*) from compactor_quarantine group by all"'
_RUN_COUNTS = ("objects", "lines", "new", "quarantined")
_DRIFT_COLUMNS = ("in", "key", "records", "share", "first", "last", "types", "status")
_UNDERLINE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def stdout() -> Console:
    """A console on stdout: a terminal's own width and colours, else a fixed width and none."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, force_terminal=False, width=_WIDTH)


def new_table(columns: Mapping[str, bool], rows: Iterable[Sequence[str]], *, header: bool = True) -> Table:
    """`columns` says of each whether it holds numbers, which stand to the right. Long cells are wrapped, not cut."""
    box = _UNDERLINE if header else None
    table = Table(box=box, show_header=header, show_edge=False, pad_edge=False, padding=(0, 1 if header else 2, 0, 0))
    for name, is_number in columns.items():
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def printable(text: str) -> str:
    """`text` with control characters escaped: a value from a fan's phone must not steer the operator's terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def show(report: Report, console: Console, *, command: str = "compactor") -> None:
    """Prints a report. `command` is how this program was called, up to the verb, for what to run next."""
    match report:
        case RunReport():
            _show_run(report, console, command)
        case StatusReport():
            _show_status(report, console)
        case VerifyReport():
            _show_verify(report, console, command)
        case MigrationPlan():
            _show_plan(report, console, command)
        case MigrationReport():
            _show_migration(report, console, command)
        case RollbackReport():
            _show_rollback(report, console, command)
        case DriftReport():
            _show_drift(report, console, command)
        case InferReport():
            _show_inferred(report, console)
        case RegistryCheckReport():
            _show_registry_check(report, console)
        case ViewsReport():
            _show_views(report, console)


def _show_run(report: RunReport, console: Console, command: str) -> None:
    """One line a dataset, their sum, and in words what to do next."""
    _say(console, f"run {report.run_id}")
    if report.left_to:
        _say(console, f"left, because run {report.left_to} is under way; nothing was done")
        return
    total = _total(report)
    if total.objects or total.lines or total.failed:
        names = ("dataset", "files", "lines", "new", "duplicates", "quarantined", "MB/s")
        datasets = [*report.datasets, total] if len(report.datasets) > 1 else report.datasets
        columns = {name: name != "dataset" for name in names}
        console.print(new_table(columns, [_dataset_row(dataset) for dataset in datasets]))
    else:
        _say(console, "nothing to do")
    if total.ignored:
        _say(console, f"{_count(total.ignored, 'object')} ignored: the key is not that of an export")
    if number := total.unknown_fields:
        have = "record has" if number == 1 else "records have"
        _say(console, f"{number:,} {have} fields that the registry does not know; see `{command} drift`")
    _say_what_next(total, console, command)


def _dataset_row(dataset: DatasetReport) -> tuple[str, ...]:
    counts = (dataset.objects, dataset.lines, dataset.new, dataset.duplicates, dataset.quarantined)
    rate = f"{dataset.raw_bytes / 1e6 / dataset.seconds:,.1f}" if dataset.seconds else "-"
    return (dataset.dataset, *(f"{count:,}" for count in counts), rate)


def _total(report: RunReport) -> DatasetReport:
    parts = report.datasets
    return DatasetReport(
        dataset="total",
        objects=sum(part.objects for part in parts),
        lines=sum(part.lines for part in parts),
        new=sum(part.new for part in parts),
        duplicates=sum(part.duplicates for part in parts),
        quarantined=sum(part.quarantined for part in parts),
        raw_bytes=sum(part.raw_bytes for part in parts),
        unknown_fields=sum(part.unknown_fields for part in parts),
        ignored=sum(part.ignored for part in parts),
        failed=tuple(failure for part in parts for failure in part.failed),
        unknown_versions=tuple((part.dataset, why) for part in parts for _, why in part.unknown_versions),
        seconds=(report.finished_at - report.started_at).total_seconds(),
    )


def _say_what_next(total: DatasetReport, console: Console, command: str) -> None:
    if total.failed:
        _say(console, f"{_count(len(total.failed), 'object')} left pending, to be tried again by the next run:")
        for key, reason in total.failed[:_FAILED_SHOWN]:
            _say(console, f"  {reason}" if key in reason else f"  {key}: {reason}")
        if more := total.failed[_FAILED_SHOWN:]:
            _say(console, f"  and {len(more):,} more; --json lists them all")
    if total.quarantined:
        _say(console, f"{_count(total.quarantined, 'line')} quarantined; nothing is lost:")
        _say(console, f"  to see why:                   {command} query {_WHY_QUARANTINED}")
        for dataset, why in total.unknown_versions:
            _say(console, f"  {dataset}: {why}")
        _say(console, f"  after mending the registry:   {command} replay")


def _show_plan(plan: MigrationPlan, console: Console, command: str) -> None:
    """Per table what changes in place, what is rewritten, and which queries would break."""
    _show_changes(plan, console)
    if plan.tables:
        _say(console, f"plan {plan.plan_id}; to carry it out:   {command} migrate apply --plan {plan.plan_id}")


def _show_changes(plan: MigrationPlan, console: Console) -> None:
    if not plan.tables:
        _say(console, "the tables are as the registry says; nothing to do")
    for table in plan.tables:
        step = f"version {table.from_version} -> {table.to_version}"
        _say(console, f"{table.table}: {step if table.from_version != table.to_version else 'promoted columns'}")
        for words in table.in_place:
            _say(console, f"  in place   {words}")
        for words in table.rewritten:
            _say(console, f"  rewrite    {words}")
        if table.rewritten:
            files = _count(table.files, "file")
            _say(console, f"             {table.rows:,} rows, {files}, {table.bytes / 1e6:,.1f} MB to rewrite")
        for words in table.breaks:
            _say(console, f"  breaks     queries that name a column: {words}")


def _show_migration(report: MigrationReport, console: Console, command: str) -> None:
    _show_changes(report.plan, console)
    for dataset, tag in report.tags.items():
        _say(console, f"{dataset}: migrated; as it was: tag {tag}, back to it: {command} migrate rollback")
        if rows := report.quarantined[dataset]:
            _say(console, f"{_count(rows, 'row')} could not be brought to the new shape and lie in the quarantine:")
            _say(console, f"  to see why:                   {command} query {_WHY_QUARANTINED}")


def _show_rollback(report: RollbackReport, console: Console, command: str) -> None:
    for each in report.datasets:
        way = f"version {each.from_version} -> {each.to_version}, tag {each.tag}"
        _say(console, f"{each.dataset}: {'back' if report.done else 'would go back'}, {way}")
        what = f"{_count(each.objects, 'object')} loaded since ({each.lines:,} lines, {each.new:,} new)"
        _say(console, f"  {what} {'are' if report.done else 'would be'} pending again")
    if not report.done:
        _say(console, f"nothing was changed; to do it:   {command} migrate rollback --yes")


def _show_status(report: StatusReport, console: Console) -> None:
    """Tables, pending objects, last runs, quarantine; a part with nothing in it is one line."""
    columns = {"table": False, "rows": True, "newest": False, "files": True, "MB": True, "snapshot": True}
    _section(console, "tables", columns, [_table_row(table) for table in report.tables])

    pending = [(name, f"{left.objects:,}", _mb(left.bytes)) for name, left in report.pending.items() if left.objects]
    _section(console, "pending", {"dataset": False, "objects": True, "MB": True}, pending)

    columns = dict.fromkeys(("started", "verb", "dataset"), False) | dict.fromkeys(_RUN_COUNTS, True)
    _section(console, "last runs", columns, [_run_row(run) for run in report.runs])

    reasons = [(name, reason, f"{rows:,}") for name, each in report.quarantine.items() for reason, rows in each.items()]
    _section(console, "quarantine", {"dataset": False, "reason": False, "rows": True}, reasons)


def _table_row(table: TableStatus) -> tuple[str, ...]:
    newest, snapshot = _minute(table.newest), str(table.snapshot_id or "-")
    return (table.table, f"{table.rows:,}", newest, f"{table.data_files:,}", _mb(table.bytes), snapshot)


def _run_row(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a row of `compactor_runs`, what fits into a line."""
    return (
        _minute(run.get("started_at")),
        run.get("verb", "-"),
        run.get("dataset", "-"),
        *(f"{run.get(count, 0):,}" for count in _RUN_COUNTS),
    )


def _show_verify(report: VerifyReport, console: Console, command: str) -> None:
    """Each check with its outcome, how many failed, and with `--repair` what was or can be done about it."""
    rows = [(each.table, each.name, "ok" if each.ok else "FAILED", each.detail) for each in report.checks]
    _section(console, "checks", dict.fromkeys(("table", "check", "result", "detail"), False), rows)
    failed = sum(not check.ok for check in report.checks)
    if report.checks:
        _say(console, f"{failed} of {_count(len(report.checks), 'check')} failed" if failed else "all checks passed")
    repairs = report.repairs or ()
    _say_repairs("repaired", [each for each in repairs if each.done], console)
    due = [each for each in repairs if each.possible and not each.done]
    _say_repairs("can be repaired", due, console)
    _say_repairs(
        "cannot be repaired from what the tables hold", [each for each in repairs if not each.possible], console
    )
    if due:
        _say(console, f"nothing of this was changed; to carry it out:   {command} verify --repair --yes")
    elif failed and report.repairs is None:
        _say(console, f"what can be done about it:   {command} verify --repair")


def _say_repairs(title: str, repairs: Sequence[Repair], console: Console) -> None:
    if repairs:
        _say(console, f"{title}:")
    for each in repairs:
        cost = f" ({_count(each.rows, 'row')} to write, {_count(each.files, 'file')} to exchange)" if each.files else ""
        _say(console, f"  {each.table}: {each.wrong}")
        _say(console, f"    {each.action}{cost if not each.done else ''}")


def _show_drift(report: DriftReport, console: Console, command: str) -> None:
    """Each dataset with its fields and keys, then the YAML that would make columns of them."""
    for dataset in report.datasets:
        _show_dataset_drift(dataset, console, command)
    if report.missing:
        _say(console, f"no table yet of {', '.join(report.missing)}; run `{command} compact` first")


def _show_dataset_drift(dataset: DatasetDrift, console: Console, command: str) -> None:
    if dataset.newest is None:
        _say(console, f"{dataset.dataset}: no records in {dataset.table}")
        return
    records = _count(dataset.records, "record")
    title = f"{dataset.dataset}, {records} in {dataset.table} up to {_minute(dataset.newest)}"
    columns = {name: name in ("records", "share") for name in _DRIFT_COLUMNS}
    _section(console, title, columns, [_drift_row(field) for field in dataset.fields])
    for column, keys in dataset.crowded.items():
        _say(console, f"{column}: {keys:,} distinct keys, so its keys are data, not fields; none is listed")
    if dataset.promote:
        instead = "in place of its promote:" if dataset.replaces_promote else "at its end"
        _say(console, f"to make columns of keys, paste this into {dataset.file}, {instead};")
        _say(console, f"a table that exists gets the column by `{command} migrate`:")
        for line in dataset.promote.splitlines():
            _say(console, line)
    if dataset.crowded or dataset.promote:
        _say(console, "")


def _drift_row(field: FieldDrift) -> tuple[str, ...]:
    several = len(field.types) > 1
    types = ", ".join(f"{kind} {number:,}" if several else kind for kind, number in field.types.items())
    status = f"{field.status}; column {field.promoted}" if field.promoted else field.status
    seen = (_day(field.first_seen), _day(field.last_seen))
    return (field.source or "-", field.key, f"{field.records:,}", f"{field.share:.1%}", *seen, types or "-", status)


def _show_inferred(report: InferReport, console: Console) -> None:
    """The files themselves, as YAML documents; if they were written, where to."""
    told = [each for each in report.datasets if each.yaml is not None]
    for each in told:
        if each.path is not None:
            _say(console, f"{each.path}: {_count(each.checks, 'place')} to check" if each.checks else each.path)
            continue
        heading = ["---", f"# {each.dataset}.yaml"] if len(told) > 1 else []
        for line in (*heading, *(each.yaml or "").splitlines()):
            _say(console, line)


def _show_registry_check(report: RegistryCheckReport, console: Console) -> None:
    """Each difference, and the sum."""
    rows = [(each.dataset, "note" if each.fits else "MISFIT", each.what, each.detail) for each in report.findings]
    _section(console, "findings", dict.fromkeys(("dataset", "", "what", "detail"), False), rows)
    for dataset, lines in report.lines.items():
        _say(
            console, f"{dataset}: {report.rejected[dataset]:,} of {_count(lines, 'sampled line')} would be quarantined"
        )
    misfits = sum(not finding.fits for finding in report.findings)
    _say(console, f"the registry does not fit: {_count(misfits, 'finding')}" if misfits else "the registry fits")


def _section(console: Console, title: str, columns: Mapping[str, bool], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        _say(console, f"{title}: none")
        return
    _say(console, f"{title}:")
    console.print(new_table(columns, [[printable(cell) for cell in row] for row in rows]))
    _say(console, "")


def _say(console: Console, sentence: str) -> None:
    """One line however long, so that a command in it can be copied."""
    console.print(Text(printable(sentence)), soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _mb(size: int) -> str:
    """Bytes in units of 10**6 of them."""
    return f"{size / 1e6:,.1f}"


def _day(moment: datetime | None) -> str:
    return _minute(moment).split()[0]


def _minute(moment: Any) -> str:
    """`2026-11-01 05:00`, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if isinstance(moment, datetime) else str(moment or "-")


def _show_views(report: ViewsReport, console: Console) -> None:
    """Statements as they are, for another program to read: never wrapped."""
    for view in report.views:
        if report.made:
            _say(console, f"made view {report.namespace}.{view.name}")
        else:
            comment = textwrap.fill(view.description, 118, initial_indent="-- ", subsequent_indent="-- ")
            ask = textwrap.indent(f"\n{view.ask};", "-- ").replace("-- ", "-- ask: ", 1) if view.ask else ""
            console.out(f"{comment}{ask}\n{view.create};\n", highlight=False)

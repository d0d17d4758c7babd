"""Prints reports for people, as tables on stdout. If stdout is not a terminal: 100 columns, and no colour."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence

from rich.console import Console

from compactor.cli import status_output
from compactor.cli.console import SHOWN, Output, counted, day, minute, new_table, say, say_problems, section
from compactor.cli.render_set_aside import say_acknowledged, show_set_aside
from compactor.reports.acknowledgement import AcknowledgeReport
from compactor.reports.data import DatasetDrift, DriftReport, FieldDrift, InferReport, RegistryCheckReport
from compactor.reports.migration import MigrationPlan, MigrationReport, RollbackReport
from compactor.reports.relocation import RelocateReport
from compactor.reports.report import (
    DatasetReport,
    Repair,
    Report,
    RunReport,
    StatusReport,
    VerifyReport,
    named,
)
from compactor.reports.views import ViewsReport
from compactor.request_counts import Requests

_WIDTH = 100
_WHY_QUARANTINED = '"select dataset, reason, count(*) from compactor_quarantine group by all"'
_DRIFT_COLUMNS = ("in", "key", "records", "share", "first", "last", "types", "status")


def stdout() -> Console:
    """A console on stdout. It has the width and the colours of the terminal, or a fixed width and no colours."""
    if sys.stdout.isatty():
        return Output(file=sys.stdout, highlight=False)
    return Output(file=sys.stdout, highlight=False, force_terminal=False, width=_WIDTH)


def show(report: Report, console: Console, *, command: str = "compactor") -> None:
    """Prints a report.

    `command` is the command line of this program up to the verb. The commands to run next begin with it.
    """
    match report:
        case RunReport():
            _show_run(report, console, command)
        case StatusReport():
            status_output.show(report, console)
        case VerifyReport():
            _show_verify(report, console, command)
        case MigrationPlan():
            _show_plan(report, console, command)
        case MigrationReport():
            _show_migration(report, console, command)
        case RollbackReport():
            _show_rollback(report, console, command)
        case AcknowledgeReport() | RelocateReport():
            show_set_aside(report, console, command)
        case DriftReport():
            _show_drift(report, console, command)
        case InferReport():
            _show_inferred(report, console)
        case RegistryCheckReport():
            _show_registry_check(report, console)
        case ViewsReport():
            _show_views(report, console)


def _show_run(report: RunReport, console: Console, command: str) -> None:
    """One line per dataset, their sum, and what to do next."""
    say(console, f"run {report.run_id}")
    if report.left_to:
        say(console, f"skipped, because run {report.left_to} is in progress; nothing was done")
        return
    total = _total(report)
    failed = [problem for problem in report.problems if problem.fails]
    if total.objects or total.lines or total.failed:
        names = ("dataset", "files", "lines", "new", "duplicates", "quarantined", "MB/s")
        datasets = [*report.datasets, total] if len(report.datasets) > 1 else report.datasets
        columns = {name: name != "dataset" for name in names}
        console.print(new_table(columns, [_dataset_row(dataset) for dataset in datasets]))
    else:
        say(console, "nothing was loaded" if failed else "nothing to do")
    if total.ignored:
        say(console, f"{counted(total.ignored, 'object')} ignored: the key does not match the key pattern of an export")
    if number := total.unknown_fields:
        have = "record has" if number == 1 else "records have"
        say(console, f"{number:,} {have} fields that the registry does not declare; see `{command} drift`")
    for dataset in report.datasets:
        _say_unfit(dataset.dataset, dataset.unfit, console)
    if report.requests:
        say(console, f"requests: {_requests(report.requests)}")
    _say_what_next(total, console, command)
    say_problems(report.problems, console)


def _say_unfit(dataset: str, unfit: Mapping[str, int], console: Console) -> None:
    for column, number in unfit.items():
        records = counted(number, "record")
        say(console, f"{dataset}: {column} is NULL in {records} whose value does not fit its type; the map keeps it")


def _requests(requests: Requests) -> str:
    """`source 4 list, 12 get; tables 9 get, 4 put; catalog 30`: what was not asked for is left out."""
    parts = []
    for name, counts in (("source", requests.source), ("tables", requests.tables)):
        if found := ", ".join(f"{number:,} {kind}" for kind, number in counts.items() if number):
            parts.append(f"{name} {found}")
    return "; ".join([*parts, f"catalog {requests.catalog:,}"])


def _dataset_row(dataset: DatasetReport) -> tuple[str, ...]:
    counts = (dataset.objects, dataset.lines, dataset.new, dataset.duplicates, dataset.quarantined)
    rate = f"{dataset.raw_bytes / 1e6 / dataset.seconds:,.1f}" if dataset.seconds else "-"
    return (dataset.dataset, *(f"{count:,}" for count in counts), rate)


def _total(report: RunReport) -> DatasetReport:
    parts = report.datasets
    return DatasetReport(
        dataset="total",
        listed=sum(part.listed for part in parts),
        objects=sum(part.objects for part in parts),
        lines=sum(part.lines for part in parts),
        new=sum(part.new for part in parts),
        duplicates=sum(part.duplicates for part in parts),
        quarantined=sum(part.quarantined for part in parts),
        acknowledged_lines=sum(part.acknowledged_lines for part in parts),
        acknowledged_objects=sum(part.acknowledged_objects for part in parts),
        raw_bytes=sum(part.raw_bytes for part in parts),
        unknown_fields=sum(part.unknown_fields for part in parts),
        ignored=sum(part.ignored for part in parts),
        failed=tuple(failure for part in parts for failure in part.failed),
        beyond_replay=sum(part.beyond_replay for part in parts),
        unknown_versions=tuple((part.dataset, why, n) for part in parts for _, why, n in part.unknown_versions),
        seconds=(report.finished_at - report.started_at).total_seconds(),
    )


def _say_what_next(total: DatasetReport, console: Console, command: str) -> None:
    if total.failed:
        say(console, f"{counted(len(total.failed), 'object')} left pending; the next run tries again:")
        for key, reason in total.failed[:SHOWN]:
            say(console, f"  {named(key, reason)}")
        if more := total.failed[SHOWN:]:
            say(console, f"  and {len(more):,} more; --json lists them all")
    say_acknowledged(total, console, command)
    if new := total.quarantined - total.acknowledged_lines:
        beyond = total.beyond_replay
        say(console, f"{counted(new, 'line')} quarantined{'' if beyond else '; nothing is lost'}:")
        say(console, f"  to see why:                   {command} query {_WHY_QUARANTINED}")
        for dataset, why, _ in total.unknown_versions:
            say(console, f"  {dataset}: {why}")
        if total.quarantined > beyond:
            say(console, f"  after fixing the registry:    {command} replay")
        if beyond:
            lines = counted(beyond, "line")
            say(console, f"  no replay can read {lines} (not JSON, not UTF-8, too long): have them delivered again")


def _show_plan(plan: MigrationPlan, console: Console, command: str) -> None:
    """For each table: what changes in place, what is rewritten, and which queries would break."""
    _show_changes(plan, console)
    if plan.tables:
        say(console, f"plan {plan.plan_id}; to apply it:   {command} migrate apply --plan {plan.plan_id}")


def _show_changes(plan: MigrationPlan, console: Console) -> None:
    if not plan.tables:
        say(console, "the tables match the registry; nothing to do")
    for table in plan.tables:
        step = f"version {table.from_version} -> {table.to_version}"
        say(console, f"{table.table}: {step if table.from_version != table.to_version else 'promoted columns'}")
        for words in table.in_place:
            say(console, f"  in place   {words}")
        for words in table.rewritten:
            say(console, f"  rewrite    {words}")
        if table.rewritten:
            files = counted(table.files, "file")
            say(console, f"             {table.rows:,} rows, {files}, {table.bytes / 1e6:,.1f} MB to rewrite")
        for words in table.breaks:
            say(console, f"  breaks     queries that name a column: {words}")


def _show_migration(report: MigrationReport, console: Console, command: str) -> None:
    _show_changes(report.plan, console)
    for dataset, tag in report.tags.items():
        say(console, f"{dataset}: migrated; tag {tag} holds the state before; to go back:   {command} migrate rollback")
        if rows := report.quarantined[dataset]:
            say(console, f"{counted(rows, 'row')} could not be migrated to the new version and are in the quarantine:")
            say(console, f"  to see why:                   {command} query {_WHY_QUARANTINED}")
    for dataset, unfit in report.unfit.items():
        _say_unfit(dataset, unfit, console)


def _show_rollback(report: RollbackReport, console: Console, command: str) -> None:
    for each in report.datasets:
        way = f"version {each.from_version} -> {each.to_version}, tag {each.tag}"
        say(console, f"{each.dataset}: {'rolled back' if report.done else 'would be rolled back'}, {way}")
        what = f"{counted(each.objects, 'object')} loaded since ({each.lines:,} lines, {each.new:,} new)"
        say(console, f"  {what} {'are' if report.done else 'would be'} pending again")
    if not report.done:
        say(console, f"nothing was changed; to roll back:   {command} migrate rollback --yes")


def _show_verify(report: VerifyReport, console: Console, command: str) -> None:
    """Each check with its result, the number that failed, and with `--repair` the repairs that are possible or done."""
    rows = [(each.table, each.name, "ok" if each.ok else "FAILED", each.detail) for each in report.checks]
    section(console, "checks", dict.fromkeys(("table", "check", "result", "detail"), False), rows)
    failed = sum(not check.ok for check in report.checks)
    if report.checks:
        say(console, f"{failed} of {counted(len(report.checks), 'check')} failed" if failed else "all checks passed")
    repairs = report.repairs or ()
    _say_repairs("repaired", [each for each in repairs if each.done], console)
    open_repairs = [each for each in repairs if each.possible and not each.done]
    _say_repairs("can be repaired", open_repairs, console)
    _say_repairs(
        "cannot be repaired from what the tables hold", [each for each in repairs if not each.possible], console
    )
    if open_repairs:
        say(console, f"nothing was changed; to repair:   {command} verify --repair --yes")
    elif failed and report.repairs is None:
        say(console, f"to see the possible repairs:   {command} verify --repair")


def _say_repairs(title: str, repairs: Sequence[Repair], console: Console) -> None:
    if repairs:
        say(console, f"{title}:")
    for each in repairs:
        cost = (
            f" ({counted(each.rows, 'row')} to write, {counted(each.files, 'file')} to replace)" if each.files else ""
        )
        say(console, f"  {each.table}: {each.wrong}")
        say(console, f"    {each.action}{cost if not each.done else ''}")


def _show_drift(report: DriftReport, console: Console, command: str) -> None:
    """Each dataset with its fields and keys, then the YAML that makes columns of them."""
    for dataset in report.datasets:
        _show_dataset_drift(dataset, console, command)
    if report.missing:
        say(console, f"no table yet of {', '.join(report.missing)}; run `{command} compact` first")
    say_problems(report.problems, console)


def _show_dataset_drift(dataset: DatasetDrift, console: Console, command: str) -> None:
    if dataset.newest is None:
        say(console, f"{dataset.dataset}: no records in {dataset.table}")
        return
    records = counted(dataset.records, "record")
    title = f"{dataset.dataset}, {records} in {dataset.table} up to {minute(dataset.newest)}"
    columns = {name: name in ("records", "share") for name in _DRIFT_COLUMNS}
    section(console, title, columns, [_drift_row(field) for field in dataset.fields])
    for column, keys in dataset.crowded.items():
        say(console, f"{column}: {keys:,} distinct keys, so its keys are data, not fields; none of them is listed")
    for column, keys in dataset.hidden.items():
        looks = "key that looks like a value is" if keys == 1 else "keys that look like values are"
        say(console, f"{column}: {keys:,} {looks} not listed")
    if dataset.promote:
        place = "instead of its promote:" if dataset.replaces_promote else "at its end"
        say(console, f"to make columns of keys, paste this into {dataset.file}, {place};")
        say(console, f"then `{command} migrate apply` adds them to the table:")
        for line in dataset.promote.splitlines():
            say(console, line)
    if dataset.crowded or dataset.hidden or dataset.promote:
        say(console, "")


def _drift_row(field: FieldDrift) -> tuple[str, ...]:
    several = len(field.types) > 1
    types = ", ".join(f"{kind} {number:,}" if several else kind for kind, number in field.types.items())
    status = f"{field.status}; column {field.promoted}" if field.promoted else field.status
    seen = (day(field.first_seen), day(field.last_seen))
    return (field.source or "-", field.key, f"{field.records:,}", f"{field.share:.1%}", *seen, types or "-", status)


def _show_inferred(report: InferReport, console: Console) -> None:
    """The files as YAML documents; or their paths, if they were written."""
    drafted = [each for each in report.datasets if each.yaml is not None]
    for each in drafted:
        if each.path is not None:
            say(console, f"{each.path}: {counted(each.checks, 'place')} to check" if each.checks else each.path)
            continue
        heading = ["---", f"# {each.dataset}.yaml"] if len(drafted) > 1 else []
        for line in (*heading, *(each.yaml or "").splitlines()):
            say(console, line)


def _show_registry_check(report: RegistryCheckReport, console: Console) -> None:
    """Each difference, and the result of the check."""
    rows = [(each.dataset, "note" if each.fits else "FAILED", each.what, each.detail) for each in report.findings]
    section(console, "findings", dict.fromkeys(("dataset", "", "what", "detail"), False), rows)
    for dataset, lines in report.lines.items():
        say(
            console, f"{dataset}: {report.rejected[dataset]:,} of {counted(lines, 'sampled line')} would be quarantined"
        )
    failed = sum(not finding.fits for finding in report.findings)
    say(console, f"the registry check failed: {counted(failed, 'finding')}" if failed else "the registry check passed")


def _show_views(report: ViewsReport, console: Console) -> None:
    """The statements, never wrapped: another program may read them."""
    for view in report.views:
        if report.made:
            say(console, f"created view {report.namespace}.{view.name}")
        else:
            comment = textwrap.fill(view.description, 118, initial_indent="-- ", subsequent_indent="-- ")
            ask = textwrap.indent(f"\n{view.ask};", "-- ").replace("-- ", "-- ask: ", 1) if view.ask else ""
            console.out(f"{comment}{ask}\n{view.create};\n", highlight=False)

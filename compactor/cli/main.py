"""The command line: parse, call, print, exit code. What a verb does is in the module of its name.

stdout carries the result alone, with `--json` exactly one JSON object, also on failure. Errors and logs are on stderr.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from compactor import diagnose, log
from compactor.cli.exit import Program

if TYPE_CHECKING:
    from compactor.config import Config, EngineName, IfRunning
    from compactor.registry.loader import Registry
    from compactor.reports.report import Report
    from compactor.source import Hour
    from compactor.views.dialect import Dialect

DEFAULT_CONFIG = Path("configs/local.yaml")


@dataclass(frozen=True)
class Invocation:
    """The options that stand before the verb. `log_format` is None where the config decides."""

    config: Path
    verbosity: int
    log_format: log.LogFormat | None


def run() -> NoReturn:
    """The console script. SIGTERM stops it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        program.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    # The engine's native threads can still be letting go of Python buffers. The interpreter's own tear-down races with
    # them and has aborted runs that were complete, so it is left out: all that matters is committed or printed.
    logging.shutdown()
    with suppress(BrokenPipeError):  # the reader of our output, such as `head`, may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    envvar="COMPACTOR_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The config file.",
)
@click.option("-v", "--verbose", "verbosity", count=True, help="Tell each step, and the trace of an error.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Form of the log lines; default: log.format.")
@click.pass_context
def program(context: click.Context, config: Path, verbosity: int, log_format: log.LogFormat | None) -> None:
    """Compacts gzipped NDJSON exports into deduplicated Iceberg tables."""
    context.obj = Invocation(config, verbosity, log_format)
    log.setup(log_format or "text", verbosity)
    diagnose.refuse_small_address_space()  # before anything large is imported


_dataset = click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this one; can be repeated.")
_if_running = click.option(
    "--if-running",
    type=click.Choice(["wait", "leave", "ignore"]),
    help="If another run is under way: wait for its end, leave, or go on beside it; default: if_running.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@program.command()
@_dataset
@click.option("--from", "start", metavar="HOUR", help="First UTC hour to look at: 2026-11-01T05 or 2026-11-01.")
@click.option("--to", "stop", metavar="HOUR", help="Last UTC hour to look at, inclusive; a bare day means all of it.")
@click.option("--full-scan", is_flag=True, help="List all hours, not only those that can hold new objects.")
@_if_running
@click.option("--engine", type=click.Choice(["local", "spark"]), help="What reads and merges; default: engine.")
@_json
@click.pass_obj
def compact(
    invocation: Invocation,
    datasets: tuple[str, ...],
    start: str | None,
    stop: str | None,
    full_scan: bool,
    if_running: IfRunning | None,
    engine: EngineName | None,
    as_json: bool,
) -> int:
    """Load all pending objects into the tables: the nightly job."""
    from compactor.commands.compact import compact as compact_
    from compactor.progress import Progress

    first, last = _first_hour(start), _last_hour(stop)
    config, registry = _open(invocation)
    with Progress.for_terminal(json_logs=log.is_json()) as progress:
        report = compact_(
            config,
            registry,
            datasets=datasets,
            start=first,
            stop=last,
            full_scan=full_scan,
            if_running=if_running,
            engine=engine,
            progress=progress,
        )
    return _print(invocation, report, as_json=as_json)


@program.command()
@_json
@click.pass_obj
def status(invocation: Invocation, as_json: bool) -> int:
    """Show tables, pending objects, last runs and the quarantine."""
    from compactor.commands.status import status as status_

    return _print(invocation, status_(*_open(invocation)), as_json=as_json)


@program.command()
@click.option("--rebuild", is_flag=True, help="Also check that the current tables equal what history says.")
@click.option("--files", is_flag=True, help="Also look for files that are missing, and for files left over.")
@click.option("--athena", is_flag=True, help="Check instead whether Athena takes the tables, by their metadata.")
@click.option("--repair", is_flag=True, help="Make all checks, and show what can be done about those that fail.")
@click.option("--yes", is_flag=True, help="With --repair: do it, then make all checks again.")
@_json
@click.pass_obj
def verify(
    invocation: Invocation, rebuild: bool, files: bool, athena: bool, repair: bool, yes: bool, as_json: bool
) -> int:
    """Check uniqueness and the ledger's sums, and repair what can be repaired."""
    if athena and (rebuild or files or repair):
        raise click.UsageError("--athena makes checks of its own: give it alone")
    if athena:
        from compactor.commands.verify.athena import verify as verify_athena

        return _print(invocation, verify_athena(*_open(invocation)), as_json=as_json)
    if yes and not repair:
        raise click.UsageError("--yes carries out what --repair shows: give both")
    if repair:
        from compactor.commands.verify.repair import repair as repair_

        return _print(invocation, repair_(*_open(invocation), yes=yes), as_json=as_json)
    from compactor.commands.verify.verify import verify as verify_

    return _print(invocation, verify_(*_open(invocation), rebuild=rebuild, files=files), as_json=as_json)


@program.command()
@_dataset
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="What counts as lately.")
@click.option(
    "--min-share",
    type=click.FloatRange(0, 100),
    default=1,
    show_default=True,
    metavar="PERCENT",
    help="Suggest a column for keys that at least this share of the records has.",
)
@_json
@click.pass_obj
def drift(invocation: Invocation, datasets: tuple[str, ...], days: int, min_share: float, as_json: bool) -> int:
    """Show new, vanished and conflicting fields and keys, and suggest columns."""
    from compactor.commands.drift.drift import drift as drift_

    report = drift_(*_open(invocation), datasets=datasets, days=days, min_share=min_share)
    return _print(invocation, report, as_json=as_json)


@program.command()
@_dataset
@_if_running
@_json
@click.pass_obj
def replay(invocation: Invocation, datasets: tuple[str, ...], if_running: IfRunning | None, as_json: bool) -> int:
    """Read quarantined lines again, with today's registry."""
    from compactor.commands.replay import replay as replay_
    from compactor.progress import Progress

    config, registry = _open(invocation)
    with Progress.for_terminal(json_logs=log.is_json()) as progress:
        report = replay_(config, registry, datasets=datasets, if_running=if_running, progress=progress)
    return _print(invocation, report, as_json=as_json)


@program.group()
def migrate() -> None:
    """Bring the tables to the registry's newest version: plan, apply, rollback."""


@migrate.command("plan")
@_dataset
@_json
@click.pass_obj
def migrate_plan(invocation: Invocation, datasets: tuple[str, ...], as_json: bool) -> int:
    """Show what `apply` would do to each table. Changes nothing."""
    from compactor.commands.migrate.migrate import plan

    return _print(invocation, plan(*_open(invocation), datasets=datasets), as_json=as_json)


@migrate.command("apply")
@_dataset
@click.option("--plan", "plan_id", metavar="ID", help="The plan that was looked at: refused if it is another by now.")
@_json
@click.pass_obj
def migrate_apply(invocation: Invocation, datasets: tuple[str, ...], plan_id: str | None, as_json: bool) -> int:
    """Migrate the tables. Safe to run again after a crash at any point."""
    from compactor.commands.migrate.migrate import apply
    from compactor.progress import Progress

    config, registry = _open(invocation)
    with Progress.for_terminal(json_logs=log.is_json()) as progress:
        report = apply(config, registry, datasets=datasets, plan_id=plan_id, progress=progress)
    return _print(invocation, report, as_json=as_json)


@migrate.command("rollback")
@_dataset
@click.option("--yes", "confirmed", is_flag=True, help="Do it. Without, only what would be done is told.")
@_json
@click.pass_obj
def migrate_rollback(invocation: Invocation, datasets: tuple[str, ...], confirmed: bool, as_json: bool) -> int:
    """Take the last migration back; what was loaded since is pending again."""
    from compactor.commands.migrate.rollback import rollback
    from compactor.progress import Progress

    config, registry = _open(invocation)
    with Progress.for_terminal(json_logs=log.is_json()) as progress:
        report = rollback(config, registry, datasets=datasets, confirmed=confirmed, progress=progress)
    return _print(invocation, report, as_json=as_json)


@program.command()
@click.argument("sql")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows of a table, at most.")
@click.pass_obj
def query(invocation: Invocation, sql: str, form: str, as_json: bool, limit: int) -> None:
    """Run SQL over the tables, in process. SQL is one statement, or - to read it from stdin."""
    from compactor.cli import query_output, render
    from compactor.commands.query import query as query_

    statement = sys.stdin.read() if sql == "-" else sql
    with query_(*_open(invocation), statement) as reader:
        if as_json or form == "json":
            query_output.write_json(reader, sys.stdout)
        elif form == "csv":
            query_output.write_csv(reader, sys.stdout)
        elif query_output.write_table(reader, render.stdout(), limit):
            click.echo(f"first {limit} rows; --limit shows more, --format csv all of them", err=True)


@program.command()
@click.option(
    "--dialect",
    type=click.Choice(["athena", "trino", "spark", "duckdb"]),
    default="athena",
    show_default=True,
    help="The engine to write for.",
)
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="Only this view and what it needs; can be repeated."
)
@click.option("--apply", "apply", is_flag=True, help="Make the views in Athena or Trino, instead of printing them.")
@click.option("--workgroup", metavar="NAME", help="With --apply: Athena's workgroup; default: primary.")
@click.option(
    "--output", metavar="S3-URL", help="With --apply: where Athena puts results, if the workgroup says nothing."
)
@click.option("--server", metavar="URL", help="With --apply: Trino, as http://user@host:port/catalog.")
@_json
@click.pass_obj
def views(
    invocation: Invocation,
    dialect: Dialect,
    names: tuple[str, ...],
    apply: bool,
    workgroup: str | None,
    output: str | None,
    server: str | None,
    as_json: bool,
) -> int:
    """Print the statements that make the views in an engine, or make them."""
    if not apply and (workgroup or output or server):
        raise click.UsageError("--workgroup, --output and --server go with --apply")
    from compactor.commands.views.views import views as views_

    report = views_(
        *_open(invocation),
        dialect=dialect,
        names=names,
        apply=apply,
        server=server,
        workgroup=workgroup,
        output=output,
    )
    return _print(invocation, report, as_json=as_json)


@program.command()
@_dataset
@click.option("--from", "start", metavar="HOUR", help="First UTC hour to sample: 2026-11-01T05 or 2026-11-01.")
@click.option("--to", "stop", metavar="HOUR", help="Last UTC hour to sample, inclusive; a bare day means all of it.")
@click.option(
    "--objects", type=click.IntRange(min=1), default=50, show_default=True, help="Objects a dataset, at most."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write NAME.yaml into this folder.")
@click.option("--check", "fits", is_flag=True, help="Write nothing: say whether the registry fits the data.")
@_json
@click.pass_obj
def infer(
    invocation: Invocation,
    datasets: tuple[str, ...],
    start: str | None,
    stop: str | None,
    objects: int,
    out: Path | None,
    fits: bool,
    as_json: bool,
) -> int:
    """Write the registry's files from a sample of the data, or check them against it."""
    from compactor.commands.infer.infer import infer as infer_
    from compactor.commands.infer.registry_check import check

    if fits and out:
        raise click.UsageError("--check writes nothing; leave out --out")
    first, last = _first_hour(start), _last_hour(stop)
    report: Report
    if fits:
        config, registry = _open(invocation)
        report = check(config, registry, datasets=datasets, start=first, stop=last, objects=objects)
    else:
        report = infer_(_config(invocation), datasets=datasets, start=first, stop=last, objects=objects, out=out)
    return _print(invocation, report, as_json=as_json)


def _open(invocation: Invocation) -> tuple[Config, Registry]:
    from compactor.registry import loader

    loaded = _config(invocation)
    return loaded, loader.load(loaded.schemas)


def _config(invocation: Invocation) -> Config:
    from compactor import config

    loaded = config.load(invocation.config)
    if invocation.log_format is None:
        log.setup(loaded.log.format, invocation.verbosity)
    return loaded


def _first_hour(text: str | None) -> Hour | None:
    from compactor.source import Hour

    return Hour.parse(text) if text else None


def _last_hour(text: str | None) -> Hour | None:
    from compactor.source import Hour

    hour = _first_hour(text)
    return Hour(hour.date, 23) if hour and text and "T" not in text else hour


def _print(invocation: Invocation, report: Report, *, as_json: bool) -> int:
    from compactor.cli import render

    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        config = invocation.config
        command = "compactor" if config == DEFAULT_CONFIG else f"compactor -c {shlex.quote(str(config))}"
        render.show(report, render.stdout(), command=command)
    return report.exit_code

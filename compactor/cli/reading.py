"""The verbs that look at the lake: `status`, `query`, `verify` and `drift`. Only `verify --repair --yes` writes."""

from __future__ import annotations

import sys

import click

from compactor.cli import streams
from compactor.cli.options import Invocation, Verb, datasets, pass_invocation


@click.command(cls=Verb)
@pass_invocation
def status(invocation: Invocation) -> int:
    """Show tables, pending objects, the last runs and the quarantine."""
    return invocation.show(invocation.open().status())


@click.command(cls=Verb)
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="Form of the result; --json is the same as --format json.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Maximum rows of a table."
)
@click.option("--allow-files", is_flag=True, help="Let the statement also read files and URLs.")
@pass_invocation
def query(invocation: Invocation, sql: str, form: str, limit: int, allow_files: bool) -> None:
    """Run SQL over the tables, on this machine. SQL is one statement, or - to read it from stdin."""
    from compactor.cli import query_output, render

    statement = sys.stdin.read() if sql == "-" else sql
    with invocation.open().query_batches(statement, allow_files=allow_files) as reader, streams.until_closed():
        if invocation.as_json:
            query_output.write_json(reader, sys.stdout)
        elif form == "csv":
            query_output.write_csv(reader, streams.as_utf8(sys.stdout))
        elif query_output.write_table(reader, render.stdout(), limit):
            click.echo(f"first {limit} rows; --limit shows more, --format csv all of them", err=True)


@click.command(cls=Verb)
@click.option("--rebuild", is_flag=True, help="Also check that the current tables match their history.")
@click.option(
    "--files", is_flag=True, help="Also look for missing or damaged files, and for files that no table refers to."
)
@click.option("--content", is_flag=True, help="Also read all data files, and compare them with what was written.")
@click.option("--athena", is_flag=True, help="Check instead, by their metadata, whether Athena can read the tables.")
@click.option("--repair", is_flag=True, help="Make all checks, and show how those that fail can be repaired.")
@click.option("--yes", is_flag=True, help="With --repair: repair, then make all checks again.")
@pass_invocation
def verify(
    invocation: Invocation, rebuild: bool, files: bool, content: bool, athena: bool, repair: bool, yes: bool
) -> int:
    """Check uniqueness and the sums of the ledger, and repair what can be repaired."""
    if athena and (rebuild or files or content or repair):
        raise click.UsageError("--athena makes checks of its own; use it alone")
    if yes and not repair:
        raise click.UsageError("--yes carries out what --repair shows; use both")
    lake = invocation.open()
    if athena:
        return invocation.show(lake.verify_athena())
    if repair:
        return invocation.show(lake.repair(yes=yes))
    return invocation.show(lake.verify(rebuild=rebuild, files=files, content=content))


@click.command(cls=Verb)
@datasets
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="Days that count as recent.")
@click.option(
    "--min-share",
    type=click.FloatRange(0, 100),
    default=1,
    show_default=True,
    metavar="PERCENT",
    help="Suggest a column for keys that at least this share of the records has.",
)
@pass_invocation
def drift(invocation: Invocation, datasets: tuple[str, ...], days: int, min_share: float) -> int:
    """Show new, vanished and conflicting fields and keys, and suggest columns."""
    return invocation.show(invocation.open().drift(datasets, days=days, min_share=min_share))

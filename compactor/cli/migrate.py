"""The group `migrate`: `plan`, `apply` and `rollback`."""

from __future__ import annotations

import click

from compactor.cli.options import Invocation, VerbGroup, datasets, pass_invocation


@click.group(cls=VerbGroup)
def migrate() -> None:
    """Bring the tables to the newest version of the registry: plan, apply, rollback."""


@migrate.command()
@datasets
@pass_invocation
def plan(invocation: Invocation, datasets: tuple[str, ...]) -> int:
    """Show what `apply` would do to each table. Changes nothing."""
    return invocation.show(invocation.open().migrate_plan(datasets))


@migrate.command()
@datasets
@click.option("--plan", "plan_id", metavar="ID", help="The plan you looked at; refused if it has changed since.")
@pass_invocation
def apply(invocation: Invocation, datasets: tuple[str, ...], plan_id: str | None) -> int:
    """Migrate the tables. Safe to run again after a crash at any point."""
    lake = invocation.open()
    with invocation.progress() as progress:
        report = lake.migrate_apply(datasets, plan_id=plan_id, progress=progress)
    return invocation.show(report)


@migrate.command()
@datasets
@click.option("--yes", is_flag=True, help="Do it. Without this, only show what it would do.")
@pass_invocation
def rollback(invocation: Invocation, datasets: tuple[str, ...], yes: bool) -> int:
    """Revert the last migration; what was loaded since is pending again."""
    lake = invocation.open()
    with invocation.progress() as progress:
        report = lake.migrate_rollback(datasets, yes=yes, progress=progress)
    return invocation.show(report)

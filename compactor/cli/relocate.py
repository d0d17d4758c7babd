"""The group `relocate`: `plan` and `apply`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from compactor.cli.options import Invocation, VerbGroup, pass_invocation


def _places(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--allow-missing", is_flag=True, help="Also if files are missing at the new place."),
        click.option("--to", "target", metavar="PLACE", help="The new place; default: the warehouse of the config."),
        click.option(
            "--from", "source", metavar="PLACE", help="The old place; default: that of the tables in the catalog."
        ),
    ):
        command = option(command)
    return command


@click.group(cls=VerbGroup)
def relocate() -> None:
    """Make a lake that was moved or copied work at its new place: plan, apply."""


@relocate.command()
@_places
@pass_invocation
def plan(invocation: Invocation, source: str | None, target: str | None, allow_missing: bool) -> int:
    """Show what `apply` would do to each table, and what is missing at the new place. Changes nothing."""
    lake = invocation.open()
    return invocation.show(lake.relocate_plan(source=source, target=target, allow_missing=allow_missing))


@relocate.command()
@_places
@pass_invocation
def apply(invocation: Invocation, source: str | None, target: str | None, allow_missing: bool) -> int:
    """Relocate the tables. Safe to run again after a crash at any point; the old place is left alone."""
    lake = invocation.open()
    return invocation.show(lake.relocate_apply(source=source, target=target, allow_missing=allow_missing))

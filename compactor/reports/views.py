"""The result of the verb `views`."""

from __future__ import annotations

from dataclasses import dataclass

from compactor.reports.report import Report


@dataclass(frozen=True)
class View:
    """A view for one engine: `sql` is its query, `create` the statement that creates it, `ask` an example query."""

    name: str
    description: str
    create: str
    sql: str
    ask: str


@dataclass(frozen=True)
class LeftOut:
    """A view that was skipped. `reason`: what the tables lack, and the next step."""

    name: str
    reason: str


@dataclass(frozen=True)
class ViewsReport(Report):
    """The views, in the order in which they can be created. `made`: they were created in the engine."""

    dialect: str
    namespace: str
    views: tuple[View, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    made: bool = False

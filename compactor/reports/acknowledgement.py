"""Reports of `acknowledge`: frozen values, as in `report`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from compactor.reports.report import Report


@dataclass(frozen=True)
class Acknowledgement:
    """An object, or lines that were acknowledged together.

    Attributes:
        lines: how many lines; 0 for an object.
        key: of the object, or of the one object that all of the lines are in; else None.
        line: of one line, its number; else None.
        reason: of the lines, as in `compactor_quarantine`; of an object, why it could not be read.
        because: what the person says who acknowledged it.
        at: when.
    """

    dataset: str
    lines: int
    key: str | None
    line: int | None
    reason: str
    because: str
    run_id: str
    at: datetime


@dataclass(frozen=True)
class AcknowledgeReport(Report):
    """What `acknowledge` did, or what is acknowledged.

    Attributes:
        action: `acknowledged`, `undone`, or `listed`, which changes nothing.
        objects, lines: how many.
        before: objects and lines that were named, and had been acknowledged before.
        entries: what the counts are of, without `before`.
    """

    action: Literal["acknowledged", "undone", "listed"]
    objects: int
    lines: int
    before: int = 0
    entries: tuple[Acknowledgement, ...] = ()

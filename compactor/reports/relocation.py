"""Reports of `relocate`: frozen values, as in `report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compactor.reports.report import FAILED, OK, Report


@dataclass(frozen=True)
class TableRelocation:
    """A table, and what has to be written again for its new place.

    Attributes:
        state: `relocate`: the catalog has it at the old place; `register`: the catalog does not know it; `in place`:
            nothing is to be done; `elsewhere`: it lies at neither place, and is left alone.
        source, target: its folder at both places; None where that is not known.
        files, bytes: data and delete files that its snapshots name. They were copied before, and stay as they are,
            except files of deleted positions.
        metadata_files, metadata_bytes: the files that are written again, and their sizes now.
        missing, differing: named files that are not at the new place, or have another size there.
        examples: the first of these.
        problems: why it cannot be relocated, each with the next step.
    """

    table: str
    state: Literal["relocate", "register", "in place", "elsewhere"]
    source: str | None = None
    target: str | None = None
    snapshots: int = 0
    files: int = 0
    bytes: int = 0
    metadata_files: int = 0
    metadata_bytes: int = 0
    missing: int = 0
    differing: int = 0
    examples: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_to_do(self) -> bool:
        return self.state in ("relocate", "register")


@dataclass(frozen=True)
class RelocateReport(Report):
    """What `relocate apply` will do or, if `done`, did.

    Attributes:
        source, target: the two places; `source` is None if no table lies elsewhere.
        refused: nothing was changed because of what is missing or wrong; False in a plan.
    """

    source: str | None
    target: str
    tables: tuple[TableRelocation, ...] = ()
    done: bool = False
    refused: bool = False
    allow_missing: bool = False

    @property
    def is_possible(self) -> bool:
        """Whether `apply` can do it: no table has a problem, and no file is missing that must not be."""
        return not any(
            each.problems or (not self.allow_missing and (each.missing or each.differing)) for each in self.tables
        )

    @property
    def exit_code(self) -> int:
        """1 if something is missing or wrong, else 0."""
        return OK if self.is_possible else FAILED

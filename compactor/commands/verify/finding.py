"""What a check finds, and how a check is run on tables of which a file may be missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from compactor.errors import InvariantError, MissingTableError
from compactor.lake import file_inventory
from compactor.lake.catalog import Lakehouse
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair

METADATA = "the metadata file that the catalog names"

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """A check, and what can be done where it fails.

    Attributes:
        dataset: whose table was checked; None for the program's own tables.
        blocks: the table cannot be read, so what needs it has to wait.
    """

    check: Check
    repairs: tuple[Repair, ...] = ()
    dataset: Dataset | None = None
    blocks: bool = False


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a check found, and what it learned that later checks use: None if it could not be made."""

    finding: Finding
    value: T | None = None

    @property
    def known(self) -> T:
        """What it learned. Raises InvariantError where it could not be made: then the later check cannot be either."""
        if self.value is None:
            raise InvariantError(f"{self.finding.check.table}: the check '{self.finding.check.name}' could not be made")
        return self.value


def run(
    lake: Lakehouse,
    name: str,
    table: str,
    needs: Sequence[str],
    check: Callable[[str], Outcome[T]],
    dataset: Dataset | None = None,
) -> Outcome[T]:
    """Runs a check; it fails if a file is missing without which a table that it needs cannot be read.

    Args:
        name: of the check.
        table: what it checks.
        needs: all tables that it reads.
        check: gets `name`.
    """
    try:
        found = check(name)
    except Exception:
        missing = {each: path for each in needs if (path := _missing_file(lake, each))}
        if not missing:
            raise
        where, path = next(iter(missing.items()))
        detail = f"cannot be checked: {path} is missing, which {where} needs; see `compactor verify --repair`"
        return Outcome(Finding(Check(name, table, ok=False, detail=detail), dataset=dataset))
    return Outcome(Finding(found.finding.check, found.finding.repairs, dataset), found.value)


def exists(lake: Lakehouse, name: str) -> bool:
    """Whether the catalog has a table, even if its metadata file is missing."""
    try:
        return lake.exists(name)
    except FileNotFoundError:
        return True


def _missing_file(lake: Lakehouse, name: str) -> str | None:
    """A missing file without which the table cannot be read."""
    try:
        return next(iter(file_inventory.take(lake.table(name)).unreadable), None)
    except FileNotFoundError:
        return METADATA
    except MissingTableError:
        return f"the catalog's entry of {name}"

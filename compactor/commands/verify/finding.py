"""What a check finds, and how a check is run on tables of which a file may be missing or damaged."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from compactor import diagnose
from compactor.errors import CompactorError, InvariantError, MissingTableError, UnreadableError
from compactor.lake import file_inventory, file_reading
from compactor.lake.catalog import Lakehouse
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair

log = logging.getLogger(__name__)

T = TypeVar("T")

_STEP = "see `compactor verify --repair`"


@dataclass(frozen=True)
class Finding:
    """A check, and what can be done where it fails.

    Attributes:
        dataset: whose table was checked; None for the program's own tables.
        blocks: the table cannot be read, or not be relied on, so what needs it has to wait.
        damaged: data files of a current table that were read and are not sound, by their paths in the metadata.
    """

    check: Check
    repairs: tuple[Repair, ...] = ()
    dataset: Dataset | None = None
    blocks: bool = False
    damaged: frozenset[str] = frozenset()


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
    """Runs a check; it fails if a table that it needs cannot be read: a file is missing or damaged, or a column.

    Args:
        name: of the check.
        table: what it checks.
        needs: all tables that it reads.
        check: gets `name`.

    Raises CompactorError where the catalog, the storage or the machine failed.
    """
    try:
        found = check(name)
    except Exception as error:
        if isinstance(error, CompactorError) and not isinstance(
            error, (InvariantError, MissingTableError, UnreadableError)
        ):
            return Outcome(Finding(Check(name, table, ok=False, detail=f"cannot be checked: {error}"), dataset=dataset))
        reason = diagnose.reason(error)
        # A damaged file can ask for any amount of memory.
        suspect = reason is None or isinstance(error, MemoryError) or "malloc" in str(error)
        wrong = None
        if isinstance(error, UnreadableError):
            wrong = f"{error.path} {error.why}; {_STEP}"
        elif suspect:
            wrong = next(filter(None, (_wrong_with(lake, each) for each in needs)), None)
        if wrong is None and reason is not None:
            raise
        log.debug("%s: the check '%s' could not be made", table, name, exc_info=True)
        detail = f"cannot be checked: {wrong or f'the check failed ({type(error).__name__}); run again with -v'}"
        return Outcome(Finding(Check(name, table, ok=False, detail=detail), dataset=dataset))
    return Outcome(dataclasses.replace(found.finding, dataset=dataset), found.value)


def _wrong_with(lake: Lakehouse, name: str) -> str | None:
    """Why a table cannot be read, as a clause with the next step; None if it can."""
    try:
        table = lake.table(name)
        found = file_inventory.take(table)
        if found.unreadable:
            path = found.unreadable[0]
            return f"{path} {found.damaged[path]}, which {name} needs; {_STEP}"
        if damaged := file_reading.first_damaged(table):
            return f"{damaged[0]} {damaged[1]}, which {name} needs; {_STEP}"
    except UnreadableError as error:
        return f"{error.path} {error.why}, which {name} needs; {_STEP}"
    except MissingTableError:
        return f"table {name} is not in the catalog; {_STEP}"
    return None

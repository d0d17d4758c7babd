"""What becomes of a line, in one form for all that read lines, so that `==` compares them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from compactor.decode import exact
from compactor.decode.rejects import Reject
from compactor.registry.dataset import Dataset
from tests.support.model import Row

# What becomes of a line: its row, (reason, detail, version) of its rejection, or None for a blank one.
Outcome: TypeAlias = Row | tuple[str, str, int | None] | None


def plain(row: dict[str, Any]) -> Row:
    """A row as the model has it: maps as dicts, times in UTC."""
    found: Row = {}
    for name, value in row.items():
        if isinstance(value, list):
            found[name] = dict(value)
            assert len(found[name]) == len(value), f"duplicate keys in {name}: {value}"
        else:
            found[name] = value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
    return found


def by_exact_path(dataset: Dataset, line: bytes) -> Outcome:
    """What the exact path makes of a line, in the form of `decoded`."""
    found = exact.read_line(line, dataset)
    if isinstance(found, Reject):
        return found.reason, found.detail, found.version
    nothing: Row = dict.fromkeys(name for name, _, _ in dataset.columns)
    return None if found is None else plain(nothing | found)


def shown(outcome: Outcome) -> Any:
    """An outcome to compare by each sign of it: -0.0 is not 0.0, nor 1 a 1.0. The place in a broken line apart."""
    if isinstance(outcome, tuple):
        return (outcome[0], None, None) if outcome[0] == "invalid_utf8" else outcome
    return outcome and {name: sign(value) for name, value in outcome.items()}


def sign(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return repr(abs(value) if isinstance(value, Decimal) and not value else value)  # no column holds a decimal -0

"""What the methods of a lake share: its config, its registry, and how they read their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from compactor.errors import UsageError

if TYPE_CHECKING:
    from compactor.config import Config
    from compactor.progress import Progress
    from compactor.registry.loader import Registry
    from compactor.source import Hour


class OpenLake:
    """A config and its registry."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __repr__(self) -> str:
        return f"<Lake {self.config.path}, namespace {self.config.namespace!r}>"

    @cached_property
    def registry(self) -> Registry:
        """The registry of the config, read at first use. Raises ConfigError with all mistakes of all its files."""
        from compactor.registry.loader import load

        return load(self.config.schemas)


def as_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """A single name is one name, and not the sequence of its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raises UsageError, with the limits, if an argument is not a number within them."""
    if not low <= value <= high:
        raise UsageError(f"'{name}' should be from {low:,} to {high:,}")


def first_hour(given: str | Hour | None) -> Hour | None:
    from compactor.source import Hour

    return Hour.parse(given) if isinstance(given, str) else given


def last_hour(given: str | Hour | None) -> Hour | None:
    """A bare day means its last hour."""
    from compactor.source import Hour

    hour = first_hour(given)
    return Hour(hour.date, 23) if hour and isinstance(given, str) and "T" not in given else hour


def or_null(progress: Progress | None) -> Progress:
    from compactor.progress import NullProgress

    return progress or NullProgress()

"""The tables of one dataset as all of its checks see them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from compactor.errors import MissingTableError, UnreadableError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset


@dataclass(frozen=True)
class Tables:
    """The tables of one dataset, and the program's own. All checks see the same versions of them.

    The current table is loaded first, because a history that is loaded later has all that it can have seen; the runs
    before the ledger, which then has all of their objects. A table that cannot be loaded now is loaded again, and fails
    again, in the checks that need it.

    Attributes:
        damaged: data files of the current table that were read and are not sound, by their paths in the metadata.
    """

    lake: Lakehouse
    dataset: Dataset
    loaded: Mapping[str, Table] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()

    @classmethod
    def load(cls, lake: Lakehouse, dataset: Dataset, damaged: frozenset[str] = frozenset()) -> Tables:
        loaded = {}
        for name in (*reversed(dataset.tables), RUNS, FILES, QUARANTINE):
            with suppress(MissingTableError, UnreadableError):
                loaded[name] = lake.table(name)
        return cls(lake, dataset, loaded, damaged)

    def table(self, name: str) -> Table:
        return self.loaded.get(name) or self.lake.table(name)

    @property
    def history(self) -> Table:
        return self.table(self.dataset.history_table)

    @property
    def current(self) -> Table:
        assert self.dataset.current_table is not None
        return self.table(self.dataset.current_table)

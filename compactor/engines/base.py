"""What an engine does for a batch: read it, and work out how the tables change. It commits nothing.

`publish` commits what a batch works out, in the order of its protocol, so that engines can take turns on a table, and
one can finish what another has left unfinished. `compactor.engines.local` is the engine in this process,
`compactor.engines.spark` the one for a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import duckdb

from compactor.decode.batch_reader import Loaded
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import DataFile, Snapshot, Table
from compactor.merge.history import HistoryPlan
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject


@dataclass(frozen=True)
class Change:
    """Data files written for a table, which nothing names yet, and those whose place they take."""

    add: Sequence[DataFile]
    remove: Sequence[DataFile]


class Batch(Protocol):
    """A batch of records of one dataset, on its way into the tables.

    Attributes:
        con: a session of this process. After `read` it has `files`, `rejected` and `records` (file_no, n), of which
            `accounts` makes what ledger and quarantine will say.
    """

    con: duckdb.DuckDBPyConnection

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> Loaded:
        """Reads and decodes objects; those that cannot be read whole are in `failed`, with nothing of them kept."""

    def drop(self, file_nos: Sequence[int]) -> None:
        """Takes files, and all that came of them, out of the batch."""

    def unknown_versions(self) -> Mapping[str, str]:
        """The versions of rejected lines that the tables do not have, each with why."""

    def count_unknown(self) -> int:
        """Records with a field that no version of the registry declares and no promotion takes."""

    def plan(self, history: Table) -> tuple[HistoryPlan, Sequence[DataFile]]:
        """Decides which records the history takes, and which of its data files that rewrites, if the engine knows."""

    def history_change(self, history: Table, planned: HistoryPlan, rewrite: Sequence[DataFile]) -> Change:
        """Writes what `plan` decided.

        Raises InvariantError where what was written is not what was planned.
        """

    def take(self, history: Table, snapshot: Snapshot) -> None:
        """Makes the rows that this snapshot added to the history the batch's own, as if they had just been planned."""

    def current_change(self, current: Table, load_history: Callable[[], Table]) -> Change | None:
        """Writes how the batch's rows change the current table; None if they do not.

        Args:
            load_history: loads the history. Called after the current table was loaded, so that it has every delete
                that the current table can have seen.
        """

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        """Derives the current rows of all keys in the files that this snapshot added to or removed from the history.

        None if the current table need not change.
        """


Engine = Callable[[Lakehouse, Dataset], AbstractContextManager[Batch]]
"""Opens an empty batch for a dataset."""

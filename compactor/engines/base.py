"""What an engine does for a batch: read it, and work out how the tables change. It commits nothing.

`publish` commits what a batch works out, in the order of its protocol, so that engines can take turns on a table, and
one can finish what another has left unfinished. `compactor.engines.local` is the engine in this process,
`compactor.engines.spark` the one for a cluster. An engine has the rows of a batch in a form of its own, `R`: a relation
of its session, or a data frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import duckdb

from compactor.decode.decoded import Decoded
from compactor.duck.relations import Relation, Relations
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import DataFile, Snapshot, Table
from compactor.progress import Progress
from compactor.registry.dataset import Dataset
from compactor.source import Source, SourceObject

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class HistoryPlan(Generic[R_co]):
    """What is done to the history.

    Attributes:
        fresh: the rows that it takes, with the record columns.
        new: those of them that are new, per file_no.
        replaced: how many of them take the place of a stored row of their id.
        replaced_ids: (id) of these, where the engine needs them again; None if there are none.
        surplus: stored rows of these ids beyond one each, which leave too (another engine made duplicates).
        rewrite: the data files that have rows to leave, if the engine knows.
    """

    fresh: R_co
    new: Mapping[int, int]
    replaced: int
    replaced_ids: Relation | None = None
    surplus: int = 0
    rewrite: Sequence[DataFile] = ()

    @property
    def rows(self) -> int:
        return sum(self.new.values()) + self.replaced


@dataclass(frozen=True)
class Change:
    """Data files written for a table, which nothing refers to yet, and those whose place they take."""

    add: Sequence[DataFile]
    remove: Sequence[DataFile]


class Batch(Protocol[R]):
    """A batch of records of one dataset, on its way into the tables.

    Attributes:
        con: a session of this process.
        relations: what lasts as long as the batch.
    """

    con: duckdb.DuckDBPyConnection
    relations: Relations

    def read(self, source: Source, objects: Sequence[SourceObject], progress: Progress) -> Decoded[R]:
        """Reads and decodes objects; those that cannot be read whole are in `failed`, with nothing of them kept."""

    def drop(self, decoded: Decoded[R], file_nos: Sequence[int]) -> Decoded[R]:
        """The batch without these files and all that came of them."""

    def count_unknown(self, decoded: Decoded[R]) -> int:
        """Records with a field that no version of the registry declares and no promotion takes."""

    def count_unfit(self, decoded: Decoded[R]) -> Mapping[str, int]:
        """By promoted column, the records whose value does not fit it: it is in the map alone."""

    def plan(self, relations: Relations, decoded: Decoded[R], history: Table) -> HistoryPlan[R]:
        """Decides which records the history takes.

        Args:
            relations: what lasts as long as the plan.
        """

    def history_change(self, history: Table, plan: HistoryPlan[R]) -> Change:
        """Writes what `plan` decided.

        Raises InvariantError where what was written is not what was planned.
        """

    def adopt_snapshot(self, history: Table, snapshot: Snapshot) -> R:
        """The rows that this snapshot added to the history, as if they had just been planned."""

    def current_change(self, fresh: R, current: Table, load_history: Callable[[], Table]) -> Change | None:
        """Writes how new history rows change the current table; None if they do not.

        Args:
            load_history: loads the history. Called after the current table was loaded, so that it has every delete
                that the current table can have seen.
        """

    def derived_change(self, current: Table, history: Table, snapshot: Snapshot) -> Change | None:
        """Derives the current rows of all keys in the files that this snapshot added to or removed from the history.

        None if the current table need not change.
        """


Engine = Callable[[Lakehouse, Dataset], AbstractContextManager[Batch[Any]]]
"""Opens an empty batch for a dataset."""

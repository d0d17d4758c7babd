"""Current rows derived from history: of some keys, or of all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from compactor.duck.relations import Relation, Relations
from compactor.engines.sorted_rows import Rewriting, row_memory, write_sorted
from compactor.engines.stored_rows import PLACE, rows_at, with_places
from compactor.lake.catalog import Lakehouse
from compactor.lake.scan import FILE_COLUMN
from compactor.lake.table import DataFile, Scan, Schema, Table
from compactor.merge.columns import columns_for_current
from compactor.merge.current import CurrentDecision, current_ids, derive_current
from compactor.merge.rows import Rows, rows_of
from compactor.registry.dataset import Dataset

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class DerivedPlan:
    """How the current table changes, and the scan whose files the decision numbers."""

    decision: CurrentDecision
    scan: Scan

    @property
    def rewrite(self) -> list[DataFile]:
        """The data files of the current table that have rows to leave."""
        return [self.scan.files[number] for number in self.decision.rewrite]


def plan_derived(
    relations: Relations,
    dataset: Dataset,
    touched: Relation,
    current: Table,
    history: Table,
    lost: Collection[str] = (),
) -> DerivedPlan:
    """Plans the current rows of some keys from history.

    History must have been loaded after the current table: it then has all that the current table can have seen, and a
    batch under way finds its rows in place.

    Args:
        touched: (key columns) of the entities.
        lost: paths of data files of the current table that cannot be read.
    """
    paths = [file.file_path for file in current.files if file.file_path not in lost] if lost else None
    scan = current.scan(columns_of_place(dataset), paths=paths, with_file=True)
    past = history.scan(columns_for_current(dataset))
    return DerivedPlan(derive_current(relations, dataset, touched, scan.batches, past.batches), scan)


def inserted_rows(lake: Lakehouse, relations: Relations, dataset: Dataset, history: Table, inserted: Relation) -> Rows:
    """The history rows of the ids that enter the current table."""
    scan = history.scan(["id", "emitted_at"], with_file=True)
    with relations.arrow("history", with_places(scan)) as rows, relations.right_side_first():
        found = relations.table("found", f"SELECT * FROM {rows} SEMI JOIN {inserted} USING (id)")
    # Another engine can have made duplicates in the history. Any of them will do until `repair` has removed the others.
    once = f"SELECT DISTINCT ON (id) * FROM {found} ORDER BY id, emitted_at"
    places = f"SELECT {FILE_COLUMN}, {PLACE} FROM ({once}) ORDER BY ALL"
    rows = rows_at(history, scan.files, relations.stream(places, _BATCH_ROWS), dataset.stored_schema)
    return rows_of(relations, dataset, rows, memory=row_memory(lake))


def rebuild_current(
    lake: Lakehouse, relations: Relations, dataset: Dataset, history: Table, current: Table, schema: Schema
) -> list[DataFile]:
    """Writes all rows that the current table should have, from history. Nothing refers to the files yet."""
    assert dataset.current is not None
    with relations.arrow("past", history.scan(columns_for_current(dataset)).batches) as past:
        expected = relations.table("expected", f"SELECT __id AS id FROM ({current_ids(dataset, past)})")
    rows = inserted_rows(lake, relations, dataset, history, expected)
    rewriting = Rewriting(dataset.current, rows, schema=schema, values_of=current.files)
    return write_sorted(lake, relations.con, dataset, current, rewriting)


def columns_of_place(dataset: Dataset) -> list[str]:
    """The columns of a current row that say which entity it is of, and its place in that entity's order."""
    return list(dict.fromkeys((*dataset.key, dataset.order, "id")))

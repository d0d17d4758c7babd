"""Current rows derived from history: of some keys, or of all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import duckdb
from duckdb.func import PythonUDFType

from compactor.duck.relations import Relation, Relations
from compactor.engines.foreign import with_foreign
from compactor.lake.catalog import Lakehouse, bloom
from compactor.lake.table import DataFile, Scan, Schema, Table
from compactor.merge.columns import columns_for_current, record_columns, rows_to_write
from compactor.merge.current import CurrentDecision, current_ids, derive_current
from compactor.registry.dataset import Dataset, TableLayout

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


def inserted_rows(relations: Relations, dataset: Dataset, history: Table, inserted: Relation) -> Relation:
    """The history rows of the ids that enter the current table, with the record columns."""
    with relations.arrow("history", history.scan(record_columns(dataset)).batches) as rows:
        found = relations.table("fresh", f"SELECT * FROM {rows} SEMI JOIN {inserted} USING (id)")
    if relations.count(found) > relations.count(inserted):
        # Another engine made duplicates in the history. Any of them will do until `repair` has removed the others.
        once = f"SELECT DISTINCT ON (id) * FROM {found} ORDER BY id, emitted_at"
        return relations.table("fresh", once)
    return found


def rebuild_current(
    lake: Lakehouse, relations: Relations, dataset: Dataset, history: Table, current: Table, schema: Schema
) -> list[DataFile]:
    """Writes all rows that the current table should have, from history. Nothing refers to the files yet."""
    assert dataset.current is not None
    con, names = relations.con, record_columns(dataset)
    with relations.arrow("past", history.scan(columns_for_current(dataset)).batches) as past:
        expected = relations.table("expected", f"SELECT __id AS id FROM ({current_ids(dataset, past)})")
    foreign = [field.name for field in schema.fields if field.name not in names]
    kept = with_foreign(relations, expected, current, current.files, foreign, ["id"])
    target = int(lake.config.tables.target_file_bytes)
    with (
        bucket_function(con, dataset, history, dataset.current) as bucket,
        relations.arrow("history", history.scan(names).batches) as rows,
        current.writer(
            target_bytes=target,
            bloom_columns=bloom(dataset),
            schema=schema,
            sorted_by=dataset.current.sort,
        ) as writer,
    ):
        chosen = f"(SELECT * FROM {rows} SEMI JOIN {expected} USING (id))"
        if kept is not expected:
            chosen = f"(SELECT * FROM {chosen} LEFT JOIN {kept} USING (id))"
        statement = rows_to_write(dataset.current, chosen, bucket)
        return writer.write_all(con.execute(statement).to_arrow_reader(_BATCH_ROWS))


def columns_of_place(dataset: Dataset) -> list[str]:
    """The columns of a current row that say which entity it is of, and its place in that entity's order."""
    return list(dict.fromkeys((*dataset.key, dataset.order, "id")))


@contextmanager
def bucket_function(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, table: Table, layout: TableLayout
) -> Iterator[str | None]:
    """The name of an SQL function that is Iceberg's bucket transform, while inside; None for another layout."""
    partition = layout.partition
    if partition.transform != "bucket":
        yield None
        return
    assert partition.column is not None
    assert partition.buckets is not None
    kind = next(kind for name, kind, _ in dataset.columns if name == partition.column).duckdb
    transform = table.bucket(partition.column, partition.buckets)
    name = f"bucket_{uuid4().hex}"

    def bucket(values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  DuckDB would resolve annotations
        return transform(values)

    con.create_function(f"{name}_of_arrow", bucket, [kind], "INTEGER", type=PythonUDFType.ARROW)
    con.execute(f"CREATE TEMP MACRO {name}(value) AS {name}_of_arrow(value::{kind})")
    try:
        yield name
    finally:
        con.execute(f"DROP MACRO {name}")
        con.remove_function(f"{name}_of_arrow")

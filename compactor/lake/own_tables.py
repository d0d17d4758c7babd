"""The program's own tables: the ledger of loaded objects, the quarantine of rejected lines, the list of runs, and what
a person has acknowledged.

A newer program may list more columns, or another name for one. `Lakehouse.ensure_own` brings a table that exists up to
that (`update`), in place: no file is rewritten and no field id changes. A verb that only reads meets tables that no run
has updated yet; it asks `stored_name` for a column whose name has changed.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyiceberg.types import NestedField

from compactor.lake import outside
from compactor.lake.iceberg_type import iceberg_type
from compactor.lake.table import Schema, Table
from compactor.lake.table_changes import change_columns
from compactor.registry.dataset import Partition, TableLayout
from compactor.types.field_type import LONG, STRING, TIMESTAMP, FieldType

log = logging.getLogger(__name__)

FILES, QUARANTINE, RUNS = "compactor_files", "compactor_quarantine", "compactor_runs"
ACKNOWLEDGED = "compactor_acknowledged"


@dataclass(frozen=True)
class OwnTable:
    """One of the program's own tables.

    Attributes:
        columns: (name, type, required), in the order of a new table. A column that is not in the first
            version of the table must be optional.
        sort: the columns of its sort order.
        renamed: column -> the name that it had before.
        later: a lake of an older version of the program does not have the table. It is created then, as for a new lake.
        whole_bounds: columns of which files keep the whole least and greatest value. Iceberg keeps 16 characters, which
            the keys of all objects of a dataset share.
    """

    columns: tuple[tuple[str, FieldType, bool], ...]
    sort: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    later: bool = False
    whole_bounds: tuple[str, ...] = ()

    @property
    def layout(self) -> TableLayout:
        return TableLayout(Partition("none", None, None), self.sort)

    @property
    def properties(self) -> dict[str, str]:
        return {f"write.metadata.metrics.column.{column}": "full" for column in self.whole_bounds}


OWN_TABLES: Mapping[str, OwnTable] = {
    FILES: OwnTable(
        columns=(
            ("dataset", STRING, True),
            ("key", STRING, True),
            ("etag", STRING, True),
            ("size", LONG, True),
            ("lines", LONG, True),
            ("new", LONG, True),
            ("duplicates", LONG, True),
            ("quarantined", LONG, True),
            ("run_id", STRING, True),
            ("loaded_at", TIMESTAMP, True),
        ),
        sort=("dataset", "key"),
        whole_bounds=("key",),
    ),
    QUARANTINE: OwnTable(
        columns=(
            ("dataset", STRING, True),
            ("source_file", STRING, True),
            ("source_line", LONG, True),
            ("version", LONG, False),
            ("reason", STRING, True),
            ("detail", STRING, False),
            ("raw", STRING, False),
            ("run_id", STRING, True),
            ("quarantined_at", TIMESTAMP, True),
            # A key can be replaced: the ETag says which of its contents the line was in.
            ("etag", STRING, True),
        ),
        sort=("dataset", "source_file", "source_line"),
    ),
    RUNS: OwnTable(
        columns=(
            ("run_id", STRING, True),
            ("dataset", STRING, True),
            ("verb", STRING, True),
            ("started_at", TIMESTAMP, True),
            ("finished_at", TIMESTAMP, True),
            ("objects", LONG, True),
            ("lines", LONG, True),
            ("new", LONG, True),
            ("duplicates", LONG, True),
            ("quarantined", LONG, True),
            ("failed_objects", LONG, True),
            ("raw_bytes", LONG, True),
            ("history_snapshot_id", LONG, False),
            ("current_snapshot_id", LONG, False),
            # All objects of hours before this one were listed and loaded: where the next run's window ends. NULL where
            # the run loaded nothing: then the one before still holds.
            ("watermark", STRING, False),
            # The version of the program that ran.
            ("version", STRING, False),
            # The objects that the source listed of the hours that the run looked at.
            ("listed", LONG, False),
            # Why objects could not be read, of the first of `failed_objects`: a JSON list of {"key", "reason"}.
            ("failures", STRING, False),
            # Why the dataset failed, as the run reported it.
            ("error", STRING, False),
        ),
        sort=("run_id", "dataset"),
        renamed={"watermark": "frontier"},
    ),
    ACKNOWLEDGED: OwnTable(
        columns=(
            ("dataset", STRING, True),
            ("key", STRING, True),
            ("etag", STRING, True),
            # Of a quarantined line; 0 means the object as a whole, which cannot be read.
            ("line", LONG, True),
            # Of a line: as in the quarantine. Of an object: why it could not be read.
            ("reason", STRING, True),
            # What the person says who acknowledged it.
            ("because", STRING, True),
            ("run_id", STRING, True),
            ("acknowledged_at", TIMESTAMP, True),
        ),
        sort=("dataset", "key", "line"),
        later=True,
    ),
}


def stored_name(table: Table, column: str) -> str:
    """The name that one of the program's own tables has for a column: the old one until a run has updated the table.

    To read a table as it was in the past, ask with that table (`Table.at`).
    """
    old = OWN_TABLES[table.name].renamed.get(column)
    names = table.schema.names
    return old if old is not None and column not in names and old in names else column


def update(table: Table) -> bool:
    """Adds the columns that one of the program's own tables lacks, and renames those that had another name.

    Columns that the program does not know stay as they are, and so do properties that somebody has set. Returns whether
    anything was to be done.

    Raises ConflictError if another commit came first, such as that of a run that does the same: load the table again.
    """
    own = OWN_TABLES[table.name]
    schema = updated_schema(table, own)
    missing = {name: value for name, value in own.properties.items() if name not in table.properties}
    if schema is None and not missing:
        return False
    change_columns(
        table, schema or table.iceberg_schema, [], [], properties=missing, summary={}, commit_id=uuid.uuid4().hex
    )
    if schema is not None:
        log.info("table %s has the columns of this version now", table.identifier)
    return True


def updated_schema(table: Table, own: OwnTable) -> Schema | None:
    """The schema that an own table is to have; None if it has it."""
    today = table.iceberg_schema
    names = {each.name for each in today.fields}
    new_names = {old: new for new, old in own.renamed.items() if new not in names}
    fields = [each.model_copy(update={"name": new_names.get(each.name, each.name)}) for each in today.fields]
    there = {each.name for each in fields}
    ids = itertools.count(table._iceberg.metadata.last_column_id + 1)
    fields += [
        NestedField(next(ids), name, iceberg_type(kind, ids), required=False)
        for name, kind, required in own.columns
        # One that another engine has renamed is not added beside its values.
        if name not in there and not required and not outside.renamed_to(table._iceberg, name)
    ]
    if {each.name for each in fields} == names:
        return None
    return Schema(*fields, identifier_field_ids=today.identifier_field_ids)

"""What a dataset is to the rest of the program: key, order, deletes, layouts, and the fields of each version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

from compactor.duck.sql import literal
from compactor.registry.expressions import Column, Expression, put_into
from compactor.registry.fields import Field, type_of
from compactor.types.field_type import LONG, MAP, STRING, TIMESTAMP, FieldType


@dataclass(frozen=True)
class Promotion:
    """A key of a map, or an unknown field, that gets a typed column of its own.

    Attributes:
        source: the map's column, or `extra`.
        key: the key in it.
        column: the new column, never required.
        type: any type but map.
        evolved: the column was made by a run, not by the registry (see `compactor.commands.drift.evolve`).
        filled: rows from before the column have it too.
    """

    source: str
    key: str
    column: str
    type: FieldType
    evolved: bool = False
    filled: bool = True

    def stored(self) -> dict[str, Any]:
        """The promotion as a JSON object: how a table's properties keep it."""
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "type": self.type.name}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> Promotion:
        """The promotion that `stored` gave."""
        return cls(**{**stored, "type": type_of(stored["type"])})

    def value(self, source: str) -> str:
        """SQL for the promoted column, from SQL for the map that it comes from. NULL where the value does not fit."""
        text = f"{source}[{literal(self.key)}]"
        text = f"json_extract_string({text}, '$')" if self.source == "extra" else text
        text = f"try_cast({text} AS TIMESTAMPTZ)" if self.type == TIMESTAMP else text
        return f"try_cast({text} AS {self.type.duckdb})"


@dataclass(frozen=True)
class Partition:
    """An Iceberg partition of one column. `column` is None for `none`; `buckets` is given for `bucket` alone."""

    transform: Literal["day", "month", "bucket", "none"]
    column: str | None
    buckets: int | None


@dataclass(frozen=True)
class TableLayout:
    """How a table's files are laid out: its partition, and the columns that rows are sorted by (ascending)."""

    partition: Partition
    sort: tuple[str, ...]


@dataclass(frozen=True)
class DeleteRule:
    """A record is a delete of its key if the text in `column` is one of `values`."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SchemaVersion:
    """The fields of a record whose `version` is `number`, in order.

    Attributes:
        derived: each column's expression over the columns of the version before; of the first, its own columns.
    """

    number: int
    fields: tuple[Field, ...]
    derived: Mapping[str, Expression]


@dataclass(frozen=True)
class Dataset:
    """One dataset and its tables.

    Attributes:
        name: its name in the source, and of its first table.
        kind: `state`, records that replace each other by key, or `events`, records that stand.
        key: the columns that say which entity a record is about; of kind events, `id`.
        order: the column whose greatest value is the newest record of an entity; ties go to the greater `id`.
        delete: which records delete their entity; None: none does.
        current: layout of the table with one row per key; None for events.
        history: layout of the table with each record once; for events, the one table.
        promoted: columns beyond the fields.
        additive: what becomes of fields that nobody declared: `capture` keeps them in `extra`, `evolve` also makes
            columns of them.
        versions: schema version by its number, at least one.
        later: versions that the registry lists and the tables do not have yet (see `at`).
        file: the YAML file, for messages.
    """

    name: str
    kind: Literal["state", "events"]
    key: tuple[str, ...]
    order: str
    delete: DeleteRule | None
    current: TableLayout | None
    history: TableLayout
    promoted: tuple[Promotion, ...]
    versions: Mapping[int, SchemaVersion]
    file: str
    later: tuple[int, ...] = ()
    additive: Literal["capture", "evolve"] = "capture"

    @property
    def newest(self) -> SchemaVersion:
        """The version with the largest number; it decides the tables' columns."""
        return self.versions[max(self.versions)]

    @property
    def version_field(self) -> Field:
        """The field that tells a record's version; its JSON key is the same in every version."""
        return next(field for field in self.newest.fields if field.column == "version")

    def upgrades(self, number: int) -> Mapping[str, Expression]:
        """The newest version's columns, in order, as expressions over the columns of version `number`."""
        return self._upgrades[number]

    @cached_property
    def _upgrades(self) -> dict[int, dict[str, Expression]]:
        found = {}
        expressions: dict[str, Expression] = {f.column: Column(f.column, f.type) for f in self.newest.fields}
        for number in sorted(self.versions, reverse=True):
            found[number] = expressions
            derived = self.versions[number].derived
            expressions = {column: put_into(each, derived) for column, each in expressions.items()}
        return found

    def why_unknown(self, number: int) -> str:
        """What keeps records of a version from being read, and what to do."""
        if number in self.later:
            return (
                f"version {number} is in the registry, but the tables are still of version {self.newest.number};"
                " run `compactor migrate apply`, then `compactor replay`"
            )
        return (
            f"version {number} is not in the registry; add it there,"
            " then run `compactor migrate apply` and `compactor replay`"
        )

    def at(self, number: int, promoted: Sequence[Promotion]) -> Dataset:
        """The dataset as it was when `number` was the newest version: what tables of that version can take."""
        if number == self.newest.number and tuple(promoted) == self.promoted:
            return self
        older = self.upgrades(number)

        def name(column: str) -> str:
            then = older[column]
            assert isinstance(then, Column)  # what the layout and the rules speak of was at most renamed
            return then.name

        def layout(table: TableLayout) -> TableLayout:
            partition = replace(table.partition, column=name(column)) if (column := table.partition.column) else None
            return TableLayout(partition or table.partition, tuple(map(name, table.sort)))

        return replace(
            self,
            key=tuple(map(name, self.key)),
            order=name(self.order),
            delete=replace(self.delete, column=name(self.delete.column)) if self.delete else None,
            current=layout(self.current) if self.current else None,
            history=layout(self.history),
            promoted=tuple(promoted),
            versions={each: version for each, version in self.versions.items() if each <= number},
            later=tuple(sorted(each for each in self.versions if each > number)),
        )

    @property
    def history_table(self) -> str:
        """Name of the table with each record once."""
        return self.name if self.kind == "events" else f"{self.name}_history"

    @property
    def current_table(self) -> str | None:
        """Name of the table with one row per key; None for events."""
        return None if self.kind == "events" else self.name

    @property
    def columns(self) -> tuple[tuple[str, FieldType, bool], ...]:
        """(column, type, required) of the newest version's fields, then of the promoted columns.

        A column is required only if each version has it as it is: rows of an older one may have nothing in a new one.
        """
        oldest = self.upgrades(min(self.versions))
        own = [(f.column, f.type, f.required and isinstance(oldest[f.column], Column)) for f in self.newest.fields]
        return (*own, *((promotion.column, promotion.type, False) for promotion in self.promoted))

    @property
    def table_columns(self) -> tuple[tuple[str, FieldType, bool], ...]:
        """`columns`, and those that each table of records has besides."""
        return (*self.columns, ("extra", MAP, False), ("source_file", STRING, True), ("source_line", LONG, True))

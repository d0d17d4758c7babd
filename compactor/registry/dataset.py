"""A dataset as the rest of the program sees it: key, order, deletes, layouts, and the fields of each version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from compactor.registry.expressions import Column, Expression, put_into
from compactor.registry.fields import Field, type_of
from compactor.types.field_type import LONG, MAP, STRING, FieldType
from compactor.types.map_entries import EntryReading, entry_reading

EXTRA = "extra"
"""The map column of the fields that the registry does not declare, each as JSON text."""


def may_be_version(number: int) -> bool:
    """Whether a number that records give as their version may be shown. A longer one may be a phone number or an id."""
    return -10_000 < number < 10_000


@dataclass(frozen=True)
class Promotion:
    """A key of a map, or an undeclared field, that has a typed column of its own.

    Attributes:
        source: the map's column, or `extra`.
        key: the key in it.
        column: the new column, never required.
        type: any type but map.
        evolved: a run has made the column, not the registry (see `compactor.commands.drift.evolve`).
        filled: rows that are older than the column have a value in it too.
        exact: each value in it is by the rules of `types.map_entries`. Columns that were filled before these rules may
            hold rounded and guessed values; a migration fills them again.
    """

    source: str
    key: str
    column: str
    type: FieldType
    evolved: bool = False
    filled: bool = True
    exact: bool = True

    def stored(self) -> dict[str, Any]:
        """The promotion as a JSON object: how a table's properties keep it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        if not self.exact:
            del found["exact"]  # as such a table has it
        return {**found, "type": self.type.name}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> Promotion:
        """The promotion that `stored` gave."""
        return cls(**{"exact": False, **stored, "type": type_of(stored["type"])})

    @property
    def reading(self) -> EntryReading:
        """How an entry becomes a value of the column."""
        return entry_reading(self.type, is_json=self.source == EXTRA)

    def value(self, row: Mapping[str, Any]) -> Any:
        """The column's value in a decoded row; None where the entry is absent or does not fit."""
        text = dict(row.get(self.source) or ()).get(self.key)
        if text is None or (self.source == EXTRA and text == "null"):
            return None
        return self.reading.value(text)


@dataclass(frozen=True)
class Partition:
    """An Iceberg partition by one column. `column` is None for `none`; only `bucket` has `buckets`."""

    transform: Literal["day", "month", "bucket", "none"]
    column: str | None
    buckets: int | None

    @property
    def field_name(self) -> str | None:
        """The name of the partition field in the table, which no column can have. None for `none`."""
        return None if self.column is None else f"{self.column}_{self.transform}"


@dataclass(frozen=True)
class TableLayout:
    """The layout of a table's files: its partition, and the columns that rows are sorted by, ascending."""

    partition: Partition
    sort: tuple[str, ...]


@dataclass(frozen=True)
class LayoutChoice:
    """A layout as the registry has it. What it leaves out (None, empty) follows the order column and the key."""

    partition: Partition | None = None
    sort: tuple[str, ...] = ()

    def complete(self, order: str, sort: tuple[str, ...]) -> TableLayout:
        return TableLayout(self.partition or Partition("day", order, None), self.sort or sort)


@dataclass(frozen=True)
class DeleteRule:
    """A record is a delete of its key if the text in `column` is one of `values`."""

    column: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column} = {' or '.join(self.values)}"


@dataclass(frozen=True)
class Rule:
    """The rule that the rows of a dataset's tables were made by: what is one entity, and which record is current.

    It belongs to the tables, which keep it in their properties: rows that are there follow it, whatever the registry
    says by now (see `compactor.lake.table_version`). What else is part of it one day becomes a field here, with a
    default for the tables that do not have it yet.

    Attributes:
        key: in alphabetical order, as `values` of `delete` are: their order means nothing.
    """

    kind: Literal["state", "events"]
    key: tuple[str, ...]
    order: str
    delete: DeleteRule | None = None

    def stored(self) -> dict[str, Any]:
        """The rule as a JSON object: how a table's properties keep it."""
        delete = {"column": self.delete.column, "equals": list(self.delete.values)} if self.delete else None
        return {"kind": self.kind, "key": list(self.key), "order": self.order, "delete": delete}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> Rule:
        """The rule that `stored` gave."""
        delete = stored["delete"]
        return cls(
            kind=stored["kind"],
            key=tuple(stored["key"]),
            order=stored["order"],
            delete=DeleteRule(delete["column"], tuple(delete["equals"])) if delete else None,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (*self.key, self.order, *([self.delete.column] if self.delete else []))

    def changes(self, new: Rule) -> list[str]:
        """What is different in `new`, in words."""
        parts = (
            ("key", ", ".join(self.key), ", ".join(new.key)),
            ("order", self.order, new.order),
            ("delete", str(self.delete or "nothing"), str(new.delete or "nothing")),
        )
        return [f"{name} {old} becomes {now}" for name, old, now in parts if old != now]


@dataclass(frozen=True)
class SchemaVersion:
    """The fields of a record whose `version` is `number`, in order.

    Attributes:
        derived: each column as an expression over the columns of the version before; for the first version, itself.
    """

    number: int
    fields: tuple[Field, ...]
    derived: Mapping[str, Expression]


@dataclass(frozen=True)
class Dataset:
    """One dataset and its tables.

    Attributes:
        name: its name in the source, and of its first table.
        kind: `state`: the newest record of a key replaces the others. `events`: each record stays.
        key: the columns that identify the entity of a record; `id` for events.
        order: the column with the greatest value in the newest record of an entity. Of equal values, the greater `id`
            is newer.
        delete: which records delete their entity. None: no record does.
        current_layout: layout of the table with one row per key; None for events.
        history_layout: layout of the table with each record once. Events have this table alone.
        promoted: columns beyond the fields.
        additive: `capture` keeps undeclared fields in `extra`; `evolve` also makes columns of them.
        versions: schema versions by number, at least one.
        later: numbers of versions that are in the registry and not yet in the tables (see `at`).
        file: the YAML file, for messages.
    """

    name: str
    kind: Literal["state", "events"]
    key: tuple[str, ...]
    order: str
    delete: DeleteRule | None
    current_layout: LayoutChoice | None
    history_layout: LayoutChoice
    promoted: tuple[Promotion, ...]
    versions: Mapping[int, SchemaVersion]
    file: str
    later: tuple[int, ...] = ()
    additive: Literal["capture", "evolve"] = "capture"

    @property
    def rule(self) -> Rule:
        delete = DeleteRule(self.delete.column, tuple(sorted(set(self.delete.values)))) if self.delete else None
        return Rule(self.kind, tuple(sorted(self.key)), self.order, delete)

    @property
    def current(self) -> TableLayout | None:
        """The layout of the table with one row per key; None for events."""
        return self.current_layout.complete(self.order, self.key) if self.current_layout else None

    @property
    def history(self) -> TableLayout:
        """The layout of the table with each record once."""
        return self.history_layout.complete(self.order, tuple(dict.fromkeys((*self.key, self.order))))

    @property
    def newest(self) -> SchemaVersion:
        """The version with the greatest number. It gives the columns of the tables."""
        return self.versions[max(self.versions)]

    @property
    def version_field(self) -> Field:
        """The field with the version of a record. Its JSON key is the same in each version."""
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

    @property
    def partition_fields(self) -> frozenset[str]:
        """The names of the partition fields of its tables."""
        layouts = (self.history, self.current)
        return frozenset(name for each in layouts if each and (name := each.partition.field_name))

    def why_unknown(self, number: int) -> str:
        """Why records of a version cannot be read, and what to do. A number that may be a value is not in it."""
        if number in self.later:
            return (
                f"version {number} is in the registry, but the tables are still of version {self.newest.number};"
                " run `compactor migrate apply`, then `compactor replay`"
            )
        name = f"version {number}" if may_be_version(number) else "a version of more than four digits"
        return f"{name} is not in the registry; add it there, then run `compactor migrate apply` and `compactor replay`"

    def at(self, number: int, promoted: Sequence[Promotion]) -> Dataset:
        """The dataset as it was when `number` was the newest version: as tables of that version need it."""
        if number == self.newest.number and tuple(promoted) == self.promoted:
            return self

        def name(column: str) -> str:
            then = self.name_in(number, column)
            assert then is not None  # `checks` allows no change but a rename of a column that a rule or a layout names
            return then

        def layout(table: LayoutChoice) -> LayoutChoice:
            partition = table.partition
            if partition and partition.column:
                partition = replace(partition, column=name(partition.column))
            return LayoutChoice(partition, tuple(map(name, table.sort)))

        return replace(
            self,
            key=tuple(map(name, self.key)),
            order=name(self.order),
            delete=replace(self.delete, column=name(self.delete.column)) if self.delete else None,
            current_layout=layout(self.current_layout) if self.current_layout else None,
            history_layout=layout(self.history_layout),
            promoted=tuple(promoted),
            versions={each: version for each, version in self.versions.items() if each <= number},
            later=tuple(sorted(each for each in self.versions if each > number)),
        )

    def name_in(self, number: int, column: str) -> str | None:
        """The name that a column of the newest version has in version `number`; None if it was made of others there."""
        then = self.upgrades(number).get(column)
        return then.name if isinstance(then, Column) else None

    def ruled_by(self, rule: Rule) -> Dataset:
        """The dataset by a rule whose columns are columns of its newest version: as tables made by that rule need it.

        Each record must have the columns of the key and the order, whatever the registry says of them by now.
        """
        if rule == self.rule:
            return self
        versions = {}
        for number, version in self.versions.items():
            needed = {self.name_in(number, column) for column in (*rule.key, rule.order)}
            listed = (replace(each, required=each.required or each.column in needed) for each in version.fields)
            versions[number] = replace(version, fields=tuple(listed))
        return replace(self, key=rule.key, order=rule.order, delete=rule.delete, versions=versions)

    @property
    def history_table(self) -> str:
        """Name of the table that has each record once."""
        return self.name if self.kind == "events" else f"{self.name}_history"

    @property
    def current_table(self) -> str | None:
        """Name of the table that has one row per key; None for events."""
        return None if self.kind == "events" else self.name

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of its tables of records: the history, then the current one, if there is one."""
        return (self.history_table,) if self.current_table is None else (self.history_table, self.current_table)

    @property
    def columns(self) -> tuple[tuple[str, FieldType, bool], ...]:
        """(column, type, required) of the newest version's fields, then of the promoted columns.

        A column is required only if each version has it unchanged: a row of an older version may have NULL in it.
        """
        oldest = self.upgrades(min(self.versions))
        own = [(f.column, f.type, f.required and isinstance(oldest[f.column], Column)) for f in self.newest.fields]
        return (*own, *((promotion.column, promotion.type, False) for promotion in self.promoted))

    @property
    def column_names(self) -> list[str]:
        """The names of `table_columns`."""
        return [name for name, _, _ in self.table_columns]

    @property
    def table_columns(self) -> tuple[tuple[str, FieldType, bool], ...]:
        """`columns`, and those that the program adds to each table of records."""
        return (*self.columns, (EXTRA, MAP, False), ("source_file", STRING, True), ("source_line", LONG, True))

    @cached_property
    def stored_schema(self) -> pa.Schema:
        """`table_columns` as Arrow data of the tables has them."""
        return pa.schema([(name, kind.arrow_stored) for name, kind, _ in self.table_columns])

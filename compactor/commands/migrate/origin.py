"""What a migrated table was before its migration: a property of the table, by which `rollback` finds the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compactor.lake.table import Table

PROPERTY = "compactor.migrated-from"


@dataclass(frozen=True)
class Origin:
    """A table before its last migration.

    Attributes:
        tag: the tag on its last snapshot.
        schema_id: its schema.
        marks: the properties that gave its version (see `table_version.marks`).
        previous: the origin that it had itself, as JSON has it; None before the first migration.
    """

    tag: str
    schema_id: int
    marks: Mapping[str, str]
    previous: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, table: Table) -> Origin | None:
        """None for a table that was never migrated, or whose migrations were all rolled back."""
        if PROPERTY not in table.properties:
            return None
        found = json.loads(table.properties[PROPERTY])
        return cls(found["tag"], found["schema"], found["marks"], found["previous"])

    @property
    def text(self) -> str:
        """The value of the property."""
        return json.dumps(self._as_json())

    @property
    def previous_text(self) -> str | None:
        """The value of the property before the migration."""
        return json.dumps(self.previous) if self.previous else None

    def after(self, tag: str, schema_id: int, marks: Mapping[str, str]) -> Origin:
        """The origin of the table after one more migration."""
        return Origin(tag, schema_id, marks, self._as_json())

    def _as_json(self) -> dict[str, Any]:
        return {"tag": self.tag, "schema": self.schema_id, "marks": dict(self.marks), "previous": self.previous}

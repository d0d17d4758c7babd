"""A small dataset whose rule tests change: its registry, its records, and which of them are current by a rule."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compactor.commands.migrate import migrate
from compactor.commands.migrate.rollback import rollback
from compactor.commands.verify.verify import verify
from compactor.progress import NullProgress
from compactor.reports.migration import MigrationPlan, MigrationReport
from tests.support.lake import Lake

FIELDS = """\
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      thing: {type: string, required: true}
      account: {type: string, required: true}
      at: {type: timestamp, required: true}
      seen: {type: timestamp, required: true}
      op: string
      note: string
"""


@dataclass(frozen=True)
class Ruling:
    """What the registry says of a dataset, apart from its fields. `delete`: the text in `op` that deletes."""

    key: tuple[str, ...] = ("thing",)
    order: str = "at"
    delete: str = "delete"
    partition: str = "month(emitted_at)"
    kind: str = "state"

    @property
    def yaml(self) -> str:
        lines = [f"dataset: things\nkind: {self.kind}\norder: {self.order}"]
        if self.kind == "state":
            lines.append(f"key: [{', '.join(self.key)}]")
            if self.partition:
                layout = f"{{partition: {self.partition}}}"
                lines.append(f"tables: {{current: {layout}, history: {layout}}}")
        if self.delete:
            lines.append(f"delete: {{column: op, equals: [{self.delete}]}}")
        return "\n".join(lines) + "\n"

    def current(self, records: Iterable[dict[str, Any]]) -> list[str]:
        """The ids of the records that are current."""
        newest: dict[tuple[Any, ...], dict[str, Any]] = {}
        for record in sorted(records, key=lambda each: (each[self.order], each["id"])):
            newest[tuple(record[name] for name in self.key)] = record
        return sorted(each["id"] for each in newest.values() if not self.delete or each["op"] != self.delete)


OLD = Ruling()


def record(chance: random.Random, number: int, **more: Any) -> dict[str, Any]:
    times = {name: f"2026-11-{chance.randint(1, 9):02d}T00:00:00Z" for name in ("at", "seen")}
    return {
        "id": f"r{number:03d}",
        "version": 1,
        "emittedAt": "2026-11-01T00:00:00Z",
        "thing": f"t{chance.randrange(7)}",
        "account": f"a{chance.randrange(7)}",
        "op": chance.choice(["upsert", "delete", "gone", "upsert"]),
        "note": f"n{number}",
        **times,
        **more,
    }


class RuledFans:
    """A lake whose registry changes its rule. `records` are all that were delivered."""

    def __init__(self, folder: Path, ruling: Ruling = OLD, *, seed: int = 1, settings: str = "") -> None:
        self._schemas = folder / "schemas"
        self._schemas.mkdir()
        self._folder, self._settings = folder, settings
        self._chance = random.Random(seed)
        self.records: list[dict[str, Any]] = []
        self.write(ruling)

    def write(self, ruling: Ruling, fields: str = FIELDS) -> None:
        self.ruling = ruling
        (self._schemas / "things.yaml").write_text(ruling.yaml + fields, encoding="utf-8")
        self.lake = Lake(self._folder / "lake", schemas=self._schemas, settings=self._settings)

    def change(self, **parts: Any) -> None:
        self.write(replace(self.ruling, **parts))

    def deliver(self, count: int = 12, **more: Any) -> None:
        fresh = [record(self._chance, len(self.records) + n, **more) for n in range(count)]
        self.deliver_records(fresh)
        self.records += fresh

    def deliver_records(self, records: Sequence[dict[str, Any]]) -> None:
        lines = [json.dumps(each).encode() for each in records]
        self.lake.deliver_unmodelled("things", lines, part=f"p{len(self.records)}")

    def night(self, count: int = 12) -> None:
        self.deliver(count)
        self.lake.compact(full_scan=True)

    def plan(self) -> MigrationPlan:
        return migrate.plan(self.lake.config, self.lake.registry)

    def apply(self) -> MigrationReport:
        return migrate.apply(self.lake.config, self.lake.registry, plan_id=None, progress=NullProgress())

    def roll_back(self) -> None:
        rollback(self.lake.config, self.lake.registry, confirmed=True, progress=NullProgress())

    def ids(self, table: str = "things") -> list[str]:
        return sorted(
            row["id"] for batch in self.lake.tables.table(table).scan(["id"]).batches for row in batch.to_pylist()
        )

    def assert_current(self, ruling: Ruling) -> None:
        """The current table is what a rule makes of all records, and `verify` finds nothing wrong."""
        assert self.ids("things_history") == sorted(each["id"] for each in self.records)
        assert self.ids() == ruling.current(self.records)
        checks = verify(self.lake.config, self.lake.registry, rebuild=True).checks
        assert [check for check in checks if not check.ok] == []

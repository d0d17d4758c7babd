"""A lake of one small dataset whose registry tests change from version to version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.migrate.rollback import rollback
from compactor.commands.verify.verify import verify
from compactor.progress import NullProgress
from compactor.reports.migration import MigrationReport
from tests.support.lake import Lake

QUIET = NullProgress()


# One chain, by hand

FANS = """\
dataset: things
kind: state
key: [thing]
order: at
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      thing: {type: string, required: true}
      at: {type: timestamp, required: true}
      fanTier: string
      joinedAt: string
      score: long
      price: "decimal(10,2)"
      traits: map
"""


IN_PLACE = """\
  2:
    changes:
      - rename: {from: fanTier, to: loyaltyTier}
      - remove: {field: score}
      - retype: {field: price, to: "decimal(18,2)"}
      - add: {field: channel, type: string}
"""


RETYPE = "      - retype: {field: joinedAt, to: timestamp}\n"


def fan(number: int, *, joined: str = "2026-01-01T00:00:00Z", at: int | None = None, **more: Any) -> bytes:
    record = {"id": f"r{number}", "version": 1, "emittedAt": "2026-11-01T00:00:00Z", "thing": f"t{number % 3}"}
    record |= {
        "at": f"2026-11-{(number if at is None else at) + 1:02d}T00:00:00Z",
        "fanTier": "gold",
        "joinedAt": joined,
    }
    return json.dumps(record | {"score": number, "price": 1.5, "traits": {"spend": number}} | more).encode()


class Fans:
    """A lake of version 1 with nine records of three things, the newest of one of them (r8) without a date."""

    def __init__(self, folder: Path) -> None:
        self.schemas = folder / "schemas"
        self.schemas.mkdir()
        self._folder = folder
        self.write(FANS)
        self.lake.deliver_unmodelled("things", [fan(n) for n in range(5)])
        self.lake.deliver_unmodelled("things", [fan(n) for n in range(3, 8)] + [fan(8, joined="soon")], part="b")
        self.lake.compact()

    def write(self, text: str) -> None:
        (self.schemas / "things.yaml").write_text(text, encoding="utf-8")
        self.lake = Lake(self._folder / "lake", schemas=self.schemas)

    def apply(self, plan_id: str | None = None) -> MigrationReport:
        return migrate.apply(self.lake.config, self.lake.registry, plan_id=plan_id, progress=QUIET)

    def roll_back(self, *, confirmed: bool = True) -> Any:
        return rollback(self.lake.config, self.lake.registry, confirmed=confirmed, progress=QUIET)

    def ids(self, table: str = "things") -> list[str]:
        return sorted(row["id"] for row in self.lake.rows(table))

    def columns(self, table: str = "things_history") -> list[str]:
        return list(self.lake.tables.table(table).schema.names)

    def record_files(self) -> set[str]:
        return {path for path in self.lake.data_files() if "/things" in path}

    def assert_sound(self) -> None:
        checks = verify(self.lake.config, self.lake.registry, rebuild=True).checks
        assert [check for check in checks if not check.ok] == []


@pytest.fixture
def fans(tmp_path: Path) -> Fans:
    return Fans(tmp_path)

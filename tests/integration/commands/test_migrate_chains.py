"""Any chain of versions, in any order of steps, ends in the same tables."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.migrate.rollback import rollback
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.errors import UsageError
from compactor.reports.migration import MigrationReport
from tests.support.chains import Chain
from tests.support.lake import Lake
from tests.support.model import Row
from tests.support.versioned_fans import QUIET


class Things:
    """A lake of one dataset whose registry learns its versions one by one. `lines` are all that were delivered."""

    def __init__(self, folder: Path, chain: Chain, *, known: int = 1) -> None:
        self.chain = chain
        self.schemas = folder / "schemas"
        self.schemas.mkdir()
        self.lines: list[bytes] = []
        self._folder = folder
        self._parts = 0
        self.learn(known)

    def learn(self, known: int) -> None:
        self.known = known
        (self.schemas / "things.yaml").write_text(self.chain.registry(known), encoding="utf-8")
        self.lake = Lake(self._folder / "lake", schemas=self.schemas)

    def deliver(self, lines: list[bytes]) -> None:
        self._parts += 1
        self.lake.deliver_unmodelled("things", lines, part=f"p{self._parts}")
        self.lines += lines

    def plan(self) -> Any:
        return migrate.plan(self.lake.config, self.lake.registry)

    def apply(self, plan_id: str | None = None) -> MigrationReport:
        return migrate.apply(self.lake.config, self.lake.registry, plan_id=plan_id, progress=QUIET)

    def roll_back(self) -> Any:
        return rollback(self.lake.config, self.lake.registry, confirmed=True, progress=QUIET)

    def replay(self) -> int:
        return replay(self.lake.config, self.lake.registry, progress=QUIET).exit_code

    def rows(self, table: str) -> dict[str, Row]:
        found = self.lake.rows(table)
        rows = {row["id"]: row for row in found}
        assert len(rows) == len(found)
        return rows

    def assert_equals_model(self) -> None:
        assert self.rows("things_history") == self.chain.history(self.lines)
        expected = {row["id"]: row for row in self.chain.current(self.lines).values()}
        assert self.rows("things") == expected
        self.assert_sound()

    def assert_sound(self) -> None:
        checks = verify(self.lake.config, self.lake.registry, rebuild=True).checks
        assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.soak) for n in range(6, 200))])
def test_any_chain_of_versions_and_any_order_of_steps_ends_in_the_same_tables(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    chain = Chain.of(chance, chance.randint(1, 5))
    things = Things(tmp_path, chain)
    newest = len(chain.shapes)
    sent = 0
    for _ in range(chance.randint(5, 10)):
        step = chance.choice(["deliver", "deliver", "compact", "compact", "learn", "apply", "replay", "back"])
        if step == "deliver":
            lines = []
            for _ in range(chance.randint(1, 12)):
                sent += 1
                lines.append(chain.line(chance, chance.randint(1, min(things.known + 1, newest)), sent))
            things.deliver([*lines, *chance.sample(things.lines, min(2, len(things.lines)))])
        elif step == "compact":
            things.lake.compact(full_scan=True)
        elif step == "learn":
            things.learn(min(things.known + 1, newest))
        elif step == "replay":
            things.replay()
        elif step == "apply":
            things.apply()
        else:
            try:
                things.roll_back()
            except UsageError:
                continue  # nothing was migrated yet
        if step in ("apply", "back", "compact") and things.lake.tables.exists("things"):
            things.assert_sound()
    things.learn(newest)
    for _ in range(2):  # a rollback can have brought the tables back by one migration alone
        things.apply()
        things.lake.compact(full_scan=True)
        things.replay()
    things.assert_equals_model()

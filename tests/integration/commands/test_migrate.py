"""Tables are brought to a newer version, and back, whatever comes between: none lost, none half converted."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.migrate.rollback import rollback
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, UsageError
from compactor.lake import table_changes
from compactor.lake.table import Table
from compactor.progress import NullProgress
from compactor.reports.migration import MigrationReport
from tests.proofs.test_protocol import STEPS, overtaken
from tests.support.chains import Chain
from tests.support.lake import ROOT, Lake
from tests.support.model import Row, parse_timestamp
from tests.support.processes import start

QUIET = NullProgress()


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
        due = {row["id"]: row for row in self.chain.current(self.lines).values()}
        assert self.rows("things") == due
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


def test_what_only_renames_widens_adds_and_removes_rewrites_no_data_file(fans: Fans) -> None:
    before, rows = fans.record_files(), {row["id"]: row for row in fans.lake.rows("things_history")}
    fans.write(FANS + IN_PLACE)
    plan = migrate.plan(fans.lake.config, fans.lake.registry)
    assert [table.table for table in plan.tables] == ["things_history", "things"]
    assert plan.tables[0].in_place == (
        "rename fan_tier to loyalty_tier",
        "widen price from decimal(10,2) to decimal(18,2)",
        "add channel string",
        "drop score",
    )
    assert (plan.tables[0].rewritten, plan.tables[0].rows) == ((), 0)
    assert plan.tables[0].breaks == (
        "fan_tier is now loyalty_tier",
        "score is gone",
        "price is a decimal(18,2) instead of a decimal(10,2)",
    )
    snapshots = [fans.lake.tables.table(name).snapshot_id for name in ("things_history", "things")]
    assert fans.apply(plan.plan_id).quarantined == {"things": 0}
    assert fans.record_files() == before
    assert [fans.lake.tables.table(name).snapshot_id for name in ("things_history", "things")] == snapshots
    for row in fans.lake.rows("things_history"):
        old = rows[row["id"]]
        assert (row["loyalty_tier"], row["price"], row["channel"]) == (old["fan_tier"], old["price"], None)
    fans.assert_sound()
    assert migrate.plan(fans.lake.config, fans.lake.registry).tables == ()
    assert fans.apply().tags == {}


def test_a_value_that_cannot_be_converted_goes_to_the_quarantine_with_its_row(fans: Fans) -> None:
    assert fans.ids() == ["r6", "r7", "r8"]
    fans.write(FANS + IN_PLACE + RETYPE)
    report = fans.apply()
    assert (report.quarantined, report.exit_code) == ({"things": 1}, 3)
    assert fans.ids("things_history") == [f"r{n}" for n in range(8)]
    assert fans.ids() == ["r5", "r6", "r7"], "the newest record of t2 that can be kept is its current row"
    (line,) = fans.lake.quarantine()
    assert (line["reason"], line["version"]) == ("bad_value", 1)
    assert line["detail"] == "column joined_at, made of an older version's: not a timestamp"
    assert json.loads(line["raw"]) == json.loads(fan(8)) | {
        "joinedAt": "soon",
        "traits": {"spend": "8"},
        "at": "2026-11-09T00:00:00.000000Z",
        "emittedAt": "2026-11-01T00:00:00.000000Z",
    }
    assert [(row["lines"], row["new"], row["duplicates"], row["quarantined"]) for row in fans.lake.ledger()] == [
        (5, 5, 0, 0),
        (6, 3, 2, 1),
    ]
    fans.assert_sound()
    for run in fans.lake.rows("compactor_runs"):
        assert run["lines"] == run["new"] + run["duplicates"] + run["quarantined"]


def test_a_refused_record_that_was_counted_in_another_object_leaves_all_sums_right(tmp_path: Path) -> None:
    fans = Fans(tmp_path)
    late = fan(9, joined="soon")
    early = late.replace(b'"emittedAt": "2026-11-01', b'"emittedAt": "2026-10-01')
    fans.lake.deliver_unmodelled("things", [late], part="c")
    fans.lake.compact()
    fans.lake.deliver_unmodelled("things", [early, fan(0)], part="d")  # replaces the row that is counted as new in c
    fans.lake.compact()
    fans.write(FANS + IN_PLACE + RETYPE)
    assert fans.apply().quarantined == {"things": 2}
    fans.assert_sound()
    assert len(fans.lake.quarantine()) == 2


def test_a_stale_plan_is_refused_and_a_night_in_between_makes_none_stale(fans: Fans) -> None:
    fans.write(FANS + IN_PLACE)
    plan = migrate.plan(fans.lake.config, fans.lake.registry)
    fans.lake.deliver_unmodelled("things", [fan(9)], part="c")
    fans.lake.compact()
    assert migrate.plan(fans.lake.config, fans.lake.registry).plan_id == plan.plan_id
    fans.write(FANS + IN_PLACE + RETYPE)
    with pytest.raises(UsageError, match=rf"plan {plan.plan_id} is stale: .* look at it with `compactor migrate plan`"):
        fans.apply(plan.plan_id)
    assert "fan_tier" in fans.columns()
    fans.write(FANS + IN_PLACE)
    fans.apply(plan.plan_id)
    with pytest.raises(UsageError, match="is stale"):
        fans.apply(plan.plan_id)


def test_the_time_before_the_migration_still_answers_with_the_old_names(fans: Fans) -> None:
    fans.write(FANS + IN_PLACE + RETYPE)
    tag = fans.apply().tags["things"]
    table = fans.lake.tables.table("things_history")
    snapshot = table.tagged(tag)
    assert snapshot is not None
    rows = [
        row
        for batch in table.scan(["id", "fan_tier", "score"], snapshot_id=snapshot).batches
        for row in batch.to_pylist()
    ]
    assert sorted(row["id"] for row in rows) == [f"r{n}" for n in range(9)]
    assert {row["fan_tier"] for row in rows} == {"gold"}
    location = table.metadata_location
    statement = f"SELECT count(fan_tier), sum(score) FROM iceberg_scan('{location}', snapshot_from_id = {snapshot})"
    reader = query(fans.lake.config, fans.lake.registry, statement)
    assert [tuple(row.values()) for batch in reader for row in batch.to_pylist()] == [(9, 36)]


def test_a_rollback_tells_what_it_drops_and_makes_that_pending_again(fans: Fans) -> None:
    old = {name: sorted(map(repr, fans.lake.rows(name))) for name in ("things", "things_history", "compactor_files")}
    fans.write(FANS + IN_PLACE + RETYPE)
    fans.apply()
    line = json.dumps({**json.loads(fan(10)), "version": 2, "channel": "app"})
    fans.lake.deliver_unmodelled("things", [line.replace("fanTier", "loyaltyTier").encode(), fan(11)], part="c")
    fans.lake.compact()
    told = fans.roll_back(confirmed=False)
    assert (told.done, told.datasets[0].objects, told.datasets[0].lines, told.datasets[0].new) == (False, 1, 2, 2)
    assert "loyalty_tier" in fans.columns()
    assert fans.roll_back().done
    assert {name: sorted(map(repr, fans.lake.rows(name))) for name in old} == old
    assert fans.lake.quarantine() == []
    fans.assert_sound()
    report = fans.lake.compact()
    assert (report.datasets[0].objects, report.datasets[0].new, report.exit_code) == (1, 1, 3)
    assert report.datasets[0].unknown_versions[0][0] == "2"
    fans.apply()
    replay(fans.lake.config, fans.lake.registry, progress=QUIET)
    assert fans.ids("things_history") == sorted(f"r{n}" for n in range(12) if n not in (8, 9))
    fans.assert_sound()
    fans.roll_back()
    with pytest.raises(UsageError, match="there is no migration to roll back"):
        fans.roll_back()


def test_one_migration_after_the_other_is_undone_in_turn(fans: Fans) -> None:
    old = sorted(map(repr, fans.lake.rows("things")))
    third = "  3:\n    changes: [{retype: {field: joinedAt, to: timestamp}}]\n"
    for text in (FANS + IN_PLACE, FANS + IN_PLACE + third):
        fans.write(text)
        fans.apply()
    assert fans.ids() == ["r5", "r6", "r7"]
    assert [each.to_version for each in fans.roll_back().datasets] == [2]
    assert ("channel" in fans.columns(), fans.ids()) == (True, ["r6", "r7", "r8"])
    assert [each.to_version for each in fans.roll_back().datasets] == [1]
    assert sorted(map(repr, fans.lake.rows("things"))) == old
    fans.apply()
    assert fans.ids() == ["r5", "r6", "r7"]
    fans.assert_sound()


PROMOTE = (
    "promote:\n  - {from: traits, key: spend, type: long}\n  - {from: extra, key: gate, column: gate, type: string}\n"
)


def test_a_promoted_key_is_filled_from_the_history_and_a_night_before_goes_on_without(fans: Fans) -> None:
    fans.lake.deliver_unmodelled("things", [fan(9, gate="north")], part="c")
    fans.write(FANS + PROMOTE)
    fans.lake.compact()
    assert "spend" not in fans.columns()
    plan = migrate.plan(fans.lake.config, fans.lake.registry)
    assert plan.tables[0].rewritten == ("spend: from traits['spend'] as long", "gate: from extra['gate'] as string")
    fans.apply(plan.plan_id)
    rows = {row["id"]: row for row in fans.lake.rows("things_history")}
    assert {name: row["spend"] for name, row in rows.items()} == {f"r{n}": n for n in range(10)}
    assert (rows["r9"]["gate"], rows["r1"]["gate"], rows["r9"]["extra"]) == ("north", None, {"gate": '"north"'})
    fans.lake.deliver_unmodelled("things", [fan(10, gate="south")], part="d")
    fans.lake.compact()
    assert next(row["gate"] for row in fans.lake.rows("things") if row["id"] == "r10") == "south"
    fans.write(FANS)
    fans.apply()
    assert "spend" not in fans.columns()
    fans.assert_sound()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("score: long", "score: string", "a field changes its type by a new version"),
        ("score: long", "score: long\n      size: long", "any other comes with a new version"),
        ('"decimal(10,2)"', '"decimal(10,4)"', "a field changes its type by a new version"),
    ],
)
def test_a_field_that_is_changed_within_its_version_is_refused_by_every_verb_that_writes(
    fans: Fans, old: str, new: str, sentence: str
) -> None:
    fans.write(FANS.replace(old, new))
    for verb in (fans.lake.compact, fans.apply):
        with pytest.raises(UsageError, match=sentence):
            verb()


# Crashes, and runs at the same time


def seen(fans: Fans, table: str) -> str:
    """What a reader sees of a table: all of it old or all of it new."""
    rows = {row["id"]: row for row in fans.lake.rows(table)}
    if "fan_tier" in fans.columns(table):
        assert all(isinstance(row["joined_at"], str) for row in rows.values())
        assert sorted(rows) == ([f"r{n}" for n in range(9)] if table == "things_history" else ["r6", "r7", "r8"])
        return "old"
    assert all(row["joined_at"].year == 2026 for row in rows.values())
    assert sorted(rows) == ([f"r{n}" for n in range(8)] if table == "things_history" else ["r5", "r6", "r7"])
    return "new"


@pytest.mark.parametrize("first", [1, pytest.param(0, marks=pytest.mark.soak)])
def test_killed_in_the_middle_of_apply_running_it_again_completes(tmp_path: Path, first: int) -> None:
    """At every eleventh of its writes, under soak at each; readers see the old or the new table at each moment."""
    fans = Fans(tmp_path)
    fans.write(FANS + IN_PLACE + RETYPE)
    warehouse, before = fans.lake.folder / "warehouse", tmp_path / "before"
    warehouse.rename(before)
    killed, states = 0, set()
    for point in range(4 * first + 1, 10_000, 11 if first else 1):
        subprocess.run(["rm", "-rf", str(warehouse)], check=True)
        subprocess.run(["cp", "-a", str(before), str(warehouse)], check=True)
        run = start(fans.lake, "migrate", "apply", kill_at=point)
        _, errors = run.communicate(timeout=120)
        states.add((seen(fans, "things_history"), seen(fans, "things")))
        if run.returncode != -signal.SIGKILL:
            assert run.returncode == 3, errors
            break
        killed += 1
        if (seen(fans, "things_history"), seen(fans, "things")) == ("new", "old"):
            with pytest.raises(CompactorError, match="a migration was stopped; run `compactor migrate apply`"):
                fans.lake.compact()
        fans.apply()
        assert (seen(fans, "things_history"), seen(fans, "things")) == ("new", "new")
        assert len(fans.lake.quarantine()) == 1
        fans.assert_sound()
    assert killed >= (30 if not first else 4), f"only {killed} writes: the test shows too little"
    assert ("old", "new") not in states


@pytest.mark.parametrize(
    "step",
    [
        step if step in ("plan", "swap of files", "settling") else pytest.param(step, marks=pytest.mark.soak)
        for step in STEPS
    ],
)
def test_a_run_overtaken_by_a_migration_begins_again_with_the_new_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fans = Fans(tmp_path)
    fans.write(FANS + IN_PLACE + RETYPE)
    fans.lake.deliver_unmodelled("things", [fan(9), fan(10, joined="later"), fan(3)], part="c")

    def migrate_now() -> None:
        fans.apply()

    with overtaken(monkeypatch, step, 1, migrate_now):
        fans.lake.compact()
    fans.apply()
    fans.lake.compact()
    assert fans.ids("things_history") == sorted(f"r{n}" for n in (*range(8), 9))
    assert sorted(row["source_line"] for row in fans.lake.quarantine()) == [2, 6]
    fans.assert_sound()


# Fields that nobody declared become columns by themselves, where the registry asks for it


def seats(first: int, count: int, **more: Any) -> list[bytes]:
    return [fan(number, at=number % 20, **more) for number in range(first, first + count)]


def test_a_field_that_is_ready_becomes_a_column_and_migrate_fills_the_rows_from_before(tmp_path: Path) -> None:
    fans = Fans(tmp_path)
    fans.write(f"{FANS}additive: evolve\n")
    fans.lake.deliver_unmodelled("things", seats(100, 50, seat=7), part="c")
    fans.lake.compact()
    assert "seat" not in fans.columns(), "too few records for a column"
    fans.lake.deliver_unmodelled("things", seats(200, 60, seat=7), part="d")
    before = fans.record_files()
    fans.lake.compact()
    assert before <= fans.record_files(), "no file was rewritten"
    for table in ("things", "things_history"):
        assert str(fans.lake.tables.table(table).schema.field("seat").type) == "int64"
    fans.lake.deliver_unmodelled("things", [*seats(300, 1, seat=8), *seats(301, 1, seat="north")], part="e")
    fans.lake.compact()
    rows = {row["id"]: row for row in fans.lake.rows("things_history")}
    assert (rows["r300"]["seat"], rows["r301"]["seat"], rows["r100"]["seat"]) == (8, None, None)
    assert (rows["r301"]["extra"], rows["r100"]["extra"]) == ({"seat": '"north"'}, {"seat": "7"})
    plan = migrate.plan(fans.lake.config, fans.lake.registry)
    assert plan.tables[0].rewritten == ("seat: from extra['seat'] as long",)
    fans.apply()
    rows = {row["id"]: row for row in fans.lake.rows("things_history")}
    assert (rows["r100"]["seat"], rows["r301"]["seat"], rows["r0"]["seat"]) == (7, None, None)
    assert migrate.plan(fans.lake.config, fans.lake.registry).tables == ()
    fans.assert_sound()


def test_a_field_whose_values_do_not_agree_stays_in_extra(tmp_path: Path) -> None:
    fans = Fans(tmp_path)
    fans.write(f"{FANS}additive: evolve\n")
    mixed = [*seats(100, 100, gate="north"), *seats(200, 100, gate=5), *seats(300, 200, steps=[1])]
    fans.lake.deliver_unmodelled("things", mixed, part="c")
    fans.lake.compact()
    assert not {"gate", "steps"} & set(fans.columns())


def test_a_run_killed_between_the_two_tables_leaves_a_column_that_the_next_run_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = Fans(tmp_path)
    fans.write(f"{FANS}additive: evolve\n")
    fans.lake.deliver_unmodelled("things", seats(100, 120, seat=7), part="c")
    original = table_changes.change_columns

    def killed(table: Table, *arguments: Any, **options: Any) -> Any:
        if table.name == "things":
            raise KeyboardInterrupt
        return original(table, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(table_changes, "change_columns", killed)
        with pytest.raises(KeyboardInterrupt):
            fans.lake.compact()
    assert ("seat" in fans.columns("things_history"), "seat" in fans.columns("things")) == (True, False)
    fans.lake.deliver_unmodelled("things", seats(300, 3, seat=9), part="d")
    fans.lake.compact()
    assert "seat" in fans.columns("things")
    fans.assert_sound()


# The example of the documentation, as it stands there

PAGE = (ROOT / "docs" / "schema-versions.md").read_text(encoding="utf-8")
EXAMPLE = PAGE[PAGE.index("## A worked example") : PAGE.index("## What `apply` does")]


def written(name: str) -> str:
    return EXAMPLE.split(f"<!-- example: {name} -->\n```yaml\n")[1].split("```")[0]


def record_of(chance: random.Random, number: int, version: int) -> tuple[bytes, Row]:
    """A record of the example, and the row that it comes to."""
    moment, name = (
        f"2026-11-{chance.randint(1, 6):02d}T{number % 24:02d}:00:00Z",
        chance.choice(["Ada", "Ada Lovelace", "A b c"]),
    )
    head = {
        "id": f"r{number:03d}",
        "version": version,
        "roverID": f"fan-{number % 7}",
        "emittedAt": moment,
        "updatedAt": moment,
    }
    first, space, last = name.partition(" ")
    if version == 1:
        body: dict[str, Any] = {"fanTier": "gold", "joinedAt": moment, "legacyScore": number, "fullName": name}
    else:
        body = {"loyaltyTier": "gold", "joinedAt": moment, "firstName": first, "lastName": last if space else None}
    at = parse_timestamp(moment)
    row = {
        "id": head["id"],
        "version": version,
        "rover_id": head["roverID"],
        "emitted_at": at,
        "updated_at": at,
        "extra": {},
    }
    row |= {"loyalty_tier": "gold", "joined_at": at, "first_name": first, "last_name": last if space else None}
    return json.dumps(head | body).encode(), row


def test_the_worked_example_of_the_documentation_holds(tmp_path: Path) -> None:
    chance = random.Random(1)
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "fans.yaml").write_text(written("version 1"))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    due: dict[str, Row] = {}
    commands = [line.strip().partition("#") for line in EXAMPLE.splitlines() if line.startswith("    compactor ")]
    assert len(commands) == 14
    for number, (command, _, comment) in enumerate(commands):
        if night := re.search(r"night (\d)", comment):
            versions = {1: [1], 2: [1], 3: [1], 4: [1, 2], 5: [1, 2], 6: [2]}[int(night[1])]
            records = [record_of(chance, int(night[1]) * 100 + n, chance.choice(versions)) for n in range(12)]
            due |= {row["id"]: row for _, row in records}
            lines = [line for line, _ in records]
            lake.deliver_unmodelled("fans", [*lines, lines[0]], hour=f"2026-11-0{night[1]}T23", part=f"n{night[1]}")
        run = start(lake, *command.split()[1:])
        output, errors = run.communicate(timeout=120)
        code = 3 if "exit code 3" in comment else 0
        assert run.returncode == code, f"{command}: {errors}"
        if command.strip() == "compactor migrate plan":
            shown = re.sub(r"\d+ rows, \d+ files, [\d.]+ MB|plan \w+|--plan \w+|compactor -c \S+", "…", output)
            told = re.sub(r"\d+ rows, \d+ files, [\d.]+ MB|plan \w+|--plan \w+", "…", EXAMPLE.split("```\n")[-2])
            assert shown.startswith(told.split("…\nplan")[0].split("\n…\n")[0])
        if number == 3:
            (schemas / "fans.yaml").write_text(written("version 1") + written("version 2"))
    found = {row["id"]: row for row in lake.rows("fans_history")}
    assert found == due
    winners: dict[str, Row] = {}
    for row in sorted(due.values(), key=lambda row: (row["updated_at"], row["id"])):
        winners[row["rover_id"]] = row
    assert {row["rover_id"]: row for row in lake.rows("fans")} == winners
    assert len(lake.rows("fans")) == len(winners)
    assert not lake.quarantine()

"""Tables are brought to a newer version, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.errors import UsageError
from tests.support.versioned_fans import FANS, IN_PLACE, QUIET, RETYPE, Fans, fan


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
    assert line["detail"] == "column joined_at, converted from an older version: not a timestamp"
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


def test_a_rollback_shows_what_it_drops_and_makes_that_pending_again(fans: Fans) -> None:
    old = {name: sorted(map(repr, fans.lake.rows(name))) for name in ("things", "things_history", "compactor_files")}
    fans.write(FANS + IN_PLACE + RETYPE)
    fans.apply()
    line = json.dumps({**json.loads(fan(10)), "version": 2, "channel": "app"})
    fans.lake.deliver_unmodelled("things", [line.replace("fanTier", "loyaltyTier").encode(), fan(11)], part="c")
    fans.lake.compact()
    report = fans.roll_back(confirmed=False)
    assert (report.done, report.datasets[0].objects, report.datasets[0].lines, report.datasets[0].new) == (
        False,
        1,
        2,
        2,
    )
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


def test_a_promoted_key_is_filled_from_the_history_and_a_night_before_loads_without_it(fans: Fans) -> None:
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
        ("score: long", "score: long\n      size: long", "list any other in a new version"),
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

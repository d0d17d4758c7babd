"""A registry whose key, order or delete rule changes: the tables keep theirs until a migration derives them again."""

from __future__ import annotations

import logging
import random
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.query import query
from compactor.commands.verify.repair import repair
from compactor.errors import UsageError
from compactor.lake import table_changes
from compactor.lake.table import Table
from tests.support.assertions import assert_failed
from tests.support.overtaking import overtaken
from tests.support.ruled_fans import FIELDS, OLD, RuledFans, Ruling

# PyIceberg, which plays another engine here, does not know the properties for those that write bloom filters.
pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")
CHANGES: dict[str, dict[str, Any]] = {
    "key": {"key": ("account",)},
    "wider-key": {"key": ("account", "thing")},
    "order": {"order": "seen"},
    "delete": {"delete": "gone"},
    "no-delete": {"delete": ""},
    "all": {"key": ("account",), "order": "seen", "delete": "gone"},
}


@pytest.mark.parametrize(
    "name", [name if name == "all" else pytest.param(name, marks=pytest.mark.soak) for name in CHANGES]
)
def test_a_changed_rule_waits_for_the_migration_which_derives_current_state_by_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    fans.change(**CHANGES[name])
    new = fans.ruling
    with caplog.at_level(logging.WARNING):
        fans.night()
    assert "its tables keep their rule until `compactor migrate apply`" in caplog.text
    assert OLD.current(fans.records) != new.current(fans.records), "the records show no difference"
    fans.assert_current(OLD)
    history, current = fans.plan().tables
    assert (history.rewritten, history.files) == ((), 0)
    assert current.rewritten == ("all rows: derived again from the 24 rows of things_history by the new rule",)
    assert (current.rows, current.files > 0, current.bytes > 0) == (len(OLD.current(fans.records)), True, True)
    assert {line.split()[0] for line in current.in_place} == {line.split()[0] for line in history.in_place}
    assert {line.split()[0] for line in current.in_place} <= {"key", "order", "delete"}
    fans.apply()
    fans.assert_current(new)
    assert fans.plan().tables == ()
    fans.night()
    fans.assert_current(new)
    fans.roll_back()
    fans.records = fans.records[:24]
    fans.assert_current(OLD)
    fans.apply()
    fans.assert_current(new)


def test_the_identifier_fields_follow_the_key_and_the_properties_stay_small(
    tmp_path: Path,
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    fans.change(key=("account", "thing"))
    fans.apply()

    def identifiers(table: str) -> set[str]:
        return fans.lake.tables.load_iceberg(table).schema().identifier_field_names()

    assert (identifiers("things"), identifiers("things_history")) == ({"account", "thing"}, {"id"})
    for key, value in fans.lake.tables.table("things").properties.items():
        assert (len(key) <= 255, len(value) < 2_000) == (True, True), key  # Glue takes 255 and 512,000 bytes
    fans.roll_back()
    assert identifiers("things") == {"thing"}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_nights_rules_migrations_and_rollbacks_ends_as_the_rule_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fans = RuledFans(tmp_path, seed=seed)
    in_tables, before = [OLD], [0]
    for _ in range(10):
        step = chance.choice(["night", "night", "change", "apply", "back"])
        if step == "night":
            if not fans.lake.tables.exists("things"):
                in_tables = [fans.ruling]
            fans.night(chance.randint(1, 6))
        elif step == "change":
            fans.change(**chance.choice(list(CHANGES.values())))
        elif step == "apply" and fans.apply().tags:
            in_tables.append(fans.ruling)
            before.append(len(fans.records))
        elif step == "back" and in_tables[1:]:
            fans.roll_back()
            in_tables.pop()
            del fans.records[before.pop() :]
        if fans.records and fans.lake.tables.exists("things"):
            fans.assert_current(in_tables[-1])


def test_a_migration_that_is_stopped_between_the_two_tables_is_finished_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    renamed = FIELDS + "  2:\n    changes: [{rename: {from: account, to: holder}}]\n"
    fans.write(replace(OLD, key=("holder",), order="seen"), renamed)
    original = table_changes.change_columns

    def killed(table: Table, *arguments: Any, **options: Any) -> Any:
        if table.name == "things":
            raise KeyboardInterrupt
        return original(table, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(table_changes, "change_columns", killed)
        with pytest.raises(KeyboardInterrupt):
            fans.apply()
    assert_failed(fans.lake.compact(), "a migration was stopped; run `compactor migrate apply` to finish it")
    fans.apply()
    fans.assert_current(replace(fans.ruling, key=("account",)))


@pytest.mark.parametrize("step", ["commit", pytest.param("plan", marks=pytest.mark.soak)])
def test_a_run_overtaken_by_a_changed_rule_starts_again_and_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    fans.change(key=("account",), delete="gone")
    fans.deliver()

    def migrate_now() -> None:
        fans.apply()

    with overtaken(monkeypatch, step, 1, migrate_now):
        fans.lake.compact(full_scan=True)
    fans.assert_current(fans.ruling)


@pytest.mark.soak
def test_tables_without_any_row_follow_a_changed_rule_and_can_be_read(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.lake.tables.ensure(fans.lake.registry, ["things"])
    fans.change(key=("account",))
    fans.apply()
    reader = query(fans.lake.config, fans.lake.registry, "SELECT count(*) AS n FROM things_history")
    assert [row for batch in reader for row in batch.to_pylist()] == [{"n": 0}]
    fans.night()
    fans.assert_current(fans.ruling)


def _without_rule(fans: RuledFans) -> None:
    """Makes the tables as they were before the rule was kept."""
    for name in ("things", "things_history"):
        table = fans.lake.tables.table(name)
        table_changes.set_properties(table, {"compactor.rule": None}, commit_id=uuid.uuid4().hex)


def _rules(fans: RuledFans) -> set[str | None]:
    return {fans.lake.tables.table(name).properties.get("compactor.rule") for name in ("things", "things_history")}


@pytest.mark.soak
def test_tables_from_before_take_the_rule_of_the_registry_once(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    before = _rules(fans)
    _without_rule(fans)
    fans.assert_current(OLD)
    fans.night()
    assert _rules(fans) == before
    fans.assert_current(OLD)
    assert fans.plan().tables == ()


@pytest.mark.parametrize(
    "changed", [pytest.param({"key": ("account",)}, marks=pytest.mark.soak), {"order": "seen"}], ids=["key", "order"]
)
def test_tables_from_before_keep_the_key_and_the_order_that_they_were_made_with(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """The registry was changed while the tables had no word of their rule: their metadata still show it."""
    made = replace(OLD, partition="")
    fans = RuledFans(tmp_path, made)
    fans.night()
    _without_rule(fans)
    fans.change(**changed)
    fans.night()
    fans.assert_current(made)
    if "key" in changed:
        fans.apply()
        fans.assert_current(fans.ruling)


def test_an_order_that_the_partition_follows_is_refused_with_what_to_write(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path, replace(OLD, partition=""))
    fans.night()
    fans.change(order="seen")
    fans.night()
    fans.assert_current(OLD)
    sentence = r"history: {partition: day\(at\)}, current: {partition: day\(at\)}"
    for verb in (fans.plan, fans.apply):
        with pytest.raises(UsageError, match=sentence):
            verb()
    fans.change(partition="day(at)")
    fans.apply()
    fans.assert_current(fans.ruling)


def test_a_key_that_some_records_do_not_have_is_refused(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    optional = FIELDS.replace("account: {type: string, required: true}", "account: string")
    fans.write(OLD, optional)
    fans.deliver(3)
    fans.deliver(2, account=None)
    fans.lake.compact(full_scan=True)
    fans.change(key=("account",))
    with pytest.raises(UsageError, match="2 rows of things_history have no 'account'"):
        fans.apply()


@pytest.mark.soak
def test_a_key_column_that_was_optional_can_become_one_where_each_record_has_it(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.write(OLD, FIELDS.replace("account: {type: string, required: true}", "account: string"))
    fans.night()
    fans.change(key=("account",))
    fans.apply()
    fans.night()
    fans.assert_current(fans.ruling)


def test_a_new_name_or_another_sequence_of_key_columns_is_no_changed_rule(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path, replace(OLD, key=("thing", "account")))
    fans.night()
    fans.change(key=("account", "thing"))
    assert fans.plan().tables == ()
    renamed = FIELDS + "  2:\n    changes: [{rename: {from: thing, to: item}}]\n"
    fans.write(replace(OLD, key=("item", "account")), renamed)
    assert [table.in_place for table in fans.plan().tables] == [("rename thing to item",)] * 2
    assert [table.rewritten for table in fans.plan().tables] == [()] * 2
    fans.apply()
    assert '"key":["account","item"]' in str(_rules(fans))


@pytest.mark.parametrize("first", ["state", "events"])
def test_a_changed_kind_is_refused_before_anything_is_loaded(tmp_path: Path, first: str) -> None:
    kinds = {"state": OLD, "events": Ruling(("id",), "at", "", "", "events")}
    fans = RuledFans(tmp_path, kinds[first])
    fans.night()
    fans.write(kinds["events" if first == "state" else "state"])
    for _ in range(2):
        with pytest.raises(UsageError, match=f"are of kind {first}, and the registry says .*; put the old kind back"):
            fans.lake.compact()
        if first == "events":
            return
        _without_rule(fans)


@pytest.mark.soak
def test_a_repair_follows_the_rule_of_the_tables(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    fans.change(key=("account",), order="seen")
    fans.lake.catalog.load_table("rover.things").delete("note = 'n11' or note = 'n7' or note = 'n9'")
    report = repair(fans.lake.config, fans.lake.registry, yes=True)
    assert report.exit_code == 0
    fans.assert_current(OLD)

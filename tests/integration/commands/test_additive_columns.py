"""Fields that nobody declared become columns by themselves, where the registry asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compactor.commands.drift import evolve
from compactor.commands.migrate import migrate
from compactor.lake import table_changes
from compactor.lake.table import Table
from tests.support.versioned_fans import FANS, Fans, fan


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


def test_no_more_than_so_many_columns_are_made_and_the_run_says_how_many_fields_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolve, "MOST_COLUMNS", 2)
    fans = Fans(tmp_path)
    fans.write(f"{FANS}additive: evolve\n")
    fans.lake.deliver_unmodelled("things", [*seats(100, 150, seat=7), *seats(300, 120, gate=1, row=2, block=3)])
    report = fans.lake.compact()
    made = {"seat", "gate", "row", "block"} & set(fans.columns())
    assert len(made) == 2
    assert "seat" in made, "the most frequent field comes first"
    (problem,) = report.problems
    assert (problem.subject, problem.fails) == ("things", False)
    assert problem.wrong == "2 new fields stay in `extra` alone, because runs have made too many columns"
    fans.lake.deliver_unmodelled("things", seats(500, 5, gate=8, row=2, block=3), part="d")
    assert fans.lake.compact().problems == report.problems
    assert len({"seat", "gate", "row", "block"} & set(fans.columns())) == 2


def test_a_field_whose_name_may_be_a_value_becomes_no_column(tmp_path: Path) -> None:
    fans = Fans(tmp_path)
    fans.write(f"{FANS}additive: evolve\n")
    before = fans.columns()
    fans.lake.deliver_unmodelled("things", seats(100, 150, **{"fan@example.com": 1, "+999 123 456": 2}))
    fans.lake.compact()
    assert fans.columns() == before


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

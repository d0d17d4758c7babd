"""What another engine can do to the columns, partition and order of a table: each verb goes on, or says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform
from pyiceberg.types import StringType

from compactor.commands.drift.drift import drift
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.repair import repair
from compactor.commands.verify.verify import verify
from compactor.commands.views.views import views
from compactor.errors import CompactorError, UsageError
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.progress import NullProgress
from tests.support.outsider import open_table
from tests.support.ruled_fans import OLD, RuledFans

# PyIceberg, which plays another engine here, does not know the properties for those that write bloom filters.
pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")
Change = Callable[[UpdateSchema], object]


def renamed(update: UpdateSchema) -> None:
    update.rename_column("note", "remark")


SENTENCES: dict[str, tuple[Change, str]] = {
    "renamed": (renamed, r"column 'note' of table rover\.{} is called 'remark' now; another engine has renamed it:"),
    "dropped": (
        lambda update: update.delete_column("note"),
        r"another engine has dropped column 'note' of table rover\.{}; .* or add it again as a string",
    ),
    "retyped": (
        lambda update: update.update_column("version", StringType()),
        r"column 'version' of table rover\.{} is a string, and another engine has made it so",
    ),
    "required": (
        lambda update: update.add_column("segment", StringType(), required=True),
        r"table rover\.{} has a column 'segment', .* make it optional",
    ),
    "hidden": (
        lambda update: update.add_column("__file", StringType()),
        r"table rover\.{} has a column '__file', .* begin with __ .*: rename it",
    ),
    "folded": (
        lambda update: update.add_column("Note", StringType()),
        r"table rover\.{} has a column 'Note', .* upper and lower case: rename it",
    ),
}


def change(fans: RuledFans, name: str, how: Change) -> None:
    table = open_table(fans.lake, name)
    with table.update_schema(allow_incompatible_changes=True) as update:
        how(update)


FAST = (("renamed", "things_history"), ("required", "things"))


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (kind, table) if (kind, table) in FAST else pytest.param(kind, table, marks=pytest.mark.soak)
        for kind in SENTENCES
        for table in ("things_history", "things")
    ],
)
def test_a_table_that_cannot_be_used_so_is_refused_with_the_column_and_the_next_step(
    tmp_path: Path, kind: str, table: str
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    how, sentence = SENTENCES[kind]
    change(fans, table, how)
    lake, text = fans.lake, sentence.format(table)
    fans.deliver(3)
    for verb in (
        lambda: lake.compact(full_scan=True),
        lambda: replay(lake.config, lake.registry, progress=NullProgress()),
        fans.plan,
        fans.apply,
    ):
        with pytest.raises(UsageError, match=text):
            verb()
    report = verify(lake.config, lake.registry, rebuild=True, files=True)
    assert [check.detail for check in report.checks if not check.ok and re.search(text, check.detail)]
    assert repair(lake.config, lake.registry, yes=True).exit_code == 1
    (problem,) = status(lake.config, lake.registry).problems
    assert (problem.subject, bool(re.search(text, f"{problem.wrong}; {problem.step}"))) == ("things", True)
    views(lake.config, lake.registry, dialect="duckdb")
    list(query(lake.config, lake.registry, f"SELECT * FROM {table}"))
    drift(lake.config, lake.registry)


@pytest.mark.soak
def test_a_renamed_column_that_is_renamed_back_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    change(fans, "things_history", renamed)
    with pytest.raises(UsageError):
        fans.lake.compact()
    change(fans, "things_history", lambda update: update.rename_column("remark", "note"))
    fans.night()
    fans.assert_current(OLD)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (FILES, "lines"),
        (QUARANTINE, "detail"),
        pytest.param(QUARANTINE, "reason", marks=pytest.mark.soak),
        pytest.param(RUNS, "watermark", marks=pytest.mark.soak),
        pytest.param(RUNS, "finished_at", marks=pytest.mark.soak),
    ],
)
def test_a_renamed_column_of_the_programs_own_tables_is_named(tmp_path: Path, name: str, column: str) -> None:
    fans = RuledFans(tmp_path)
    fans.night(2)
    change(fans, name, lambda update: update.rename_column(column, "other"))
    lake, text = fans.lake, f"column '{column}' of table rover.{name} is called 'other' now"
    with pytest.raises(UsageError, match=text):
        lake.compact()
    report = verify(lake.config, lake.registry, rebuild=True)
    assert name != FILES or [check.detail for check in report.checks if text in check.detail]
    if name in (FILES, RUNS) and column != "lines":
        with pytest.raises(CompactorError, match=text):
            status(lake.config, lake.registry)


@pytest.mark.soak
def test_an_optional_column_of_the_programs_own_that_was_dropped_is_added_again(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night(2)
    change(fans, RUNS, lambda update: update.delete_column("version"))
    fans.night(2)
    assert "version" in fans.lake.tables.table(RUNS).schema.names
    fans.assert_current(OLD)


def test_a_partition_that_another_engine_has_changed_is_refused_and_put_back_it_goes_on(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    with open_table(fans.lake, "things").update_spec() as update:
        update.remove_field("emitted_at_month")
        update.add_field("at", DayTransform(), "at_day")
    fans.deliver(3)
    sentence = r"is partitioned by day\(at\), and another engine has made it so: it was month\(emitted_at\)"
    for verb in (lambda: fans.lake.compact(full_scan=True), fans.plan):
        with pytest.raises(UsageError, match=sentence):
            verb()
    with open_table(fans.lake, "things").update_spec() as update:
        update.remove_field("at_day")
        update.add_field("emitted_at", MonthTransform(), "emitted_at_month")
    fans.lake.compact(full_scan=True)
    fans.assert_current(OLD)


@pytest.mark.soak
def test_another_sort_order_and_no_identifier_fields_change_nothing_and_no_file_claims_an_order_that_it_has_not(
    tmp_path: Path,
) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    for name in ("things", "things_history", FILES, QUARANTINE, RUNS):
        with open_table(fans.lake, name).update_sort_order() as order:
            order.desc("source_line" if "things" in name else "run_id", IdentityTransform())
        with open_table(fans.lake, name).update_schema() as update:
            update.set_identifier_fields()
    before = {file.file_path for file in fans.lake.tables.table("things").files}
    fans.night()
    added = [file for file in fans.lake.tables.table("things").files if file.file_path not in before]
    assert {file.sort_order_id for file in added} == {None}
    fans.assert_current(OLD)
    fans.change(key=("account",))
    fans.apply()
    fans.assert_current(fans.ruling)


def test_a_file_says_that_it_has_the_sort_order_of_its_table_where_it_has(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.night()
    for name in ("things", "things_history", FILES, RUNS):
        assert {file.sort_order_id for file in fans.lake.tables.table(name).files} == {1}, name

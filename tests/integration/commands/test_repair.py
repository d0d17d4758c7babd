"""verify --repair: tables that were damaged for real, by other engines and by lost files, and how they are repaired."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from compactor.commands.query import query
from compactor.commands.verify import repair as repair_module
from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, ConflictError
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.reports.report import Repair, VerifyReport
from tests.support.crashes import WRITES, CrashError
from tests.support.damage import (
    ALONE,
    DATASETS,
    EVENTS,
    PAST,
    STATE,
    TOGETHER,
    append,
    delete,
    delete_current_rows,
    deliver_and_compact,
    drop,
    failed,
    key_is,
    path_of,
    repeat_accounts,
    repeat_events,
    repeat_records,
    repeat_records_with_later_content,
    rows_of,
    run_repair,
    stop_in_the_middle_of_a_batch,
    with_column,
)
from tests.support.lake import Lake
from tests.support.overtaking import STEPS, overtaken
from tests.support.sound_lake import restore

# The library's own writer, by which these tests do the damage, says so.
pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")


SOAK = pytest.mark.soak


@pytest.fixture
def lake(to_damage: Lake) -> Lake:
    return to_damage


def contents(lake: Lake) -> set[str]:
    return {str(path) for path in (lake.folder / "warehouse").rglob("*") if path.is_file()}


def repairs(report: VerifyReport) -> dict[str, Repair]:
    """What the operator has to do, by table."""
    assert report.repairs is not None
    return {each.table: each for each in report.repairs if not each.possible}


def names(damage: Any) -> str:
    return "-".join(each.__name__ for each in damage)


@pytest.mark.parametrize("damage", [*TOGETHER, *(pytest.param((each,), marks=SOAK) for each in ALONE)], ids=names)
def test_the_plan_names_the_tables_and_changes_nothing_and_yes_carries_it_out(
    lake: Lake, damage: tuple[Callable[[Lake], None], ...]
) -> None:
    for each in damage:
        each(lake)
    before = contents(lake)

    plan = run_repair(lake, yes=False)

    assert contents(lake) == before
    assert plan.exit_code == 1
    assert plan.repairs is not None
    assert {each.table for each in plan.repairs if each.possible} == set.union(*(ALONE[each] for each in damage))
    assert [each for each in plan.repairs if each.done or not each.possible] == []

    report = run_repair(lake, yes=True)

    assert report.exit_code == 0, failed(report)
    assert report.repairs is not None
    assert all(each.done for each in report.repairs)
    lake.assert_equals_model(DATASETS)


def test_a_sound_lake_has_an_empty_plan(lake: Lake) -> None:
    before = contents(lake)
    for yes in (False, True):
        report = run_repair(lake, yes=yes)
        assert (report.exit_code, report.repairs) == (0, ())
        assert report.to_json()["repairs"] == []
    assert contents(lake) == before


def test_a_missing_file_of_a_history_is_named_and_what_can_be_repaired_is(lake: Lake) -> None:
    """The checks of all other tables are made, and the file put back in its place ends it."""
    repeat_records(lake)
    file = lake.tables.table(EVENTS).files[0]
    saved = path_of(file).read_bytes()
    path_of(file).unlink()

    checks = verify(lake.config, lake.registry, rebuild=False).checks
    assert {check.name for check in checks if check.table == EVENTS and not check.ok} == {
        "each record once",
        "rows = new lines of the ledger",
    }
    assert all(str(path_of(file)) in check.detail for check in checks if check.table == EVENTS and not check.ok)
    report = run_repair(lake, yes=True)

    assert report.exit_code == 1
    assert {table for table, _ in failed(report)} == {EVENTS}
    assert [each.table for each in report.repairs or () if each.done] == [PAST]
    loss = repairs(report)[EVENTS]
    assert (
        f"with {file.record_count} rows are missing or damaged, such as {path_of(file)}, which is missing" in loss.wrong
    )
    assert "from the bucket's versions or a backup" in loss.action
    path_of(file).write_bytes(saved)
    assert run_repair(lake, yes=False).exit_code == 0
    lake.assert_equals_model(DATASETS)


def test_a_dataset_loaded_anew_as_the_plan_says_is_sound(lake: Lake) -> None:
    for file in lake.tables.table(PAST).files:
        path_of(file).unlink()
    report = run_repair(lake, yes=True)
    assert report.exit_code == 1
    advice = repairs(report)[PAST].action
    assert f"drop {PAST} and {STATE} in the catalog" in advice
    for table in (PAST, STATE):
        drop(lake, table)
    assert "`compactor verify --repair --yes`" in advice
    plan = run_repair(lake, yes=True)
    assert [each.table for each in plan.repairs or () if each.done] == [PAST, STATE]
    assert f"`compactor compact --dataset {STATE} --full-scan`" in advice
    lake.compact(datasets=(STATE,), full_scan=True)
    assert run_repair(lake, yes=False).exit_code == 0
    lake.assert_equals_model(DATASETS)


def test_a_current_row_that_may_be_the_only_copy_of_a_lost_record_is_left_alone(lake: Lake) -> None:
    only = rows_of(lake, STATE).slice(0, 2)
    for id_ in only["id"].to_pylist():
        delete(lake, PAST, f"id = '{id_}'")
    others = rows_of(lake, STATE).slice(2, 3)
    for row in others.to_pylist():
        delete(lake, STATE, key_is(row))

    report = run_repair(lake, yes=True)

    assert report.exit_code == 1
    assert {each.table for each in report.repairs or () if each.done} == {STATE}
    assert "2 records that were loaded are no longer in it" in repairs(report)[PAST].wrong
    assert "the rows of 2 keys may be the only copy" in repairs(report)[STATE].wrong
    assert lake.current(STATE) == lake.model.current(STATE)
    assert (
        f"`INSERT INTO {PAST} SELECT * FROM {STATE} WHERE id NOT IN (SELECT id FROM {PAST})`"
        in repairs(report)[STATE].action
    )
    append(lake, PAST, only)
    assert run_repair(lake, yes=False).exit_code == 0
    lake.assert_equals_model(DATASETS)


def test_what_the_tables_cannot_show_is_left_to_the_operator(lake: Lake) -> None:
    objects = rows_of(lake, FILES)
    append(lake, FILES, with_column(objects.slice(0, 1), "size", pa.array([1], pa.int64())))
    wrong = objects.slice(1, 1)
    delete(lake, FILES, f"key = '{wrong['key'][0].as_py()}'")
    append(lake, FILES, with_column(wrong, "lines", pa.array([10**6], pa.int64())))
    lines = rows_of(lake, QUARANTINE).filter(pc.field("dataset") == STATE)
    delete(lake, QUARANTINE, f"source_file = '{lines['source_file'][0].as_py()}'")
    append(lake, EVENTS, with_column(rows_of(lake, EVENTS).slice(0, 1), "id", pa.array(["foreign"])))
    before = contents(lake)

    report = run_repair(lake, yes=True)

    assert contents(lake) == before
    assert report.exit_code == 1
    assert [each for each in report.repairs or () if each.possible] == []
    loss = [f"{each.table}: {each.wrong}" for each in report.repairs or ()]
    for sentence in (
        f"{FILES}: 1 objects have several rows with different counts",
        f"{FILES}: the counts of 1 objects contradict each other",
        f"{EVENTS}: 1 records are in it that the ledger never counted",
        f"rejected lines of {STATE} that the ledger counts are gone",
    ):
        assert [each for each in loss if sentence in each], (sentence, loss)
    shown = [sql for each in report.repairs or () for sql in re.findall(r'compactor query "([^"]+)"', each.action)]
    assert len(shown) == 5
    for sql in shown:
        with query(lake.config, lake.registry, sql) as reader:
            assert reader.read_all().num_rows >= 1


@pytest.mark.parametrize(
    "lost", ["metadata", *(pytest.param(kind, marks=SOAK) for kind in ("data file", "manifest", "manifest list"))]
)
def test_a_table_that_cannot_be_read_fails_its_own_checks_and_no_other(lake: Lake, lost: str) -> None:
    """Of the quarantine. A repair that needs it waits, and does nothing."""
    stop_in_the_middle_of_a_batch(lake)
    table = lake.tables.table(QUARANTINE)
    iceberg = lake.tables.load_iceberg(QUARANTINE)
    snapshot = iceberg.current_snapshot()
    assert snapshot is not None
    path = {
        "data file": table.files[0].file_path,
        "manifest": snapshot.manifests(iceberg.io)[0].manifest_path,
        "manifest list": snapshot.manifest_list,
        "metadata": table.metadata_location,
    }[lost]
    file = Path(path.removeprefix("file://"))
    saved = file.read_bytes()
    file.unlink()
    before = contents(lake)

    report = run_repair(lake, yes=True)

    assert contents(lake) == before
    assert ("fan_track_events", "each record once") not in failed(report)
    assert {check for table, check in failed(report) if table == QUARANTINE} == {
        "each file is there",
        "each rejected line once",
        "rows = quarantined lines of the ledger",
    }
    assert "from the bucket's versions or a backup" in repairs(report)[QUARANTINE].action
    assert repairs(report)[PAST].action.startswith(f"first repair {QUARANTINE}")
    file.write_bytes(saved)
    assert run_repair(lake, yes=True).exit_code == 0
    lake.assert_equals_model(DATASETS)


@pytest.mark.parametrize("points", [(7, 16), pytest.param(range(1, 1000), marks=SOAK)])
def test_a_repair_killed_at_a_write_is_completed_by_the_next_one(lake: Lake, points: Iterable[int]) -> None:
    crashes = 0
    for point in points:
        restore(lake)
        for damage in TOGETHER[0]:
            damage(lake)
        try:
            with crashing(point):
                run_repair(lake, yes=True)
        except CrashError:
            crashes += 1
        else:
            break
        report = run_repair(lake, yes=True)
        assert report.exit_code == 0, (point, failed(report))
        lake.assert_equals_model(DATASETS)
    assert crashes >= 2, "too few writes: the test shows too little"


@pytest.mark.parametrize(
    ("step", "count"),
    [
        ("check", 1),
        pytest.param("commit", 2, marks=SOAK),
        pytest.param("commit", 1, marks=SOAK),
        pytest.param("put", 1, marks=SOAK),
    ],
)
def test_a_repair_overtaken_by_a_run_damages_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, count: int
) -> None:
    """Between the checks and the repair, and before a step of it, a run loads more of the same keys."""
    for damage in (repeat_records_with_later_content, repeat_events, delete_current_rows, repeat_accounts):
        damage(lake)
    monkeypatch.setitem(STEPS, "check", (repair_module, "carry_out"))

    with overtaken(monkeypatch, step, count, lambda: deliver_and_compact(lake, 90 + count)):
        run_repair(lake, yes=True)

    assert run_repair(lake, yes=True).exit_code == 0
    lake.assert_equals_model(DATASETS)


def test_a_repair_that_others_keep_from_committing_says_what_to_do(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def always_late(*_: Any) -> None:
        raise ConflictError(f"rover.{STATE}: another writer committed first")

    delete_current_rows(lake)
    monkeypatch.setattr(repair_module, "derive", always_late)
    with pytest.raises(CompactorError, match=f"{STATE}: another writer .* run again for the rest$"):
        run_repair(lake, yes=True)


@contextmanager
def crashing(point: int) -> Iterator[None]:
    """Ends what runs at its `point`-th write: before it if the number is odd, else after."""
    writes = 0

    def at_its_writes(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            mine = writes == point
            if mine and point % 2:
                raise CrashError
            result = original(*arguments, **options)
            if mine:
                raise CrashError
            return result

        return write

    with pytest.MonkeyPatch.context() as patch:
        for place, name in WRITES:
            patch.setattr(place, name, at_its_writes(getattr(place, name)))
        yield

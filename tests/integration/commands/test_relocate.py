"""`relocate`: a lake that was moved or copied is refused, and then works at its new place with all that it had."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import NoSuchTableError
from sqlalchemy import text
from sqlalchemy.orm import Session

import compactor
from compactor.commands.query import query
from compactor.commands.relocate.relocate import apply, plan
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, MisplacedTableError, UsageError
from compactor.lake import registration
from compactor.reports.relocation import RelocateReport
from tests.support.crashes import WRITES, CrashError
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.moved import BOTH, at_new_place, frozen, lived_in, paths_in, told_by_pyiceberg
from tests.support.warehouse import delete_by_position


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that no test changes."""
    return lived_in(tmp_path_factory.mktemp("original"))


@pytest.fixture
def lake(original: Lake, tmp_path: Path) -> Lake:
    """A lake of its own, at its place: the metadata of the original with another folder's name would do no less."""
    mine = at_new_place(original, tmp_path / "first")
    assert relocated(mine).done
    return mine


def planned(lake: Lake, **options: Any) -> RelocateReport:
    return plan(lake.config, lake.registry, **{"source": None, "target": None, "allow_missing": False, **options})


def relocated(lake: Lake, **options: Any) -> RelocateReport:
    return apply(lake.config, lake.registry, **{"source": None, "target": None, "allow_missing": False, **options})


def assert_sound(lake: Lake) -> None:
    """A night with new records, and all checks."""
    for delivery in History(12, datasets=("fan_identity_graph",), entities=4, replaces=False).deliveries(1, 6):
        lake.deliver(delivery.dataset, delivery.lines, hour="2026-11-27T07", part="later")
    assert lake.compact(datasets=("fan_identity_graph",), full_scan=True).exit_code in (0, 3)
    lake.assert_equals_model(("fan_identity_graph",))
    checks = verify(lake.config, lake.registry, rebuild=True, files=True).checks
    # Another engine has deleted an event on purpose: what the ledger has counted is more by one.
    assert {check.table for check in checks if not check.ok} <= {"fan_track_events"}, checks


@pytest.mark.parametrize("how", ["copied", "moved", "its parent renamed"])
def test_a_lake_at_another_place_is_refused_by_each_verb_with_both_places_and_the_next_step(
    lake: Lake, tmp_path: Path, how: str
) -> None:
    if how == "its parent renamed":
        before = tmp_path / "first"
        before.rename(tmp_path / "renamed")
        moved = at_new_place(lake, tmp_path / "renamed", move=False)
    else:
        moved = at_new_place(lake, tmp_path / "second", keep=how == "copied")
    old = frozen(tmp_path / "first")
    new = frozen(moved.folder)
    says = f"at file://{tmp_path}/first/warehouse/rover/.*, but the warehouse of the config is file://{moved.folder}"

    for verb in (
        lambda: moved.compact(datasets=BOTH),
        lambda: verify(moved.config, moved.registry, rebuild=True),
        lambda: query(moved.config, moved.registry, "select count(*) from fan_track_events"),
        lambda: compactor.open(moved.file).replay(),
        lambda: compactor.open(moved.file).drift(),
        lambda: compactor.open(moved.file).migrate_plan(),
        lambda: compactor.open(moved.file).acknowledged(),
    ):
        with pytest.raises(MisplacedTableError, match=says) as refused:
            verb()
        assert "run `compactor relocate plan`" in str(refused.value)
    shown = status(moved.config, moved.registry)
    assert (shown.exit_code, [problem.fails for problem in shown.problems]) == (1, [True])
    assert frozen(tmp_path / "first") == old
    assert frozen(moved.folder) == new


def test_a_copy_is_relocated_and_the_original_is_not_changed(original: Lake, tmp_path: Path) -> None:
    before = frozen(original.folder)
    tables = told_by_pyiceberg(original.catalog)
    copy = at_new_place(original, tmp_path / "copy")
    copied = frozen(copy.folder / "warehouse")

    seen = planned(copy)
    assert (seen.exit_code, seen.done, frozen(copy.folder / "warehouse")) == (0, False, copied)
    assert (seen.source, seen.target) == (f"file://{original.folder}/warehouse", f"file://{copy.folder}/warehouse")
    events = next(each for each in seen.tables if each.table == "fan_track_events")
    assert (events.snapshots, events.missing, events.state) == (3, 0, "relocate")
    assert events.metadata_files > events.snapshots
    assert relocated(copy).done

    assert told_by_pyiceberg(copy.catalog) == tables, "rows of all snapshots, tags, ids and sequence numbers"
    assert [path for path in paths_in(copy.catalog) if str(copy.folder) not in path] == []
    catalog = copied.keys() - {path for path in copied if path.endswith(".db")}
    assert {path: copied[path] for path in catalog} == {
        path: frozen(copy.folder / "warehouse")[path] for path in catalog
    }
    assert planned(copy).source is None
    with query(copy.config, copy.registry, "select count(*) as n from fan_track_events") as reader:
        (counted,) = reader.read_all().to_pylist()
    current = list(tables["fan_track_events"][3].values())
    assert counted["n"] == len(current[-1])
    assert len(current[1]) == len(current[0]) - 1, "what another engine deleted stays deleted"
    assert_sound(copy)
    assert frozen(original.folder / "warehouse") == {
        path: found for path, found in before.items() if "/warehouse/" in path
    }


def test_a_moved_lake_is_relocated_though_the_old_place_is_gone(lake: Lake, tmp_path: Path) -> None:
    tables = told_by_pyiceberg(lake.catalog)
    moved = at_new_place(lake, tmp_path / "second", keep=False)
    assert not (lake.folder / "warehouse").exists()

    assert relocated(moved).done

    assert told_by_pyiceberg(moved.catalog) == tables
    assert_sound(moved)
    assert not (lake.folder / "warehouse").exists()


def events(monkeypatch: pytest.MonkeyPatch, crash_at: int) -> list[str]:
    """Counts each write, and each change of the catalog before and after; ends the run at one of them."""
    seen: list[str] = []

    def count(what: str) -> None:
        seen.append(what)
        if len(seen) == crash_at:
            raise CrashError

    def wrapped(original: Any, name: str) -> Any:
        def called(*args: Any, **options: Any) -> Any:
            count(f"before {name}")
            result = original(*args, **options)
            count(f"after {name}")
            return result

        return called

    for owner, name in (*WRITES, (registration, "swap")):
        monkeypatch.setattr(owner, name, wrapped(getattr(owner, name), name))
    return seen


@pytest.mark.parametrize("points", [(9, 45, 90), pytest.param(range(1, 1000), marks=pytest.mark.soak)])
def test_a_relocation_killed_at_a_write_leaves_nothing_partial_and_the_next_one_completes(
    original: Lake, tmp_path: Path, points: Iterable[int]
) -> None:
    before, tables = frozen(original.folder), told_by_pyiceberg(original.catalog)
    crashes = 0
    for point in points:
        copy = at_new_place(original, tmp_path / "copy")
        with pytest.MonkeyPatch.context() as patch:
            events(patch, point)
            try:
                relocated(copy)
            except CrashError:
                crashes += 1
            else:
                break
        left = {each.table for each in planned(copy).tables if each.is_to_do}
        if left:
            with pytest.raises(MisplacedTableError):
                copy.tables.table(min(left))
        assert relocated(copy).exit_code == 0
        assert told_by_pyiceberg(copy.catalog) == tables, point
        assert frozen(original.folder) == before
        shutil.rmtree(copy.folder)
    assert crashes >= 3, "too few writes: the test shows too little"


def test_files_that_were_not_copied_are_named_and_nothing_is_changed(original: Lake, tmp_path: Path) -> None:
    copy = at_new_place(original, tmp_path / "copy")
    data = sorted((copy.folder / "warehouse/rover/fan_identity_graph_history/data").rglob("*.parquet"))
    data[0].unlink()
    data[1].write_bytes(b"cut")
    before = frozen(copy.folder)

    report = relocated(copy)

    assert (report.exit_code, report.refused, report.done) == (1, True, False)
    table = next(each for each in report.tables if each.table == "fan_identity_graph_history")
    assert (table.missing, table.differing) == (1, 1)
    assert {Path(path.removeprefix("file://")) for path in table.examples} == set(data[:2])
    assert frozen(copy.folder) == before
    assert relocated(copy, allow_missing=True).done
    checks = verify(copy.config, copy.registry, rebuild=False, files=True).checks
    failed = {check.table for check in checks if not check.ok} - {"fan_track_events"}
    assert failed == {"fan_identity_graph_history"}, "as incomplete as the copy, and no more"


def test_a_copy_that_is_older_than_its_catalog_is_refused(original: Lake, tmp_path: Path) -> None:
    copy = at_new_place(original, tmp_path / "copy")
    for path in (copy.folder / "warehouse/rover/fan_track_events/metadata").glob("*.metadata.json"):
        if path.name in copy.catalog.load_table("rover.fan_track_events").metadata_location:
            path.unlink()
    report = planned(copy)
    table = next(each for each in report.tables if each.table == "fan_track_events")
    assert report.exit_code == 1
    assert "is not there, which the catalog names; copy all files of the lake" in table.problems[0]


def test_folders_that_are_the_same_through_a_link_are_refused(original: Lake, tmp_path: Path) -> None:
    copy = at_new_place(original, tmp_path / "copy")
    link = copy.folder / "warehouse/rover/fan_track_events/data"
    shutil.rmtree(link)
    link.symlink_to(original.folder / "warehouse/rover/fan_track_events/data")
    report = relocated(copy)
    assert (report.exit_code, report.done) == (1, False)
    assert [each.table for each in report.tables if "through a link" in "".join(each.problems)] == ["fan_track_events"]


def test_a_lake_that_another_run_has_changed_meanwhile_is_not_overwritten(
    original: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = at_new_place(original, tmp_path / "copy")
    swap = registration.swap

    def overtaken(catalog: Any, namespace: str, table: Any, storage: Any, path: str) -> None:
        with Session(catalog.engine) as session:
            session.execute(text("UPDATE iceberg_tables SET metadata_location = metadata_location || '.newer'"))
            session.commit()
        swap(catalog, namespace, table, storage, path)

    monkeypatch.setattr(registration, "swap", overtaken)
    with pytest.raises(CompactorError, match="another writer committed first while the lake was relocated"):
        relocated(copy)


def test_the_batch_of_a_run_that_was_killed_before_the_copy_is_finished_at_the_new_place(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history names a commit intent below the ledger's folder."""
    lake.deliver("fan_identity_graph", [b"broken"], hour="2026-11-27T06", part="late")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compactor.publish.intent.CommitIntent.settle", lambda *_: (_ for _ in ()).throw(CrashError))
        with pytest.raises(CrashError):
            lake.compact(datasets=("fan_identity_graph",))
    copy = at_new_place(lake, tmp_path / "second")
    original_intents = frozen(lake.folder / "warehouse/rover/compactor_files/notes")
    assert original_intents

    assert relocated(copy).done
    assert_sound(copy)

    assert frozen(lake.folder / "warehouse/rover/compactor_files/notes") == original_intents
    assert list((copy.folder / "warehouse/rover/compactor_files/notes").glob("*.parquet")) == []


def test_a_catalog_that_does_not_know_the_tables_gets_them(original: Lake, tmp_path: Path) -> None:
    """The files were copied, and the config names a new catalog."""
    tables = told_by_pyiceberg(original.catalog)
    copy = at_new_place(original, tmp_path / "copy")
    (copy.folder / "warehouse/catalog.db").unlink()
    assert {each.state for each in planned(copy).tables} == {"register"}

    assert relocated(copy).done

    assert told_by_pyiceberg(copy.catalog) == tables
    copy.compact(datasets=BOTH)
    copy.catalog.load_table("rover.compactor_runs").append(
        copy.catalog.load_table("rover.compactor_runs").scan().to_arrow()
    )
    copy.catalog.drop_table("rover.compactor_runs")
    assert planned(copy).source is None, "a table that was dropped at its place is not a copy of another lake"


def test_a_registration_that_was_killed_is_completed_by_the_next_one(original: Lake, tmp_path: Path) -> None:
    tables = told_by_pyiceberg(original.catalog)
    copy = at_new_place(original, tmp_path / "copy")
    (copy.folder / "warehouse/catalog.db").unlink()
    with pytest.MonkeyPatch.context() as patch:
        swap = registration.swap
        swapped: list[str] = []

        def crash(catalog: Any, namespace: str, table: Any, storage: Any, path: str) -> None:
            if len(swapped) == 3:
                raise CrashError
            swapped.append(table.name)
            swap(catalog, namespace, table, storage, path)

        patch.setattr(registration, "swap", crash)
        with pytest.raises(CrashError):
            relocated(copy)
    assert relocated(copy).exit_code == 0
    assert told_by_pyiceberg(copy.catalog) == tables


def test_a_lake_behind_a_link_is_at_its_place(lake: Lake, tmp_path: Path) -> None:
    """The config may name the warehouse by a link, and a link may stand where the lake was."""
    moved = at_new_place(lake, tmp_path / "second", keep=False)
    (lake.folder / "warehouse").symlink_to(moved.folder / "warehouse")
    assert status(moved.config, moved.registry).exit_code == 0
    assert status(lake.config, lake.registry).exit_code == 0
    assert planned(moved).source is None


def test_a_place_that_is_wrong_is_refused_with_a_sentence(original: Lake, tmp_path: Path) -> None:
    copy = at_new_place(original, tmp_path / "copy")
    with pytest.raises(UsageError, match="no table lies below --from"):
        planned(copy, source=str(tmp_path / "never"))
    with pytest.raises(UsageError, match=r"outside of .*, the warehouse of the config"):
        planned(copy, target=str(tmp_path / "elsewhere"))
    empty = Lake(tmp_path / "empty")
    with pytest.raises(UsageError, match="no table is in the catalog, nor in a folder of"):
        planned(empty)
    with pytest.raises(NoSuchTableError):
        empty.catalog.load_table("rover.compactor_files")


def test_what_another_engine_deletes_after_the_move_is_deleted_from_the_right_file(lake: Lake, tmp_path: Path) -> None:
    moved = at_new_place(lake, tmp_path / "second")
    relocated(moved)
    table = moved.catalog.load_table("rover.fan_track_events")
    rows = table.scan().to_arrow().num_rows
    delete_by_position(table, next(iter(table.scan().plan_files())).file, [1])
    assert moved.catalog.load_table("rover.fan_track_events").scan().to_arrow().num_rows == rows - 1

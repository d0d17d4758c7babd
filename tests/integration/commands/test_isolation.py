"""What is wrong with one dataset stops no other: damaged tables, a registry that does not fit, an unforeseen error."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compactor.cli.main import program
from compactor.commands.drift.drift import drift
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.views.views import views
from compactor.errors import UnreadableError, UsageError
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.progress import NullProgress
from compactor.publish.accounting import account
from compactor.reports.report import RunReport, said_once
from tests.support.broken_tables import DAMAGES, FILES_OF_A_TABLE, Kept, file_of
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake

BROKEN, SOUND = "fan_profiles", "fan_track_events"
DATASETS = (BROKEN, SOUND)
ALL = list(product((f"{BROKEN}_history", BROKEN, QUARANTINE, RUNS), FILES_OF_A_TABLE, DAMAGES))
FEW = [
    (f"{BROKEN}_history", "manifest list", "flipped"),
    (BROKEN, "data", "flipped"),
    (QUARANTINE, "manifest", "cut"),
    (RUNS, "metadata", "missing"),
]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Kept]:
    """Tables of two datasets with rows, also in quarantine, and pending objects of both."""
    lake = Lake(tmp_path_factory.mktemp("isolation"))
    history = History(1, datasets=DATASETS, replaces=False)
    for delivery in history.deliveries(3, 8):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    lake.deliver(BROKEN, [b"bad"], part="bad")
    lake.compact(datasets=DATASETS, full_scan=True)
    for delivery in history.deliveries(3, 8):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    return lake, Kept(lake)


@pytest.fixture
def lake(laid_out: tuple[Lake, Kept]) -> Iterator[Lake]:
    lake, kept = laid_out
    yield lake
    kept.put_back()


def failing(report: Any) -> list[str]:
    return [str(problem) for problem in said_once(each for each in report.problems if each.fails)]


def run(lake: Lake) -> RunReport:
    return lake.compact(datasets=DATASETS, full_scan=True)


def cli(lake: Lake, *words: str) -> Result:
    return CliRunner().invoke(program, ["-c", str(lake.file), *words])


@pytest.mark.parametrize(
    ("table", "kind", "how"), [*FEW, *(pytest.param(*case, marks=pytest.mark.soak) for case in ALL if case not in FEW)]
)
def test_a_damaged_table_fails_its_own_dataset_and_no_other(lake: Lake, table: str, kind: str, how: str) -> None:
    """And with the file back, the next run loads the rest. Each dataset needs the quarantine, to publish."""
    path = file_of(lake, table, kind)
    content = path.read_bytes()
    DAMAGES[how](path)

    if table == QUARANTINE and kind == "metadata":
        with pytest.raises(UnreadableError, match=f"table rover.{table} cannot be read"):
            run(lake)
        return
    report = run(lake)
    shown = status(lake.config, lake.registry)

    (sentence,) = failing(report)
    assert report.exit_code == 1
    assert f"table rover.{table} cannot be read: " in sentence
    assert ("is missing" if how == "missing" else "is damaged") in sentence
    assert path.name in sentence or kind == "metadata"
    assert sentence.endswith("; run `compactor verify --repair`")
    subjects = {problem.subject for problem in report.problems}
    assert subjects == {RUNS} if table == RUNS else BROKEN in subjects
    for name in DATASETS:
        if name == SOUND or table == RUNS:
            assert lake.history(name) == lake.model.history(name)
    assert {each.table for each in shown.tables} >= {SOUND, f"{BROKEN}_history", BROKEN, FILES} - {table}
    if kind != "data":
        assert [line for line in failing(shown) if f"rover.{table} cannot be read" in line]
        assert shown.exit_code == 1

    path.write_bytes(content)
    assert run(lake).exit_code in (0, 3)
    lake.assert_equals_model(DATASETS)


def test_a_damaged_file_of_the_ledger_fails_the_dataset_that_it_speaks_of(lake: Lake) -> None:
    files = [file_of(lake, FILES, "data", part=part) for part in range(len(lake.tables.table(FILES).files))]
    (mine, *_) = [path for path in files if BROKEN.encode() in path.read_bytes()]
    DAMAGES["cut"](mine)

    report = run(lake)

    assert [problem.subject for problem in report.problems] == [BROKEN]
    assert lake.history(SOUND) == lake.model.history(SOUND)


def test_a_ledger_that_cannot_be_loaded_stops_the_run_with_one_sentence(lake: Lake) -> None:
    DAMAGES["cut"](file_of(lake, FILES, "metadata"))

    people, programs = cli(lake, "compact"), cli(lake, "compact", "--json")

    sentence = (
        r"table rover\.compactor_files cannot be read: .*/compactor_files/metadata/.*\.metadata\.json is damaged; "
    )
    assert re.match(f"error: {sentence}", people.stderr.splitlines()[-1])
    assert re.match(sentence, json.loads(programs.stdout)["error"])


def test_the_last_line_and_the_json_object_of_a_run_with_a_failed_dataset_say_why(lake: Lake) -> None:
    DAMAGES["missing"](file_of(lake, BROKEN, "manifest"))

    words = ("compact", *(f"--dataset={name}" for name in DATASETS))
    people, programs = cli(lake, *words), cli(lake, *words, "--json")

    found = json.loads(programs.stdout)
    assert people.exit_code == programs.exit_code == found["exit_code"] == 1
    assert people.stderr.splitlines()[-1] == f"error: {found['error']}"
    assert found["error"].startswith(f"{BROKEN}: table rover.{BROKEN} cannot be read: ")
    assert [problem["subject"] for problem in found["problems"]] == [BROKEN]
    assert "1 problem:" in people.stdout
    assert "unexpected" not in people.output


def test_a_replay_ends_each_dataset_on_its_own(lake: Lake) -> None:
    DAMAGES["empty"](file_of(lake, BROKEN, "metadata"))

    report = replay(lake.config, lake.registry, datasets=DATASETS, progress=NullProgress())

    assert [problem.subject for problem in report.problems] == [BROKEN]
    assert [each.dataset for each in report.datasets] == list(DATASETS)
    assert report.exit_code == 1


def test_verbs_that_read_show_the_tables_that_can_be_read(lake: Lake) -> None:
    DAMAGES["cut"](file_of(lake, f"{BROKEN}_history", "metadata"))

    drifted = drift(lake.config, lake.registry)
    shown = views(lake.config, lake.registry, dialect="duckdb")

    assert [each.dataset for each in drifted.datasets if each.records] == [SOUND]
    assert ([problem.subject for problem in drifted.problems], drifted.exit_code) == ([BROKEN], 1)
    assert {"daily_active_fans", "current_fans"} <= {view.name for view in shown.views}
    assert query(lake.config, lake.registry, f"select count(*) as n from {BROKEN}").read_all().num_rows == 1
    with pytest.raises(UnreadableError, match=f"rover.{BROKEN}_history"):
        query(lake.config, lake.registry, f"select count(*) from {BROKEN}_history")


def with_other_type(folder: Path, *datasets: str) -> Path:
    """A registry in which a field of these datasets has another type than their tables."""
    schemas = Path(shutil.copytree(SCHEMAS, folder / "changed"))
    for name, old in ((BROKEN, "traits: map"), (SOUND, "device: map")):
        file = schemas / f"{name}.yaml"
        text = file.read_text()
        assert old in text
        if name in datasets:
            file.write_text(text.replace(old, old.replace("map", "string"), 1))
    return schemas


def test_a_registry_that_does_not_fit_the_tables_of_one_dataset_fails_that_dataset(lake: Lake, tmp_path: Path) -> None:
    changed = Lake(lake.folder, schemas=with_other_type(tmp_path, BROKEN))
    changed.model = lake.model

    report = changed.compact(datasets=DATASETS, full_scan=True)

    assert [problem.subject for problem in report.problems] == [BROKEN]
    assert "column 'traits' of table rover.fan_profiles_history is a map" in failing(report)[0]
    assert report.exit_code == 1
    assert changed.history(SOUND) == lake.model.history(SOUND)


def test_a_registry_that_fits_the_tables_of_no_dataset_is_wrong_usage(lake: Lake, tmp_path: Path) -> None:
    changed = Lake(lake.folder, schemas=with_other_type(tmp_path, *DATASETS))

    with pytest.raises(UsageError, match=r"(?s)'traits'.*'device'"):
        changed.compact(datasets=DATASETS, full_scan=True)
    with pytest.raises(UsageError, match="'traits'"):
        changed.compact(datasets=(BROKEN,), full_scan=True)


def test_an_error_that_nobody_foresaw_fails_one_dataset_and_shows_no_content(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_account(relations: Any, dataset: str, *arguments: Any) -> Any:
        if dataset == BROKEN:
            raise KeyError("jane@example.com")
        return account(relations, dataset, *arguments)

    monkeypatch.setattr("compactor.commands.compact.account", failing_account)
    report = run(lake)

    assert failing(report)[0].startswith(f"{BROKEN}: unexpected error: KeyError at compactor.commands.compact:")
    assert "jane" not in json.dumps(report.to_json())
    assert lake.history(SOUND) == lake.model.history(SOUND)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_a_stop_ends_the_run_and_not_only_the_dataset(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """DuckDB raises the second one for an interrupt."""

    def stopped(*_: Any) -> Any:
        raise error

    rows = len(lake.rows(RUNS))
    monkeypatch.setattr("compactor.commands.compact.account", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(lake)
    assert len(lake.rows(RUNS)) == rows

"""The table of runs: each run is in it, with what it listed, what it left and why, and nobody's watermark is lost."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.lake.own_tables import RUNS
from compactor.progress import NullProgress
from compactor.publish.night import Night
from compactor.publish.run_log import MOST_FAILURES, LastRun, last_run
from compactor.source import Hour
from tests.support.broken_tables import DAMAGES, file_of
from tests.support.lake import ROOT, Lake
from tests.support.model import Row
from tests.support.profile_versions import record

NAME, OTHER = "fan_profiles", "fan_track_events"
BOTH = (NAME, OTHER)
EARLY, LATE = "2026-11-01T05", "2026-11-20T05"


def of_run(lake: Lake, run_id: str) -> dict[str, Row]:
    return {row["dataset"]: row for row in lake.rows(RUNS) if row["run_id"] == run_id}


def watermark(lake: Lake) -> LastRun | None:
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        return last_run(relations, lake.tables, NAME)


def snapshots(lake: Lake) -> int:
    return len(lake.tables.load_iceberg(RUNS).metadata.snapshots)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path, settings="batch: {objects: 1}")
    lake.deliver(NAME, [record(1, 1)], hour=LATE)
    lake.compact(datasets=BOTH)
    return lake


def test_a_night_without_news_has_a_row_for_each_dataset_and_costs_one_commit(lake: Lake) -> None:
    before = snapshots(lake)

    report = lake.compact(datasets=BOTH)

    rows = of_run(lake, report.run_id)
    assert set(rows) == set(BOTH)
    assert snapshots(lake) == before + 1
    assert {name: row["listed"] for name, row in rows.items() if row["listed"]} == {NAME: 1}
    for row in rows.values():
        assert row["verb"] == "compact"
        assert row["started_at"] <= row["finished_at"]
        assert (row["objects"], row["failed_objects"], row["failures"], row["error"]) == (0, 0, None, None)


def test_objects_that_were_left_pending_are_in_the_row_with_their_reasons(lake: Lake) -> None:
    count = MOST_FAILURES + 2
    keys = [lake.deliver(NAME, [], hour=LATE, part=f"bad{n:02d}", raw=b"no gzip") for n in range(count)]

    report = lake.compact(datasets=BOTH)

    row = of_run(lake, report.run_id)[NAME]
    assert (row["listed"], row["objects"], row["failed_objects"]) == (count + 1, 0, count)
    failures = json.loads(row["failures"])
    assert [each["key"] for each in failures] == keys[:MOST_FAILURES]
    assert all("it stays pending until" in each["reason"] for each in failures)
    shown = status(lake.config, lake.registry).runs
    assert next(run for run in shown if run["dataset"] == NAME)["failures"] == failures


def test_a_dataset_that_failed_has_a_row_that_says_why_and_moves_no_watermark(lake: Lake) -> None:
    before = watermark(lake)
    lake.deliver(NAME, [record(2, 1)], hour="2026-11-21T05")
    path = file_of(lake, f"{NAME}_history", "manifest")
    content = path.read_bytes()
    DAMAGES["cut"](path)

    report = lake.compact(datasets=BOTH)

    row = of_run(lake, report.run_id)[NAME]
    assert f"table rover.{NAME}_history cannot be read" in row["error"]
    assert (row["listed"], row["objects"], row["watermark"]) == (2, 0, None)
    assert watermark(lake) == before
    path.write_bytes(content)
    lake.compact(datasets=BOTH)
    lake.assert_equals_model(BOTH)


def test_what_a_failed_full_scan_found_and_did_not_load_is_found_by_the_next_run(lake: Lake) -> None:
    """It lies outside of the usual window."""
    lake.deliver(NAME, [record(2, 1)], hour=EARLY)
    path = file_of(lake, f"{NAME}_history", "manifest")
    content = path.read_bytes()
    DAMAGES["empty"](path)
    assert lake.compact(datasets=BOTH, full_scan=True).exit_code == 1
    path.write_bytes(content)

    lake.compact(datasets=BOTH)

    lake.assert_equals_model(BOTH)
    assert lake.compact(datasets=BOTH).datasets[0].listed == 1, "the window is the usual one again"


def test_runs_without_news_and_failed_runs_neither_move_nor_lose_the_watermark(lake: Lake) -> None:
    before = watermark(lake)
    assert before == LastRun(before.run_id, Hour.parse(LATE)) if before else None
    lake.compact(datasets=BOTH)
    report = replay(lake.config, lake.registry, datasets=BOTH, progress=NullProgress())
    assert {name: row["verb"] for name, row in of_run(lake, report.run_id).items()} == dict.fromkeys(BOTH, "replay")
    assert watermark(lake) == before
    lake.deliver(NAME, [record(3, 1)], hour=EARLY)
    assert lake.compact(datasets=BOTH).datasets[0].listed == 1


def test_a_run_whose_source_cannot_be_listed_has_rows_that_say_so(lake: Lake) -> None:
    lake.source.rename(lake.folder / "unmounted")
    with pytest.raises(Exception, match="there is no such folder"):
        lake.compact(datasets=BOTH)

    newest = max(lake.rows(RUNS), key=lambda row: str(row["finished_at"]))["run_id"]
    assert all("there is no such folder" in row["error"] for row in of_run(lake, newest).values())
    assert set(of_run(lake, newest)) == set(BOTH)


def test_a_dataset_that_fails_after_it_was_recorded_has_one_row_which_says_why(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(NAME, [record(2, 1)], hour="2026-11-21T05")
    original = Night.record

    def then_fail(self: Night, *arguments: Any) -> None:
        original(self, *arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Night, "record", then_fail)
        report = lake.compact(datasets=BOTH)

    row = of_run(lake, report.run_id)[NAME]
    assert row["error"].startswith("the disk is full; ")
    assert (row["objects"], row["watermark"]) == (1, "2026-11-21T05")
    assert len([each for each in lake.rows(RUNS) if each["run_id"] == report.run_id]) == len(BOTH)


def test_did_it_run_last_night_is_one_query(lake: Lake) -> None:
    """The query of the documentation."""
    page = (ROOT / "docs" / "orchestration.md").read_text(encoding="utf-8")
    (sql,) = re.findall(r"```sql\n(.*?)```", page.split("## Did it run?")[1].split("\n## ")[0], re.DOTALL)
    lake.deliver(NAME, [], hour=LATE, part="bad", raw=b"no gzip")
    report = lake.compact(datasets=BOTH)

    rows = query(lake.config, lake.registry, sql).read_all().to_pylist()

    assert {row["dataset"] for row in rows} == set(BOTH)
    assert {row["run_id"] for row in rows} == {report.run_id}
    assert {row["dataset"]: row["failed_objects"] for row in rows if row["failed_objects"]} == {NAME: 1}


def test_status_shows_the_last_five_runs_whole(lake: Lake) -> None:
    made = [lake.compact(datasets=(NAME,)).run_id for _ in range(5)]
    made.append(lake.compact(datasets=BOTH).run_id)

    runs = status(lake.config, lake.registry).runs

    assert list(dict.fromkeys(row["run_id"] for row in runs)) == made[:0:-1]
    assert [row["dataset"] for row in runs] == [*BOTH, *([NAME] * 4)]


def test_the_log_of_a_night_that_replaces_records_speaks_of_no_other_run(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """The same record was emitted earlier, so that a stored row gives way."""
    lake.deliver_unmodelled(
        NAME, [record(1, 1).replace(b'"emittedAt":"2026', b'"emittedAt":"2025')], hour=LATE, part="b"
    )
    with caplog.at_level(logging.INFO, logger="compactor"):
        report = lake.compact(datasets=BOTH)

    assert report.datasets[0].duplicates == 1
    assert [str(row["emitted_at"])[:4] for row in lake.rows(NAME)] == ["2025"]
    assert "finishing the batch" not in caplog.text

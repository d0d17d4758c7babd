"""`acknowledge`: what cannot be loaded is listed and raises no alarm; no count changes, a new delivery is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from compactor import api
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import MissingTableError, UsageError
from compactor.lake.own_tables import ACKNOWLEDGED, RUNS
from compactor.progress import NullProgress
from compactor.registry import loader
from compactor.reports.report import RunReport
from compactor.source import Hour, IgnoredKeys, SourceObject, folder
from tests.support.aws_lake import profile
from tests.support.lake import SCHEMAS, Lake

PROFILES = ("fan_profiles",)
DAMAGED = b"\x1f\x8b no gzip at all"
HOURS = [f"2026-11-{day:02d}T05" for day in (1, 10, 20)]


def damaged_lake(path: Path) -> tuple[Lake, str]:
    """A lake with one object that cannot be read, in its first hour, and one that was loaded."""
    lake = Lake(path)
    key = lake.deliver("fan_profiles", [], hour=HOURS[0], part="damaged", raw=DAMAGED)
    lake.deliver("fan_profiles", [profile("p1", "2026-10-30T10:00:00Z")], hour=HOURS[0])
    assert lake.compact(datasets=PROFILES).exit_code == 1
    return lake, key


def lines_lake(path: Path) -> tuple[Lake, str]:
    """A lake with three lines in quarantine, for two reasons."""
    lake = Lake(path)
    good = profile("p1", "2026-10-30T10:00:00Z")
    key = lake.deliver("fan_profiles", [b"{broken", good, b"[1]", b"{broken too"])
    assert lake.compact(datasets=PROFILES).exit_code == 3
    return lake, key


def opened(lake: Lake) -> api.Lake:
    return api.open(lake.file)


def replayed(lake: Lake) -> RunReport:
    return replay(lake.config, lake.registry, datasets=PROFILES, progress=NullProgress())


def facts(lake: Lake) -> Sequence[Any]:
    """What no acknowledgement may change: the counts of ledger and quarantine, and the rows."""
    ledger = sorted((row["key"], row["lines"], row["new"], row["quarantined"]) for row in lake.ledger())
    lines = sorted((row["source_file"], row["source_line"], row["reason"], row["raw"]) for row in lake.quarantine())
    return ledger, lines, lake.history("fan_profiles")


def watermark(lake: Lake) -> str:
    return str(max(lake.rows(RUNS), key=lambda row: str(row["finished_at"]))["watermark"])


def test_an_acknowledged_object_raises_no_alarm_and_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, key = damaged_lake(tmp_path)
    before = facts(lake)

    report = opened(lake).acknowledge(objects=key, because="Rover says it is lost")

    assert (report.action, report.objects, report.lines, report.exit_code) == ("acknowledged", 1, 0, 0)
    assert [(entry.key, entry.because) for entry in report.entries] == [(key, "Rover says it is lost")]
    assert "gzip" in report.entries[0].reason
    opened_keys: list[str] = []
    open_object = folder.LocalSource.open

    def recorded(source: folder.LocalSource, obj: SourceObject) -> BinaryIO:
        opened_keys.append(obj.key)
        return open_object(source, obj)

    monkeypatch.setattr(folder.LocalSource, "open", recorded)
    night = lake.compact(datasets=PROFILES, full_scan=True)
    assert (night.exit_code, night.datasets[0].acknowledged_objects, night.datasets[0].failed) == (0, 1, ())
    assert opened_keys == []
    shown = status(lake.config, lake.registry)
    assert shown.pending["fan_profiles"].objects == 0
    assert shown.acknowledged["fan_profiles"].objects == 1
    assert facts(lake) == before
    assert verify(lake.config, lake.registry, rebuild=True, files=True).exit_code == 0


def test_an_acknowledged_object_no_longer_holds_the_watermark_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, key = damaged_lake(tmp_path)
    lake.deliver("fan_profiles", [profile("p2", "2026-11-10T04:00:00Z")], hour=HOURS[1])
    assert lake.compact(datasets=PROFILES).exit_code == 1
    assert watermark(lake) == HOURS[0], "until it is acknowledged each night lists from there"

    opened(lake).acknowledge(objects=key, because="lost")
    lake.deliver("fan_profiles", [profile("p3", "2026-11-20T04:00:00Z")], hour=HOURS[2])
    assert lake.compact(datasets=PROFILES).exit_code == 0

    assert watermark(lake) == HOURS[2]
    listed: list[tuple[str, str]] = []
    list_objects = folder.LocalSource.list

    def recorded(
        source: folder.LocalSource,
        dataset: str,
        start: Hour | None = None,
        stop: Hour | None = None,
        ignored: IgnoredKeys | None = None,
    ) -> Iterator[SourceObject]:
        listed.append((str(start), str(stop)))
        return list_objects(source, dataset, start, stop, ignored)

    monkeypatch.setattr(folder.LocalSource, "list", recorded)
    assert lake.compact(datasets=PROFILES).exit_code == 0
    # What looks whether the source has anything at all comes first.
    assert listed[-2:] == [("2026-11-18T05", "None"), (HOURS[0], HOURS[0])], "the window, and the hour of the object"


def test_another_delivery_under_the_key_is_loaded_however_old_its_hour_is_and_clears_the_acknowledgement(
    tmp_path: Path,
) -> None:
    lake, key = damaged_lake(tmp_path)
    opened(lake).acknowledge(objects=key, because="lost")
    lake.deliver("fan_profiles", [profile("p3", "2026-11-20T04:00:00Z")], hour=HOURS[2])
    lake.compact(datasets=PROFILES)

    assert lake.deliver("fan_profiles", [profile("p2", "2026-10-31T10:00:00Z")], hour=HOURS[0], part="damaged") == key
    night = lake.compact(datasets=PROFILES)

    assert (night.exit_code, night.datasets[0].objects, night.datasets[0].acknowledged_objects) == (0, 1, 0)
    lake.assert_equals_model(PROFILES)
    assert opened(lake).acknowledged().entries == ()
    assert status(lake.config, lake.registry).acknowledged == {}

    lake.deliver("fan_profiles", [], hour=HOURS[0], part="damaged", raw=DAMAGED + b"!")
    assert lake.compact(datasets=PROFILES, full_scan=True).exit_code == 1, "yet another content, which nobody has seen"


def test_an_acknowledgement_that_is_taken_back_lets_the_next_run_read_the_object_however_old_it_is(
    tmp_path: Path,
) -> None:
    lake, key = damaged_lake(tmp_path)
    opened(lake).acknowledge(objects=key, because="lost")
    lake.deliver("fan_profiles", [profile("p3", "2026-11-20T04:00:00Z")], hour=HOURS[2])
    assert lake.compact(datasets=PROFILES).exit_code == 0

    report = opened(lake).acknowledge_undo(objects=key)

    assert (report.action, report.objects, report.lines) == ("undone", 1, 0)
    assert lake.rows(ACKNOWLEDGED) == []
    assert [name for name, _ in lake.compact(datasets=PROFILES).datasets[0].failed] == [key]
    with pytest.raises(UsageError, match="nothing of this is acknowledged"):
        opened(lake).acknowledge_undo(objects=key)


def test_acknowledged_lines_stay_in_quarantine_and_replay_ends_with_0(tmp_path: Path) -> None:
    lake, key = lines_lake(tmp_path)
    before = facts(lake)
    assert replayed(lake).exit_code == 3

    report = opened(lake).acknowledge(reasons="not_json", because="never JSON")

    assert (report.objects, report.lines) == (0, 2)
    assert [(entry.lines, entry.reason, entry.key) for entry in report.entries] == [(2, "not_json", key)]
    assert replayed(lake).exit_code == 3, "one line is left"
    opened(lake).acknowledge(objects=key, line=3, because="no object")
    again = replayed(lake)
    assert (again.exit_code, again.datasets[0].quarantined, again.datasets[0].acknowledged_lines) == (0, 3, 3)
    assert status(lake.config, lake.registry).acknowledged["fan_profiles"].lines == {"not_json": 2, "not_object": 1}
    assert facts(lake) == before
    assert verify(lake.config, lake.registry, rebuild=True, files=True).exit_code == 0


def test_an_acknowledgement_by_reason_is_of_the_lines_that_are_there_and_of_no_later_one(tmp_path: Path) -> None:
    lake, _ = lines_lake(tmp_path)
    opened(lake).acknowledge(reasons=["not_json", "not_object"], because="known")
    lake.deliver("fan_profiles", [b"{new"], hour="2026-11-01T06")

    assert lake.compact(datasets=PROFILES).exit_code == 3
    assert replayed(lake).exit_code == 3
    report = opened(lake).acknowledge(reasons="not_json", because="known too")
    assert (report.lines, report.before) == (1, 2)
    assert replayed(lake).exit_code == 0
    assert sorted(row["because"] for row in lake.rows(ACKNOWLEDGED)) == ["known"] * 3 + ["known too"]


def test_an_acknowledged_line_that_a_newer_registry_can_read_is_loaded_and_no_longer_shown(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    text = (SCHEMAS / "fan_profiles.yaml").read_text()
    renamed = next(line for line in text.splitlines() if "updatedAt:" in line)
    late = profile("p2", "2026-10-31T10:00:00Z").replace(b'"updatedAt"', b'"changedAt"')
    lake.deliver_unmodelled("fan_profiles", [profile("p1", "2026-10-30T10:00:00Z"), late])
    assert lake.compact(datasets=PROFILES).exit_code == 3
    opened(lake).acknowledge(reasons="missing_field", because="the exporter is being repaired")
    (tmp_path / "schemas").mkdir()
    for path in SCHEMAS.iterdir():
        (tmp_path / "schemas" / path.name).write_text(path.read_text())
    other = renamed.replace("updatedAt:", "changedAt:").replace("}", ", column: updated_at}")
    (tmp_path / "schemas" / "fan_profiles.yaml").write_text(text.replace(renamed, other))
    lake.registry = loader.load(tmp_path / "schemas")

    report = replayed(lake)

    assert (report.exit_code, report.datasets[0].new) == (0, 1)
    assert lake.quarantine() == []
    assert opened(lake).acknowledged().entries == ()


def test_what_is_not_there_is_refused_with_a_sentence_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="does not exist yet"):
        opened(Lake(tmp_path / "new")).acknowledge(reasons="not_json", because="x")
    lake, key = damaged_lake(tmp_path / "lake")
    good = lake.deliver("fan_profiles", [profile("p4", "2026-10-30T10:00:00Z")], hour=HOURS[0], part="unread")
    both = [key, "exports/fan_profiles/date=2026-11-01/hour=05/none.ndjson.gz"]
    for refused, what in (
        ({"objects": good}, "can be read; run `compactor compact`"),
        ({"objects": both}, "is not the key of an export"),
        ({"objects": [key, both[1].replace("none", "fan_profiles-20261101T050000Z-part-x")]}, "neither pending nor"),
        ({"reasons": "not_jsn"}, "no line is in the quarantine for the reason 'not_jsn'"),
        ({"objects": key, "line": 7}, f"line 7 of {key} is neither"),
        ({}, "name what to acknowledge"),
        ({"reasons": "not_json", "line": 3}, "name that with --object"),
    ):
        with pytest.raises(UsageError, match=what):
            opened(lake).acknowledge(**refused, because="x")
    with pytest.raises(UsageError, match="--because needs a text"):
        opened(lake).acknowledge(objects=key, because="  ")
    assert lake.rows(ACKNOWLEDGED) == []


def test_to_acknowledge_twice_changes_nothing_and_keeps_the_first_facts(tmp_path: Path) -> None:
    lake, key = damaged_lake(tmp_path)
    opened(lake).acknowledge(objects=key, because="first")
    rows = lake.rows(ACKNOWLEDGED)
    report = opened(lake).acknowledge(objects=key, because="second")
    assert (report.objects, report.before, lake.rows(ACKNOWLEDGED)) == (0, 1, rows)
    assert json.loads(json.dumps(report.to_json()))["before"] == 1


def test_a_lake_of_an_older_program_gets_the_table_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake, key = damaged_lake(tmp_path)
    lake.catalog.drop_table(f"rover.{ACKNOWLEDGED}")
    assert status(lake.config, lake.registry).problems == ()
    assert verify(lake.config, lake.registry, rebuild=False).exit_code == 0
    caplog.clear()
    assert lake.compact(datasets=PROFILES).exit_code == 1
    assert [record.message for record in caplog.records if ACKNOWLEDGED in record.message] == []
    assert opened(lake).acknowledge(objects=key, because="lost").objects == 1

"""Bad lines are quarantined and bad files wait, and neither ever costs a good line."""

from __future__ import annotations

import gzip
import io
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.decode import batch_reader, gunzip
from compactor.progress import NullProgress
from compactor.reports.report import RunReport
from compactor.source import folder as local
from tests.support.bad_input import (
    BLOCK_BYTES,
    FILE_LIMIT,
    FILES,
    LINE_LIMIT,
    LINES,
    LONG,
    PERSON,
    RECORDS,
    file_lines,
    good_lines,
    record,
)
from tests.support.lake import Lake
from tests.support.model import Model, Row

DATASETS = tuple(RECORDS)
PROFILES = ("fan_profiles",)


def assert_all_sound(lake: Lake) -> None:
    checks = verify(lake.config, lake.registry, rebuild=True).checks
    assert [check for check in checks if not check.ok] == []


def pending(lake: Lake) -> int:
    return sum(found.objects for found in status(lake.config, lake.registry).pending.values())


def in_small_pieces(patch: pytest.MonkeyPatch) -> None:
    """Small blocks and chunks, so that a small file has many, and rows are staged before its end is seen."""
    patch.setattr(gunzip, "BLOCK_BYTES", BLOCK_BYTES)
    patch.setattr(batch_reader, "_CHUNK_BYTES", 3 * BLOCK_BYTES)


# Bad lines


@dataclass(frozen=True)
class Planted:
    """A lake after one run over files with one bad line each. `places` says where: name -> (key, line number)."""

    lake: Lake
    report: RunReport
    places: Mapping[str, tuple[str, int]]
    quarantine: Mapping[str, list[Row]]
    ledger: Mapping[str, Row]


def planted(lake: Lake, places: dict[str, tuple[str, int]], datasets: tuple[str, ...]) -> Planted:
    report = lake.compact(datasets=datasets)
    quarantine: dict[str, list[Row]] = {}
    for row in lake.quarantine():
        quarantine.setdefault(row["source_file"], []).append(row)
    return Planted(lake, report, places, quarantine, {row["key"]: row for row in lake.ledger()})


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A file for each kind of bad line, which stands somewhere between good ones."""
    lake = Lake(tmp_path_factory.mktemp("lines"))
    places = {}
    for number, (name, bad) in enumerate(LINES.items()):
        content = good_lines(f"l{number}", 4, bad.dataset)
        index = random.Random(name).randint(0, len(content))
        content.insert(index, bad.line)
        places[name] = lake.deliver(bad.dataset, content, part=f"l{number}"), index + 1
    return planted(lake, places, DATASETS)


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_quarantined_with_its_place_reason_and_text(lines: Planted, name: str) -> None:
    bad, (key, number) = LINES[name], lines.places[name]
    (row,) = lines.quarantine[key]
    assert (row["dataset"], row["source_line"], row["reason"]) == (bad.dataset, number, bad.reason)
    assert row["version"] == bad.version
    assert row["raw"] == bad.line.decode("utf-8", "backslashreplace")
    assert row["run_id"] == lines.report.run_id
    assert row["etag"] == lines.ledger[key]["etag"]


@pytest.mark.parametrize("name", LINES)
def test_the_sums_of_a_file_with_a_bad_line_hold(lines: Planted, name: str) -> None:
    entry = lines.ledger[lines.places[name][0]]
    assert (entry["lines"], entry["new"], entry["duplicates"], entry["quarantined"]) == (5, 4, 0, 1)


def test_bad_lines_cost_no_good_line(lines: Planted) -> None:
    lines.lake.assert_equals_model(DATASETS)
    assert sum(len(lines.lake.history(dataset)) for dataset in DATASETS) == 4 * len(LINES)
    assert_all_sound(lines.lake)


def test_a_run_with_bad_lines_says_so_and_leaves_nothing_pending(lines: Planted) -> None:
    assert lines.report.exit_code == 3
    assert sum(dataset.quarantined for dataset in lines.report.datasets) == len(LINES)
    assert [dataset.failed for dataset in lines.report.datasets] == [()] * len(DATASETS)
    assert pending(lines.lake) == 0


def test_the_detail_of_a_bad_line_says_why_and_quotes_no_value(lines: Planted) -> None:
    for (row,) in lines.quarantine.values():
        assert row["detail"]
        assert len(row["detail"]) < 200
        assert PERSON not in row["detail"]
        assert not set("\0\n\r\x1b") & set(row["detail"])


def test_running_and_replaying_again_changes_nothing_about_bad_lines(lines: Planted) -> None:
    before = sorted(lines.lake.quarantine(), key=lambda row: (row["source_file"], row["source_line"]))
    assert lines.lake.compact().exit_code == 0
    again = replay(lines.lake.config, lines.lake.registry, progress=NullProgress())
    assert sum(dataset.quarantined for dataset in again.datasets) == len(LINES)
    assert sum(dataset.new + dataset.duplicates for dataset in again.datasets) == 0
    after = sorted(lines.lake.quarantine(), key=lambda row: (row["source_file"], row["source_line"]))
    assert after == before
    lines.lake.assert_equals_model(DATASETS)


@pytest.mark.parametrize("seed", range(3))
def test_all_kinds_of_bad_lines_may_stand_in_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    if seed:
        in_small_pieces(monkeypatch)
    lake = Lake(tmp_path)
    for dataset in DATASETS:
        bad = [kind.line for kind in LINES.values() if kind.dataset == dataset]
        content = bad + [b" \t\r"] * 20 + good_lines(dataset, 300, dataset)
        random.Random(seed).shuffle(content)
        lake.deliver(dataset, content)
    report = lake.compact()
    assert report.exit_code == 3
    assert sum(dataset.quarantined for dataset in report.datasets) == len(LINES)
    lake.assert_equals_model(DATASETS)
    assert_all_sound(lake)


@pytest.mark.parametrize("name", ["a word", "a number as traits", "version 99", "not UTF-8: the byte FF"])
def test_a_file_may_be_bad_lines_only(tmp_path: Path, name: str) -> None:
    line = record(traits="1") if name == "a number as traits" else LINES[name].line
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", [line] * 100)
    assert lake.compact(datasets=PROFILES).exit_code == 3
    lake.assert_equals_model(PROFILES)
    assert [row["source_line"] for row in sorted(lake.quarantine(), key=lambda row: row["source_line"])] == list(
        range(1, 101)
    )


def test_a_bad_line_without_a_newline_at_the_end_of_its_file_is_quarantined(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    content = [*good_lines("g", 3), b'{"id":"cut off in the mid']
    key = lake.deliver("fan_profiles", content)
    (lake.source / key).write_bytes(gzip.compress(b"\n".join(content)))
    assert lake.compact(datasets=PROFILES).exit_code == 3
    lake.assert_equals_model(PROFILES)


# Lines over the limit


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """A file for each place that a line over the limit can have among blocks."""
    lake = Lake(tmp_path_factory.mktemp("long"), settings=f"limits: {{line_bytes: {LINE_LIMIT}}}")
    lake.model = Model(line_limit=LINE_LIMIT)
    places = {}
    for number, (name, case) in enumerate(LONG.items()):
        key = lake.deliver("fan_profiles", case.lines, part=f"l{number}")
        if not case.newline_at_end:
            (lake.source / key).write_bytes(gzip.compress(b"\n".join(case.lines)))
        places[name] = key, case.index + 1
    with pytest.MonkeyPatch.context() as patch:
        in_small_pieces(patch)
        yield planted(lake, places, PROFILES)


@pytest.mark.parametrize("name", LONG)
def test_a_line_over_the_limit_is_quarantined_with_its_place_and_its_beginning(long: Planted, name: str) -> None:
    case, (key, number) = LONG[name], long.places[name]
    (row,) = long.quarantine[key]
    assert (row["source_line"], row["reason"], row["version"]) == (number, "line_too_long", None)
    assert row["raw"] == case.lines[case.index][:LINE_LIMIT].decode("utf-8", "backslashreplace")
    entry = long.ledger[key]
    assert (entry["lines"], entry["new"], entry["quarantined"]) == (len(case.lines), len(case.lines) - 1, 1)


def test_lines_over_the_limit_cost_no_good_line(long: Planted) -> None:
    assert long.report.exit_code == 3
    long.lake.assert_equals_model(PROFILES)
    assert_all_sound(long.lake)


# Bad files


@dataclass(frozen=True)
class Tables:
    """What is in a lake after a run, which ended with `report`."""

    report: RunReport
    history: Mapping[str, Row]
    current: Mapping[tuple[str, ...], Row]
    ledger: Mapping[str, Row]
    quarantine: tuple[Row, ...]
    pending: int

    @classmethod
    def after_run(cls, lake: Lake) -> Tables:
        report = lake.compact(datasets=PROFILES)
        return cls(
            report,
            lake.history("fan_profiles"),
            lake.current("fan_profiles"),
            {row["key"]: row for row in lake.ledger()},
            tuple(sorted(lake.quarantine(), key=lambda row: (row["source_file"], row["source_line"]))),
            pending(lake),
        )

    @property
    def failed(self) -> dict[str, str]:
        return dict(self.report.datasets[0].failed)


@dataclass(frozen=True)
class Waiting:
    """A lake with bad files among good ones: `first` ran over them, `second` ran again, `third` when all were mended.

    `keys` are those of the bad files, `good` those of the others.
    """

    keys: Mapping[str, str]
    good: frozenset[str]
    first: Tables
    second: Tables
    third: Tables


class FailingDisk(io.FileIO):
    """A file that fails at its third read, as a disk or a network mount may."""

    reads = 0

    def readinto(self, buffer: Any, /) -> int:
        self.reads += 1
        if self.reads > 2 and "fails" in str(self.name):
            raise OSError(5, "Input/output error")
        return super().readinto(buffer)


class Unreliable(local._File, FailingDisk):
    """What `LocalSource` opens, with faults by the name of the file."""

    def __init__(self, key: str, path: Path) -> None:
        if "forbidden" in key:
            raise PermissionError(13, "Permission denied")
        if "vanishes" in key:
            path.unlink()
        if "changes" in key:
            path.write_bytes(path.read_bytes() + gzip.compress(b"more\n"))
        super().__init__(key, path)


FAULTS = {  # name -> what the report says of it
    "forbidden": "permission denied; make it readable, then run again",
    "fails half-way": "input/output error",
    "vanishes": "it was deleted after it was listed",
    "changes": "it was replaced after it was listed",
}
SAYS = {name: bad.says for name, bad in FILES.items()} | FAULTS
CONTENTS = {name: file_lines(name) for name in SAYS}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    lake = Lake(tmp_path_factory.mktemp("files"), settings=f"limits: {{file_bytes: {FILE_LIMIT}}}")
    parts = {name: f"{number:03d}-{name.partition(' ')[0]}" for number, name in enumerate(SAYS)}
    beside = [part[:3] + "-good" for part in parts.values()]
    good = {lake.deliver("fan_profiles", good_lines(part, 3), part=part) for part in beside}
    content = good_lines("full", 5)
    content.append(b" " * (FILE_LIMIT - 1 - sum(len(line) + 1 for line in content)))
    good.add(lake.deliver("fan_profiles", content, part="as-large-as-allowed"))

    def run() -> Tables:
        """Runs over the bad files, delivered (again) just before."""
        for name, part in parts.items():
            raw = FILES[name].data if name in FILES else gzip.compress(b"\n".join(CONTENTS[name]))
            lake.deliver_unmodelled("fan_profiles", [], part=part, raw=raw)
        found = Tables.after_run(lake)
        lake.assert_equals_model(PROFILES)
        assert_all_sound(lake)
        return found

    with pytest.MonkeyPatch.context() as patch:
        in_small_pieces(patch)
        patch.setattr(local, "_File", Unreliable)
        patch.setattr(local, "_BUFFER_BYTES", 1_000)
        first, second = run(), run()
    keys = {name: lake.deliver("fan_profiles", CONTENTS[name], part=part) for name, part in parts.items()}
    third = Tables.after_run(lake)
    lake.assert_equals_model(PROFILES)
    assert_all_sound(lake)
    return Waiting(keys, frozenset(good), first, second, third)


@pytest.mark.parametrize("name", SAYS)
def test_a_bad_file_stays_pending_and_is_named_with_its_reason(waiting: Waiting, name: str) -> None:
    key = waiting.keys[name]
    for tables in (waiting.first, waiting.second):
        assert SAYS[name] in tables.failed[key]
        assert key in tables.failed[key]
        assert PERSON not in tables.failed[key]


@pytest.mark.parametrize("name", SAYS)
def test_nothing_of_a_bad_file_is_in_any_table(waiting: Waiting, name: str) -> None:
    ids = {f"{name}-{number}" for number in range(60)}
    for tables in (waiting.first, waiting.second):
        assert not ids & tables.history.keys()
        assert not ids & {row["id"] for row in tables.current.values()}
        assert waiting.keys[name] not in tables.ledger
        assert waiting.keys[name] not in {row["source_file"] for row in tables.quarantine}


@pytest.mark.parametrize("name", SAYS)
def test_a_bad_file_is_loaded_once_it_is_mended(waiting: Waiting, name: str) -> None:
    key = waiting.keys[name]
    assert {f"{name}-{number}" for number in range(60)} <= waiting.third.history.keys()
    entry = waiting.third.ledger[key]
    assert (entry["lines"], entry["new"], entry["duplicates"], entry["quarantined"]) == (61, 60, 0, 1)
    (row,) = (row for row in waiting.third.quarantine if row["source_file"] == key)
    assert row["source_line"] == CONTENTS[name].index(b"nonsense in a bad file") + 1


def test_bad_files_cost_no_other_file(waiting: Waiting) -> None:
    assert waiting.first.ledger.keys() == waiting.good
    assert waiting.first.failed.keys() == set(waiting.keys.values())
    assert waiting.first.report.exit_code == 1
    assert waiting.first.pending == len(SAYS) - 1  # one has vanished


def test_a_second_run_over_bad_files_changes_nothing(waiting: Waiting) -> None:
    first, second = waiting.first, waiting.second
    assert (second.history, second.current, second.ledger) == (first.history, first.current, first.ledger)
    assert second.quarantine == first.quarantine == ()
    assert second.failed.keys() == first.failed.keys()
    assert second.report.exit_code == 1


def test_after_bad_files_are_mended_nothing_is_pending(waiting: Waiting) -> None:
    assert waiting.third.report.exit_code == 3
    assert waiting.third.failed == {}
    assert waiting.third.pending == 0


@pytest.mark.parametrize("objects", [1, 2, 1000])
def test_a_bad_file_costs_none_whatever_batch_it_is_in(tmp_path: Path, objects: int) -> None:
    lake = Lake(tmp_path, settings=f"batch: {{objects: {objects}}}")
    bad = [FILES[name].data for name in ("cut off at 50 %", "empty", "a wrong checksum")]
    for number in range(6):
        if number % 2:
            lake.deliver_unmodelled("fan_profiles", [], part=f"p{number}", raw=bad[number // 2])
        else:
            lake.deliver("fan_profiles", good_lines(f"p{number}", 3), part=f"p{number}")
    report = lake.compact(datasets=PROFILES)
    assert (report.exit_code, report.datasets[0].objects, len(report.datasets[0].failed)) == (1, 3, 3)
    lake.assert_equals_model(PROFILES)


def test_a_bad_file_of_one_dataset_costs_no_other_dataset(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver_unmodelled("fan_identity_graph", [], raw=b"bad")
    for dataset in ("fan_profile_merges", "fan_profiles", "fan_track_events"):
        lake.deliver(dataset, good_lines("g", 3, dataset))
    assert lake.compact().exit_code == 1
    lake.assert_equals_model(DATASETS)
    assert pending(lake) == 1


def test_only_bad_files_leave_the_tables_empty_and_the_run_failed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number, name in enumerate(("empty", "not compressed", "cut off at 90 %")):
        lake.deliver_unmodelled("fan_profiles", [], part=f"p{number}", raw=FILES[name].data)
    report = lake.compact(datasets=PROFILES)
    assert (report.exit_code, report.datasets[0].objects, len(report.datasets[0].failed)) == (1, 0, 3)
    lake.assert_equals_model(PROFILES)


def test_a_bad_file_is_loaded_when_it_is_mended_weeks_later(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver_unmodelled("fan_profiles", [], hour="2026-11-01T05", raw=FILES["cut off at 50 %"].data)
    for day in (3, 10, 17, 24):
        lake.deliver("fan_profiles", good_lines(f"day{day}", 2), hour=f"2026-11-{day:02d}T00")
        assert lake.compact(datasets=PROFILES).exit_code == 1
    lake.deliver("fan_profiles", good_lines("mended", 2), hour="2026-11-01T05")
    assert lake.compact(datasets=PROFILES).exit_code == 0
    lake.assert_equals_model(PROFILES)


def test_a_good_file_that_is_replaced_by_a_bad_one_stays_loaded(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", good_lines("g", 3))
    assert lake.compact(datasets=PROFILES).exit_code == 0
    lake.deliver_unmodelled("fan_profiles", [], raw=FILES["cut off at 50 %"].data)
    assert lake.compact(datasets=PROFILES).exit_code == 1
    lake.assert_equals_model(PROFILES)


def test_a_folder_named_like_a_file_is_passed_by_until_it_is_one(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", good_lines("g", 3))
    folder = lake.source / lake.deliver_unmodelled("fan_profiles", [], part="folder", raw=b"")
    folder.unlink()
    folder.mkdir()
    (folder / folder.name).write_bytes(gzip.compress(record(id_="inside")))
    report = lake.compact(datasets=PROFILES)
    assert (report.exit_code, report.datasets[0].failed, report.datasets[0].ignored) == (0, (), 1)
    lake.assert_equals_model(PROFILES)
    (folder / folder.name).unlink()
    folder.rmdir()
    lake.deliver("fan_profiles", good_lines("now a file", 3), part="folder")
    assert lake.compact(datasets=PROFILES).exit_code == 0
    lake.assert_equals_model(PROFILES)


@pytest.mark.parametrize("target", ["nowhere", "itself", "a folder", "a pipe"])
def test_a_link_that_leads_to_no_file_costs_no_other_file(tmp_path: Path, target: str) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", good_lines("g", 3))
    link = lake.source / lake.deliver_unmodelled("fan_profiles", [], part="link", raw=b"")
    link.unlink()
    os.mkfifo(tmp_path / "pipe")
    places = {"nowhere": tmp_path / "nowhere", "itself": link, "a folder": tmp_path, "a pipe": tmp_path / "pipe"}
    link.symlink_to(places[target])
    lake.compact(datasets=PROFILES)
    lake.assert_equals_model(PROFILES)

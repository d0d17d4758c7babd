"""Bad files stay pending and never cost a good line."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compactor.reports.report import RunReport
from compactor.source import folder as local
from tests.support.bad_files import FILE_LIMIT, FILES, file_lines
from tests.support.bad_lines import PERSON, good_lines, record
from tests.support.lake import Lake
from tests.support.model import Row
from tests.support.planted import DATASETS, PROFILES, assert_all_sound, in_small_pieces, pending


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
    """A lake with bad files among good ones: `first` ran over them, `second` ran again, `third` when all were repaired.

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


class Unreliable(local.ObjectFile, FailingDisk):
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
        patch.setattr(local, "ObjectFile", Unreliable)
        patch.setattr(local, "BUFFER_BYTES", 1_000)
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
def test_a_bad_file_is_loaded_once_it_is_repaired(waiting: Waiting, name: str) -> None:
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


def test_after_bad_files_are_repaired_nothing_is_pending(waiting: Waiting) -> None:
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


def test_a_bad_file_is_loaded_when_it_is_repaired_weeks_later(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver_unmodelled("fan_profiles", [], hour="2026-11-01T05", raw=FILES["cut off at 50 %"].data)
    for day in (3, 10, 17, 24):
        lake.deliver("fan_profiles", good_lines(f"day{day}", 2), hour=f"2026-11-{day:02d}T00")
        assert lake.compact(datasets=PROFILES).exit_code == 1
    lake.deliver("fan_profiles", good_lines("repaired", 2), hour="2026-11-01T05")
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

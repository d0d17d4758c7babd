"""What a report has of rejected lines is bounded, and shows no value."""

from __future__ import annotations

import json
from pathlib import Path

from compactor.commands.replay import replay
from compactor.progress import NullProgress
from tests.support.bad_lines import good_lines, record
from tests.support.lake import Lake
from tests.support.planted import PROFILES

PHONE = 999_123_456_789


def test_of_unknown_versions_the_ten_most_frequent_are_reported_with_their_lines(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lines = [record(id_=f"r{n}", version=str(2 + n % 40)) for n in range(200)]
    lines += [record(id_=f"s{n}", version="7") for n in range(10)]
    lake.deliver("fan_profiles", lines, part="a")
    (report,) = lake.compact(datasets=PROFILES).datasets
    assert len(report.unknown_versions) == 10
    assert report.unknown_versions[0][0::2] == ("7", 15)
    assert all(lines == 5 for _, _, lines in report.unknown_versions[1:])
    assert report.reasons == {"unknown_version": 210}
    assert report.beyond_replay == 0


def test_a_version_that_may_be_a_phone_number_is_in_the_quarantine_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lines = [record(id_=f"r{n}", version=str(PHONE + n)) for n in range(30)]
    lake.deliver("fan_profiles", [*good_lines("g", 3), *lines])
    report = lake.compact(datasets=PROFILES)
    found = report.to_json()["datasets"][0]["unknown_versions"]
    assert [(each["version"], each["lines"]) for each in found] == [(None, 30)]
    assert found[0]["reason"].startswith("a version of more than four digits is not in the registry; add it there")
    rows = lake.quarantine()
    assert {row["version"] for row in rows} == set(range(PHONE, PHONE + 30))
    assert {row["detail"] for row in rows} == {found[0]["reason"]}
    again = replay(lake.config, lake.registry, progress=NullProgress())
    assert "999123456" not in json.dumps([report.to_json(), again.to_json()])


def test_versions_of_several_batches_are_added_up(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settings="batch: {objects: 1}")
    for part in "abc":
        lines = [record(id_=f"{part}{n}", version=str(2 + n)) for n in range(20)]
        lake.deliver("fan_profiles", [*lines, b"oops"], part=part)
    (report,) = lake.compact(datasets=PROFILES).datasets
    assert len(report.unknown_versions) == 10
    assert all(lines == 3 for _, _, lines in report.unknown_versions)
    assert (report.reasons, report.beyond_replay) == ({"unknown_version": 60, "not_json": 3}, 3)

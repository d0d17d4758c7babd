"""A source in which nothing arrives: a wrong URL, an empty mount, a dataset that nobody described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compactor.commands.status import status
from compactor.errors import SourceError
from compactor.reports.report import RunReport
from compactor.source import Hour
from compactor.source.folder import LocalSource
from tests.support.lake import Lake
from tests.support.profile_versions import record
from tests.support.s3_server import Bucket
from tests.support.sources import FIRST, key_of

NAME = "fan_profiles"


def at(lake: Lake, url: str) -> None:
    """Lets the config name another source."""
    lake.file.write_text(lake.file.read_text().replace(f"url: {lake.source}", f"url: {url}"))


def compact(lake: Lake, **options: Any) -> RunReport:
    """A run over one dataset, which is quicker: the checks are about the source as a whole."""
    return lake.compact(datasets=(NAME,), **options)


def only_problem(report: RunReport) -> str:
    (problem,) = report.problems
    assert (problem.fails, report.exit_code) == (True, 1)
    return str(problem)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A source with one object; nothing is loaded yet."""
    lake = Lake(tmp_path)
    lake.deliver(NAME, [record(1, 1)])
    return lake


@pytest.mark.parametrize("inside", ["exports", "exports/fan_profiles/date=2026-11-01"])
def test_a_url_that_includes_exports_is_named_with_the_right_one(lake: Lake, inside: str) -> None:
    at(lake, f"{lake.source}/{inside}/")

    for sentence in (only_problem(compact(lake)), str(status(lake.config, lake.registry).problems[0])):
        assert f"there is no folder below {lake.source}/{inside}/exports/; correct source.url: " in sentence
        assert sentence.endswith(f"set it to {lake.source}")


def test_a_url_that_is_too_high_or_beside_is_named_with_where_exports_are(lake: Lake) -> None:
    (lake.source / "beside").mkdir()
    at(lake, str(lake.folder))
    assert "there is one in source/" in only_problem(compact(lake))

    lake.file.write_text(lake.file.read_text().replace(f"url: {lake.folder},", f"url: {lake.source}/beside,"))
    lake.file.write_text(lake.file.read_text().replace(f"url: {lake.folder}}}", f"url: {lake.source}/beside}}"))
    assert f"there is one in {lake.source}" in only_problem(compact(lake))


def test_a_folder_in_other_case_is_named(lake: Lake) -> None:
    (lake.source / "exports").rename(lake.source / "Exports")
    assert "rename its folder Exports to exports" in only_problem(compact(lake))


def test_an_empty_mount_fails_the_run_unless_it_is_allowed(lake: Lake) -> None:
    compact(lake)
    lake.source.rename(lake.folder / "elsewhere")
    lake.source.mkdir()

    sentence = only_problem(compact(lake))

    assert "although objects were loaded before; check that it is mounted" in sentence
    assert compact(lake, allow_empty_source=True).exit_code == 0
    assert lake.history(NAME) == lake.model.history(NAME)
    shown = status(lake.config, lake.registry)
    assert (str(shown.problems[0]), shown.exit_code) == (sentence, 0)


def test_exports_that_are_empty_are_fine_on_the_very_first_run_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    (lake.source / "exports" / NAME).mkdir(parents=True)

    assert compact(lake).exit_code == 0
    assert "the source has never had an export" in only_problem(compact(lake))
    lake.deliver(NAME, [record(1, 1)])
    assert compact(lake).exit_code == 0


def test_without_exports_the_very_first_run_fails(tmp_path: Path) -> None:
    assert "there is no folder below" in only_problem(compact(Lake(tmp_path)))


def test_objects_that_are_no_exports_are_named(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    place = lake.source / "exports" / NAME / "2026" / "11"
    place.mkdir(parents=True)
    (place / "a.ndjson.gz").write_bytes(b"x")

    assert f"has the key of an export; one of them is exports/{NAME}/2026/11/a.ndjson.gz" in only_problem(compact(lake))


def test_a_window_without_objects_is_no_empty_source(lake: Lake) -> None:
    compact(lake)

    for report in (
        lake.compact(datasets=("fan_track_events",)),
        compact(lake, start=Hour("2026-12-01", 0), stop=Hour("2026-12-02", 0)),
    ):
        assert (report.problems, report.exit_code) == ((), 0)


def test_a_dataset_that_the_registry_does_not_know_is_a_problem_that_does_not_fail(lake: Lake) -> None:
    for part in "ab":
        lake.deliver_unmodelled("fan_profile", [b"{}"], part=part)

    report, shown = compact(lake), status(lake.config, lake.registry)

    assert (report.exit_code, shown.exit_code) == (0, 0)
    for (problem,) in (report.problems, shown.problems):
        assert problem.subject == "fan_profile"
        assert "so none of its objects (2) is loaded" in problem.wrong
        assert (
            problem.step == "add it, such as with `compactor infer --dataset fan_profile`; did you mean 'fan_profiles'?"
        )
    assert lake.history(NAME) == lake.model.history(NAME)


def test_many_unknown_datasets_are_ten_problems_and_a_count(lake: Lake) -> None:
    for number in range(13):
        lake.deliver_unmodelled(f"other_{number:02d}", [b"{}"])

    found = compact(lake).problems

    assert len(found) == 11
    assert found[-1].wrong == "the registry does not know 3 more datasets of the source"


def test_a_source_that_has_none_of_the_registrys_datasets_fails_the_run(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver_unmodelled("others", [b"{}"])

    report = compact(lake)

    assert report.exit_code == 1
    assert "none of the folders below exports/ is a dataset of the registry" in str(report.error)


def test_in_a_bucket_the_prefix_is_checked_in_the_same_way(lake: Lake, bucket: Bucket) -> None:
    bucket.put(f"data/{key_of(FIRST)}", b"no gzip")
    source = f"s3://{bucket.name}/data"
    text = lake.file.read_text()

    def with_url(url: str) -> str:
        lake.file.write_text(text.replace(f"url: {lake.source}", f"url: '{url}', endpoint: '{bucket.endpoint}'"))
        return only_problem(compact(lake))

    assert with_url(f"{source}/exports").endswith(f"so set it to {source}")
    assert "there is one in data/" in with_url(f"s3://{bucket.name}")
    assert "check that it is mounted" not in with_url(f"{source}/exports/fan_profiles")
    assert f"there is one in {source}" in with_url(f"{source}/none")


@pytest.mark.parametrize("name", ["lost", "fan_track_events"])
def test_a_folder_that_cannot_be_listed_stops_no_other_dataset(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Such as one of another user, which a superuser, who may run this test, can list all the same."""
    (lake.source / "exports" / name).mkdir()
    original = LocalSource.list

    def refused(self: LocalSource, dataset: str, *arguments: Any, **options: Any) -> Any:
        if dataset == name:
            raise SourceError(f"cannot list {name}: permission denied; make it readable, then run again")
        return original(self, dataset, *arguments, **options)

    monkeypatch.setattr(LocalSource, "list", refused)
    report = lake.compact(datasets=(NAME, "fan_track_events"))

    (problem,) = report.problems
    assert (problem.subject, problem.fails) == (name, name != "lost")
    assert lake.history(NAME) == lake.model.history(NAME)

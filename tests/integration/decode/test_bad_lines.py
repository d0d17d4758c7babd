"""Bad lines are quarantined and never cost a good line."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from compactor.commands.replay import replay
from compactor.progress import NullProgress
from compactor.reports.report import RunReport
from tests.support.bad_lines import LINE_LIMIT, LINES, LONG, PERSON, good_lines, record
from tests.support.lake import Lake
from tests.support.model import Model, Row
from tests.support.planted import DATASETS, PROFILES, assert_all_sound, in_small_pieces, pending


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


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.soak)])
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

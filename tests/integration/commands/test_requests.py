"""What a run asks of storage and catalog: counted, reported, and not more often than it has to be."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pyiceberg.serializers import FromInputFile

from compactor.cli.main import program
from compactor.commands.compact import compact
from compactor.config import Config
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.progress import NullProgress
from compactor.registry import loader
from compactor.reports.report import RunReport
from tests.support.broken_tables import Kept
from tests.support.histories import DATASETS, History
from tests.support.lake import SCHEMAS, Lake

NIGHTS = 6
WHOLE_KEYS = "write.metadata.metrics.column.key"
MOST_LOADS = 3
"""Of one table in one run."""


def deliver(lake: Lake, history: History) -> None:
    for delivery in history.deliveries(16, 6):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Kept]:
    """A lake of several nights, and one more night that is not loaded yet."""
    lake = Lake(tmp_path_factory.mktemp("requests"))
    history = History(11, datasets=DATASETS)
    for _ in range(NIGHTS):
        deliver(lake, history)
        lake.compact(full_scan=True)
    deliver(lake, history)
    return lake, Kept(lake)


@pytest.fixture
def lake(laid_out: tuple[Lake, Kept]) -> Iterator[Lake]:
    lake, kept = laid_out
    yield lake
    kept.put_back()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often metadata files are read and parsed, by table."""
    found: Counter[str] = Counter()
    read = FromInputFile.table_metadata

    def counted(file: object, *arguments: object) -> object:
        found[str(getattr(file, "location", file)).split("/metadata/")[0].rsplit("/", 1)[-1]] += 1
        return read(file, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FromInputFile, "table_metadata", staticmethod(counted))
    return found


def test_a_night_with_news_reads_the_metadata_of_a_table_three_times_at_most_and_the_next_one_once(
    lake: Lake, loads: Counter[str]
) -> None:
    report = lake.compact(full_scan=True)
    assert {each.dataset for each in report.datasets if each.new} == set(DATASETS)
    assert loads.keys() >= set(lake.record_tables)
    assert max(loads.values()) <= MOST_LOADS, loads
    assert report.requests is not None
    assert report.requests.metadata == loads.total()
    lake.assert_equals_model(DATASETS)

    loads.clear()
    idle = lake.compact(full_scan=True)
    assert not any(each.objects for each in idle.datasets)
    assert loads.keys() >= set(lake.record_tables)
    assert set(loads.values()) == {1}, loads


def test_a_run_without_news_asks_the_catalog_less_than_four_times_per_table(lake: Lake) -> None:
    lake.compact(full_scan=True)
    requests = lake.compact(full_scan=True).requests
    assert requests is not None
    assert requests.metadata == 11
    assert requests.catalog < 4 * requests.metadata
    assert requests.source["get"] == 0


def test_the_metadata_that_are_kept_after_a_commit_are_those_of_the_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Lakehouse] = []

    def open_once(config: Config) -> Lakehouse:
        opened.append(Lakehouse(config))
        return opened[-1]

    monkeypatch.setattr("compactor.commands.compact.Lakehouse", open_once)
    lake.compact(full_scan=True)
    for name in ("compactor_files", *lake.record_tables):
        seen = opened[0].seen(name)
        assert seen is not None
        table = seen.for_clone
        assert table.metadata_location == lake.catalog.load_table(f"rover.{name}").metadata_location
        assert table.metadata == FromInputFile.table_metadata(table.io.new_input(table.metadata_location))


def test_the_requests_of_a_run_are_in_its_json_and_in_one_printed_line(lake: Lake) -> None:
    words = ["-c", str(lake.file), "compact"]
    found = json.loads(CliRunner().invoke(program, [*words, "--json"]).stdout)["requests"]
    assert {name: value if isinstance(value, int) else set(value) for name, value in found.items()} == {
        "source": {"list", "get"},
        "tables": {"list", "get", "put", "delete", "head"},
        "catalog": found["catalog"],
        "metadata": found["metadata"],
    }
    assert found["source"]["get"] > 0
    assert found["tables"]["put"] > found["metadata"] > 0
    printed = CliRunner().invoke(program, words).stdout
    assert printed.count("requests: source ") == 1


def test_two_runs_in_one_process_count_apart(lake: Lake, tmp_path: Path) -> None:
    alone = lake.compact(datasets=("fan_track_events",), full_scan=True).requests
    other = Lake(tmp_path)
    other.compact()
    found: dict[str, RunReport] = {}

    def run(name: str, each: Lake) -> None:
        found[name] = compact(each.config, loader.load(SCHEMAS), progress=NullProgress(), full_scan=True)

    threads = [threading.Thread(target=run, args=item) for item in (("lake", lake), ("other", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alone is not None
    busy, idle = found["lake"].requests, found["other"].requests
    assert busy is not None
    assert idle is not None
    assert busy.source["get"] > 0
    assert idle.source["get"] == 0
    assert idle.tables["put"] < busy.tables["put"]


def test_the_files_of_the_ledger_of_nights_long_ago_are_not_opened(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.file.write_text(lake.file.read_text().replace("source: {url:", "source: {window_hours: 1, url:"))
    for day in range(1, 6):
        lake.deliver("fan_track_events", [b"bad"], hour=f"2026-11-0{day}T05", part=str(day))
        if day == 3:  # as in a lake of an older version
            with lake.catalog.load_table(f"rover.{FILES}").transaction() as change:
                change.remove_properties(WHOLE_KEYS)
        lake.compact()
    assert lake.tables.table(FILES).properties[WHOLE_KEYS] == "full"
    window, everything = lake.compact().requests, lake.compact(full_scan=True).requests
    assert window is not None
    assert everything is not None
    assert everything.tables["get"] >= window.tables["get"] + 4
    lake.assert_equals_model(["fan_track_events"])

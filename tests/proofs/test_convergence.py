"""The tables depend on the set of delivered lines, and on nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.histories import DATASETS, KINDS, REPLACED, SNAPSHOT, History, deliver, nights, size_of
from tests.support.lake import ROOT, Lake

SEEDS = range(10)  # what `make test` tries; `make soak` tries the rest of 2,000


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(n, marks=pytest.mark.soak) for n in range(len(SEEDS), 2_000))])
def test_any_history_ends_as_the_model_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    datasets = tuple(chance.sample(DATASETS, chance.choice([1, 1, 1, 2])))
    # A batch costs a second of commits, whatever is in it: long histories have longer ones.
    objects = max(chance.choice([1, 2, 1000]), size_of(seed) // 40)
    lake = Lake(tmp_path, settings=f"batch: {{objects: {objects}}}\nresources: {{threads: 1}}")
    for night in nights(seed, datasets):
        for delivery in night:
            deliver(lake, delivery)
        lake.compact(datasets=datasets, full_scan=True)
        lake.assert_equals_model(datasets)


def test_no_key_is_replaced_twice_in_one_night() -> None:
    """The content in between would be delivered to nobody."""
    for night in nights(452, ("fan_profile_merges", "fan_track_events")):
        keys = [(delivery.dataset, delivery.hour, delivery.part) for delivery in night]
        assert len(set(keys)) == len(keys)


def test_the_histories_have_every_kind_of_line_and_delivery_and_all_sizes() -> None:
    kinds: Counter[str] = Counter()
    for seed in SEEDS:
        history = History(seed)
        lines = sum(len(delivery.lines) for _ in range(3) for delivery in history.night(max(size_of(seed) // 3, 1)))
        assert lines == 3 * max(size_of(seed) // 3, 1)
        kinds += history.kinds
    assert kinds.keys() == {*KINDS, SNAPSHOT, REPLACED}
    sizes = [size_of(seed) for seed in range(2_000)]
    assert min(sizes) == 10
    assert 1_900 < max(sizes) <= 2_000
    assert sum(size < 150 for size in sizes) in range(900, 1_100)


@pytest.mark.soak
def test_the_sample_in_three_orders_and_batchings_gives_the_same_rows(tmp_path: Path) -> None:
    small = ["--fans=150", "--events=1500"]
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_sample.py"), str(tmp_path / "sample"), "--days=1", *small],
        check=True,
        capture_output=True,
    )
    objects = sorted((tmp_path / "sample").rglob("*.ndjson.gz"))
    seen = []
    for order, (settings, runs) in enumerate([("", 1), ("batch: {objects: 200}", 3), ("batch: {bytes: 100KB}", 2)]):
        lake = Lake(tmp_path / str(order), settings=settings)
        random.Random(order).shuffle(objects)
        for run in range(runs):
            for path in objects[run::runs]:
                lake.copy_in(path, tmp_path / "sample")
            lake.compact(full_scan=True)
        lake.assert_equals_model(DATASETS)
        seen.append({name: sorted(map(repr, lake.rows(name))) for name in lake.record_tables})
    assert all(rows == seen[0] for rows in seen)


def test_running_again_changes_no_data_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for delivery in History(5).deliveries(8, 30):
        deliver(lake, delivery)
    lake.compact()
    before = lake.data_files()
    report = lake.compact(full_scan=True)
    assert {path for path in lake.data_files() if "/compactor_runs/" not in path} <= before
    assert not any(dataset.objects for dataset in report.datasets)


def test_an_object_delivered_again_under_a_new_etag_changes_no_record_table(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    delivery = next(History(8, datasets=("fan_profiles",)).deliveries(1, 60))
    deliver(lake, delivery)
    lake.compact()
    before = lake.data_files()
    key = next(iter(lake.source.rglob("*.gz")))
    os.utime(key, ns=(1, 1))
    report = lake.compact(datasets=("fan_profiles",))
    assert report.datasets[0].new == 0
    assert report.datasets[0].duplicates > 0
    assert {path for path in lake.data_files() - before if "/fan_profiles" in path} == set()


def test_a_late_older_record_never_brings_a_deleted_key_back(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def record(number: int, operation: str, day: int) -> bytes:
        return (
            f'{{"id":"r{number}","version":1,"roverID":"f","emittedAt":"2026-11-0{day}T00:00:00Z","identifierType":"email",'
            f'"identifierValue":"a","operation":"{operation}","updatedAt":"2026-11-0{day}T00:00:00Z"}}'
        ).encode()

    for night, line in enumerate([record(1, "upsert", 3), record(2, "delete", 4), record(3, "upsert", 2)]):
        lake.deliver("fan_identity_graph", [line], part=str(night))
        lake.compact(datasets=("fan_identity_graph",))
    assert lake.current("fan_identity_graph") == {}
    assert len(lake.history("fan_identity_graph")) == 3
    lake.deliver("fan_identity_graph", [record(4, "upsert", 5)], part="3")
    lake.compact(datasets=("fan_identity_graph",))
    assert len(lake.current("fan_identity_graph")) == 1
    lake.assert_equals_model(("fan_identity_graph",))

"""A backup of the catalog that was taken while a run committed, and is restored after that run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.progress import NullProgress
from compactor.registry import loader
from tests.support.assertions import assert_sound
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake
from tests.support.profile_versions import learn_version_2, record
from tests.support.versioned_fans import FANS, IN_PLACE, RETYPE, Fans

DATASETS = ("fan_identity_graph", "fan_profiles")
SAMPLE = 2


def deliver(lake: Lake, history: History, count: int) -> None:
    for delivery in history.deliveries(count, 12):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


def run_with_backups(lake: Lake, run: Callable[[], Any]) -> list[Path]:
    """Runs, with a backup of the catalog after each commit. Keeps the warehouse as the run has left it beside them."""
    backups: list[Path] = []
    commit = SqlCatalog.commit_table

    def committed(*arguments: Any) -> Any:
        result = commit(*arguments)
        backups.append(lake.folder / f"catalog-{len(backups)}.db")
        shutil.copyfile(lake.folder / "warehouse" / "catalog.db", backups[-1])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", committed)
        run()
    shutil.copytree(lake.folder / "warehouse", lake.folder / "after")
    return backups


def restore(lake: Lake, backup: Path) -> None:
    warehouse = lake.folder / "warehouse"
    shutil.rmtree(warehouse)
    shutil.copytree(lake.folder / "after", warehouse)
    shutil.copyfile(backup, warehouse / "catalog.db")


def sample(backups: list[Path], count: int | None) -> list[Path]:
    return backups if count is None else backups[:: max(1, len(backups) // count)]


@pytest.mark.parametrize("count", [SAMPLE, pytest.param(None, marks=pytest.mark.soak)])
@pytest.mark.parametrize("first", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_catalog_restored_from_the_middle_of_a_run_ends_as_the_model_says(
    tmp_path: Path, count: int | None, first: bool
) -> None:
    lake = Lake(tmp_path, settings="batch: {objects: 2}")
    history = History(17, datasets=DATASETS, entities=5, replaces=not first)
    if not first:
        deliver(lake, history, 4)
        lake.compact(datasets=DATASETS, full_scan=True)
    deliver(lake, history, 6)
    backups = run_with_backups(lake, lambda: lake.compact(datasets=DATASETS, full_scan=True))
    assert len(backups) > 10
    for backup in sample(backups, count):
        restore(lake, backup)
        assert lake.compact(datasets=DATASETS, full_scan=True).exit_code in (0, 3), backup.name
        try:
            assert_sound(lake, DATASETS)
        except BaseException as error:
            error.add_note(f"restored {backup.name} of {len(backups)}")
            raise


@pytest.mark.parametrize("count", [1, pytest.param(None, marks=pytest.mark.soak)])
def test_a_catalog_restored_from_the_middle_of_a_replay_ends_as_without(tmp_path: Path, count: int | None) -> None:
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    lake = Lake(tmp_path, schemas=schemas)
    lake.deliver_unmodelled("fan_profiles", [record(n, 1 + n % 2) for n in range(6)] + [b"bad"])
    lake.compact(datasets=("fan_profiles",))
    learn_version_2(schemas / "fan_profiles.yaml")
    lake.registry = loader.load(schemas)
    migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress())

    def again() -> None:
        replay(lake.config, lake.registry, datasets=("fan_profiles",), progress=NullProgress())

    for backup in sample(run_with_backups(lake, again), count):
        restore(lake, backup)
        again()
        failed = [
            check for check in verify(lake.config, lake.registry, rebuild=True, files=True).checks if not check.ok
        ]
        assert not failed, backup.name
        assert (len(lake.current("fan_profiles")), len(lake.quarantine())) == (6, 1)
        (entry,) = lake.ledger()
        assert [entry[name] for name in ("lines", "new", "duplicates", "quarantined")] == [7, 6, 0, 1]


@pytest.mark.parametrize("count", [1, pytest.param(None, marks=pytest.mark.soak)])
def test_a_catalog_restored_from_the_middle_of_a_migration_ends_as_without(tmp_path: Path, count: int | None) -> None:
    """Rows that do not fit the new version go from the tables to the quarantine."""
    fans = Fans(tmp_path)
    fans.write(FANS + IN_PLACE + RETYPE)
    tags = 5  # the first commits: nothing of the migration is in place yet, and a catalog like that lacks the whole run
    for backup in sample(run_with_backups(fans.lake, fans.apply)[tags:], count):
        restore(fans.lake, backup)
        fans.apply()
        fans.assert_sound()
        assert (fans.ids("things_history"), len(fans.lake.quarantine())) == ([f"r{n}" for n in range(8)], 1)
        assert [(row["lines"], row["new"], row["duplicates"], row["quarantined"]) for row in fans.lake.ledger()] == [
            (5, 5, 0, 0),
            (6, 3, 2, 1),
        ]


def test_a_batch_whose_objects_are_gone_is_completed_from_the_history(tmp_path: Path) -> None:
    """Its records are in the history alone."""
    lake = Lake(tmp_path)
    deliver(lake, History(18, datasets=DATASETS[:1], entities=5, replaces=False), 3)
    first, *_ = run_with_backups(lake, lake.compact)
    restore(lake, first)
    shutil.rmtree(lake.source / "exports")
    (lake.source / "exports").mkdir()
    lake.compact()
    assert lake.history(DATASETS[0]) == lake.model.history(DATASETS[0])
    assert lake.current(DATASETS[0]) == lake.model.current(DATASETS[0])
    assert {row["etag"] for row in lake.ledger()} == {"recovered"}
    assert not [check for check in verify(lake.config, lake.registry, rebuild=True).checks if not check.ok]

"""docs/backup.md: its steps, done on a lake; and what a restore of a part means."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from compactor.commands.verify.repair import repair
from compactor.errors import CompactorError, LostTableError
from tests.support.assertions import assert_sound
from tests.support.histories import History
from tests.support.lake import ROOT, Lake

DATASETS = ("fan_identity_graph", "fan_track_events")


def deliver(lake: Lake, history: History, count: int) -> None:
    for delivery in history.deliveries(count, 12):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


def blocks() -> list[str]:
    """The shell commands of the page: of the backup, and of the restore."""
    found = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs" / "backup.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 2
    return found


def run_block(lake: Lake, commands: str) -> None:
    """As a user would, in the folder of the config, with `compactor` on the path."""
    program = lake.folder / "bin" / "compactor"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m compactor "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COMPACTOR_CONFIG": str(lake.file),
    }
    done = subprocess.run(
        ["bash", "-euc", commands.replace("data/warehouse", "warehouse")],
        cwd=lake.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_the_steps_of_the_page_restore_a_backup_that_was_taken_during_a_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, restoring = blocks()
    history = History(5, datasets=DATASETS, entities=5, replaces=False)
    deliver(lake, history, 4)
    lake.compact(full_scan=True)
    commit, commits = SqlCatalog.commit_table, []

    def committed(*arguments: Any) -> Any:
        result = commit(*arguments)
        commits.append(1)
        if len(commits) == 1:  # the history has the batch, and no other table
            run_block(lake, backup)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", committed)
        deliver(lake, history, 4)
        lake.compact(full_scan=True)
    deliver(lake, history, 3)
    lake.compact(full_scan=True)
    shutil.rmtree(lake.folder / "warehouse")

    run_block(lake, restoring)

    assert_sound(lake, DATASETS)


@pytest.fixture
def three_nights(lake: Lake) -> Lake:
    """With copies of the whole after each: `night-1` and so on."""
    history = History(6, datasets=DATASETS, entities=5, replaces=False)
    for night in (1, 2, 3):
        deliver(lake, history, 3)
        lake.compact(full_scan=True)
        shutil.copytree(lake.folder / "warehouse", lake.folder / f"night-{night}")
    return lake


def restore_warehouse_alone(lake: Lake, night: int) -> None:
    catalog = (lake.folder / "warehouse" / "catalog.db").read_bytes()
    shutil.rmtree(lake.folder / "warehouse")
    shutil.copytree(lake.folder / f"night-{night}", lake.folder / "warehouse")
    (lake.folder / "warehouse" / "catalog.db").write_bytes(catalog)


@pytest.mark.soak
def test_an_older_warehouse_under_a_newer_catalog_is_named_and_repaired(three_nights: Lake) -> None:
    restore_warehouse_alone(three_nights, 1)
    with pytest.raises(CompactorError, match=r"compactor_files.* is missing.*`compactor verify --repair`"):
        three_nights.compact(full_scan=True)
    repair(three_nights.config, three_nights.registry, yes=True)
    three_nights.compact(full_scan=True)
    assert_sound(three_nights, DATASETS)


@pytest.mark.soak
def test_an_older_state_can_be_kept_on_purpose(three_nights: Lake) -> None:
    """What the ledger of then does not have is read again, and found to be new, as it was."""
    warehouse = three_nights.folder / "warehouse"
    shutil.copyfile(three_nights.folder / "night-1" / "catalog.db", warehouse / "catalog.db")
    with pytest.raises(LostTableError, match=r"delete (file://\S+), then run again") as caught:
        three_nights.compact(full_scan=True)
    found = re.search(r"delete file://(\S+),", str(caught.value))
    assert found
    Path(found[1]).unlink()
    three_nights.compact(full_scan=True)
    assert_sound(three_nights, DATASETS)
    assert repair(three_nights.config, three_nights.registry, yes=False).repairs == ()


@pytest.mark.soak
def test_both_of_one_backup_need_no_step(three_nights: Lake) -> None:
    shutil.rmtree(three_nights.folder / "warehouse")
    shutil.copytree(three_nights.folder / "night-2", three_nights.folder / "warehouse")
    assert three_nights.compact(full_scan=True).exit_code in (0, 3)
    assert_sound(three_nights, DATASETS)

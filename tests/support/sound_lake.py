"""A sound lake for tests that damage it, made once and put back as it was after each of them."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator

import pytest

from tests.support.damage import DATASETS, STATE
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake

_PARTS = ("source", "warehouse")


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two datasets over two nights, with deletes, duplicates and bad lines; a copy of its tables lies beside them."""
    folder = tmp_path_factory.mktemp("sound")
    schemas = folder / "schemas"
    schemas.mkdir()
    for dataset in DATASETS:
        shutil.copyfile(SCHEMAS / f"{dataset}.yaml", schemas / f"{dataset}.yaml")
    lake = Lake(folder, schemas=schemas)
    history = History(31, datasets=DATASETS, entities=8, days=2, replaces=False)
    for _ in range(2):
        for delivery in history.deliveries(6, 25):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
        lake.compact(full_scan=True)
    lake.assert_equals_model(DATASETS)
    assert len(lake.current(STATE)) > 5
    assert len(lake.quarantine()) > 2
    for name in _PARTS:
        shutil.copytree(folder / name, folder / "saved" / name)
    return lake


@pytest.fixture
def to_damage(sound: Lake) -> Iterator[Lake]:
    """The sound lake as it was, whatever the test before did to it."""
    model = copy.deepcopy(sound.model)
    yield sound
    sound.model = model
    restore(sound)


def restore(lake: Lake) -> None:
    for name in _PARTS:
        shutil.rmtree(lake.folder / name)
        shutil.copytree(lake.folder / "saved" / name, lake.folder / name)

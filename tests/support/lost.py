"""What becomes of tables and catalogs by mistake: dropped, renamed, made again, replaced by an older copy."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from tests.support.damage import EVENTS, PAST, STATE, deliver_and_compact
from tests.support.lake import SCHEMAS, Lake

OWN = (FILES, QUARANTINE, RUNS)
TABLES = (PAST, STATE, EVENTS, *OWN)
PARTS = ("source", "warehouse")


class TwoNights:
    """A lake of two datasets after two nights, that can be put back to that; and its catalog after the first."""

    def __init__(self, folder: Path) -> None:
        schemas = folder / "schemas"
        schemas.mkdir()
        for dataset in (STATE, EVENTS):
            shutil.copyfile(SCHEMAS / f"{dataset}.yaml", schemas / f"{dataset}.yaml")
        self.lake = Lake(folder, schemas=schemas)
        deliver_and_compact(self.lake, 41)
        self.first = folder / "first.db"
        shutil.copyfile(self.catalog_file, self.first)
        self.first_metadata = {name: self.lake.tables.table(name).metadata_location for name in TABLES}
        self.lake.deliver(STATE, [b"bad"], part="second")
        deliver_and_compact(self.lake, 42)
        for name, location in self.first_metadata.items():
            assert self.lake.tables.table(name).metadata_location != location
        self.lake.assert_equals_model((STATE, EVENTS))
        assert len(self.lake.quarantine()) > 2
        self._model = copy.deepcopy(self.lake.model)
        for name in PARTS:
            shutil.copytree(folder / name, folder / "saved" / name)

    @property
    def catalog_file(self) -> Path:
        return self.lake.folder / "warehouse" / "catalog.db"

    def put_back(self) -> None:
        for name in PARTS:
            shutil.rmtree(self.lake.folder / name)
            shutil.copytree(self.lake.folder / "saved" / name, self.lake.folder / name)
        self.lake.model = copy.deepcopy(self._model)

    def folder_of(self, table: str) -> Path:
        return Path(self.lake.tables.table(table).location.removeprefix("file://"))


def drop(nights: TwoNights, table: str) -> None:
    nights.lake.catalog.drop_table(f"rover.{table}")


def rename(nights: TwoNights, table: str) -> None:
    nights.lake.catalog.rename_table(f"rover.{table}", f"rover.{table}_old")


def take_an_older_copy(nights: TwoNights, table: str) -> None:
    drop(nights, table)
    nights.lake.catalog.register_table(f"rover.{table}", nights.first_metadata[table])


def drop_with_files(nights: TwoNights, table: str) -> None:
    folder = nights.folder_of(table)
    drop(nights, table)
    shutil.rmtree(folder)


def make_again(nights: TwoNights, table: str) -> None:
    """As an older version of the program did: empty, at the same place."""
    loaded = nights.lake.catalog.load_table(f"rover.{table}")
    drop(nights, table)
    nights.lake.catalog.create_table(
        f"rover.{table}", loaded.schema(), partition_spec=loaded.spec(), properties=loaded.properties
    )


def lose_the_catalog(nights: TwoNights) -> None:
    nights.catalog_file.unlink()


def take_an_older_catalog(nights: TwoNights) -> None:
    shutil.copyfile(nights.first, nights.catalog_file)


LOSSES: tuple[Callable[[TwoNights, str], None], ...] = (
    drop,
    rename,
    take_an_older_copy,
    drop_with_files,
    make_again,
)


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    return TwoNights(tmp_path_factory.mktemp("nights"))


@pytest.fixture
def nights(two_nights: TwoNights) -> Iterator[TwoNights]:
    yield two_nights
    two_nights.put_back()

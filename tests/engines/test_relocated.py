"""A lake that was copied to another place: engines in Java read it there, with what they had deleted before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.relocate.relocate import apply
from tests.engines import spark_session, trino_server
from tests.engines.conftest import NewSpark, NewTrino
from tests.support.lake import Lake
from tests.support.moved import BOTH, at_new_place, frozen, lived_in

TABLE = "fan_track_events"
Query = Callable[[str], list[tuple[Any, ...]]]


def copied(lake: Lake, folder: Path) -> Lake:
    copy = at_new_place(lake, folder)
    before = frozen(lake.folder)
    assert apply(copy.config, copy.registry, source=None, target=None, allow_missing=False).done
    assert frozen(lake.folder) == before
    return copy


def ids(query: Query, table: str = TABLE) -> list[tuple[Any, ...]]:
    return sorted(query(f"SELECT id FROM {table}"))


@pytest.mark.parametrize("version", ["spark35", "spark41"])
def test_what_spark_had_deleted_stays_deleted_in_a_copy_and_all_snapshots_are_read(
    request: pytest.FixtureRequest, tmp_path: Path, version: str
) -> None:
    spark: NewSpark = request.getfixturevalue(version)
    lake = lived_in(tmp_path / "lake")
    there = spark(spark_session.sqlite_catalog(lake.folder / "warehouse")).query
    there(f"ALTER TABLE {TABLE} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
    for number in (0, 2):
        there(f"DELETE FROM {TABLE} WHERE id = '{ids(there)[number][0]}'")
    expected, before = ids(there), ids(there, f"{TABLE} VERSION AS OF 'before'")
    assert expected not in ([], before)

    copy = copied(lake, tmp_path / "copy")
    here = spark(spark_session.sqlite_catalog(copy.folder / "warehouse")).query
    assert ids(here) == expected
    assert ids(here, f"{TABLE} VERSION AS OF 'before'") == before
    for (snapshot,) in there(f"SELECT snapshot_id FROM rover.rover.{TABLE}.snapshots"):
        assert ids(here, f"{TABLE} VERSION AS OF {snapshot}") == ids(there, f"{TABLE} VERSION AS OF {snapshot}")
    here(f"CALL rover.system.rewrite_data_files(table => 'rover.rover.{TABLE}', options => map('rewrite-all', 'true'))")
    here(f"CALL rover.system.rewrite_manifests('rover.rover.{TABLE}')")
    assert ids(here) == expected
    copy.compact(datasets=BOTH)
    assert ids(here) == expected


def test_what_trino_had_deleted_stays_deleted_in_a_copy(trino: NewTrino, tmp_path: Path) -> None:
    lake = lived_in(tmp_path / "lake")
    there = trino(trino_server.sqlite_catalog(lake.folder / "warehouse")).query
    there(f"DELETE FROM {TABLE} WHERE id = '{ids(there)[1][0]}'")
    expected = ids(there)

    copy = copied(lake, tmp_path / "copy")
    here = trino(trino_server.sqlite_catalog(copy.folder / "warehouse")).query
    assert ids(here) == expected
    here(f"DELETE FROM {TABLE} WHERE id = '{expected[0][0]}'")
    here(f"ALTER TABLE {TABLE} EXECUTE optimize")
    assert ids(here) == expected[1:]

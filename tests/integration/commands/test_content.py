"""verify --content: values that were changed, swapped or lost in the data files of any table, and who changed them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.reports.report import Check
from tests.support.damage import (
    EVENTS,
    PAST,
    STATE,
    a_file_of,
    append,
    delete,
    failed,
    flip_at,
    path_of,
    rows_of,
    run_repair,
    with_column,
)
from tests.support.lake import Lake
from tests.support.warehouse import delete_by_position

pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")

TEXTS = {PAST: "rover_id", EVENTS: "rover_id", STATE: "rover_id", FILES: "run_id", QUARANTINE: "run_id", RUNS: "verb"}
"""A column of each table whose value no sum depends on."""
CONTENT, OTHERS = "content of each file", "rows changed by other engines"


def checks(lake: Lake, name: str) -> dict[str, Check]:
    report = verify(lake.config, lake.registry, rebuild=False, content=True)
    return {check.table: check for check in report.checks if check.name == name}


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes a data file again, in its place, as Parquet of the same columns and of the same size."""
    size, rows, padding = path.stat().st_size, change(pq.read_table(path)), 64
    for _ in range(3):  # the length of the padding takes a byte or two itself
        with pq.ParquetWriter(
            path, rows.schema, compression="zstd", use_dictionary=False, store_schema=False
        ) as writer:
            writer.write_table(rows)
            writer.add_key_value_metadata({"padding": "x" * padding})
        padding += size - path.stat().st_size
    assert path.stat().st_size == size, "its size alone would give the change away"


def with_another_value(column: str) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        values = [*rows[column].to_pylist()[:-1], "another"]
        place = rows.schema.get_field_index(column)
        return rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))

    return change


@pytest.mark.parametrize("table", [*TEXTS])
def test_a_value_that_was_changed_in_a_file_of_any_table_is_found_and_the_file_named(
    to_damage: Lake, table: str
) -> None:
    path = a_file_of(to_damage, table, "data file")
    rewrite(path, with_another_value(TEXTS[table]))
    found = checks(to_damage, CONTENT)
    assert [name for name, check in found.items() if not check.ok] == [table]
    assert f"such as file://{path}" in found[table].detail or f"such as {path}" in found[table].detail


def test_rows_that_were_lost_or_swapped_within_a_file_and_files_that_were_swapped_are_found(to_damage: Lake) -> None:
    lake = to_damage
    files = sorted(lake.tables.table(EVENTS).files, key=lambda file: -file.record_count)
    first, second, third, fourth = map(path_of, files[:4])
    rewrite(first, lambda rows: rows.slice(1))

    def swapped(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index("rover_id")
        return rows.set_column(place, rows.schema.field(place), rows["rover_id"].take(pa.array(range(len(rows))[::-1])))

    rewrite(second, swapped)
    saved = third.read_bytes()
    third.write_bytes(fourth.read_bytes())
    fourth.write_bytes(saved)
    found = checks(lake, CONTENT)[EVENTS]
    assert not found.ok
    assert f"{len(files)} files, 4 not as they were written" in found.detail


def test_a_changed_file_of_a_history_keeps_the_current_table_from_being_derived_from_it(to_damage: Lake) -> None:
    lake = to_damage
    path = a_file_of(lake, PAST, "data file")
    saved = path.read_bytes()
    rewrite(path, with_another_value("rover_id"))
    row = rows_of(lake, STATE).to_pylist()[0]
    delete(lake, STATE, f"id = '{row['id']}'")

    report = run_repair(lake, yes=True)

    assert report.exit_code == 1
    assert [each for each in report.repairs or () if each.done] == []
    named = next(each for each in report.repairs or () if each.table == PAST)
    assert "rows are not as they were written, such as" in named.wrong
    assert path.name in named.wrong
    assert f"{pq.read_metadata(path).num_rows} rows" in named.wrong
    assert "from the bucket's versions or a backup" in named.action
    path.write_bytes(saved)
    assert run_repair(lake, yes=True).exit_code == 0


def test_a_changed_file_of_a_current_table_is_derived_from_the_history(to_damage: Lake) -> None:
    lake = to_damage
    rewrite(a_file_of(lake, STATE, "data file"), with_another_value("rover_id"))
    assert (STATE, CONTENT) in failed(run_repair(lake, yes=False))
    report = run_repair(lake, yes=True)
    assert report.exit_code == 0, failed(report)
    assert lake.current(STATE) == lake.model.current(STATE)


def test_values_that_another_engine_has_changed_are_found_until_they_are_put_back(to_damage: Lake) -> None:
    lake = to_damage
    row = rows_of(lake, EVENTS).slice(3, 1)
    (id_,) = row["id"].to_pylist()
    delete(lake, EVENTS, f"id = '{id_}'")
    append(lake, EVENTS, with_column(row, "rover_id", pa.array(["another"])))
    found = checks(lake, OTHERS)[EVENTS]
    assert (found.ok, found.detail) == (False, "2 commits by other engines; 1 rows changed, 0 added, 0 deleted")
    step = next(
        each for each in run_repair(lake, yes=False).repairs or () if "changed the values of 1 rows" in each.wrong
    )
    before = int(step.action.split("VERSION AS OF ")[1].split("`")[0])
    then = lake.tables.load_iceberg(EVENTS).scan(snapshot_id=before).to_arrow()
    delete(lake, EVENTS, f"id = '{id_}'")
    append(lake, EVENTS, then.filter(pc.field("id") == id_))
    assert run_repair(lake, yes=False).exit_code == 0


def test_rows_that_another_engine_writes_again_unchanged_or_deletes_are_no_change(to_damage: Lake) -> None:
    lake = to_damage
    table = lake.tables.load_iceberg(EVENTS)
    rows = table.scan().to_arrow()
    table.overwrite(rows.slice(1))
    found = checks(lake, OTHERS)[EVENTS]
    assert found.ok
    assert found.detail.endswith("0 rows changed, 0 added, 1 deleted")
    content = checks(lake, CONTENT)[EVENTS]
    assert content.ok
    files = len(lake.tables.table(EVENTS).files)
    assert content.detail == (
        f"{files} files, 0 not as they were written; {files} have no recorded hash and are not checked"
    )


def test_rows_that_another_engine_deletes_by_position_stay_in_a_file_that_is_sound(to_damage: Lake) -> None:
    lake = to_damage
    delete_by_position(lake.tables.load_iceberg(EVENTS), lake.tables.table(EVENTS).files[0], [0])
    found = checks(lake, CONTENT)[EVENTS]
    assert found.ok
    assert found.detail.endswith("another engine has deleted rows by position, which stay in the files")
    assert EVENTS not in checks(lake, OTHERS)


def test_a_flipped_byte_is_never_read_as_another_value_where_a_file_is_written_again(to_damage: Lake) -> None:
    """Else a damaged value would look as sound as any other from then on."""
    table = to_damage.tables.table(EVENTS)
    file = max(table.files, key=lambda file: file.record_count)
    path, names = path_of(file), table.schema.names
    sound, data = pq.read_table(path), path.read_bytes()
    silent = []
    for place in range(4, len(data) // 2, 5):
        flip_at(path, place)
        with suppress(Exception):
            if not pq.read_table(path).equals(sound):
                silent.append(place)
        path.write_bytes(data)
    assert len(silent) > 5, "most flips are errors by themselves: the test shows too little"
    for place in silent:
        flip_at(path, place)
        with pytest.raises(Exception, match=r"checksum|damaged"):
            table.scan(names, paths=[file.file_path]).batches.read_all()
        path.write_bytes(data)

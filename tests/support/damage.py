"""What other engines, and storage, do to tables: damage for `verify --repair`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from compactor.commands.verify.repair import repair
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.publish import protocol
from compactor.reports.report import VerifyReport
from tests.support.crashes import CrashError
from tests.support.histories import History
from tests.support.lake import Lake

STATE, EVENTS = "fan_identity_graph", "fan_track_events"


PAST = f"{STATE}_history"


DATASETS = (STATE, EVENTS)


LATER = dt.timedelta(days=30)


def run_repair(lake: Lake, *, yes: bool) -> VerifyReport:
    return repair(lake.config, lake.registry, yes=yes)


def failed(report: VerifyReport) -> set[tuple[str, str]]:
    """(table, check) of the checks that failed."""
    return {(check.table, check.name) for check in report.checks if not check.ok}


def rows_of(lake: Lake, table: str) -> pa.Table:
    return lake.tables.load_iceberg(table).scan().to_arrow()


def append(lake: Lake, table: str, rows: pa.Table) -> None:
    loaded = lake.tables.load_iceberg(table)
    loaded.append(rows.cast(loaded.schema().as_arrow()))


def delete(lake: Lake, table: str, condition: str) -> None:
    lake.tables.load_iceberg(table).delete(condition)


def drop(lake: Lake, table: str) -> None:
    lake.catalog.drop_table(f"{lake.config.namespace}.{table}")


def with_column(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, name, values.cast(rows.schema.field(name).type))


def key_is(row: dict[str, Any]) -> str:
    return f"identifier_type = '{row['identifier_type']}' and identifier_value = '{row['identifier_value']}'"


def path_of(file: Any) -> Path:
    return Path(file.file_path.removeprefix("file://"))


def a_past_row(lake: Lake) -> pa.Table:
    """A record that is not current, of a key that has a current row."""
    current = rows_of(lake, STATE)
    past = rows_of(lake, PAST)
    old = past.filter(pc.invert(pc.is_in(past["id"], current["id"])))
    old = old.filter(pc.is_in(old["identifier_value"], current["identifier_value"]))
    kinds = {(row["identifier_type"], row["identifier_value"]) for row in current.to_pylist()}
    number = next(
        n for n, row in enumerate(old.to_pylist()) if (row["identifier_type"], row["identifier_value"]) in kinds
    )
    return old.slice(number, 1)


# What other engines, and storage, do to tables.


def repeat_records(lake: Lake) -> None:
    append(lake, PAST, rows_of(lake, PAST).slice(0, 5))


def repeat_records_with_later_content(lake: Lake) -> None:
    rows = rows_of(lake, PAST)
    rows = with_column(rows, "emitted_at", pc.add(rows["emitted_at"], LATER))
    append(lake, PAST, with_column(rows, "updated_at", pc.add(rows["updated_at"], LATER)))


def repeat_records_with_greater_content(lake: Lake) -> None:
    """At the same time: the smaller canonical JSON stays. Done twice, so that ids have three rows."""
    rows = rows_of(lake, PAST).slice(0, 7)
    rows = with_column(rows, "rover_id", pc.binary_join_element_wise(rows["rover_id"], "~", ""))
    append(lake, PAST, rows)
    append(lake, PAST, rows)


def repeat_events(lake: Lake) -> None:
    append(lake, EVENTS, rows_of(lake, EVENTS).slice(3, 4))


def delete_current_rows(lake: Lake) -> None:
    for row in rows_of(lake, STATE).slice(0, 2).to_pylist():
        delete(lake, STATE, key_is(row))


def put_back_an_old_record(lake: Lake) -> None:
    old = a_past_row(lake)
    delete(lake, STATE, key_is(old.to_pylist()[0]))
    append(lake, STATE, old)


def raise_the_dead(lake: Lake) -> None:
    past = rows_of(lake, PAST)
    alive = {key_is(row) for row in rows_of(lake, STATE).to_pylist()}
    number = next(n for n, row in enumerate(past.to_pylist()) if key_is(row) not in alive)
    append(lake, STATE, past.slice(number, 1))


def add_a_foreign_row(lake: Lake) -> None:
    row = rows_of(lake, STATE).slice(0, 1)
    row = with_column(row, "id", pa.array(["foreign"]))
    append(lake, STATE, with_column(row, "identifier_value", pa.array(["nobody"])))


def repeat_current_rows(lake: Lake) -> None:
    append(lake, STATE, rows_of(lake, STATE).slice(1, 3))


def change_a_key(lake: Lake) -> None:
    row = rows_of(lake, STATE).slice(2, 1)
    delete(lake, STATE, key_is(row.to_pylist()[0]))
    append(lake, STATE, with_column(row, "identifier_value", pa.array(["another"])))


def change_a_value(lake: Lake) -> None:
    row = rows_of(lake, STATE).slice(3, 1)
    delete(lake, STATE, key_is(row.to_pylist()[0]))
    append(lake, STATE, with_column(row, "rover_id", pa.array(["another"])))


def lose_a_current_file(lake: Lake) -> None:
    path_of(lake.tables.table(STATE).files[0]).unlink()


def lose_all_current_files(lake: Lake) -> None:
    for file in lake.tables.table(STATE).files:
        path_of(file).unlink()


def lose_an_older_file(lake: Lake) -> None:
    """One that older snapshots of the current table refer to, and the newest does not."""
    repeat_current_rows(lake)
    added = {path_of(file) for file in lake.tables.table(STATE).files}
    run_repair(lake, yes=True)
    next(iter(added - {path_of(file) for file in lake.tables.table(STATE).files})).unlink()


def drop_the_current_table(lake: Lake) -> None:
    drop(lake, STATE)


def repeat_accounts(lake: Lake) -> None:
    append(lake, FILES, rows_of(lake, FILES).slice(0, 3))
    rows = rows_of(lake, QUARANTINE).slice(0, 2)
    append(lake, QUARANTINE, with_column(rows, "run_id", pa.array(["an older run"] * 2)))


def stop_in_the_middle_of_a_batch(lake: Lake) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "merge_current", crash)
        with pytest.raises(CrashError):
            deliver_and_compact(lake, 7, (STATE,))


ALONE: dict[Callable[[Lake], None], set[str]] = {
    repeat_records: {PAST},
    repeat_records_with_later_content: {PAST, STATE},
    repeat_records_with_greater_content: {PAST, STATE},
    repeat_events: {EVENTS},
    delete_current_rows: {STATE},
    put_back_an_old_record: {STATE},
    raise_the_dead: {STATE},
    add_a_foreign_row: {STATE},
    repeat_current_rows: {STATE},
    change_a_key: {STATE},
    change_a_value: {STATE},
    lose_a_current_file: {STATE},
    lose_all_current_files: {STATE},
    lose_an_older_file: {STATE},
    drop_the_current_table: {STATE},
    repeat_accounts: {FILES, QUARANTINE},
    stop_in_the_middle_of_a_batch: {PAST, STATE},
}


TOGETHER = [
    (repeat_records_with_later_content, repeat_events, delete_current_rows, repeat_accounts, lose_a_current_file),
    (
        repeat_current_rows,
        change_a_value,
        put_back_an_old_record,
        raise_the_dead,
        add_a_foreign_row,
        change_a_key,
        stop_in_the_middle_of_a_batch,
        repeat_records_with_greater_content,
    ),
    (lose_an_older_file, stop_in_the_middle_of_a_batch, lose_all_current_files, repeat_records),
    (drop_the_current_table, repeat_events),
]


def crash(*_: Any, **__: Any) -> None:
    raise CrashError


def deliver_and_compact(lake: Lake, seed: int, datasets: tuple[str, ...] = DATASETS) -> None:
    for number, delivery in enumerate(History(seed, datasets=datasets, entities=8).deliveries(4, 15)):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=f"{seed}-{number}")
    lake.compact(full_scan=True)


# What storage does to files.


KINDS = ("data file", "manifest", "manifest list", "metadata file")


def a_file_of(lake: Lake, table: str, kind: str) -> Path:
    """A file that the table as it is now needs."""
    iceberg = lake.tables.load_iceberg(table)
    snapshot = iceberg.current_snapshot()
    assert snapshot is not None
    paths = {
        "data file": lambda: lake.tables.table(table).files[0].file_path,
        "manifest": lambda: snapshot.manifests(iceberg.io)[0].manifest_path,
        "manifest list": lambda: snapshot.manifest_list,
        "metadata file": lambda: iceberg.metadata_location,
    }
    return Path(paths[kind]().removeprefix("file://"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """A third of its end is lost."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def flip(path: Path) -> None:
    """One byte in its middle is another."""
    flip_at(path, len(path.read_bytes()) // 2)


def flip_at(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))


INJURIES: dict[str, Callable[[Path], None]] = {"empty": empty, "cut": cut, "flipped": flip}

"""verify: counts that were moved between objects, lines or runs, and counts that are right after any work of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.progress import NullProgress
from compactor.publish.moved import moved_rows
from tests.support.damage import EVENTS, STATE, append, delete, failed, rows_of, run_repair
from tests.support.lake import Lake

pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")

LINES, NEW, RUN = "rows = quarantined lines of the ledger", "rows = new lines of the ledger", "each run = its objects"


def change(lake: Lake, table: str, row: Mapping[str, Any], **values: Any) -> None:
    """Another engine writes other values into a row."""
    keys = [name for name in ("run_id", "dataset", "key", "etag", "source_file", "source_line") if name in row]
    quoted = [f"{name} = {row[name]}" if name == "source_line" else f"{name} = '{row[name]}'" for name in keys]
    delete(lake, table, " and ".join(quoted))
    schema = lake.tables.load_iceberg(table).schema().as_arrow()
    append(lake, table, pa.Table.from_pylist([{**row, **values}], schema=schema))


def of(lake: Lake, table: str, dataset: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = rows_of(lake, table).filter(pc.field("dataset") == dataset).to_pylist()
    return rows


def found(lake: Lake) -> set[tuple[str, str]]:
    return failed(verify(lake.config, lake.registry, rebuild=False))


def assert_shown_by_its_query(lake: Lake, table: str) -> None:
    """The plan's query for a table shows what is wrong."""
    plan = [each for each in run_repair(lake, yes=False).repairs or () if each.table == table]
    statements = [sql for each in plan for sql in re.findall(r'compactor query "([^"]+)"', each.action)]
    assert statements
    for sql in statements:
        with query(lake.config, lake.registry, sql) as reader:
            assert reader.read_all().num_rows >= 1


def test_a_rejected_line_that_was_moved_to_another_object_is_found(to_damage: Lake) -> None:
    lake = to_damage
    line = of(lake, QUARANTINE, STATE)[0]
    other = next(row for row in of(lake, FILES, STATE) if row["key"] != line["source_file"])
    change(lake, QUARANTINE, line, source_file=other["key"], etag=other["etag"])
    assert found(lake) == {(QUARANTINE, LINES)}
    assert_shown_by_its_query(lake, QUARANTINE)


def test_counts_that_were_moved_between_objects_are_found(to_damage: Lake) -> None:
    lake = to_damage
    objects = of(lake, FILES, EVENTS)
    run_id = objects[0]["run_id"]
    less, more = sorted((row for row in objects if row["run_id"] == run_id), key=lambda row: -row["new"])[:2]
    change(lake, FILES, less, new=less["new"] - 1, lines=less["lines"] - 1)
    change(lake, FILES, more, new=more["new"] + 1, lines=more["lines"] + 1)
    assert found(lake) == {(EVENTS, NEW)}
    assert_shown_by_its_query(lake, FILES)


@pytest.mark.parametrize(
    "more",
    [
        {"new": 1},
        {"new": 1, "duplicates": -1},
        {"new": 1, "lines": 1},
        {"objects": 1, "lines": 1, "new": 1},
        {"objects": -1},
    ],
    ids="-".join,
)
def test_a_run_that_has_other_counts_than_its_objects_is_found(to_damage: Lake, more: Mapping[str, int]) -> None:
    lake = to_damage
    row = of(lake, RUNS, STATE)[0]
    change(lake, RUNS, row, **{name: row[name] + number for name, number in more.items()})
    assert found(lake) == {(RUNS, RUN)}


def test_a_run_that_has_two_rows_is_found_and_repaired(to_damage: Lake) -> None:
    lake = to_damage
    append(lake, RUNS, rows_of(lake, RUNS).slice(0, 2))
    assert found(lake) == {(RUNS, "each run once")}
    report = run_repair(lake, yes=True)
    assert (report.exit_code, [each.table for each in report.repairs or () if each.done]) == (0, [RUNS])


def test_records_that_were_replaced_by_another_object_and_replayed_lines_are_no_difference(to_damage: Lake) -> None:
    """The newer object has the rows, and the older one counts them as new."""
    lake = to_damage
    before = moved_rows(lake.tables.table(EVENTS))
    assert before is not None
    lines = [
        {
            "id": row["id"],
            "version": 1,
            "roverID": row["rover_id"],
            "emittedAt": "2001-01-01T00:00:00.000Z",
            "occurredAt": f"{row['occurred_at']:%Y-%m-%dT%H:%M:%S}.000Z",
        }
        for row in rows_of(lake, EVENTS).to_pylist()[:2]
    ]
    key = lake.deliver_unmodelled(EVENTS, [json.dumps(line).encode() for line in lines], hour="2026-11-09T05")
    lake.compact(full_scan=True)
    assert [row["source_file"] for row in rows_of(lake, EVENTS).to_pylist()].count(key) == 2
    assert moved_rows(lake.tables.table(EVENTS)) == before + 2
    replay(lake.config, lake.registry, progress=NullProgress())
    assert found(lake) == set()
    first, second = sorted(of(lake, FILES, EVENTS), key=lambda row: -row["new"])[:2]
    number = first["new"]
    assert number > 2 * (before + 2), "so many rows may name another object"
    change(lake, FILES, first, new=0, lines=first["lines"] - number)
    change(lake, FILES, second, new=second["new"] + number, lines=second["lines"] + number)
    assert (EVENTS, NEW) in found(lake)

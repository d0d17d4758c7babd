"""replay, verify, status, query, and what a run lists: on real tables."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, UsageError
from compactor.progress import NullProgress
from compactor.registry.loader import load
from compactor.source import Hour
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake


def event(number: int, *, version: int = 1, hour: int = 5, **fields: str) -> bytes:
    more = "".join(f',"{name}":"{value}"' for name, value in fields.items())
    moment = f"2026-11-01T{hour:02d}:00:00Z"
    return (
        f'{{"id":"e{number}","version":{version},"roverID":"f","emittedAt":"{moment}","event":"App Opened",'
        f'"occurredAt":"{moment}"{more}}}'
    ).encode()


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def add_version_two(schemas: Path) -> None:
    file = schemas / "fan_track_events.yaml"
    file.write_text(f"{file.read_text()}  2:\n    changes: [{{add: {{field: screen, type: string}}}}]\n")


def test_replayed_lines_end_as_if_they_had_come_in_order(tmp_path: Path, schemas: Path) -> None:
    lake = Lake(tmp_path, schemas=schemas)
    lake.deliver("fan_track_events", [event(1), event(2, version=2), b"garbage", event(2, version=2)])
    lake.deliver("fan_track_events", [event(3), event(4, version=2, colour="red")], part="b")
    report = lake.compact(datasets=("fan_track_events",))
    assert (report.datasets[0].new, report.datasets[0].quarantined, report.exit_code) == (2, 4, 3)

    add_version_two(schemas)
    registry = load(schemas)
    assert replay(lake.config, registry, progress=NullProgress()).exit_code == 3, "the tables do not have it yet"
    migrate.apply(lake.config, registry, plan_id=None, progress=NullProgress())
    report = replay(lake.config, registry, progress=NullProgress())
    found = next(dataset for dataset in report.datasets if dataset.dataset == "fan_track_events")
    assert (found.lines, found.new, found.duplicates, found.quarantined) == (4, 2, 1, 1)
    assert found.unknown_fields == 1
    assert sorted(lake.history("fan_track_events")) == ["e1", "e2", "e3", "e4"]
    assert [row["reason"] for row in lake.quarantine()] == ["not_json"]
    assert {(row["lines"], row["new"], row["duplicates"], row["quarantined"]) for row in lake.ledger()} == {
        (4, 2, 1, 1),
        (2, 2, 0, 0),
    }
    assert verify(lake.config, registry, rebuild=True).exit_code == 0
    again = replay(lake.config, registry, progress=NullProgress())
    assert sum(dataset.new + dataset.duplicates for dataset in again.datasets) == 0


@pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")  # the library's writer, which only tests use
def test_verify_finds_a_duplicate_row_and_a_missing_row(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for delivery in History(3, datasets=("fan_profiles",), replaces=False).deliveries(2, 30):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    lake.compact()
    assert verify(lake.config, lake.registry, rebuild=True).exit_code == 0
    history, current = lake.tables.load_iceberg("fan_profiles_history"), lake.tables.load_iceberg("fan_profiles")
    rows = history.scan().to_arrow()
    history.append(rows.slice(0, 1))
    current.delete(f"rover_id = '{current.scan().to_arrow()['rover_id'][0].as_py()}'")
    report = verify(lake.config, lake.registry, rebuild=True)
    failed = {(check.table, check.name) for check in report.checks if not check.ok}
    assert failed == {
        ("fan_profiles_history", "each record once"),
        ("fan_profiles_history", "rows = new lines of the ledger"),
        ("fan_profiles", "current = what history says"),
    }
    assert report.exit_code == 1


def test_a_night_lists_from_the_window_before_the_newest_hour_and_a_full_scan_everything(tmp_path: Path) -> None:
    lake = Lake(tmp_path, settings="")
    lake.deliver("fan_track_events", [event(1)], hour="2026-11-10T05")
    lake.compact()
    lake.deliver("fan_track_events", [event(2)], hour="2026-11-01T05")  # older than the window of 48 hours
    lake.deliver("fan_track_events", [event(3)], hour="2026-11-08T06")
    lake.compact()
    assert sorted(lake.history("fan_track_events")) == ["e1", "e3"]
    lake.compact(full_scan=True)
    assert sorted(lake.history("fan_track_events")) == ["e1", "e2", "e3"]


def test_chosen_hours_leave_no_gap_behind(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_track_events", [event(1)], hour="2026-11-01T05")
    lake.deliver("fan_track_events", [event(2)], hour="2026-11-20T05")
    lake.compact(start=Hour("2026-11-15", 0))
    assert sorted(lake.history("fan_track_events")) == ["e2"]
    lake.compact()
    assert sorted(lake.history("fan_track_events")) == ["e1", "e2"]


def test_an_object_left_pending_is_tried_again_however_old_it_gets(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    key = lake.deliver("fan_track_events", [], hour="2026-11-01T05", raw=b"not gzip")
    lake.deliver("fan_track_events", [event(1)], hour="2026-11-20T05")
    report = lake.compact()
    assert [failed for dataset in report.datasets for failed, _ in dataset.failed] == [key]
    assert report.exit_code == 1
    lake.deliver("fan_track_events", [event(2)], hour="2026-11-01T05")
    lake.deliver("fan_track_events", [event(3)], hour="2026-11-21T05")
    assert lake.compact().exit_code == 0
    assert sorted(lake.history("fan_track_events")) == ["e1", "e2", "e3"]


def test_status_reports_rows_pending_objects_and_quarantine(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_track_events", [event(1), event(2, hour=7), b"x"])
    assert status(lake.config, lake.registry).pending["fan_track_events"].objects == 1
    lake.compact()
    found = status(lake.config, lake.registry)
    table = next(table for table in found.tables if table.table == "fan_track_events")
    assert (table.rows, str(table.newest)) == (2, "2026-11-01 07:00:00+00:00")
    assert found.pending["fan_track_events"].objects == 0
    assert found.quarantine == {"fan_track_events": {"not_json": 1}}
    assert {run["dataset"]: run["lines"] for run in found.runs if run["lines"]} == {"fan_track_events": 3}


def test_status_reports_the_newest_day_of_a_dataset_that_is_ordered_by_a_date(tmp_path: Path, schemas: Path) -> None:
    (schemas / "days.yaml").write_text(
        "dataset: days\nkind: state\nkey: [seat]\norder: day\nversions:\n  1:\n    fields:\n"
        "      id: {type: string, required: true}\n      version: {type: long, required: true}\n"
        "      emittedAt: {type: timestamp, required: true}\n      seat: {type: string, required: true}\n"
        "      day: {type: date, required: true}\n"
    )
    lake = Lake(tmp_path, schemas=schemas)
    line = '{"id":"%s","version":1,"emittedAt":"2026-11-01T05:00:00Z","seat":"a","day":"%s"}'
    lake.deliver_unmodelled("days", [(line % pair).encode() for pair in (("1", "0001-01-01"), ("2", "9999-12-31"))])
    lake.compact(datasets=("days",))
    found = {table.table: table for table in status(lake.config, lake.registry).tables}
    assert found["days"].newest == datetime(9999, 12, 31, tzinfo=UTC)
    assert found["days_history"].rows == 2


def test_query_answers_sql_over_the_tables_and_explains_mistakes(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(CompactorError, match="run `compactor compact` first"):
        query(lake.config, lake.registry, "select 1")
    lake.deliver("fan_track_events", [event(1), event(2), event(2)])
    lake.compact()
    sql = "select event, count(*) as n from fan_track_events group by event"
    assert query(lake.config, lake.registry, sql).read_all().to_pylist() == [{"event": "App Opened", "n": 2}]
    for wrong in ("select nothing from fan_track_events", "select * from nowhere", "selec 1", "drop view fan_profiles"):
        with pytest.raises(UsageError):
            query(lake.config, lake.registry, wrong)


@pytest.mark.parametrize(
    "partition",
    ["month(at)", "bucket(4, shop)", "bucket(4, at)", "bucket(4, day)", "bucket(4, price)", "none", "day(at)"],
)
def test_a_fifth_dataset_needs_a_yaml_file_and_no_code(tmp_path: Path, schemas: Path, partition: str) -> None:
    (schemas / "ticket_sales.yaml").write_text(
        f"""
dataset: ticket_sales
kind: state
key: [shop, seat]
order: at
delete: {{column: state, equals: [cancelled, refunded]}}
tables:
  current: {{partition: "{partition}", sort: [shop]}}
  history: {{partition: "{partition}", sort: [shop, at]}}
promote:
  - {{from: details, key: tier, column: tier, type: long}}
  - {{from: extra, key: gate, column: gate, type: string}}
versions:
  1:
    fields:
      saleID: {{column: id, type: string, required: true}}
      schema: {{column: version, type: long, required: true}}
      sentAt: {{column: emitted_at, type: timestamp, required: true}}
      shop: {{type: string, required: true}}
      seat: {{type: long, required: true}}
      state: string
      price: "decimal(8,2)"
      weight: double
      paid: boolean
      day: date
      at: {{type: timestamp, required: true}}
      details: map
"""
    )
    lake = Lake(tmp_path, schemas=schemas)

    def sale(number: int, seat: int, state: str, day: int) -> bytes:
        return (
            f'{{"saleID":"s{number}","schema":1,"sentAt":"2026-11-{day:02d}T00:00:00Z","shop":"north","seat":{seat},'
            f'"state":"{state}","price":12.5,"weight":1e3,"paid":true,"day":"2026-11-{day:02d}",'
            f'"at":"2026-11-{day:02d}T10:00:00Z","details":{{"tier":{number}}},"gate":"g{number}"}}'
        ).encode()

    lake.deliver_unmodelled("ticket_sales", [sale(1, 1, "sold", 1), sale(2, 2, "sold", 1), sale(3, 1, "sold", 9)])
    lake.compact(datasets=("ticket_sales",))
    lake.deliver_unmodelled("ticket_sales", [sale(4, 2, "refunded", 3), sale(5, 3, "sold", 3)], part="b")
    lake.compact(datasets=("ticket_sales",))
    assert sorted((row["seat"], row["id"], row["tier"], row["gate"]) for row in lake.rows("ticket_sales")) == [
        (1, "s3", 3, "g3"),
        (3, "s5", 5, "g5"),
    ]
    row = next(row for row in lake.rows("ticket_sales_history") if row["id"] == "s1")
    assert (str(row["price"]), row["weight"], row["paid"], str(row["day"])) == ("12.50", 1000.0, True, "2026-11-01")
    assert verify(lake.config, lake.registry, rebuild=True).exit_code == 0
    history = lake.tables.load_iceberg("ticket_sales_history")
    filters = ("seat = 1", "shop = 'north'", "at = '2026-11-03T10:00:00+00:00'", "day = '2026-11-01'", "price = 12.50")
    assert [len(history.scan(row_filter=each).to_arrow()) for each in filters] == [2, 5, 2, 2, 5]


def test_a_column_may_be_named_as_what_the_code_calls_its_entries(tmp_path: Path, schemas: Path) -> None:
    file = schemas / "fan_profiles.yaml"
    names = ("e", "r", "f", "c", "k", "v", "who", "rank", "moment", "is_stored")
    file.write_text(file.read_text() + "".join(f"      {name}: long\n" for name in names))
    lake = Lake(tmp_path, schemas=schemas)
    times = '"emittedAt":"2026-11-01T05:00:00Z","updatedAt":"2026-11-01T05:00:00Z"'
    for part in "ba":  # one id and one time, so that the contents decide
        fields = "".join(f',"{name}":{ord(part)}' for name in names)
        line = f'{{"id":"1","version":1,"roverID":"f",{times},"traits":{{"a":1}}{fields},"x":"y"}}'.encode()
        lake.deliver_unmodelled("fan_profiles", [line], part=part)
        lake.compact(datasets=("fan_profiles",))
    for table in ("fan_profiles", "fan_profiles_history"):
        assert [[row[name] for name in names] for row in lake.rows(table)] == [[ord("a")] * len(names)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "device: map",
            "device: map\n      seat: string",
            r"events has no column 'seat', which the registry",
        ),
        (
            "event: {type: string}",
            "event: {type: long}",
            r"column .event. of table \S+ is a string, but the registry says long",
        ),
        (
            "day(occurred_at)",
            "month(occurred_at)",
            r"by day\(occurred_at\), but the registry says month\(occurred_at\)",
        ),
    ],
)
def test_a_registry_that_a_table_does_not_fit_is_refused_before_anything_is_loaded(
    tmp_path: Path, schemas: Path, old: str, new: str, sentence: str
) -> None:
    lake = Lake(tmp_path / "lake", schemas=schemas)
    lake.deliver("fan_track_events", [event(1)])
    lake.compact(datasets=("fan_track_events",))
    file = schemas / "fan_track_events.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    changed = Lake(tmp_path / "lake", schemas=schemas)
    changed.deliver("fan_track_events", [event(2)], part="b")
    with pytest.raises(UsageError, match=sentence):
        changed.compact(datasets=("fan_track_events",))
    assert set(changed.history("fan_track_events")) == {"e1"}


def test_verify_reports_files_that_are_missing_and_files_left_over(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for delivery in History(3, datasets=("fan_profiles",)).deliveries(4, 20):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    lake.compact(datasets=("fan_profiles",))
    checks = verify(lake.config, lake.registry, rebuild=False, files=True).checks
    assert all(check.ok for check in checks)
    assert "files that nothing refers to" not in {check.name for check in checks}

    table = lake.tables.table("fan_profiles_history")
    victim = Path(table.files[0].file_path.removeprefix("file://"))
    (victim.parent / "orphan.parquet").write_bytes(b"x" * 2_000_000)
    victim.unlink()
    report = verify(lake.config, lake.registry, rebuild=False, files=True)
    found = {check.name: check for check in report.checks if check.table == "fan_profiles_history"}
    missing = found["each file is there"]
    assert not missing.ok
    assert missing.detail.endswith(f"1 missing or damaged, such as {victim}, which is missing")
    left = found["files that nothing refers to"]
    assert left.ok
    assert left.detail.startswith("1 files (2.0 MB)")
    assert left.detail.endswith("orphan.parquet; left alone")
    assert (victim.parent / "orphan.parquet").exists()

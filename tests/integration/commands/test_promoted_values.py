"""Promoted and evolved columns of real tables: what fits is exact, what does not is NULL, kept and counted."""

from __future__ import annotations

import io
import json
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from compactor.cli import render
from compactor.commands.drift.drift import drift
from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.lake.table_version import marks
from compactor.progress import NullProgress
from compactor.reports.migration import MigrationReport
from compactor.reports.report import Report
from tests.support.lake import SCHEMAS, Lake
from tests.support.model import Row
from tests.support.odd_json import ODD_SCALARS
from tests.support.promoted import Promoted, of_bare_text, of_each_kind, of_json, with_promoted

PROFILES, EVENTS = "fan_profiles", "fan_track_events"
KEY = "it's {x}"
PROMOTED = (*of_each_kind("traits", KEY, "t"), *of_each_kind("extra", "v", "x"))
EVOLVED = {  # a field -> the value of the records that make a column of it, and the column's type
    "whole": ("7", "long"),
    "number": ("1.5", "double"),
    "flag": ("true", "boolean"),
    "at": ('"2026-11-01T05:00:00Z"', "timestamp"),
    "day": ('"2026-11-01"', "date"),
    "text": ('"gold"', "string"),
}


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def registered(schemas: Path, more: str) -> None:
    text = (SCHEMAS / f"{PROFILES}.yaml").read_text(encoding="utf-8")
    (schemas / f"{PROFILES}.yaml").write_text(text + more, encoding="utf-8")


def promoting(promoted: tuple[Promoted, ...]) -> str:
    return "promote:\n" + "".join(each.yaml for each in promoted)


def profile(name: str, traits: str = "{}", **fields: str) -> bytes:
    """A profile: fields and traits by JSON text."""
    times = '"emittedAt":"2026-11-01T05:00:00Z","updatedAt":"2026-11-01T05:00:00Z"'
    more = "".join(f',"{field}":{text}' for field, text in fields.items())
    return f'{{"id":"{name}","version":1,"roverID":"f{name}",{times},"traits":{traits}{more}}}'.encode()


def odd_profiles() -> list[bytes]:
    return [profile(f"p{number}", f"{{{json.dumps(KEY)}:{text}}}", v=text) for number, text in enumerate(ODD_SCALARS)]


def event(name: str) -> bytes:
    times = '"emittedAt":"2026-11-01T05:00:00Z","occurredAt":"2026-11-01T05:00:00Z"'
    return f'{{"id":"{name}","version":1,"roverID":"f1",{times},"event":"App Opened"}}'.encode()


def apply(lake: Lake) -> MigrationReport:
    return migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress())


def expected(lake: Lake, promoted: tuple[Promoted, ...]) -> dict[str, Row]:
    return {id_: with_promoted(row, promoted) for id_, row in lake.model.history(PROFILES).items()}


def assert_holds(lake: Lake, rows: dict[str, Row]) -> None:
    """The history has these rows, and the current table too: each record is of a fan of its own."""
    for found in (lake.history(PROFILES), {row["id"]: row for row in lake.current(PROFILES).values()}):
        differing = {id_: (found[id_], row) for id_, row in rows.items() if found[id_] != row}
        assert differing == {}
        assert len(found) == len(rows)
    checks = verify(lake.config, lake.registry, rebuild=True).checks
    assert [check for check in checks if not check.ok] == []


def shown(report: Report) -> str:
    out = io.StringIO()
    render.show(report, Console(file=out, width=200, force_terminal=False, highlight=False))
    return out.getvalue()


def test_a_column_holds_the_same_by_compact_and_by_migrate_and_both_count_what_does_not_fit(
    tmp_path: Path, schemas: Path
) -> None:
    registered(schemas, promoting(PROMOTED))
    loaded = Lake(tmp_path / "loaded", schemas=schemas)
    loaded.deliver(PROFILES, odd_profiles())
    report = loaded.compact(datasets=(PROFILES,))
    rows = expected(loaded, PROMOTED)
    assert_holds(loaded, rows)

    registered(schemas, "")
    migrated = Lake(tmp_path / "migrated", schemas=schemas)
    migrated.deliver(PROFILES, odd_profiles())
    migrated.compact(datasets=(PROFILES,))
    registered(schemas, promoting(PROMOTED))
    migrated = Lake(tmp_path / "migrated", schemas=schemas)
    migrated.model = loaded.model
    migration = apply(migrated)
    assert_holds(migrated, rows)

    unfit = {each.column: sum(map(each.is_unfit, rows.values())) for each in PROMOTED}
    unfit = {column: count for column, count in unfit.items() if count}
    (found,) = [each for each in report.datasets if each.dataset == PROFILES]
    assert dict(found.unfit) == dict(migration.unfit[PROFILES]) == unfit
    assert (report.exit_code, migration.exit_code) == (0, 0)


def test_a_column_that_a_run_has_made_holds_what_a_declared_field_would(tmp_path: Path, schemas: Path) -> None:
    registered(schemas, "additive: evolve\n")
    lake = Lake(tmp_path / "lake", schemas=schemas)
    promoted = tuple(Promoted("extra", name, name, kind) for name, (_, kind) in EVOLVED.items())
    usual = {name: text for name, (text, _) in EVOLVED.items()}
    lake.deliver(PROFILES, [profile(f"u{number}", **usual) for number in range(100)])
    lake.compact(datasets=(PROFILES,))
    odd = [profile(f"o{number}", **dict.fromkeys(EVOLVED, text)) for number, text in enumerate(ODD_SCALARS)]
    lake.deliver(PROFILES, odd, part="b")
    report = lake.compact(datasets=(PROFILES,))
    rows = expected(lake, promoted)
    empty = dict.fromkeys(EVOLVED)
    assert_holds(lake, {id_: row | (empty if id_.startswith("u") else {}) for id_, row in rows.items()})
    (found,) = [each for each in report.datasets if each.dataset == PROFILES]
    unfit = {each.column: sum(map(each.is_unfit, rows.values())) for each in promoted if each.kind != "string"}
    assert dict(found.unfit) == unfit

    apply(lake)
    assert_holds(lake, rows)


OUT_OF_RANGE = ("19900-05-01", "0000-01-01", "infinity", "-infinity", "44-03-15 (BC)", "10000-01-01T00:00:00Z")


def test_a_date_that_no_table_can_hold_stops_no_night(tmp_path: Path, schemas: Path) -> None:
    columns = (Promoted("traits", "birthday", "born", "date"), Promoted("traits", "birthday", "born_at", "timestamp"))
    registered(schemas, promoting(columns))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    traits = [json.dumps({"birthday": text}) for text in (*OUT_OF_RANGE, "1990-05-01")]
    lake.deliver(PROFILES, [profile(f"p{number}", each) for number, each in enumerate(traits)])
    lake.deliver(EVENTS, [event("e1")])
    report = lake.compact(datasets=(PROFILES, EVENTS))
    assert report.exit_code == 0
    assert [row["id"] for row in lake.rows(EVENTS)] == ["e1"]
    rows = {row["traits"]["birthday"]: (row["born"], row["born_at"]) for row in lake.rows(PROFILES)}
    assert rows == {**dict.fromkeys(OUT_OF_RANGE, (None, None)), "1990-05-01": (date(1990, 5, 1), None)}
    assert report.to_json()["datasets"][0]["unfit"] == {"born": 6, "born_at": 7}
    said = shown(report)
    assert "fan_profiles: born is NULL in 6 records whose value does not fit its type; the map keeps it\n" in said
    assert not [text for text in OUT_OF_RANGE if text in said]


def test_what_drift_suggests_holds_each_value_that_it_has_seen(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fields = {f"k{number}": text for number, text in enumerate(ODD_SCALARS)}
    traits = "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"
    lake.deliver(PROFILES, [profile("p1", traits, **fields)])
    lake.compact(datasets=(PROFILES,))
    (row,) = lake.model.history(PROFILES).values()
    (found,) = drift(lake.config, lake.registry, datasets=(PROFILES,), min_share=0).datasets
    types = {(each.source, each.key): each.type for each in found.fields if each.source}
    lost = [
        (source, fields[key], kind)
        for (source, key), kind in types.items()
        if kind and (of_json if source == "extra" else of_bare_text)(row[str(source)][key], column_type(kind)) is None
    ]
    assert lost == []
    assert {"string", "long", "double", "boolean", "date", "timestamp", "nested"} <= set(types.values())


def column_type(kind: str) -> str:
    return "string" if kind == "nested" else kind


LOOK_LIKE_NUMBERS = {  # a key -> its value as a trait and as a field, and the type of a column for each
    "osVersion": ('"17.1"', "17.1", ("string", "string")),
    "app_version": ('"17"', "17", ("string", "long")),  # as JSON, it is known to be a whole number
    "OS-Version": ("17.1", '"17.1.2"', ("string", "string")),
    "versions": ("17.1", "17.1", ("double", "double")),
    "digits": ("18446744073709551616", "18446744073709551616", ("string", "string")),
    "huge": ('"1e999"', "1e999", ("string", "string")),
}


def test_a_version_and_a_number_that_a_double_would_change_are_strings(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    traits = ",".join(f'"{key}":{trait}' for key, (trait, _, _) in LOOK_LIKE_NUMBERS.items())
    fields = {key: field for key, (_, field, _) in LOOK_LIKE_NUMBERS.items()}
    lake.deliver(PROFILES, [profile("p1", f"{{{traits}}}", **fields)])
    lake.compact(datasets=(PROFILES,))
    (found,) = drift(lake.config, lake.registry, datasets=(PROFILES,)).datasets
    types = {(each.source, each.key): each.type for each in found.fields if each.source}
    assert {key: (types["traits", key], types["extra", key]) for key in LOOK_LIKE_NUMBERS} == {
        key: expected for key, (_, _, expected) in LOOK_LIKE_NUMBERS.items()
    }


@pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")
def test_a_column_that_older_rules_have_filled_is_filled_again_by_migrate(
    tmp_path: Path, schemas: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spend = (Promoted("traits", "spend", "spend", "long"),)
    registered(schemas, promoting(spend))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    lake.deliver(PROFILES, [profile("p1", '{"spend":1.5}'), profile("p2", '{"spend":7}')])
    lake.compact(datasets=(PROFILES,))
    for name in (f"{PROFILES}_history", PROFILES):
        table = lake.catalog.load_table(f"rover.{name}")
        rounded = [2 if value is None else value for value in table.scan().to_arrow()["spend"].to_pylist()]
        rows = table.scan().to_arrow()
        place = rows.schema.get_field_index("spend")
        table.overwrite(rows.set_column(place, rows.schema.field(place), pa.array(rounded, pa.int64())))
        (key,) = [key for key in marks(lake.registry.get(PROFILES)) if key.endswith("promoted")]
        with table.transaction() as transaction:
            transaction.set_properties({key: table.properties[key].replace(',"exact":true', "")})
    assert {row["id"]: row["spend"] for row in lake.rows(PROFILES)} == {"p1": 2, "p2": 7}

    lake.deliver(PROFILES, [profile("p3", '{"spend":2.5}')], part="b")
    assert lake.compact(datasets=(PROFILES,)).exit_code == 0
    assert "filled by older, inexact rules in the column spend; see `compactor migrate plan`" in caplog.text
    plan = migrate.plan(lake.config, lake.registry)
    assert plan.tables[0].rewritten == ("spend: from traits['spend'] as long",)
    assert shown(apply(lake)).count("spend is NULL in 2 records") == 1
    assert_holds(lake, expected(lake, spend))
    assert migrate.plan(lake.config, lake.registry).tables == ()


def test_a_replayed_line_has_its_values_counted_as_any_other(tmp_path: Path, schemas: Path) -> None:
    registered(schemas, promoting((Promoted("extra", "v", "v", "long"),)))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    late = profile("p1", v='"gold"').replace(b'"version":1', b'"version":2')
    lake.deliver_unmodelled(PROFILES, [late])
    assert lake.compact(datasets=(PROFILES,)).exit_code == 3
    registered(
        schemas,
        "  2:\n    changes: [{add: {field: w, type: long}}]\n" + promoting((Promoted("extra", "v", "v", "long"),)),
    )
    lake = Lake(tmp_path / "lake", schemas=schemas)
    apply(lake)
    report = replay(lake.config, lake.registry, datasets=(PROFILES,), progress=NullProgress())
    assert dict(report.datasets[0].unfit) == {"v": 1}

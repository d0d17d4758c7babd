"""The report of `drift` on real tables. The YAML that it suggests loads, and its columns hold the values."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compactor.cli import render
from compactor.commands.drift import counts
from compactor.commands.drift.drift import drift
from compactor.registry import loader
from compactor.registry.dataset import Promotion
from compactor.registry.fields import type_of
from compactor.reports.data import DatasetDrift, DriftReport, FieldDrift
from tests.support.lake import SCHEMAS, Lake

NEWEST = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENTS, PROFILES = "fan_track_events", "fan_profiles"


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def line(number: int, /, *, ago: float, **fields: Any) -> bytes:
    """A record that was emitted `ago` days before NEWEST. It is valid in both datasets of this module."""
    moment = (NEWEST - timedelta(days=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"id": f"r{number}", "version": 1, "roverID": f"fan{number}", "emittedAt": moment}
    return json.dumps({**record, **fields}, ensure_ascii=False).encode()


def event(number: int, /, *, ago: float, **fields: Any) -> bytes:
    return line(number, ago=ago, occurredAt="2026-11-01T00:00:00Z", **{"event": "App Opened", "device": {}, **fields})


def profile(number: int, traits: dict[str, Any], /, *, ago: float, **fields: Any) -> bytes:
    return line(number, ago=ago, updatedAt="2026-11-01T00:00:00Z", traits=traits, **fields)


def loaded(folder: Path, dataset: str, lines: list[bytes], *, schemas: Path = SCHEMAS) -> Lake:
    lake = Lake(folder, schemas=schemas)
    lake.deliver_unmodelled(dataset, lines)
    assert lake.compact(datasets=(dataset,)).exit_code == 0
    return lake


def seen(lake: Lake, dataset: str, **options: Any) -> DatasetDrift:
    (found,) = drift(lake.config, lake.registry, datasets=(dataset,), **options).datasets
    return found


def by_key(found: DatasetDrift) -> dict[tuple[str | None, str], FieldDrift]:
    fields = {(field.source, field.key): field for field in found.fields}
    assert len(fields) == len(found.fields)
    return fields


def shown(report: DriftReport) -> str:
    out = io.StringIO()
    render.show(report, Console(file=out, width=100, force_terminal=False, highlight=False))
    return out.getvalue()


def test_unknown_fields_are_reported_with_their_types_and_when_they_arrived(tmp_path: Path) -> None:
    lake = loaded(
        tmp_path,
        EVENTS,
        [
            event(1, ago=30, steady="a", gone=1, mixed=1, number=1, empty=None),
            event(2, ago=20, gone=2, mixed="1", number=1.5, sent="2026-11-01T05:00:00+01:00", day="2026-11-01"),
            event(3, ago=7, gone=3, steady="b", event=None, sent="soon", big=2**63),
            event(4, ago=6.99, number=None, nested={"a": 1}, day="2026-11-02", attributes={"a": 1}),
            event(5, ago=0, steady=None, nested=[], fresh=True, event=None),
        ],
    )
    found = seen(lake, EVENTS)

    assert (found.table, found.records, found.newest) == (EVENTS, 5, NEWEST)
    statuses = {key: (each.records, each.types, each.type, each.status) for (_, key), each in by_key(found).items()}
    assert statuses == {
        "event": (3, {"string": 3}, "string", "steady"),
        "attributes": (1, {"map": 1}, "map", "new"),
        "device": (5, {"map": 5}, "map", "steady"),
        "a": (1, {"long": 1}, "long", "new"),
        "steady": (3, {"string": 2, "null": 1}, "string", "steady"),
        "gone": (3, {"long": 3}, "long", "vanished"),
        "number": (3, {"double": 1, "long": 1, "null": 1}, "double", "steady"),
        "mixed": (2, {"long": 1, "string": 1}, None, "conflict"),
        "nested": (2, {"nested": 2}, "nested", "new"),
        "sent": (2, {"string": 2}, "string", "vanished"),
        "day": (2, {"date": 2}, "date", "steady"),
        "empty": (1, {"null": 1}, None, "vanished"),
        "big": (1, {"string": 1}, "string", "vanished"),
        "fresh": (1, {"boolean": 1}, "boolean", "new"),
    }
    gone = by_key(found)["extra", "gone"]
    assert (gone.share, gone.first_seen, gone.last_seen) == (0.6, NEWEST - timedelta(30), NEWEST - timedelta(7))
    assert by_key(seen(lake, EVENTS, days=8))["extra", "gone"].status == "steady"


def test_a_declared_field_that_became_null_has_vanished_and_one_that_never_arrived_is_unseen(
    tmp_path: Path, schemas: Path
) -> None:
    file = schemas / f"{EVENTS}.yaml"
    file.write_text(file.read_text().replace("      device: map", "      device: map\n      seat: string"))
    lines = [event(1, ago=9), event(2, ago=1, event=None), event(3, ago=0, event=None)]
    found = by_key(seen(loaded(tmp_path / "lake", EVENTS, lines, schemas=schemas), EVENTS))
    assert (found[None, "event"].status, found[None, "event"].records) == ("vanished", 1)
    assert (found[None, "seat"].status, found[None, "seat"].records) == ("unseen", 0)
    assert {key for source, key in found if source is None} == {"event", "attributes", "device", "seat"}


def test_bare_texts_have_the_type_that_all_of_them_read_as_else_string(tmp_path: Path) -> None:
    traits: list[dict[str, Any]] = [
        {"n": 1, "five": "5", "mixed": 5, "os": "17.10", "zip": "01234", "flag": True, "at": "2026-11-01 05:00:00.5Z"},
        {"n": 1e30, "five": 5, "mixed": "gold", "os": 17.1, "zip": "5", "flag": None, "at": "2026-11-01T05:00:00Z"},
        {"n": -0.5, "none": "null", "brace": "{no json", "list": [1], "bad": "2026-13-01"},
    ]
    lake = loaded(tmp_path, PROFILES, [profile(n, each, ago=n) for n, each in enumerate(traits)])
    found = by_key(seen(lake, PROFILES))
    assert {key: each.type for (source, key), each in found.items() if source} == {
        "n": "double",
        "five": "long",
        "mixed": "string",
        "os": "string",
        "zip": "string",
        "flag": "boolean",
        "at": "timestamp",
        "none": "string",
        "brace": "string",
        "list": "nested",
        "bad": "string",
    }
    assert found["traits", "mixed"].types == {"long": 1, "string": 1}
    assert not [each for each in found.values() if each.status == "conflict"]


AWKWARD = {
    "loyaltyTier": "gold",
    "yes": "no",
    "id": "an id",
    "extra": 1,
    "source_file": True,
    "promotedAt": "2026-11-01T05:00:00Z",
    "born": "1999-12-31",
    "score": 1.25,
    "Größe: {a, b} #1 'x' \"y\"": "large",
    "2fa": False,
    "tab\tand\nline\u200b": "t",
    "日本": "j",
    "x" * 400: "long name",
    "Loyalty-Tier": "silver",
    "home": {"city": "Oslo"},
    "${HOME}": "no reference",
    "updated_at_day": "as the partition is called",
    "__file": "as the program calls a column of its own",
    "rowid": 7,
    "": "no name",
}


def test_the_suggested_yaml_loads_and_its_columns_hold_the_values(tmp_path: Path, schemas: Path) -> None:
    unknown = {key: value for key, value in AWKWARD.items() if key != "id"}  # which is the record's own
    lines = [profile(number, AWKWARD, ago=number, **unknown) for number in range(3)]
    lake = loaded(tmp_path / "before", PROFILES, lines, schemas=schemas)
    found = seen(lake, PROFILES)
    assert (found.file, found.replaces_promote) == (str(schemas / f"{PROFILES}.yaml"), False)
    with Path(found.file).open("a") as file:
        file.write(found.promote + "\n")
    promoted = loader.load(schemas).get(PROFILES).promoted
    columns = {(each.source, each.key): each.column for each in promoted}
    unwritable = {"", "${HOME}"}
    assert columns.keys() == {
        *(("traits", key) for key in AWKWARD.keys() - unwritable),
        *(("extra", key) for key in unknown.keys() - unwritable),
    }
    assert (columns["traits", "2fa"], columns["traits", "日本"]) == ("key_2fa", "key")
    assert (columns["traits", "id"], columns["traits", "extra"]) == ("traits_id", "traits_extra")
    assert (columns["traits", "__file"], columns["traits", "rowid"]) == ("file", "traits_rowid")
    assert columns["traits", "updated_at_day"] == "traits_updated_at_day"
    assert {column for (_, key), column in columns.items() if key in ("loyaltyTier", "Loyalty-Tier")} == {
        "loyalty_tier",
        "traits_loyalty_tier",
        "extra_loyalty_tier",
        "loyalty_tier_2",
    }

    after = loaded(tmp_path / "after", PROFILES, lines, schemas=schemas)
    expected = {
        **AWKWARD,
        "promotedAt": datetime(2026, 11, 1, 5, tzinfo=UTC),
        "born": datetime(1999, 12, 31, tzinfo=UTC).date(),
        "home": '{"city":"Oslo"}',
    }
    for row in after.rows(PROFILES):
        assert {place: row[column] for place, column in columns.items()} == {
            place: expected[place[1]] for place in columns
        }
    again = seen(after, PROFILES)
    assert again.promote == ""
    assert {(each.source, each.key): each.promoted for each in again.fields if each.promoted} == columns


def test_a_file_with_promotions_gets_the_whole_list_to_paste(tmp_path: Path, schemas: Path) -> None:
    path = schemas / f"{PROFILES}.yaml"
    before = path.read_text()
    path.write_text(before + 'promote:\n  - {from: traits, key: spend, column: money, type: "decimal(8,2)"}\n')
    lines = [profile(number, {"spend": 1.5, "tier": "gold"}, ago=number) for number in range(3)]
    found = seen(loaded(tmp_path / "lake", PROFILES, lines, schemas=schemas), PROFILES)
    assert found.replaces_promote
    assert by_key(found)["traits", "spend"].promoted == "money"
    path.write_text(before + found.promote)
    assert loader.load(schemas).get(PROFILES).promoted == (
        Promotion("traits", "spend", "money", type_of("decimal(8,2)")),
        Promotion("traits", "tier", "tier", type_of("string")),
    )
    assert "instead of its promote:" in shown(DriftReport(7, (found,)))


def test_only_keys_of_one_type_that_still_arrive_often_enough_are_suggested(tmp_path: Path) -> None:
    lines = [event(number, ago=number, often=1, **({"rare": 1} if number == 0 else {})) for number in range(12)]
    lines += [event(100, ago=20, gone=1, mixed=1, none=None), event(101, ago=0, mixed="a", none=None)]
    lake = loaded(tmp_path, EVENTS, lines)
    often, rare = (f"  - {{from: extra, key: {key}, column: {key}, type: long}}" for key in ("often", "rare"))
    assert seen(lake, EVENTS).promote == f"promote:\n{often}\n{rare}"
    assert seen(lake, EVENTS, min_share=10).promote == f"promote:\n{often}"
    assert seen(lake, EVENTS, min_share=100).promote == ""


def test_keys_that_are_data_are_counted_and_never_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_KEYS", 20)
    lines = [profile(n, {f"fan{n}@example.com": 1}, ago=n / 10, plan="a") for n in range(21)]
    lake = loaded(tmp_path, PROFILES, lines)
    report = drift(lake.config, lake.registry, datasets=(PROFILES,))
    (found,) = report.datasets
    assert found.crowded == {"traits": 21}
    assert {(each.source, each.key) for each in found.fields} == {(None, "traits"), ("extra", "plan")}
    text = shown(report)
    assert "traits: 21 distinct keys, so its keys are data, not fields; none of them is listed" in text
    assert "@" not in text + json.dumps(report.to_json())
    monkeypatch.setattr(counts, "MOST_KEYS", 21)
    assert seen(lake, PROFILES).hidden == {"traits": 21}


@pytest.mark.parametrize(
    "key",
    [
        "fan@example.com",
        "+999 55 1234",
        "6f1c2b7e-8a94-4c1e-9d6b-2f0a7c3d5e81",
        "4711",
        "2026-11-01",
        "12.5",
        "https://example.com/fan",
        "member 20261101",
    ],
)
def test_a_key_that_looks_like_a_value_is_counted_and_in_no_report(tmp_path: Path, schemas: Path, key: str) -> None:
    lines = [profile(n, {key: 1, "plan": "a"}, ago=n, **{key: 1}) for n in range(3)]
    lake = loaded(tmp_path / "lake", PROFILES, lines, schemas=schemas)
    report = drift(lake.config, lake.registry, datasets=(PROFILES,))
    (found,) = report.datasets
    assert found.hidden == {"traits": 1, "extra": 1}
    assert {(each.source, each.key) for each in found.fields} == {(None, "traits"), ("traits", "plan")}
    text = shown(report)
    assert "traits: 1 key that looks like a value is not listed" in text
    assert key not in text + json.dumps(report.to_json())


def test_no_value_is_ever_shown(tmp_path: Path) -> None:
    secret = "jane.doe"
    traits = {"mail": secret, "deep": {"a": secret}, "mixed": 1}
    lines = [profile(1, traits, ago=1, note=secret, conflict=1), profile(2, {"mixed": secret}, ago=0, conflict=secret)]
    lake = loaded(tmp_path, PROFILES, lines)
    report = drift(lake.config, lake.registry, datasets=(PROFILES,))
    assert by_key(report.datasets[0])["extra", "conflict"].status == "conflict"
    assert secret not in shown(report) + json.dumps(report.to_json())


def test_a_lake_without_tables_or_without_records_says_so(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    report = drift(lake.config, lake.registry)
    assert (report.datasets, report.exit_code) == ((), 0)
    names = "fan_identity_graph, fan_profile_merges, fan_profiles, fan_track_events"
    assert shown(report) == f"no table yet of {names}; run `compactor compact` first\n"

    lake.compact(datasets=(PROFILES,))
    report = drift(lake.config, lake.registry, datasets=(PROFILES,))
    assert shown(report) == "fan_profiles: no records in fan_profiles_history\n"
    assert report.to_json()["datasets"][0]["newest"] is None


def test_the_report_of_a_table_reads_as_documented(tmp_path: Path) -> None:
    lines = [event(1, ago=30, gone=1), *(event(n, ago=0, sessionID=f"s{n}") for n in (2, 3, 4))]
    lake = loaded(tmp_path, EVENTS, lines)
    assert [text.rstrip() for text in shown(drift(lake.config, lake.registry, datasets=(EVENTS,))).splitlines()] == [
        "fan_track_events, 4 records in fan_track_events up to 2026-11-20 12:00:",
        "in     key         records   share  first       last        types   status",
        "----------------------------------------------------------------------------",
        "-      event             4  100.0%  2026-10-21  2026-11-20  string  steady",
        "-      attributes        0    0.0%  -           -           -       unseen",
        "-      device            4  100.0%  2026-10-21  2026-11-20  map     steady",
        "extra  sessionID         3   75.0%  2026-11-20  2026-11-20  string  new",
        "extra  gone              1   25.0%  2026-10-21  2026-10-21  long    vanished",
        "",
        f"to make columns of keys, paste this into {SCHEMAS / EVENTS}.yaml, at its end;",
        "then `compactor migrate apply` adds them to the table:",
        "promote:",
        "  - {from: extra, key: sessionID, column: session_id, type: string}",
        "",
    ]


def test_a_run_counts_the_records_with_fields_that_the_registry_does_not_know(tmp_path: Path, schemas: Path) -> None:
    path = schemas / f"{EVENTS}.yaml"
    path.write_text(path.read_text() + "promote:\n  - {from: extra, key: seat, column: seat, type: string}\n")
    lake = Lake(tmp_path / "lake", schemas=schemas)
    lake.deliver_unmodelled(EVENTS, [event(1, ago=0, a=1, b=2), event(2, ago=0, seat="4"), event(3, ago=0)])
    lake.deliver_unmodelled(EVENTS, [event(4, ago=0, a=None, seat="5"), b"garbage"], part="b")
    report = lake.compact(datasets=(EVENTS,))
    assert report.datasets[0].unknown_fields == 2
    assert report.to_json()["datasets"][0]["unknown_fields"] == 2
    out = io.StringIO()
    render.show(report, Console(file=out, width=100, force_terminal=False, highlight=False))
    assert "2 records have fields that the registry does not declare; see `compactor drift`\n" in out.getvalue()

    lake.deliver_unmodelled(EVENTS, [event(5, ago=0, seat="6")], part="c")
    out.truncate(0)
    render.show(lake.compact(datasets=(EVENTS,)), Console(file=out, width=100))
    assert "does not know" not in out.getvalue()

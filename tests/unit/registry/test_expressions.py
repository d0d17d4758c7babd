"""Records of older versions in the newest: the rules of a version's changes, in Python, in SQL and in the registry."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.config import Resources
from compactor.decode import exact, rejects
from compactor.duck import session
from compactor.errors import ConfigError
from compactor.registry import expressions, loader
from compactor.registry.dataset import Dataset, Promotion
from compactor.registry.expressions import Column, Converted, Expression, Filled, Joined, Nothing, Part
from compactor.registry.fields import type_of
from compactor.types.casts import conversion, targets
from compactor.types.field_type import LONG, MAP, STRING
from compactor.types.json_values import BadValue
from tests.support.any_record import STEADY, assert_all_agree, records
from tests.support.odd_json import CHAIN


def at(text: str) -> dt.datetime:
    """A timestamp as DuckDB has it: UTC, without a zone."""
    return dt.datetime.fromisoformat(text)


TEXTS = [
    *("", "x", "0", "-0", "7", "007", "7.5", "-7.50", "1e3", "1E400", "9223372036854775807", "9223372036854775808"),
    *("123456789012345678901234567890.123", "0.1", "-0.0", "+1", " 1", "1 ", "NaN", "inf", "true", "false", "True"),
    *("2026-11-01T05:00:00Z", "2026-11-01 05:00:00.123456789Z", "2026-11-01T05:00:00+02:00", "2026-02-30T00:00:00Z"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-11-01", "2026-13-01", "0999-01-01"),
]
SAMPLES: dict[str, list[Any]] = {
    "string": TEXTS,
    "long": [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 1_793_000_000, 1_793_000_000_123, 253_402_300_800, 10**15],
    "double": [0.0, -0.0, 1.0, 1.5, -2.25, 1e15, 1e16, 1e300, 0.001, 5e-324, 2.0**53, 2.0**63, -(2.0**63), 0.1, 1 / 3],
    "boolean": [True, False],
    "timestamp": [at("0001-01-01"), at("2026-11-01T05:00:00.123456"), at("2026-11-01"), at("9999-12-31T23:59:59")],
    "date": [dt.date(1, 1, 1), dt.date(999, 1, 1), dt.date(2026, 2, 28), dt.date(9999, 12, 31)],
    "decimal(10,2)": [Decimal("0.00"), Decimal("1.50"), Decimal("-99999999.99")],
    "decimal(38,20)": [
        Decimal("123456789012345678.12345678901234567890"),
        *(Decimal(number).quantize(Decimal("1e-20")) for number in ("0.1", "7")),
    ],
    "decimal(18,0)": [Decimal(7), Decimal(10**17)],
}
WAYS = [
    (source, to, unit)
    for source in SAMPLES
    for to in SAMPLES
    for unit in (None, "seconds", "milliseconds", "microseconds")
    if source != to and conversion(type_of(source), type_of(to), unit)
]
ROUND_TRIPS = [
    *(("long", "string"), ("boolean", "string"), ("timestamp", "string"), ("date", "string"), ("date", "timestamp")),
    *(
        ("decimal(10,2)", "string"),
        ("decimal(38,20)", "string"),
        ("double", "string"),
        ("decimal(10,2)", "decimal(38,20)"),
    ),
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with session.session(Resources()) as con:
        yield con


def by_value(expression: Expression, value: Any) -> Any:
    """What one value becomes; the class BadValue if it cannot."""
    try:
        return expressions.row({"new": expression}, {"old": value}).get("new")
    except expressions.BadUpgrade:
        return BadValue


def by_sql(con: duckdb.DuckDBPyConnection, expression: Expression, values: list[Any], kind: str) -> list[Any]:
    """What the values become where the SQL is sure; the class Ellipsis's value where it is not."""
    con.execute(f"CREATE OR REPLACE TABLE olds (n INTEGER, old {type_of(kind).duckdb})")
    con.executemany("INSERT INTO olds VALUES (?, ?)", list(enumerate(values)))
    text, conditions = expressions.sql(expression, lambda name: name)
    sure = " AND ".join(["true", *conditions])
    rows = con.execute(f"SELECT {text}, coalesce({sure}, false) FROM olds ORDER BY n").fetchall()
    return [value if known else ... for value, known in rows]


@pytest.mark.parametrize(("source", "to", "unit"), WAYS, ids=[f"{s} to {t} {u or ''}".strip() for s, t, u in WAYS])
def test_a_conversion_is_the_same_for_one_value_and_for_a_column(
    con: duckdb.DuckDBPyConnection, source: str, to: str, unit: str | None
) -> None:
    values = [*SAMPLES[source], None]
    expression = Converted(Column("old", type_of(source)), type_of(to), unit)
    found = by_sql(con, expression, values, source)
    expected = [by_value(expression, value) for value in values]
    assert [(f, d) for f, d in zip(found, expected, strict=True) if f is not ... and (f != d or str(f) != str(d))] == []
    assert expected[-1] is None
    if (source, to) != ("decimal(38,20)", "double"):
        assert any(value is not ... and value is not None for value in found), "the column's way is never taken"


@pytest.mark.parametrize(("source", "to"), ROUND_TRIPS)
def test_there_and_back_again_is_the_same_value(source: str, to: str) -> None:
    there, back = conversion(type_of(source), type_of(to)), conversion(type_of(to), type_of(source))
    assert there
    assert back
    assert [back.value(there.value(value)) for value in SAMPLES[source]] == SAMPLES[source]


@pytest.mark.parametrize(
    ("source", "to", "value"),
    [
        ("string", "long", "7.5"),
        ("string", "long", "007"),
        ("string", "timestamp", "yesterday"),
        ("string", "boolean", "TRUE"),
        ("string", "double", "NaN"),
        ("string", "decimal(10,2)", "1.234"),
        ("double", "long", 0.5),
        ("double", "long", 2.0**63),
        ("timestamp", "date", at("2026-11-01T00:00:00.000001")),
        ("string", "date", "2026-11-01T00:00:00Z"),
        ("string", "timestamp", "2026-11-01T24:00:00Z"),
        ("string", "boolean", "t"),
        ("long", "decimal(10,2)", 10**9),
        ("decimal(38,20)", "decimal(10,2)", Decimal("0.001")),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_never_rounded_or_made_null(source: str, to: str, value: Any) -> None:
    assert by_value(Converted(Column("old", type_of(source)), type_of(to)), value) is BadValue


SPLITS = ["a b", "a", "", "a b c", " a", "a ", "  ", "ä ö", None]


@pytest.mark.parametrize("separator", [" ", ", ", "b", "'"])
@pytest.mark.parametrize(("number", "count"), [(0, 2), (1, 2), (1, 3), (2, 3)])
def test_a_part_of_a_text_is_the_same_by_both_ways(
    con: duckdb.DuckDBPyConnection, separator: str, number: int, count: int
) -> None:
    expression = Part(Column("old", STRING), number, count, separator)
    values = [*SPLITS, "x, y, z", "o'b'c'd"]
    assert by_sql(con, expression, values, "string") == [by_value(expression, value) for value in values]


def test_what_is_split_and_merged_again_is_what_it_was(con: duckdb.DuckDBPyConnection) -> None:
    parts = [Part(Column("old", STRING), number, 3, " ") for number in range(3)]
    expression = Joined(tuple(parts), " ")
    assert [by_value(expression, value) for value in SPLITS] == SPLITS
    assert by_sql(con, expression, SPLITS, "string") == SPLITS


def test_a_default_stands_only_where_there_is_nothing(con: duckdb.DuckDBPyConnection) -> None:
    for kind, text, value in [("string", "it's", "it's"), ("long", "7", 7), ("boolean", "true", True)]:
        expression = Filled(Column("old", type_of(kind)), text, type_of(kind))
        given = SAMPLES[kind][-1]
        assert by_sql(con, expression, [None, given], kind) == [value, given]
        assert [by_value(expression, each) for each in (None, given)] == [value, given]


def test_the_targets_in_messages_are_conversions() -> None:
    assert targets(MAP) == []
    assert targets(LONG) == ["string", "double", "decimal(P,S)", "timestamp"]
    for source in SAMPLES:
        assert all(to == "decimal(P,S)" or to in SAMPLES for to in targets(type_of(source)))


# A chain of versions


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return loaded(tmp_path_factory.mktemp("schemas"), CHAIN)


def loaded(folder: Path, text: str) -> Dataset:
    (folder / "things.yaml").write_text(text, encoding="utf-8")
    return loader.load(folder).get("things")


@pytest.mark.parametrize("examples", [25, pytest.param(600, marks=pytest.mark.soak)])
def test_the_bulk_path_and_the_exact_path_agree_on_records_of_each_version_of_a_chain(
    con: duckdb.DuckDBPyConnection, chain: Dataset, examples: int
) -> None:
    @settings(STEADY, max_examples=examples)
    @given(lines=st.lists(records(chain), min_size=1, max_size=6))
    def agree(lines: list[bytes]) -> None:
        assert_all_agree(con, chain, lines)

    agree()


def test_each_column_of_each_version_comes_to_the_newest_version_or_was_removed(chain: Dataset) -> None:
    for number in chain.versions:
        upgrades = chain.upgrades(number)
        assert list(upgrades) == [field.column for field in chain.newest.fields]
        used = {column.name for each in upgrades.values() for column in expressions.inputs(each)}
        assert {field.column for field in chain.versions[number].fields} - used <= {"wide"}


def test_a_record_of_the_first_version_goes_through_the_whole_chain(chain: Dataset) -> None:
    record = {"id": "t1", "version": 1, "emittedAt": "2026-11-01T05:00:00Z", "happenedAt": "2026-11-01T04:00:00Z"}
    record |= {"endedAt": "2026-11-01T04:30:00Z", "count": 1_793_000_000_123, "score": 7, "flag": True}
    record |= {"day": "2026-11-01", "price": 1.5, "wide": 3, "whole": 4, "note": "one two 3", "attributes": {}}
    found = exact.read_line(json.dumps(record | {"new": [1]}).encode(), chain)
    expected = {"id": "t1", "version": 1, "emitted_at": at("2026-11-01T05:00"), "extra": [("new", "[1]")]}
    expected |= {"happened_at": at("2026-11-01T04:00"), "ended_at": at("2026-11-01T04:30"), "score": 7, "flag": True}
    expected |= {"count": at("2026-10-26T07:33:20.123"), "whole": 4.0, "day": dt.date(2026, 11, 1), "attributes": []}
    assert found == expected | {"price": Decimal("1.50"), "note": "one-two", "note_rest": 3, "colour": "red"}


def test_a_record_that_cannot_come_to_the_newest_version_is_rejected_with_the_column(chain: Dataset) -> None:
    line = (
        b'{"id":"t1","version":1,"emittedAt":"2026-11-01T05:00:00Z","happenedAt":"2026-11-01T05:00:00Z",'
        b'"note":"one two three"}'
    )
    found = exact.read_line(line, chain)
    assert found == rejects.bad_upgrade("column note_rest, converted from an older version: not a number", 1)


def test_tables_of_an_older_version_take_what_that_version_had(chain: Dataset) -> None:
    older = chain.at(1, ())
    assert (older.newest.number, older.later) == (1, (2, 3, 4))
    assert [field.json for field in older.newest.fields] == [field.json for field in chain.versions[1].fields]
    assert chain.at(4, chain.promoted) is chain
    assert "run `compactor migrate apply`, then `compactor replay`" in older.why_unknown(3)
    assert older.why_unknown(9).startswith("version 9 is not in the registry; add it there, then run `compactor mig")


def test_key_order_and_layout_follow_a_rename_back(tmp_path: Path) -> None:
    newest = loaded(tmp_path, STATE + RENAMED)
    assert (newest.key, newest.order, newest.history.sort) == (("fan",), "changed_at", ("fan", "changed_at"))
    older = newest.at(1, (Promotion("notes", "k", "k", LONG),))
    assert (older.key, older.order, older.history.sort) == (("thing_id",), "updated_at", ("thing_id", "updated_at"))
    assert older.history.partition.column == "updated_at"
    assert [name for name, _, _ in older.columns][-1] == "k"


STATE = """\
dataset: things
kind: state
key: [fan]
order: changed_at
tables:
  history: {sort: [fan, changed_at]}
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      thingID: {type: string, required: true}
      updatedAt: {type: timestamp, required: true}
      name: string
      score: double
      count: long
      notes: map
  2:
    changes:
"""
RENAMED = """\
      - rename: {from: thingID, to: fanID, column: fan}
      - rename: {from: updatedAt, to: changedAt}
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("rename: {from: nam, to: x}", "the version before has no field 'nam'; did you mean 'name'?"),
        ("rename: {from: name, to: score}", "field 'score' exists already"),
        ("rename: {from: name, to: x, column: score}", "field 'score' has the column 'score' already"),
        ("rename: {from: id, to: key}", "field 'id' is in every record of every version; it cannot change"),
        ("rename: {from: name, to: é}", "field 'é': column 'é' should be a-z, 0-9 and _"),
        ("remove: {field: version}", "field 'version' is in every record of every version; it cannot change"),
        ("remove: {}", "missing key 'field', or it is empty"),
        ("retype: {field: score, to: timestamp}", "field 'score' is a double and cannot become a timestamp; it can"),
        ("retype: {field: notes, to: string}", "field 'notes' is a map and cannot become a string; it cannot become"),
        (
            "retype: {field: count, to: timestamp}",
            "field 'count' needs a `unit`, what it counts: seconds",
        ),
        ("retype: {field: count, to: double, unit: seconds}", "a unit is for a whole number that becomes a timestamp"),
        ("retype: {field: count, to: timestamp, unit: hours}", "unknown unit 'hours'"),
        ("retype: {field: count, to: strng}", "field 'count' has the unknown type 'strng'; did you mean 'string'?"),
        ("split: {field: score, into: [a, b], separator: x}", "field 'score' is a double; only a string can be split"),
        ("split: {field: name, into: [a], separator: x}", "a field is split into two or more fields, each named once"),
        ("split: {field: name, into: [a, b]}", "missing key 'separator', or it is empty"),
        ("merge: {fields: [name], into: x}", "two or more fields are merged, each named once"),
        ("merge: {fields: [name, score], into: x}", "field 'score' is a double; only strings can be merged"),
        ("add: {field: name, type: string}", "field 'name' exists already"),
        ("add: {field: x, type: long, default: seven}", "the default of column 'x' is not a long: not a number"),
        ("add: {field: x, type: map, default: y}", "the default of column 'x' is not a map: no default can be written"),
        ("default: {field: score, value: high}", "the default of column 'score' is not a double"),
        ("retpye: {field: count, to: double}", "unknown key 'retpye'; did you mean 'retype'?"),
        ("{}", "a change should be one of rename, retype, split, merge, add, default, remove"),
        (
            "retype: {field: thingID, to: long}",
            "column 'fan' is in 'key': it can be renamed, but not",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, change: str, problem: str) -> None:
    text = f"{STATE}      - {change}\n{RENAMED}"
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    found = [each.removeprefix(f"{tmp_path}/things.yaml:") for each in caught.value.problems]
    assert any(problem in each for each in found), found
    assert found[0].split(":")[0] in ("20", "21")


def test_a_change_of_a_field_whose_type_is_a_mistake_is_the_only_mistake_reported(tmp_path: Path) -> None:
    text = STATE.replace("score: double", "score: decimal(") + "      - retype: {field: score, to: double}\n" + RENAMED
    with pytest.raises(ConfigError, match=r"field 'score' should be a decimal\(P,S\)"):
        loaded(tmp_path, text)


def test_only_the_first_version_lists_its_fields(tmp_path: Path) -> None:
    listed = "    fields:\n      id: string\n"
    with pytest.raises(ConfigError, match=r"the fields are listed in version 1 alone; list here what changed"):
        loaded(tmp_path, STATE.replace("    changes:\n", listed))
    with pytest.raises(ConfigError, match=r"version 2 has no changes"):
        loaded(tmp_path, STATE.replace("    changes:\n", "    changes: []\n"))
    with pytest.raises(ConfigError, match=r"version 1 is the first one: list its `fields`"):
        loaded(tmp_path, f"{STATE}{RENAMED}".replace("  1:\n", "  1:\n    changes: [{remove: {field: x}}]\n"))


def test_a_column_is_required_only_where_each_version_has_it_as_it_is(tmp_path: Path) -> None:
    more = "      - add: {field: plan, type: string, required: true, default: basic}\n"
    found = {name: required for name, _, required in loaded(tmp_path, f"{STATE}{RENAMED}{more}").columns}
    assert found["fan"]
    assert not found["plan"]


def test_nothing_of_an_older_version_is_null(con: duckdb.DuckDBPyConnection) -> None:
    assert by_value(Nothing(LONG), 1) is None
    assert by_sql(con, Nothing(LONG), [1], "long") == [None]

"""Odd but valid lines become the rows that they should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.support.decoding import LIMIT, PROFILES, ROW, decoded, modelled, written
from tests.support.lake import Lake
from tests.support.model import Row
from tests.support.odd_json import NUMBERS, ODD_NAMES, STRINGS, TIMESTAMPS
from tests.support.outcomes import Outcome, by_exact_path


def number_case(text: str, expected: str) -> tuple[bytes, Row]:
    """A number as a map's value, inside one, as an unknown field, inside one."""
    line = written(('"x"', text), ('"y"', f'{{"k":[{text}]}}'), traits=f'{{"a":{text},"b":[{text},{{"c":{text}}}]}}')
    nested = f'[{expected},{{"c":{expected}}}]'
    return line, {"traits": {"a": expected, "b": nested}, "extra": {"x": expected, "y": f'{{"k":[{expected}]}}'}}


def string_case(text: str, expected: str) -> tuple[bytes, Row]:
    """A text as a field, as a map's key and value, inside one, as an unknown field."""
    line = written(
        ('"x"', text), roverID=text, traits=f'{{{text}:{text},"in a list":[{text}],"in a map":{{{text}:{text}}}}}'
    )
    quoted = json.dumps(expected, ensure_ascii=False)
    traits = {expected: expected, "in a list": f"[{quoted}]", "in a map": f"{{{quoted}:{quoted}}}"}
    return line, {"rover_id": expected, "traits": traits, "extra": {"x": quoted}}


CASES: dict[str, tuple[bytes, Row]] = {
    **{f"number {text[:30]}": number_case(text, expected) for text, expected in NUMBERS.items()},
    **{f"string {text!a}": string_case(text, expected) for text, expected in STRINGS.items()},
    **{
        f"time {text}": (written(updatedAt=f'"{text}"'), {"updated_at": expected})
        for text, expected in TIMESTAMPS.items()
    },
    **{f"name {ascii(text)[:40]}": (written((text, "1")), {"extra": {name: "1"}}) for text, name in ODD_NAMES.items()},
    "all odd names": (written(*((key, "[]") for key in ODD_NAMES)), {"extra": dict.fromkeys(ODD_NAMES.values(), "[]")}),
    "no map": (written(), {}),
    "null map": (written(traits="null"), {"traits": None}),
    "empty map": (written(traits="{}"), {"traits": {}}),
    "empty map with space": (written(traits="{ \t }"), {"traits": {}}),
    "scalars in a map": (
        written(traits='{"s":"1","i":1,"t":true,"f":false,"n":null,"e":""}'),
        {"traits": {"s": "1", "i": "1", "t": "true", "f": "false", "n": None, "e": ""}},
    ),
    "scalars in unknown fields": (
        written(('"s"', '"1"'), ('"i"', "1"), ('"t"', "true"), ('"f"', "false"), ('"n"', "null"), ('"e"', '""')),
        {"extra": {"s": '"1"', "i": "1", "t": "true", "f": "false", "n": "null", "e": '""'}},
    ),
    "nested values are compact, in their order": (
        written(
            ('"x"', '{ "b" : [ 1 , null ] , "a" : { } }'), traits='{"m": { "b" : [ true , [ ] ] , "a" : "\\u00e9" }}'
        ),
        {"traits": {"m": '{"b":[true,[]],"a":"é"}'}, "extra": {"x": '{"b":[1,null],"a":{}}'}},
    ),
    "nested sixty deep": (
        written(('"x"', "[" * 60 + "]" * 60), traits='{"a":' * 60 + "1" + "}" * 60),
        {"traits": {"a": '{"a":' * 59 + "1" + "}" * 59}, "extra": {"x": "[" * 60 + "]" * 60}},
    ),
    "a known field twice: the last wins": (written(('"roverID"', '"f2"')), {"rover_id": "f2"}),
    "a known field twice: the last wins, whatever the first is": (
        written(('"roverID"', '"f2"'), roverID="[]"),
        {"rover_id": "f2"},
    ),
    "a known field twice, once in escapes": (written(('"rover\\u0049D"', '"f2"')), {"rover_id": "f2"}),
    "an unknown field twice": (written(('"x"', "1"), ('"x"', "2")), {"extra": {"x": "2"}}),
    "a map twice: not united": (written(('"traits"', '{"b":2}'), traits='{"a":1}'), {"traits": {"b": "2"}}),
    "a map, then null": (written(('"traits"', "null"), traits='{"a":1}'), {"traits": None}),
    "a map's key twice": (written(traits='{"a":1,"b":2,"a":null}'), {"traits": {"a": None, "b": "2"}}),
    "a map's key twice, once in escapes": (written(traits='{"a":1,"\\u0061":2}'), {"traits": {"a": "2"}}),
    "a key twice inside a nested value: text, so both stay": (
        written(('"x"', '[{"k":1,"k":2}]'), traits='{"a":{"k":1,"l":0,"k":2}}'),
        {"traits": {"a": '{"k":1,"l":0,"k":2}'}, "extra": {"x": '[{"k":1,"k":2}]'}},
    ),
    "version 1.0": (written(version="1.0"), {}),
    "version 1e0": (written(version="1e0"), {}),
    "version 10E-1": (written(version="10E-1"), {}),
    "version 1.000…0": (written(version="1." + "0" * 400), {}),
    "fields in another order": (b"{" + b",".join(reversed(written().strip(b"{}").split(b","))) + b"}", {}),
    "space everywhere": (
        (
            b' \t\r { "id" : "r1" ,\t"version"\r:\t1 , "roverID":"f1" , "emittedAt" : "2026-11-01T05:00:00Z" ,'
            b' "updatedAt" : "2026-11-01T04:00:00Z" , "traits" : { } } \t\r'
        ),
        {"traits": {}},
    ),
    "carriage return at the end": (written() + b"\r", {}),
    "a long text": (written(traits=f'{{"a":"{"é" * 100_000}"}}'), {"traits": {"a": "é" * 100_000}}),
    "text like what is suspect": (
        written(roverID='", }"', traits='{"a":",nan]"}'),
        {"rover_id": ", }", "traits": {"a": ",nan]"}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_odd_line_becomes_exactly_the_expected_row(con: duckdb.DuckDBPyConnection, name: str) -> None:
    line, changes = CASES[name]
    expected = ROW | changes
    assert by_exact_path(PROFILES, line) == expected
    assert decoded(con, PROFILES, [line]) == [expected]
    assert modelled("fan_profiles", line) == expected


def test_odd_lines_are_the_same_rows_in_any_company(con: duckdb.DuckDBPyConnection) -> None:
    lines = [line for line, _ in CASES.values()]
    expected = [ROW | changes for _, changes in CASES.values()]
    for per_chunk in (len(lines), 7):
        found = decoded(con, PROFILES, lines, per_chunk=per_chunk)
        assert {
            name: row for name, row, row_expected in zip(CASES, found, expected, strict=True) if row != row_expected
        } == {}


def test_odd_lines_come_back_from_the_tables(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ids = [f"r{number}" for number in range(len(CASES))]
    lines = [line.replace(b'"r1"', f'"{id_}"'.encode()) for id_, (line, _) in zip(ids, CASES.values(), strict=True)]
    lake.deliver("fan_profiles", lines)
    assert lake.compact(datasets=("fan_profiles",)).exit_code == 0
    found = lake.history("fan_profiles")
    expected = {id_: ROW | changes | {"id": id_} for id_, (_, changes) in zip(ids, CASES.values(), strict=True)}
    assert {id_: found.get(id_) for id_ in expected if found.get(id_) != expected[id_]} == {}
    assert lake.quarantine() == []


@pytest.mark.parametrize("place", ["map", "unknown field"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "maps"])
@pytest.mark.parametrize("depth", [50, 300, 497, 498, 499, 500, 501, 600, 980, 1_100, 5_000, 100_000])
def test_how_deep_a_value_may_nest_depends_on_nothing_but_the_depth(
    con: duckdb.DuckDBPyConnection, depth: int, opening: str, closing: str, place: str
) -> None:
    text = opening * depth + "1" + closing * depth
    outcomes = []
    for at in ("2026-11-01T04:00:00Z", "2026-11-01t04:00:00z"):  # the bulk path knows only the first of them
        fields = {"updatedAt": f'"{at}"'}
        line = written(traits=f'{{"a":{text}}}', **fields) if place == "map" else written(('"x"', text), **fields)
        outcomes += [by_exact_path(PROFILES, line), *decoded(con, PROFILES, [line])]
        outcomes += [called_from(300, lambda line=line: by_exact_path(PROFILES, line))]  # type: ignore[misc]
    assert outcomes == [outcomes[0]] * 6
    if depth <= 498:
        assert outcomes[0] == ROW | ({"traits": {"a": text}} if place == "map" else {"extra": {"x": text}})
    if depth >= 500:
        assert outcomes[0] == ("not_json", "nested deeper than 500 levels", None)


def called_from(frames: int, call: Callable[[], Outcome]) -> Outcome:
    return called_from(frames - 1, call) if frames else call()


def test_brackets_in_texts_and_beside_each_other_are_not_deep(con: duckdb.DuckDBPyConnection) -> None:
    line = written(
        ('"x"', "[" + ",".join(["[]", "{}"] * 500) + "]"),
        ('"[[{"', "1"),
        traits=f'{{"a":"{"[" * 5_000}","b":"\\"{"{" * 5_000}"}}',
    )
    extra = {"x": "[" + ",".join(["[]", "{}"] * 500) + "]", "[[{": "1"}
    expected = ROW | {"traits": {"a": "[" * 5_000, "b": '"' + "{" * 5_000}, "extra": extra}
    assert by_exact_path(PROFILES, line) == expected
    assert decoded(con, PROFILES, [line]) == [expected]


def test_a_blank_line_over_the_limit_is_too_long(con: duckdb.DuckDBPyConnection) -> None:
    too_long = ("line_too_long", f"longer than the limit of {LIMIT} bytes", None)
    assert decoded(con, PROFILES, [b" " * LIMIT, b" " * (LIMIT + 1), b" "]) == [None, too_long, None]


def test_hundreds_of_unknown_fields_are_all_kept(con: duckdb.DuckDBPyConnection) -> None:
    lines = [written(*((f'"u{number}"', str(number)) for number in range(first, first + 60))) for first in range(6)]
    lines += [written(*((f'"w{first}-{number}"', "1e5") for number in range(60))) for first in range(6)]
    expected = [{f"u{number}": str(number) for number in range(first, first + 60)} for first in range(6)]
    expected += [{f"w{first}-{number}": "100000.0" for number in range(60)} for first in range(6)]
    for per_chunk in (1, 3, len(lines)):
        assert decoded(con, PROFILES, lines, per_chunk=per_chunk) == [ROW | {"extra": extra} for extra in expected]

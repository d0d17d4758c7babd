"""Odd but valid input becomes the rows it should, and the bulk path never differs from the reading by the letter."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from compactor.config import Resources
from compactor.decode.bulk import Decoder
from compactor.decode.gunzip import whole_lines
from compactor.decode.lines import chunk_of
from compactor.duck import session
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.lake import SCHEMAS, Lake
from tests.support.model import DATASETS, BadLineError, Row, parse_line
from tests.support.odd_json import EVERY_TYPE, NUMBERS, ODD_NAMES, PIECES, STRINGS, TIMESTAMPS, WRONG
from tests.support.outcomes import Outcome, by_the_letter, plain, shown, sign

LIMIT = 1 << 20
REGISTRY = loader.load(SCHEMAS)
PROFILES = REGISTRY.get("fan_profiles")


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with session.session(Resources()) as con:
        yield con


def decoded(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, lines: Sequence[bytes], *, per_chunk: int | None = None
) -> list[Outcome]:
    """What the decoder makes of each line, with so many of them in a chunk (default: all)."""
    size = per_chunk or max(len(lines), 1)
    parts = [
        (number + 1, b"".join(line + b"\n" for line in lines[number : number + size]))
        for number in range(0, len(lines), size)
    ]
    found = decoded_parts(con, dataset, [[part] for part in parts])
    return [found.get(number) for number in range(1, len(lines) + 1)]


def decoded_parts(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, chunks: Sequence[Sequence[tuple[int, bytes]]]
) -> dict[int, Outcome]:
    """What the decoder makes of chunks of (number of the first line, whole lines), by line number."""
    con.execute("DROP TABLE IF EXISTS staged")
    con.execute("DROP TABLE IF EXISTS rejected")
    decoder = Decoder(con, dataset)
    counted = 0
    for chunk in chunks:
        counted += sum(decoder.decode(chunk_of([(0, *part) for part in chunk], LIMIT)).values())
    found: dict[int, Outcome] = {}
    staged = con.execute("SELECT * EXCLUDE (file_no, ok) FROM staged").to_arrow_table().to_pylist()
    rejected = con.execute("SELECT line_no, reason, detail, version FROM rejected").fetchall()
    assert counted == len(staged) + len(rejected)
    for row in staged:
        number = row.pop("line_no")
        found[number] = plain(row)
    for number, reason, detail, version in rejected:
        assert number not in found
        found[number] = (reason, detail, version)
    assert counted == len(found)
    return found


def modelled(dataset: str, line: bytes) -> Row | str:
    try:
        return parse_line(DATASETS[dataset], line)[0]
    except BadLineError as error:
        return str(error)


# Odd but valid lines, each with the row that is due

FIELDS = {
    "id": '"r1"',
    "version": "1",
    "roverID": '"f1"',
    "emittedAt": '"2026-11-01T05:00:00Z"',
    "updatedAt": '"2026-11-01T04:00:00Z"',
}
ROW: Row = {
    "id": "r1",
    "version": 1,
    "rover_id": "f1",
    "emitted_at": datetime(2026, 11, 1, 5, tzinfo=UTC),
    "updated_at": datetime(2026, 11, 1, 4, tzinfo=UTC),
    "traits": None,
    "extra": {},
}


def written(*more: tuple[str, str], **fields: str) -> bytes:
    """A profile: fields by JSON text, `more` with their keys as JSON text too."""
    known = [f'"{name}":{text}' for name, text in (FIELDS | fields).items()]
    return ("{" + ",".join([*known, *(f"{key}:{text}" for key, text in more)]) + "}").encode()


def number_case(text: str, due: str) -> tuple[bytes, Row]:
    """A number as a map's value, inside one, as an unknown field, inside one."""
    line = written(('"x"', text), ('"y"', f'{{"k":[{text}]}}'), traits=f'{{"a":{text},"b":[{text},{{"c":{text}}}]}}')
    nested = f'[{due},{{"c":{due}}}]'
    return line, {"traits": {"a": due, "b": nested}, "extra": {"x": due, "y": f'{{"k":[{due}]}}'}}


def string_case(text: str, due: str) -> tuple[bytes, Row]:
    """A text as a field, as a map's key and value, inside one, as an unknown field."""
    line = written(
        ('"x"', text), roverID=text, traits=f'{{{text}:{text},"in a list":[{text}],"in a map":{{{text}:{text}}}}}'
    )
    quoted = json.dumps(due, ensure_ascii=False)
    traits = {due: due, "in a list": f"[{quoted}]", "in a map": f"{{{quoted}:{quoted}}}"}
    return line, {"rover_id": due, "traits": traits, "extra": {"x": quoted}}


CASES: dict[str, tuple[bytes, Row]] = {
    **{f"number {text[:30]}": number_case(text, due) for text, due in NUMBERS.items()},
    **{f"string {text!a}": string_case(text, due) for text, due in STRINGS.items()},
    **{f"time {text}": (written(updatedAt=f'"{text}"'), {"updated_at": due}) for text, due in TIMESTAMPS.items()},
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
def test_an_odd_line_becomes_exactly_the_row_that_is_due(con: duckdb.DuckDBPyConnection, name: str) -> None:
    line, changes = CASES[name]
    due = ROW | changes
    assert by_the_letter(PROFILES, line) == due
    assert decoded(con, PROFILES, [line]) == [due]
    assert modelled("fan_profiles", line) == due


def test_odd_lines_are_the_same_rows_in_any_company(con: duckdb.DuckDBPyConnection) -> None:
    lines = [line for line, _ in CASES.values()]
    due = [ROW | changes for _, changes in CASES.values()]
    for per_chunk in (len(lines), 7):
        found = decoded(con, PROFILES, lines, per_chunk=per_chunk)
        assert {name: row for name, row, row_due in zip(CASES, found, due, strict=True) if row != row_due} == {}


def test_odd_lines_come_back_from_the_tables(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ids = [f"r{number}" for number in range(len(CASES))]
    lines = [line.replace(b'"r1"', f'"{id_}"'.encode()) for id_, (line, _) in zip(ids, CASES.values(), strict=True)]
    lake.deliver("fan_profiles", lines)
    assert lake.compact(datasets=("fan_profiles",)).exit_code == 0
    found = lake.history("fan_profiles")
    due = {id_: ROW | changes | {"id": id_} for id_, (_, changes) in zip(ids, CASES.values(), strict=True)}
    assert {id_: found.get(id_) for id_ in due if found.get(id_) != due[id_]} == {}
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
        outcomes += [by_the_letter(PROFILES, line), *decoded(con, PROFILES, [line])]
        outcomes += [called_from(300, lambda line=line: by_the_letter(PROFILES, line))]  # type: ignore[misc]
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
    due = ROW | {"traits": {"a": "[" * 5_000, "b": '"' + "{" * 5_000}, "extra": extra}
    assert by_the_letter(PROFILES, line) == due
    assert decoded(con, PROFILES, [line]) == [due]


def test_a_blank_line_over_the_limit_is_too_long(con: duckdb.DuckDBPyConnection) -> None:
    too_long = ("line_too_long", f"longer than the limit of {LIMIT} bytes", None)
    assert decoded(con, PROFILES, [b" " * LIMIT, b" " * (LIMIT + 1), b" "]) == [None, too_long, None]


def test_hundreds_of_unknown_fields_are_all_kept(con: duckdb.DuckDBPyConnection) -> None:
    lines = [written(*((f'"u{number}"', str(number)) for number in range(first, first + 60))) for first in range(6)]
    lines += [written(*((f'"w{first}-{number}"', "1e5") for number in range(60))) for first in range(6)]
    due = [{f"u{number}": str(number) for number in range(first, first + 60)} for first in range(6)]
    due += [{f"w{first}-{number}": "100000.0" for number in range(60)} for first in range(6)]
    for per_chunk in (1, 3, len(lines)):
        assert decoded(con, PROFILES, lines, per_chunk=per_chunk) == [ROW | {"extra": extra} for extra in due]


# Odd but valid files

A, B, C = (written(id=f'"{name}"') for name in "abc")
BIG = [written(id=f'"{number}"', traits=f'{{"n":"{"x" * 2000}"}}') for number in range(5000)]  # more than one block
FILES: dict[str, tuple[bytes, dict[int, str]]] = {  # compressed bytes -> the id at each line
    "plain": (gzip.compress(b"%s\n%s\n" % (A, B)), {1: "a", 2: "b"}),
    "no newline at the end": (gzip.compress(b"%s\n%s" % (A, B)), {1: "a", 2: "b"}),
    "one line without a newline": (gzip.compress(A), {1: "a"}),
    "only newlines": (gzip.compress(b"\n\n\n"), {}),
    "nothing in it": (gzip.compress(b""), {}),
    "only space": (gzip.compress(b" \t\r\n \n\r\n "), {}),
    "blank lines count": (gzip.compress(b"\n%s\n\n \t\r\n%s\n\n" % (A, B)), {2: "a", 5: "b"}),
    "carriage returns": (gzip.compress(b"%s\r\n\r\n%s\r\n" % (A, B)), {1: "a", 3: "b"}),
    "a space-only last line": (gzip.compress(b"%s\n  " % A), {1: "a"}),
    "two members": (gzip.compress(A + b"\n") + gzip.compress(B + b"\n"), {1: "a", 2: "b"}),
    "a line over two members": (
        gzip.compress(A + b"\n" + B[:20]) + gzip.compress(B[20:] + b"\n" + C),
        {1: "a", 2: "b", 3: "c"},
    ),
    "a newline apart": (gzip.compress(A) + gzip.compress(b"\n") + gzip.compress(B), {1: "a", 2: "b"}),
    "empty members": (b"".join(map(gzip.compress, [b"", A + b"\n", b"", b"", B, b""])), {1: "a", 2: "b"}),
    "a member for each byte": (b"".join(gzip.compress(bytes([byte])) for byte in A + b"\n" + B), {1: "a", 2: "b"}),
    "not compressed at all": (gzip.compress(A + b"\n" + B, 0), {1: "a", 2: "b"}),
    "several blocks": (gzip.compress(b"\n".join(BIG), 1), {number + 1: str(number) for number in range(5000)}),
}


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file_has_its_lines_at_their_numbers(con: duckdb.DuckDBPyConnection, name: str) -> None:
    packed, due = FILES[name]
    parts = list(whole_lines(io.BytesIO(packed), "key", line_limit=LIMIT, file_limit=1 << 30))
    for chunks in ([parts], [[part] for part in parts]):
        found = decoded_parts(con, PROFILES, chunks)
        assert {number: row["id"] for number, row in found.items() if isinstance(row, dict)} == due
        assert len(found) == len(due)


# Any line at all: the bulk path, the reading by the letter and the model agree

STEADY = settings(
    derandomize=True,  # the same examples in every run: a red build is never luck
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with each type, optional and required, and of two versions."""
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "things.yaml").write_text(EVERY_TYPE, encoding="utf-8")
    return loader.load(folder).get("things")


BAD = object()
TYPED: list[tuple[str, str, Any]] = [  # field, JSON text, the value that is due
    ("count", "9223372036854775807", 2**63 - 1),
    ("count", "-9223372036854775808", -(2**63)),
    ("count", "9223372036854775808", BAD),
    ("count", "-9223372036854775809", BAD),
    ("count", "-0", 0),
    ("count", "1.0", 1),
    ("count", "1e3", 1000),
    ("count", "0e999", 0),
    ("count", "-0.0E-999", 0),
    ("count", "1.5", BAD),
    ("count", "1e-1", BAD),
    ("count", "1e999999", BAD),
    ("count", "9" * 5_000, BAD),
    ("count", '"1"', BAD),
    ("count", "true", BAD),
    ("count", "null", None),
    ("score", "1", 1.0),
    ("score", "-0", 0.0),
    ("score", "-0.0", -0.0),
    ("score", "9007199254740993", 9007199254740992.0),
    ("score", "0.1", 0.1),
    ("score", "1.7976931348623157e308", 1.7976931348623157e308),
    ("score", "1.7976931348623159e308", BAD),
    ("score", "1e309", BAD),
    ("score", "-1e309", BAD),
    ("score", "1" * 309, float("1" * 309)),
    ("score", "9" * 309, BAD),
    ("score", "5e-324", 5e-324),
    ("score", "1e-400", 0.0),
    ("score", '"1"', BAD),
    ("score", "false", BAD),
    ("flag", "true", True),
    ("flag", "false", False),
    ("flag", "1", BAD),
    ("flag", '"true"', BAD),
    ("day", '"2026-02-28"', date(2026, 2, 28)),
    ("day", '"2024-02-29"', date(2024, 2, 29)),
    ("day", '"0001-01-01"', date(1, 1, 1)),
    ("day", '"9999-12-31"', date(9999, 12, 31)),
    ("day", '"2026-02-30"', BAD),
    ("day", '"2026-13-01"', BAD),
    ("day", '"0000-01-01"', BAD),
    ("day", '"12026-01-01"', BAD),
    ("day", '"2026-1-1"', BAD),
    ("day", '"20260228"', BAD),
    ("day", '"2026-02-28T00:00:00Z"', BAD),
    ("day", '" 2026-02-28"', BAD),
    ("day", '"infinity"', BAD),
    ("day", "20260228", BAD),
    ("price", "12.34", Decimal("12.34")),
    ("price", "12", Decimal("12.00")),
    ("price", "12.340", Decimal("12.34")),
    ("price", "0e999", Decimal("0.00")),
    ("price", "-0.01", Decimal("-0.01")),
    ("price", "1.005e1", Decimal("10.05")),
    ("price", "99999999.99", Decimal("99999999.99")),
    ("price", "-99999999.99", Decimal("-99999999.99")),
    ("price", "100000000", BAD),
    ("price", "99999999.999", BAD),
    ("price", "12.345", BAD),
    ("price", "1e-3", BAD),
    ("price", '"12.34"', BAD),
    ("wide", "0.1", Decimal("0.10000000000000000000")),
    ("wide", "123456789012345678.12345678901234567891", Decimal("123456789012345678.12345678901234567891")),
    ("wide", "-999999999999999999.99999999999999999999", Decimal("-999999999999999999.99999999999999999999")),
    ("wide", "12345678901234567.125", Decimal("12345678901234567.12500000000000000000")),
    ("wide", "1e18", BAD),
    ("wide", "0.123456789012345678901", BAD),
    ("whole", "123456789012345678", Decimal(123456789012345678)),
    ("whole", "999999999999999999", Decimal(999999999999999999)),
    ("whole", "1e17", Decimal(10**17)),
    ("whole", "7.0", Decimal(7)),
    ("whole", "1000000000000000000", BAD),
    ("whole", "0.5", BAD),
    ("note", '"1"', "1"),
    ("note", "1", BAD),
    ("endedAt", '"2026-11-01T05:06:07+01:00"', datetime(2026, 11, 1, 4, 6, 7, tzinfo=UTC)),
    ("endedAt", '"2026-11-01"', BAD),
]


@pytest.mark.parametrize(("field", "text", "due"), TYPED, ids=[f"{field} {text[:24]}" for field, text, _ in TYPED])
def test_a_value_of_each_type_is_exact_or_refused(
    con: duckdb.DuckDBPyConnection, things: Dataset, field: str, text: str, due: Any
) -> None:
    at = '"emittedAt":"2026-11-01T05:00:00Z","happenedAt":"2026-11-01T04:00:00Z"'
    line = f'{{"id":"t1","version":1,{at},"{field}":{text}}}'.encode()
    (found,) = decoded(con, things, [line])
    assert shown(found) == shown(by_the_letter(things, line))
    if due is BAD:
        assert isinstance(found, tuple)
        assert found[0] == "bad_value"
    else:
        assert isinstance(found, dict)
        assert sign(found[{"endedAt": "ended_at"}.get(field, field)]) == sign(due)


def test_fields_may_have_any_name_a_json_key_has(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    names = ["ID", "Version", "", "\n", "\t\"'", "$.id", "a/b~c", "\x7f", "\u2028"]
    fields = "".join(f"      {json.dumps(name)}: {{type: long, column: c{n}}}\n" for n, name in enumerate(names))
    (tmp_path / "things.yaml").write_text(EVERY_TYPE.partition("  2:\n")[0] + fields, encoding="utf-8")
    dataset = loader.load(tmp_path).get("things")
    at = "2026-11-01T05:00:00"
    lines = []
    for zone in ("Z", "z"):  # the bulk path knows only the first of them
        record = {"id": "t1", "version": 1, "emittedAt": at + zone, "happenedAt": at + zone}
        lines.append(json.dumps(record | {name: n for n, name in enumerate(names)}).encode())
    for outcome in (*decoded(con, dataset, lines), *(by_the_letter(dataset, line) for line in lines)):
        assert isinstance(outcome, dict)
        assert [outcome[f"c{n}"] for n in range(len(names))] == list(range(len(names)))
        assert (outcome["id"], outcome["version"], outcome["extra"]) == ("t1", 1, {})


def mostly(usual: st.SearchStrategy[str], unusual: st.SearchStrategy[str], share: int = 6) -> st.SearchStrategy[str]:
    """`unusual` once in `share` draws."""
    return st.integers(1, share).flatmap(lambda number: unusual if number == share else usual)


SPACE = mostly(st.just(""), st.sampled_from([" ", "\t", "\r", " \t\r  "]), 8)
NUMBER = st.one_of(
    st.sampled_from(list(NUMBERS)),
    st.integers(-(10**4), 10**4).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
STRING = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=5).map(lambda pieces: f'"{"".join(pieces)}"'),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(json.dumps),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
)


KEY = st.one_of(st.sampled_from(['"a"', '"b"', '"\\u0061"', '""', '"ID"', '"a/b"', '"~"']), STRING)


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, st.lists(values, max_size=3)).map(
        lambda it: f"[{it[0]}{f'{it[0]},{it[0]}'.join(it[1])}{it[0]}]"
    )


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, st.lists(st.tuples(KEY, values), max_size=4)).map(lambda it: joined(it[1], it[0]))


def joined(pairs: list[tuple[str, str]], space: str) -> str:
    """An object's text, with `space` wherever there may be some."""
    inner = f"{space},{space}".join(f"{key}{space}:{space}{value}" for key, value in pairs)
    return f"{{{space}{inner}{space}}}"


VALUE = st.recursive(
    st.one_of(NUMBER, STRING, st.sampled_from(["true", "false", "null"])),
    lambda inner: st.one_of(arrays(inner), objects(inner)),
    max_leaves=5,
)
TIME = mostly(
    st.datetimes().map(lambda at: f'"{at.isoformat()}Z"'),
    st.one_of(
        st.sampled_from([f'"{text}"' for text in TIMESTAMPS]),
        st.datetimes(
            timezones=st.integers(-1439, 1439)
            .map(lambda m: st.just(timezone(timedelta(minutes=m))))
            .flatmap(lambda s: s)
        ).map(lambda at: f'"{at.isoformat()}"'),
        st.from_regex(
            r'"[0-29]\d{3}-[01]\d-[0-3]\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,10})?'
            r'([Zz]|[+-][0-2]\d(:?[0-6]\d)?)?( |\\n)?"',
            fullmatch=True,
            alphabet=st.characters(max_codepoint=0x7F),
        ),
        st.sampled_from(
            ['"2026-11-01"', '"now"', '""', '"infinity"', '"epoch"', '"2026-11-01T05:06Z"', '"2026-11-01T5:06:07Z"']
        ),
    ),
    3,
)
BY_TYPE: dict[str, st.SearchStrategy[str]] = {
    "string": STRING,
    "timestamp": TIME,
    "date": mostly(
        st.dates().map(lambda day: f'"{day}"'),
        st.one_of(TIME, st.from_regex(r'"\d{4}-[01]\d-[0-3]\d"', fullmatch=True)),
    ),
    "long": st.one_of(st.integers(-(2**64), 2**64).map(str), st.integers(-9, 9).map(str), NUMBER),
    "double": NUMBER,
    "boolean": st.sampled_from(["true", "false"]),
    "map": objects(VALUE),
    "decimal": st.one_of(
        st.decimals(-(10**9), 10**9, places=2).map(str), st.integers(-(10**18), 10**18).map(str), NUMBER
    ),
}


@st.composite
def records(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A line around the shape of the dataset's records: from right to beyond all hope."""
    shape = dataset.versions[draw(st.sampled_from(sorted(dataset.versions)))]
    fields: list[tuple[str, str]] = []
    for field in shape.fields:
        usual = st.just(str(shape.number)) if field.column == "version" else BY_TYPE[field.type.name.partition("(")[0]]
        if field.required or draw(st.integers(1, 4)) > 1:
            fields.append((json.dumps(field.json), draw(usual)))
    unknown = st.tuples(st.one_of(STRING, st.sampled_from(list(ODD_NAMES))), VALUE)
    fields += draw(st.lists(unknown, max_size=2))
    for change in draw(
        st.lists(st.sampled_from(["drop", "retype", "again", "version", "shuffle", "rename"]), max_size=2)
    ):
        index = draw(st.integers(0, max(len(fields) - 1, 0)))
        if not fields or change == "shuffle":
            fields = draw(st.permutations(fields))
        elif change == "drop":
            del fields[index]
        elif change == "version":
            text = draw(
                st.sampled_from(["1", "2", "1.0", "20e-1", "0", "-1", "3", "1.5", '"1"', "null", "1e999", "true"])
            )
            fields = [(key, text if key == '"version"' else value) for key, value in fields]
        elif change == "rename":
            fields[index] = (draw(KEY), fields[index][1])
        else:
            value = draw(mostly(VALUE, st.sampled_from(WRONG), 4))
            fields.insert(draw(st.integers(0, len(fields))), (fields[index][0], value)) if change == "again" else None
            fields[index] = (fields[index][0], value) if change == "retype" else fields[index]
    space = draw(SPACE)
    line = f"{space}{joined(fields, space)}{space}".encode()
    return draw(mutations(line)) if draw(st.integers(1, 5)) == 5 else line


def mutations(line: bytes) -> st.SearchStrategy[bytes]:
    """The line with a piece cut out, put in or put at an end."""
    places = st.tuples(st.integers(0, len(line)), st.integers(0, 3))
    inserts = st.sampled_from(
        [
            b",",
            b"}",
            b"{",
            b'"',
            b"\\",
            b"0",
            b"-",
            b"\0",
            b" ",
            b"\x0b",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"nan",
        ]
    )
    return st.one_of(
        places.map(lambda place: line[: place[0]] + line[sum(place) :]),
        st.tuples(places, inserts).map(lambda it: line[: it[0][0]] + it[1] + line[it[0][0] :]),
        st.sampled_from(
            [
                line + line,
                line + b" x",
                b"\xef\xbb\xbf" + line,
                b"[" + line + b"]",
                b"",
                b" ",
                line + b"//",
                b"x" + line,
            ]
        ),
        st.integers(0, len(line)).map(lambda end: line[:end]),
    ).map(lambda changed: changed.replace(b"\n", b""))


def assert_all_agree(con: duckdb.DuckDBPyConnection, dataset: Dataset, lines: list[bytes]) -> None:
    """The decoder, however the lines are cut into chunks, and `strict` agree on each line and each value."""
    due = [by_the_letter(dataset, line) for line in lines]
    for outcome in due:
        event(outcome[0] if isinstance(outcome, tuple) else "accepted" if outcome else "blank")
    together = decoded(con, dataset, lines)
    alone = decoded(con, dataset, lines, per_chunk=1)
    for line, letter, one, other in zip(lines, due, together, alone, strict=True):
        assert shown(one) == shown(letter), line
        assert shown(other) == shown(letter), line


@settings(STEADY, max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_the_bulk_path_the_letter_and_the_model_agree(
    con: duckdb.DuckDBPyConnection, dataset: str, data: st.DataObject
) -> None:
    lines = data.draw(st.lists(records(REGISTRY.get(dataset)), min_size=1, max_size=6))
    assert_all_agree(con, REGISTRY.get(dataset), lines)
    for line in lines:
        outcome = by_the_letter(REGISTRY.get(dataset), line)
        if outcome is not None:
            assert modelled(dataset, line) == (outcome[0] if isinstance(outcome, tuple) else outcome), line


@settings(STEADY, max_examples=150)
@given(data=st.data())
def test_the_bulk_path_and_the_letter_agree_on_every_type_and_version(
    con: duckdb.DuckDBPyConnection, things: Dataset, data: st.DataObject
) -> None:
    assert_all_agree(con, things, data.draw(st.lists(records(things), min_size=1, max_size=6)))

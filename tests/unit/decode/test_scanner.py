"""The native scanner accepts what is ordinary, and only what the exact path accepts, as the same values."""

from __future__ import annotations

import json
import threading
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.decode import scanner as native
from compactor.decode.exact import MAX_DEPTH
from compactor.errors import InvariantError
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.any_record import STEADY, records
from tests.support.bad_lines import LINES, good_lines, record
from tests.support.lake import SCHEMAS
from tests.support.model import Row
from tests.support.odd_json import NUMBERS, ODD_NAMES, STRINGS, TIMESTAMPS
from tests.support.scanning import LIMIT, accepted, block, faults, scanner, things

REGISTRY = loader.load(SCHEMAS)
PROFILES = REGISTRY.get("fan_profiles")
FULL: dict[str, object] = {
    "id": "a",
    "version": 1,
    "emittedAt": "2026-11-01T05:06:07.123Z",
    "happenedAt": "2026-11-01T05:06:07+02:00",
    "endedAt": "2026-11-01 05:06:07",
    "count": -12,
    "score": 1.25,
    "flag": True,
    "day": "2024-02-29",
    "price": 12.5,
    "wide": 1.5,
    "whole": 7,
    "note": "Zoë \U0001f600 \"'\\/\n",
    "attributes": {"a": "b", "n": 12.50, "none": None, "deep": [1, {"k": "\t"}], "é": True},
    "later": [None, "x"],
}


def thing(**changes: object) -> bytes:
    return json.dumps({**FULL, **changes}).encode()


def raw_thing(field: str, text: str) -> bytes:
    """A thing with a field by its JSON text."""
    return thing(**{field: "here"}).replace(b'"here"', text.encode())


def row_of(dataset: Dataset, line: bytes) -> Row | None:
    """The row of a line, which the exact path gives too; None if it is unsure."""
    found = scanner(dataset).scan(block([line]))
    assert list(faults(dataset, [line], found)) == []
    return accepted(found).get(0)


def test_a_record_with_each_type_becomes_a_row() -> None:
    (row,) = scanner(things(1)).scan(block([thing()])).rows.to_pylist()
    assert row == {
        "id": "a",
        "version": 1,
        "emitted_at": datetime(2026, 11, 1, 5, 6, 7, 123000),  # noqa: DTZ001  sessions have no zone
        "happened_at": datetime(2026, 11, 1, 3, 6, 7),  # noqa: DTZ001  the same
        "ended_at": datetime(2026, 11, 1, 5, 6, 7),  # noqa: DTZ001  the same
        "count": -12,
        "score": 1.25,
        "flag": True,
        "day": date(2024, 2, 29),
        "price": Decimal("12.50"),
        "wide": Decimal("1.5"),
        "whole": Decimal(7),
        "note": FULL["note"],
        "attributes": [("a", "b"), ("n", "12.5"), ("none", None), ("deep", '[1,{"k":"\\t"}]'), ("é", "true")],
        "extra": [("later", '[null,"x"]')],
    }


@pytest.mark.parametrize("field", [name for name in FULL if name not in ("id", "version", "emittedAt", "happenedAt")])
def test_a_field_may_be_null_or_missing(field: str) -> None:
    without = {name: value for name, value in FULL.items() if name != field}
    lines = [thing(), json.dumps(without).encode(), thing(**{field: None}), thing()]
    found = scanner(things(1)).scan(block(lines))
    assert len(found.unsure) == 0
    assert list(faults(things(1), lines, found)) == []


@pytest.mark.parametrize("field", ["id", "version", "emittedAt", "happenedAt"])
def test_a_record_without_a_required_field_is_unsure(field: str) -> None:
    without = {name: value for name, value in FULL.items() if name != field}
    found = scanner(things(1)).scan(block([json.dumps(without).encode(), thing(**{field: None}), thing()]))
    assert found.lines.tolist() == [2]


ORDINARY = {
    **{f"string {text!a}": raw_thing("note", text) for text in STRINGS},
    **{f"string in a map {text!a}": raw_thing("attributes", f'{{{text}:{text},"z":[{text}]}}') for text in STRINGS},
    **{f"time {text}": thing(endedAt=text) for text in TIMESTAMPS},
    **{f"number {text[:40]}": raw_thing("attributes", f'{{"a":{text},"b":[{text}]}}') for text in NUMBERS},
    **{f"name {text[:40]!a}": raw_thing("later", f'1,{text}:"x"') for text in ODD_NAMES},
    **{f"name in a map {text[:40]!a}": raw_thing("attributes", f"{{{text}:1}}") for text in ODD_NAMES},
    **{
        f"decimal {text}": raw_thing("price", text)
        for text in ("0", "-0", "0.5", "1.50", "99999999.99", "-99999999.99")
    },
    **{f"wide {text}": raw_thing("wide", text) for text in ("123456789012345678.12345678901234567890", "-0.00")},
    **{f"long {text}": raw_thing("count", text) for text in (str(2**63 - 1), str(-(2**63)), "0", "-0", "1.0", "-1.00")},
    **{f"double {text}": raw_thing("score", text) for text in ("-0.0", "1e5", "1E-7", "0.30000000000000004", "1e308")},
    **{f"date {text}": thing(day=text) for text in ("0001-01-01", "1582-10-10", "1969-12-31", "9999-12-31")},
    "escapes in a key": thing().replace(b'"note"', b'"n\\u006fte"'),
    "fields in reverse": json.dumps(dict(reversed(list(FULL.items())))).encode(),
    "blanks everywhere": json.dumps(FULL, indent=2).encode().replace(b"\n", b"\r\t "),
    "no blank at all": json.dumps(FULL, separators=(",", ":"), ensure_ascii=False).encode(),
    "a carriage return": thing() + b"\r",
    "as deep as can be": raw_thing("later", "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)),
    "as deep as can be in a map": raw_thing(
        "attributes", '{"a":' + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2) + "}"
    ),
    "a key twice in a nested value": raw_thing("attributes", '{"a":{"k":1,"k":2},"b":[{"k":1,"k":2}]}'),
    "a thousand keys": thing(attributes={f"key {n}": n for n in range(1000)}),
    "keys that begin and end alike": thing(attributes={f"{'x' * 9}{n}{'y' * 9}": n for n in range(5000)}),
    "keys of all sizes": thing(attributes={"k" * n: n for n in range(200)}),
    "a long text": thing(note="é" * 100_000),
}
RARE = {"number 5e-324"}  # a subnormal number: its shortest text is left to Python


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_line_is_accepted(name: str) -> None:
    assert (row_of(things(1), ORDINARY[name]) is None) == (name in RARE)


def test_ordinary_lines_are_accepted_in_any_company() -> None:
    lines = [line for name, line in ORDINARY.items() if name not in RARE]
    for order in (lines, lines[::-1], lines[::2] + lines[1::2]):
        found = scanner(things(1)).scan(block(order))
        assert len(found.unsure) == 0
        assert list(faults(things(1), order, found)) == []


UNSURE = {
    "a field twice": raw_thing("later", '1,"note":"x"'),
    "a field twice, once in escapes": raw_thing("later", '1,"n\\u006fte":"x"'),
    "an unknown field twice": raw_thing("later", '1,"later":2'),
    "a key of a map twice": raw_thing("attributes", '{"a":1,"b":2,"a":3}'),
    "a key of a map twice, once in escapes": raw_thing("attributes", '{"a":1,"\\u0061":3}'),
    "too deep": raw_thing("later", "[" * MAX_DEPTH + "]" * MAX_DEPTH),
    "too deep in a map": raw_thing("attributes", '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"),
    "another version": thing(version=2),
    "a version in a string": thing(version="1"),
    "half a surrogate pair": raw_thing("note", '"\\ud83d"'),
    "half a surrogate pair in a key": raw_thing("attributes", '{"\\ud83d\\u0041":1}'),
    "a long that is too long": raw_thing("count", str(2**63)),
    "a double that is too large": raw_thing("score", "1e309"),
    "a decimal with too many digits": raw_thing("price", "0.001"),
    "a day that is none": thing(day="2023-02-29"),
    "the year 0": thing(day="0000-01-01"),
    "a second too many": thing(endedAt="2026-11-01T05:06:60Z"),
    "a time before all": thing(endedAt="0001-01-01T00:00:00+00:01"),
    "a time after all": thing(endedAt="9999-12-31T23:59:59-00:01"),
    "a byte order mark": b"\xef\xbb\xbf" + thing(),
}


@pytest.mark.parametrize("name", UNSURE)
def test_a_line_that_is_not_ordinary_is_unsure_and_leaves_nothing(name: str) -> None:
    lines = [thing(), UNSURE[name], thing()]
    found = scanner(things(1)).scan(block(lines))
    assert found.unsure.tolist() == [[1, len(lines[0]) + 1, len(lines[0]) + len(lines[1]) + 2]]
    assert list(faults(things(1), lines, found)) == []


def hashed(key: bytes) -> int:
    """The hash by which a map's keys are compared: see `native/maps.c`."""
    words = [key[at : at + 8] for at in range(0, len(key) - 7, 8)]
    tail = int.from_bytes(key[len(words) * 8 :], "big")
    found = len(key)
    for word in [*(int.from_bytes(each, "little") for each in words), tail]:
        found = (found ^ word) * 0x9E3779B97F4A7C15 % 2**64
        found ^= found >> 32
    return found


def test_keys_that_are_made_to_collide_are_unsure_and_not_slow() -> None:
    keys = [key for n in range(100_000) if hashed((key := f"some key {n}").encode()) % 1024 == 7]
    assert len(keys) > 80
    assert row_of(things(1), thing(attributes=dict.fromkeys(keys[:60], 1))) is not None
    assert row_of(things(1), thing(attributes=dict.fromkeys(keys, 1))) is None


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_never_accepted(name: str) -> None:
    bad = LINES[name]
    found = scanner(REGISTRY.get(bad.dataset)).scan(block([bad.line]))
    assert found.unsure.tolist() == [[0, 0, len(bad.line) + 1]]


@pytest.mark.parametrize("dataset", REGISTRY.datasets)
def test_good_lines_are_all_accepted(dataset: str) -> None:
    lines = good_lines("scanner", 300, dataset)
    assert scanner(REGISTRY.get(dataset)).scan(block(lines)).lines.tolist() == list(range(300))


@given(st.lists(records(things(1)), max_size=8))
@settings(STEADY, max_examples=150)
def test_any_lines_are_unsure_or_the_rows_of_the_exact_path(lines: list[bytes]) -> None:
    assert list(faults(things(1), lines, scanner(things(1)).scan(block(lines)))) == []


@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**17), 10**17).map(lambda n: n / 1e6))
)
@settings(STEADY, max_examples=500)
def test_a_number_keeps_the_text_that_python_gives_a_double(value: float) -> None:
    line = raw_thing("attributes", f'{{"as it is":{value!r},"long":{value:.20e},"padded":{value:.25f}}}')
    row = row_of(things(1), line)
    if row is not None:  # subnormal numbers, and some powers of two, are unsure
        assert row["attributes"]["as it is"] == repr(value)
    elif abs(value) > 1e-300:
        assert abs(value).hex().partition("p")[0] == "0x1.0000000000000", value


@given(st.datetimes(), st.integers(-1439, 1439))
@settings(STEADY, max_examples=200)
def test_any_time_is_the_one_that_python_reads(at: datetime, minutes: int) -> None:
    text = f"{at.isoformat()}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    row = row_of(things(1), thing(endedAt=text))
    try:
        utc = at - timedelta(minutes=minutes)
    except OverflowError:
        assert row is None
    else:
        assert row is not None
        assert row["ended_at"].replace(tzinfo=None) == utc


def test_blank_lines_are_in_neither() -> None:
    found = scanner(things(1)).scan(b"\n" + thing() + b"\n \t\r\n\nx\n")
    assert (found.lines.tolist(), found.unsure.tolist()) == ([1], [[4, len(thing()) + 7, len(thing()) + 9]])


def test_a_blank_line_over_the_limit_is_unsure() -> None:
    found = scanner(things(1), line_limit=5).scan(b"     \n      \n")
    assert found.unsure.tolist() == [[1, 6, 13]]


def test_nothing_at_all_gives_no_rows() -> None:
    found = scanner(things(1)).scan(b"")
    assert (found.rows.num_rows, len(found.lines), found.unsure.shape) == (0, 0, (0, 3))
    found.rows.validate(full=True)


@pytest.mark.parametrize("data", [b"{}", b"{}\n{}"])
def test_data_that_does_not_end_with_a_newline_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="whole lines"):
        scanner(things(1)).scan(data)


@pytest.mark.parametrize("size", [len(thing()) - 1, len(thing()), len(thing()) + 1])
def test_a_line_may_be_as_long_as_the_limit(size: int) -> None:
    found = scanner(things(1), line_limit=size).scan(block([thing(), b" " * 3 + thing(), thing()]))
    assert found.lines.tolist() == ([0, 2] if size >= len(thing()) else [])


@pytest.mark.parametrize("form", [bytes, memoryview, pa.py_buffer])
def test_bytes_come_in_any_form(form: type) -> None:
    assert scanner(things(1)).scan(form(block([thing()]))).lines.tolist() == [0]


def test_a_later_scan_leaves_the_rows_of_an_earlier_one() -> None:
    one = scanner(PROFILES)
    first = one.scan(block(good_lines("first", 200)))
    before = first.rows.to_pylist()
    for number in range(3):
        one.scan(block(good_lines(f"later {number}", 500)))
    assert first.rows.to_pylist() == before


def test_threads_share_a_scanner() -> None:
    one = scanner(PROFILES)
    inputs = [block(good_lines(f"thread {number}", 300)) for number in range(8)]
    expected = [scanner(PROFILES).scan(data).rows for data in inputs]
    found: dict[int, list[pa.RecordBatch]] = {number: [] for number in range(8)}

    def work(number: int) -> None:
        found[number] = [one.scan(inputs[number]).rows for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found[n]) == 20 and all(rows.equals(expected[n]) for rows in found[n]) for n in found)


def test_a_version_is_found_under_its_key_in_escapes() -> None:
    assert row_of(PROFILES, record().replace(b'"version"', b'"v\\u0065rsion"')) is not None


def test_without_the_library_one_warning_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("compactor.native.LIBRARY", tmp_path / "missing.so")
    native.available.cache_clear()
    try:
        assert not native.available()
        assert not native.available()
        with pytest.raises(InvariantError):
            scanner(things(1))
    finally:
        native.available.cache_clear()
    (warning,) = caplog.messages
    assert "install a C compiler" in warning


def test_the_limit_of_these_tests_is_no_limit() -> None:
    assert max(map(len, ORDINARY.values())) < LIMIT

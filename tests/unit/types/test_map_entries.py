"""An entry of a map in a typed column: one value by Python, a column of them by SQL, and the model agree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.config import Resources
from compactor.duck import session
from compactor.registry.fields import type_of
from compactor.types.map_entries import entry_reading
from tests.support import promoted
from tests.support.any_record import NUMBER, STEADY, STRING, TIME
from tests.support.odd_json import NUMBERS, ODD_SCALARS, STRINGS, TIMESTAMPS

ODD = [*ODD_SCALARS, *NUMBERS, *STRINGS, *(json.dumps(text) for text in TIMESTAMPS)]
ALL = pytest.mark.parametrize("kind", promoted.KINDS)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with session.session(Resources(threads=1)) as con:
        yield con


def stored(text: str, *, is_json: bool) -> str | None:
    """The text that a map keeps of a JSON value; None for null. `extra` keeps JSON."""
    value = json.loads(text, parse_int=str, parse_float=str) if text[0] in '"n' else text
    if value is None or not is_json:
        return value and str(value)
    return json.dumps(value, ensure_ascii=False) if text[0] == '"' else str(value)


def assert_agree(con: duckdb.DuckDBPyConnection, kind: str, texts: Sequence[str], *, is_json: bool) -> None:
    """The SQL is right where it gives a value, and where it is certain that there is none."""
    reading = entry_reading(type_of(kind), is_json=is_json)
    columns = ", ".join(part.replace("{x}", "t") for part in (reading.sql, reading.certain))
    rows = con.from_arrow(pa.table({"t": pa.array(texts, pa.string())})).project(columns).fetchall()
    for text, (value, certain) in zip(texts, rows, strict=True):
        expected = (promoted.of_json if is_json else promoted.of_bare_text)(text, kind)
        exact = reading.value(text)
        assert shown(exact) == shown(expected), (kind, text)
        if value is not None or certain:
            assert shown(value) == shown(exact), (kind, text)


def shown(value: Any) -> str:
    return repr(value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value)


@ALL
@pytest.mark.parametrize("is_json", [True, False])
def test_an_odd_value_is_the_same_by_python_by_sql_and_by_the_model(
    con: duckdb.DuckDBPyConnection, kind: str, is_json: bool
) -> None:
    texts = [text for each in ODD if (text := stored(each, is_json=is_json)) is not None]
    assert_agree(con, kind, texts, is_json=is_json)


@pytest.mark.parametrize("examples", [8, pytest.param(500, marks=pytest.mark.soak)])
@ALL
def test_any_value_is_the_same_by_python_by_sql_and_by_the_model(
    con: duckdb.DuckDBPyConnection, kind: str, examples: int
) -> None:
    days = st.from_regex(r'"\d{4}-[01]\d-[0-3]\d"', fullmatch=True, alphabet=st.characters(max_codepoint=0x7F))
    quoted = NUMBER.map(json.dumps)
    values = st.one_of(NUMBER, quoted, STRING, TIME, days, st.sampled_from(ODD))

    @settings(STEADY, max_examples=examples)
    @given(found=st.lists(values, min_size=1, max_size=30))
    def agree(found: list[str]) -> None:
        for is_json in (True, False):
            assert_agree(con, kind, [t for each in found if (t := stored(each, is_json=is_json))], is_json=is_json)

    agree()


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("long", ["7", "-9223372036854775808", "9223372036854775808", "7.0", "1.5", "0x10", "1_000", "05", "gold", ""]),
        ("double", ["7", "-1.25", "59.91386812", "gold", "NaN", "1_000", "0x10"]),
        ("decimal(10,2)", ["7", "-1.250", "1.005", "123456789012345", "gold", "$5"]),
        ("boolean", ["true", "no", "1"]),
        ("date", ["2026-11-01", "0001-01-01", "19900-05-01", "infinity", "2026/11/01", "gold"]),
        ("timestamp", ["2026-11-01T05:06:07Z", "2026-11-01T05:06:07.5+02:00", "2026-11-01", "epoch", "2026-13-01"]),
    ],
)
def test_usual_values_need_no_second_look(con: duckdb.DuckDBPyConnection, kind: str, texts: list[str]) -> None:
    reading = entry_reading(type_of(kind), is_json=False)
    for text in texts:
        condition = f"({reading.sql}) IS NOT NULL OR {reading.certain}".replace("{x}", "t")
        assert con.execute(f"SELECT {condition} FROM (SELECT ? AS t)", [text]).fetchone() == (True,), text

"""A value of each type is exact, or its line is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.decoding import decoded
from tests.support.odd_json import EVERY_TYPE
from tests.support.outcomes import by_exact_path, shown, sign

BAD = object()


TYPED: list[tuple[str, str, Any]] = [  # field, JSON text, the expected value
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


@pytest.mark.parametrize(("field", "text", "expected"), TYPED, ids=[f"{field} {text[:24]}" for field, text, _ in TYPED])
def test_a_value_of_each_type_is_exact_or_refused(
    con: duckdb.DuckDBPyConnection, things: Dataset, field: str, text: str, expected: Any
) -> None:
    at = '"emittedAt":"2026-11-01T05:00:00Z","happenedAt":"2026-11-01T04:00:00Z"'
    line = f'{{"id":"t1","version":1,{at},"{field}":{text}}}'.encode()
    (found,) = decoded(con, things, [line])
    assert shown(found) == shown(by_exact_path(things, line))
    if expected is BAD:
        assert isinstance(found, tuple)
        assert found[0] == "bad_value"
    else:
        assert isinstance(found, dict)
        assert sign(found[{"endedAt": "ended_at"}.get(field, field)]) == sign(expected)


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
    for outcome in (*decoded(con, dataset, lines), *(by_exact_path(dataset, line) for line in lines)):
        assert isinstance(outcome, dict)
        assert [outcome[f"c{n}"] for n in range(len(names))] == list(range(len(names)))
        assert (outcome["id"], outcome["version"], outcome["extra"]) == ("t1", 1, {})

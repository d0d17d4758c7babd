"""A field's type: its forms agree with each other, and nothing else switches on the text of a type."""

from __future__ import annotations

import ast
import datetime as dt
import itertools
import pickle
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, TimestamptzType

import compactor
from compactor.decode import exact
from compactor.lake.iceberg_type import iceberg_type
from compactor.types.field_type import (
    BOOLEAN,
    DATE,
    DOUBLE,
    LONG,
    MAP,
    SCALAR_NAMES,
    STRING,
    TIMESTAMP,
    FieldType,
    decimal,
    is_like_decimal,
    parse,
)
from compactor.types.json_values import BadValue, JsonObject, Number

# type -> (a JSON value as the decoder gives it, the column's value)
VALUES: dict[FieldType, tuple[Any, Any]] = {
    STRING: ("it's ä", "it's ä"),
    LONG: (Number("-9223372036854775808"), -(2**63)),
    DOUBLE: (Number("1.5e300"), 1.5e300),
    BOOLEAN: (True, True),
    TIMESTAMP: ("2026-11-01T07:00:00.123456+02:00", dt.datetime(2026, 11, 1, 5, 0, 0, 123456)),  # noqa: DTZ001
    DATE: ("2026-02-28", dt.date(2026, 2, 28)),
    MAP: (JsonObject([("a", "b"), ("n", None), ("x", Number("1.50"))]), [("a", "b"), ("n", None), ("x", "1.5")]),
    decimal(9, 2): (Number("-1234567.5"), Decimal("-1234567.50")),
    decimal(38, 38): (Number("0.1"), Decimal(f"0.1{'0' * 37}")),
    decimal(38, 0): (Number("1" * 38), Decimal("1" * 38)),
}
TYPES = pytest.mark.parametrize("type_", VALUES, ids=str)
TEXTS = {"string", "long", "double", "boolean", "timestamp", "date", "map"}


@TYPES
def test_a_value_goes_through_duckdb_and_arrow_to_iceberg(type_: FieldType) -> None:
    delivered, value = VALUES[type_]
    assert type_.read(delivered) == value
    given = pa.table({"value": pa.array([value, None], type_.arrow)})
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE kept (value {type_.duckdb})")
        con.register("given", given)
        con.execute("INSERT INTO kept SELECT * FROM given")
        found = con.execute("SELECT value FROM kept").to_arrow_table()
    assert found.schema.field("value").type == type_.arrow
    assert found["value"].to_pylist() == [value, None]
    field = NestedField(1, "value", iceberg_type(type_, itertools.count(2)), required=False)
    stored = schema_to_pyarrow(Schema(field), include_field_ids=False).field("value").type
    assert _narrow(stored) == type_.arrow_stored
    assert found["value"].cast(type_.arrow_stored).cast(type_.arrow).to_pylist() == [value, None]


@TYPES
def test_the_text_for_iceberg_is_that_of_the_specification(type_: FieldType) -> None:
    assert str(iceberg_type(type_, itertools.count(2))).replace(", ", ",") == type_.iceberg


@TYPES
def test_spark_and_trino_have_the_type_of_duckdb_by_their_own_name(type_: FieldType) -> None:
    stored = sqlglot.exp.DataType.build("TIMESTAMPTZ" if type_.zoned else type_.duckdb, dialect="duckdb")
    assert [stored.sql(dialect).replace(", ", ",") for dialect in ("spark", "trino")] == [
        text.replace(", ", ",") for text in (type_.spark, type_.trino)
    ]


@TYPES
def test_only_a_timestamp_has_a_zone_in_the_tables(type_: FieldType) -> None:
    assert type_.zoned == isinstance(iceberg_type(type_, itertools.count()), TimestamptzType)
    assert type_.zoned == (type_ == TIMESTAMP)


@TYPES
def test_what_is_written_as_json_is_read_as_the_same_value(type_: FieldType) -> None:
    _, value = VALUES[type_]
    record = exact.read_object(b'{"v":%s}' % type_.write(value).encode())
    assert isinstance(record, dict)
    assert type_.read(record["v"]) == value


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (STRING, '"it\'s ä"'),
        (LONG, "-9223372036854775808"),
        (DOUBLE, "1.5e+300"),
        (BOOLEAN, "true"),
        (TIMESTAMP, '"2026-11-01T05:00:00.123456Z"'),
        (DATE, '"2026-02-28"'),
        (MAP, '{"a":"b","n":null,"x":1.5}'),
        (decimal(9, 2), "-1234567.50"),
    ],
)
def test_a_value_has_one_canonical_json_text(type_: FieldType, text: str) -> None:
    given = pa.table({"value": pa.array([VALUES[type_][1]], type_.arrow)})
    with duckdb.connect() as con:
        con.register("given", given)
        assert con.execute(f"SELECT {type_.canonical_json('value')} FROM given").fetchone() == (text,)


@pytest.mark.parametrize(
    ("type_", "value", "why"),
    [
        (STRING, Number("1"), "not a string"),
        (LONG, Number("1.5"), "not a 64-bit integer"),
        (LONG, "1", "not an integer"),
        (DOUBLE, Number("1e999"), "too large for a double"),
        (BOOLEAN, "true", "not a boolean"),
        (TIMESTAMP, "yesterday", "not a timestamp"),
        (DATE, "2026-02-30", r"not a date \(no such day\)"),
        (MAP, ["a"], "not an object"),
        (decimal(4, 2), Number("100"), r"too large for decimal\(4,2\)"),
        (decimal(4, 2), Number("1.234"), "has more than 2 fraction digits"),
    ],
)
def test_a_value_of_another_type_is_refused_without_naming_it(type_: FieldType, value: Any, why: str) -> None:
    with pytest.raises(BadValue, match=f"^{why}$"):
        type_.read(value)


@TYPES
def test_a_type_is_parsed_from_its_text(type_: FieldType) -> None:
    assert parse(str(type_)) == type_
    assert parse(type_.name) is not None
    assert hash(parse(type_.name)) == hash(type_)


@pytest.mark.parametrize("text", ["decimal(10, 2)", "decimal( 10 ,2 )", "decimal(10,02)"])
def test_a_decimal_has_one_name(text: str) -> None:
    assert parse(text) == decimal(10, 2)
    assert str(parse(text)) == "decimal(10,2)"


@pytest.mark.parametrize(
    "text",
    ["", "int", "String", " string", "decimal", "decimal(0,0)", "decimal(39,0)", "decimal(3,4)", "decimal(1,-1)",
     "decimal(100,2)", "decimal(٣,1)", "decimal (3,1)", "map<string,string>", "decimal(P,S)"],
)  # fmt: skip
def test_another_text_is_no_type(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(("precision", "scale"), [(0, 0), (39, 0), (3, 4)])
def test_a_decimal_that_no_engine_has_cannot_be_made(precision: int, scale: int) -> None:
    with pytest.raises(ValueError, match="no decimal has"):
        decimal(precision, scale)


def test_messages_list_the_names_of_all_scalar_types() -> None:
    assert {*SCALAR_NAMES} == {"string", "long", "double", "boolean", "timestamp", "date", "decimal(P,S)"}
    assert is_like_decimal("decimal(50,2)")
    assert not is_like_decimal("double")


@TYPES
def test_a_type_can_be_sent_to_another_process(type_: FieldType) -> None:
    again = pickle.loads(pickle.dumps(type_))  # as Spark does with a dataset
    assert again == type_
    assert again.duckdb == type_.duckdb
    assert again.read(VALUES[type_][0]) == VALUES[type_][1]


def test_no_module_switches_on_the_text_of_a_type() -> None:
    folder = Path(compactor.__file__).parent
    switches = [
        f"{path.relative_to(folder)}:{line}"
        for path in sorted(folder.rglob("*.py"))
        for line in _switches(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert switches == []


def test_a_switch_on_the_text_of_a_type_is_found() -> None:
    for code in (
        'if kind == "timestamp": pass',
        'if "map" != kind: pass',
        'if kind in ("long", "x"): pass',
        'types = {"long": 1}',
        'if kind.startswith("decimal("): pass',
        'match kind:\n  case "date" | "x": pass',
    ):
        assert [*_switches(ast.parse(code))] == [1 if "\n" not in code else 2], code
    assert [*_switches(ast.parse('name = "date"; f("long"); row["date"]; kind in {"double"} or x == "y"'))] == [1]


def _switches(tree: ast.AST) -> Iterator[int]:
    """The lines that compare with the text of a type, or that look one up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            places = [node.left, *node.comparators]
            parts = [
                part
                for place in places
                for part in (place.elts if isinstance(place, ast.Tuple | ast.List | ast.Set) else [place])
            ]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
            parts = [part for part in node.args if _text(part).startswith("decimal")]
            yield from (part.lineno for part in parts)
            continue
        else:
            continue
        yield from (part.lineno for part in parts if _text(part) in TEXTS)


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _narrow(stored: pa.DataType) -> pa.DataType:
    """The library's Arrow type, whose texts are large and whose maps name their parts in another way."""
    if pa.types.is_large_string(stored):
        return pa.string()
    return pa.map_(pa.string(), pa.string()) if pa.types.is_map(stored) else stored

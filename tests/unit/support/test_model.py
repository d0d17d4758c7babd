"""The model of the contract is itself held against the contract, one small claim at a time."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.model import DATASETS, BadLineError, Model, parse_line, parse_timestamp

PROFILE = {
    "id": "p1",
    "version": 1,
    "roverID": "fan-1",
    "emittedAt": "2026-11-01T10:00:00Z",
    "updatedAt": "2026-11-01T09:59:58Z",
    "traits": {"tier": "gold"},
}
IDENTITY = {
    "id": "i1",
    "version": 1,
    "roverID": "fan-1",
    "emittedAt": "2026-11-01T10:00:00Z",
    "identifierType": "email",
    "identifierValue": "fan1@example.com",
    "operation": "upsert",
    "updatedAt": "2026-11-01T09:00:00Z",
}
EMAIL = ("email", "fan1@example.com")


def line(record: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(record | changes, ensure_ascii=False).encode()


def without(record: dict[str, Any], name: str) -> bytes:
    return line({key: value for key, value in record.items() if key != name})


def with_raw(name: str, raw: str) -> bytes:
    """A profile whose field `name` is this very text."""
    return line(PROFILE)[:-1] + f', "{name}": {raw}}}'.encode()


def loaded(*lines: bytes, dataset: str = "fan_profiles") -> Model:
    model = Model()
    model.deliver(dataset, "a-file", "an-etag", list(lines))
    return model


def only_row(*lines: bytes) -> dict[str, Any]:
    (row,) = loaded(*lines).history("fan_profiles").values()
    return row


def test_a_record_becomes_a_row_of_typed_columns() -> None:
    assert only_row(line(PROFILE)) == {
        "id": "p1",
        "version": 1,
        "rover_id": "fan-1",
        "emitted_at": datetime(2026, 11, 1, 10, tzinfo=UTC),
        "updated_at": datetime(2026, 11, 1, 9, 59, 58, tzinfo=UTC),
        "traits": {"tier": "gold"},
        "extra": {},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"gold"', "gold"),
        ('""', ""),
        ("null", None),
        ("true", "true"),
        ("1.50", "1.5"),
        ("1e3", "1000.0"),
        ("-0", "0"),
        ("1e400", "1e400"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("9" * 5000, "9" * 5000),
        ('{"b": [1, null, "é\\n"], "a": {}}', '{"b":[1,null,"é\\n"],"a":{}}'),
    ],
)
def test_a_map_keeps_strings_and_writes_everything_else_as_json(value: str, text: str | None) -> None:
    assert only_row(with_raw("traits", f'{{"k": {value}}}'))["traits"] == {"k": text}


def test_unknown_fields_are_kept_as_json_text() -> None:
    row = only_row(line(PROFILE, a="x", b=None, c={"y": [1, 2]}, operation="delete"))
    assert row["extra"] == {"a": '"x"', "b": "null", "c": '{"y":[1,2]}', "operation": '"delete"'}


@pytest.mark.parametrize("raw", [line(PROFILE, traits=None), without(PROFILE, "traits")])
def test_an_optional_field_may_be_null_or_missing(raw: bytes) -> None:
    assert only_row(raw)["traits"] is None


def test_of_duplicate_json_keys_the_last_one_wins() -> None:
    assert only_row(with_raw("roverID", '"fan-2"'))["rover_id"] == "fan-2"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not_json"),
        (line(PROFILE)[:-1] + b",}", "not_json"),
        (line(PROFILE) + b" x", "not_json"),
        (b"\xef\xbb\xbf" + line(PROFILE), "not_json"),
        (with_raw("x", "NaN"), "not_json"),
        (with_raw("x", "[-Infinity]"), "not_json"),
        (with_raw("x", "01"), "not_json"),
        (with_raw("x", '"\t"'), "not_json"),
        (with_raw("x", r'"\ud800"'), "not_json"),
        (with_raw("x", r'"\ud800", "x": 1'), "not_json"),
        (with_raw("x", "[" * 100_000 + "]" * 100_000), "not_json"),
        (b'"\\udfff"', "not_json"),
        (b"\x0b", "not_json"),
        (b"[1]", "not_object"),
        (b"null", "not_object"),
        (line(PROFILE, x="é").replace("é".encode(), b"\xe9"), "invalid_utf8"),
        (line(PROFILE, x="é").replace("é".encode(), b"\xed\xa0\x80"), "invalid_utf8"),
        (line(PROFILE, version=2), "unknown_version"),
        (line(PROFILE, version=0), "unknown_version"),
        (line(PROFILE, version="1"), "bad_value"),
        (line(PROFILE, version=True), "bad_value"),
        (line(PROFILE, version=1.5), "bad_value"),
        (line(PROFILE, version=2**63), "bad_value"),
        (with_raw("version", "1e99999999999999999999"), "bad_value"),
        (with_raw("version", "1.0000000000000000000000000000001"), "bad_value"),
        (line(PROFILE, version=None), "missing_field"),
        (without(PROFILE, "version"), "missing_field"),
        (without(PROFILE, "id"), "missing_field"),
        (without(PROFILE, "roverID"), "missing_field"),
        (line(PROFILE, emittedAt=None), "missing_field"),
        (without(PROFILE, "updatedAt"), "missing_field"),
        (line(PROFILE, id=7), "bad_value"),
        (line(PROFILE, emittedAt=1793527200), "bad_value"),
        (line(PROFILE, updatedAt="yesterday"), "bad_value"),
        (line(PROFILE, traits=["gold"]), "bad_value"),
        (line(PROFILE, traits="{}"), "bad_value"),
    ],
)
def test_a_bad_line_is_quarantined_under_its_class(raw: bytes, reason: str) -> None:
    model = loaded(line(PROFILE), raw)
    assert model.quarantine("fan_profiles") == [("a-file", 2, reason)]
    assert model.ledger("fan_profiles") == {("a-file", "an-etag"): (2, 1)}


@pytest.mark.parametrize(
    "raw",
    [
        line(PROFILE, version=1.0),
        with_raw("version", "10e-1"),
        line(PROFILE, id="", roverID=""),
        b" \t" + line(PROFILE) + b"\r\n",
        with_raw("x", r'"\ud83d\ude00\u0000"'),
        with_raw("x", '"\u007f\u2028"'),
    ],
)
def test_odd_lines_that_are_valid_are_rows(raw: bytes) -> None:
    assert loaded(raw).new_total("fan_profiles") == 1


def test_the_key_fields_of_each_dataset_are_required() -> None:
    for name in ("identifierType", "identifierValue", "updatedAt"):
        model = loaded(without(IDENTITY, name), dataset="fan_identity_graph")
        assert model.quarantine("fan_identity_graph") == [("a-file", 1, "missing_field")]


def test_a_line_over_the_limit_is_too_long_and_one_at_the_limit_is_not() -> None:
    raw = line(PROFILE)
    parse_line(DATASETS["fan_profiles"], raw + b"\n", limit=len(raw))
    with pytest.raises(BadLineError, match="line_too_long"):
        parse_line(DATASETS["fan_profiles"], raw, limit=len(raw) - 1)


def test_blank_lines_are_numbered_but_not_counted() -> None:
    model = loaded(b"", line(PROFILE), b" \t\r\n", b"oops", b"")
    assert model.ledger("fan_profiles") == {("a-file", "an-etag"): (2, 1)}
    assert model.quarantine("fan_profiles") == [("a-file", 4, "not_json")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01t10:00:00z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01 10:00:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00.9999999Z", datetime(2026, 11, 1, 10, 0, 0, 999999, tzinfo=UTC)),
        ("1969-12-31T23:59:59.123456789Z", datetime(1969, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)),
        ("2026-11-01T10:00:00.5+05:30", datetime(2026, 11, 1, 4, 30, 0, 500000, tzinfo=UTC)),
        ("2026-11-01T10:00:00-0800", datetime(2026, 11, 1, 18, tzinfo=UTC)),
        ("2026-11-01T10:00:00+01", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_utc_and_cut_to_microseconds(text: str, expected: datetime) -> None:
    assert parse_timestamp(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-01",
        "2026-11-01T10:00Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T10:00:60Z",
        "2026-02-29T00:00:00Z",
        "2026-11-01T10:00:00.Z",
        "2026-11-01T10:00:00.1234567890Z",
        "2026-11-01T10:00:00,5Z",
        "2026-11-01T10:00:00+24:00",
        "2026-11-01T10:00:00+01:60",
        "2026-11-01T10:00:00 Z",
        " 2026-11-01T10:00:00Z",
        "2026-11-01T10:00:00Z\n",
        "\uff12026-11-01T10:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-12-31T00:00:00Z",
        "",
    ],
)
def test_anything_else_is_no_timestamp(text: str) -> None:
    with pytest.raises(BadLineError, match="bad_value"):
        parse_timestamp(text)


def test_of_one_id_the_earliest_emitted_record_is_kept() -> None:
    first = line(PROFILE, traits={"tier": "first"})
    rerun = line(PROFILE, traits={"tier": "rerun"}, emittedAt="2026-11-02T00:00:00Z")
    for lines in ([first, rerun], [rerun, first]):
        assert only_row(*lines)["traits"] == {"tier": "first"}


def test_at_equal_emission_the_smaller_canonical_json_is_kept() -> None:
    small, great = line(PROFILE, traits={"a": 1}), line(PROFILE, traits={"b": 1})
    for lines in ([small, great], [great, small]):
        assert only_row(*lines)["traits"] == {"a": "1"}


def test_the_greatest_order_value_is_current_and_the_id_breaks_a_tie() -> None:
    old = line(PROFILE, id="z", updatedAt="2026-10-01T00:00:00Z", emittedAt="2026-12-01T00:00:00Z")
    model = loaded(line(PROFILE, id="b"), line(PROFILE, id="a"), old)
    assert model.current("fan_profiles")[("fan-1",)]["id"] == "b"
    assert model.new_total("fan_profiles") == len(model.history("fan_profiles")) == 3


def test_a_late_older_record_never_brings_a_deleted_key_back() -> None:
    delete = line(IDENTITY, id="i2", operation="delete", updatedAt="2026-11-01T12:00:00Z")
    late = line(IDENTITY, id="i3", updatedAt="2026-11-01T11:00:00Z")
    model = loaded(line(IDENTITY), delete, late, dataset="fan_identity_graph")
    assert model.current("fan_identity_graph") == {}
    assert set(model.history("fan_identity_graph")) == {"i1", "i2", "i3"}


def test_a_newer_upsert_ties_a_deleted_key_again() -> None:
    delete = line(IDENTITY, id="i2", operation="delete", updatedAt="2026-11-01T12:00:00Z")
    again = line(IDENTITY, id="i3", updatedAt="2026-11-01T13:00:00Z")
    model = loaded(again, line(IDENTITY), delete, dataset="fan_identity_graph")
    assert model.current("fan_identity_graph")[EMAIL]["id"] == "i3"


def test_an_object_delivered_again_changes_nothing_and_a_replaced_one_is_read() -> None:
    model = loaded(line(PROFILE), b"oops")
    model.deliver("fan_profiles", "a-file", "an-etag", [line(PROFILE), b"oops"])
    assert model.ledger("fan_profiles") == {("a-file", "an-etag"): (2, 1)}
    model.deliver("fan_profiles", "a-file", "other-etag", [line(PROFILE), line(PROFILE, id="p2")])
    assert model.ledger("fan_profiles")["a-file", "other-etag"] == (2, 0)
    assert model.new_total("fan_profiles") == 2


def test_neither_order_nor_files_change_the_result() -> None:
    rng = random.Random(7)
    lines = [
        line(
            IDENTITY,
            id=f"i{rng.randrange(12)}",
            emittedAt=f"2026-11-01T10:00:0{rng.randrange(3)}Z",
            updatedAt=f"2026-11-01T09:00:0{rng.randrange(3)}Z",
            identifierValue=f"fan{rng.randrange(3)}@example.com",
            operation=rng.choice(["upsert", "delete"]),
        )
        for _ in range(60)
    ]
    whole = loaded(*lines, dataset="fan_identity_graph")
    for _ in range(20):
        rng.shuffle(lines)
        model, cut = Model(), rng.randrange(len(lines))
        model.deliver("fan_identity_graph", "one", "1", lines[:cut])
        model.deliver("fan_identity_graph", "two", "2", lines[cut:])
        assert model.history("fan_identity_graph") == whole.history("fan_identity_graph")
        assert model.current("fan_identity_graph") == whole.current("fan_identity_graph")

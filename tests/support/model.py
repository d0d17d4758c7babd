"""The contract as plain dicts: what any set of delivered lines must come to, whatever the order they came in.

It knows nothing of the product's code, so an error shared by both is unlikely. Nothing is clever or fast here: rows are
dicts, and the current state is computed from the whole history at each question.

A line is judged in this order, and the first fault names its class: `line_too_long`, `invalid_utf8`, `not_json`,
`not_object`, the version (`missing_field`, `bad_value`, `unknown_version`), then field by field in the order of the
tables below `missing_field` or `bad_value`. Nesting of more than 500 levels counts as `not_json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import partial
from math import isinf
from typing import Any, NoReturn

Row = dict[str, Any]

JSON_SPACE = b" \t\r\n"

TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)


@dataclass(frozen=True)
class Dataset:
    """One dataset of the export, by its JSON names.

    `fields` maps a JSON name to (column, type), a type as the registry writes it. A record needs all of them
    but the `optional` ones. `key` and `order` are JSON names. `delete` is the (JSON name, value) that marks a delete.
    """

    fields: dict[str, tuple[str, str]]
    key: tuple[str, ...]
    order: str
    optional: tuple[str, ...]
    delete: tuple[str, str] | None = None
    versions: frozenset[int] = frozenset({1})

    def column(self, name: str) -> str:
        return self.fields[name][0]


ENVELOPE = {
    "id": ("id", "string"),
    "roverID": ("rover_id", "string"),
    "emittedAt": ("emitted_at", "timestamp"),
}

DATASETS = {
    "fan_profiles": Dataset(
        fields=ENVELOPE | {"updatedAt": ("updated_at", "timestamp"), "traits": ("traits", "map")},
        key=("roverID",),
        order="updatedAt",
        optional=("traits",),
    ),
    "fan_identity_graph": Dataset(
        fields=ENVELOPE
        | {
            "identifierType": ("identifier_type", "string"),
            "identifierValue": ("identifier_value", "string"),
            "operation": ("operation", "string"),
            "updatedAt": ("updated_at", "timestamp"),
        },
        key=("identifierType", "identifierValue"),
        order="updatedAt",
        optional=("operation",),
        delete=("operation", "delete"),
    ),
    "fan_profile_merges": Dataset(
        fields=ENVELOPE
        | {
            "fromRoverID": ("from_rover_id", "string"),
            "toRoverID": ("to_rover_id", "string"),
            "mergedAt": ("merged_at", "timestamp"),
        },
        key=("fromRoverID",),
        order="mergedAt",
        optional=("toRoverID",),
    ),
    "fan_track_events": Dataset(
        fields=ENVELOPE
        | {
            "event": ("event", "string"),
            "occurredAt": ("occurred_at", "timestamp"),
            "attributes": ("attributes", "map"),
            "device": ("device", "map"),
        },
        key=("id",),
        order="occurredAt",
        optional=("event", "attributes", "device"),
    ),
}


class BadLineError(Exception):
    """A line that has to be quarantined; `str(error)` is the class of the reason."""


class Model:
    """What was delivered so far, and what the tables must hold because of it.

    `line_limit` is the longest allowed line in bytes, without its newline; None is no limit.
    """

    def __init__(self, datasets: dict[str, Dataset] = DATASETS, *, line_limit: int | None = None) -> None:
        self._datasets = datasets
        self._line_limit = line_limit
        self._best: dict[str, dict[str, tuple[datetime, str, Row]]] = {name: {} for name in datasets}
        self._bad: dict[str, list[tuple[str, int, str]]] = {name: [] for name in datasets}
        self._ledger: dict[str, dict[tuple[str, str], tuple[int, int]]] = {name: {} for name in datasets}

    def deliver(self, dataset: str, key: str, etag: str, lines: list[bytes]) -> None:
        """Take in one object. The same (key, etag) is the same content, so delivered again it changes nothing."""
        if (key, etag) in self._ledger[dataset]:
            return
        read = quarantined = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip(JSON_SPACE) and (self._line_limit is None or len(line) <= self._line_limit):
                continue
            read += 1
            try:
                self._keep(dataset, *parse_line(self._datasets[dataset], line, self._line_limit))
            except BadLineError as bad:
                quarantined += 1
                self._bad[dataset].append((key, number, str(bad)))
        self._ledger[dataset][key, etag] = (read, quarantined)

    def _keep(self, dataset: str, row: Row, canonical: str) -> None:
        best = self._best[dataset]
        candidate = (row["emitted_at"], canonical, row)
        if row["id"] not in best or candidate[:2] < best[row["id"]][:2]:
            best[row["id"]] = candidate

    def history(self, dataset: str) -> dict[str, Row]:
        """Each distinct record once, by its id."""
        return {id_: row for id_, (_, _, row) in self._best[dataset].items()}

    def current(self, dataset: str) -> dict[tuple[str, ...], Row]:
        """The row of each entity key. The entity of an event is the event itself."""
        spec = self._datasets[dataset]
        winners: dict[tuple[str, ...], Row] = {}
        order = spec.column(spec.order)
        for row in sorted(self.history(dataset).values(), key=lambda row: (row[order], row["id"])):
            winners[tuple(row[spec.column(name)] for name in spec.key)] = row
        if spec.delete is None:
            return winners
        column, deleted = spec.column(spec.delete[0]), spec.delete[1]
        return {key: row for key, row in winners.items() if row[column] != deleted}

    def quarantine(self, dataset: str) -> list[tuple[str, int, str]]:
        """(object key, 1-based line number, class of the reason) of each rejected line, in the order delivered."""
        return list(self._bad[dataset])

    def ledger(self, dataset: str) -> dict[tuple[str, str], tuple[int, int]]:
        """(object key, etag) -> (lines, quarantined)."""
        return dict(self._ledger[dataset])

    def new_total(self, dataset: str) -> int:
        """What `new` adds up to over all files and runs: in which file a record was new depends on their order."""
        return len(self._best[dataset])


def parse_line(spec: Dataset, line: bytes, limit: int | None = None) -> tuple[Row, str]:
    """The row of one line and its canonical JSON. Raises BadLineError."""
    row = parse_row(spec, line, limit)
    return row, _canonical(spec, row)


def parse_row(spec: Dataset, line: bytes, limit: int | None = None) -> Row:
    """The row of one line. Raises BadLineError."""
    record = _record(line, limit)
    row: Row = {"version": _version(spec, record)}
    for name, (column, kind) in spec.fields.items():
        value = record.get(name)
        if value is None and name not in spec.optional:
            raise BadLineError("missing_field")
        row[column] = None if value is None else converter(kind)(value)
    unknown = record.keys() - spec.fields.keys() - {"version"}
    row["extra"] = {name: _text(value) for name, value in record.items() if name in unknown}
    return row


def _canonical(spec: Dataset, row: Row) -> str:
    """What a table keeps of a record as JSON: sorted keys, no spaces, no nulls, times with six digits."""
    entries = {"version": str(row["version"]), **row["extra"]}
    for name, (column, kind) in spec.fields.items():
        value = row[column]
        if isinstance(value, datetime):
            entries[name] = f'"{value:%Y-%m-%dT%H:%M:%S.%fZ}"' if value.year > 999 else f'"{value.isoformat()}"'
        elif kind == "map" and value is not None:
            entries[name] = _joined({key: _reading(text) for key, text in value.items()})
        elif value is not None:
            entries[name] = _text(value)
    return _joined(entries)


def _reading(text: str | None) -> str:
    """A map's text as a JSON value: what reads as a number, boolean, object or array is taken for one."""
    try:
        known = text is not None and text != "null" and not text.startswith('"') and json.loads(text) is not None
    except ValueError:
        known = False
    return str(text) if known else _text(text)


def _joined(texts: dict[str, str]) -> str:
    return "{" + ",".join(f"{_text(key)}:{text}" for key, text in sorted(texts.items())) + "}"


def _depth(text: str) -> int:
    depth = deepest = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    return deepest


def _record(line: bytes, limit: int | None) -> dict[str, Any]:
    if limit is not None and len(line.rstrip(b"\n")) > limit:
        raise BadLineError("line_too_long")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLineError("invalid_utf8") from error
    if _depth(text) > 500:
        raise BadLineError("not_json")
    try:
        record = json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_no_constant, object_pairs_hook=Object
        )
        _text(record).encode("utf-8")  # fails on a lone surrogate, also where its key is given again
    except ValueError as error:
        raise BadLineError("not_json") from error
    if not isinstance(record, dict):
        raise BadLineError("not_object")
    return record


class Number(str):
    """A JSON number as it was delivered, so that none is too large or too exact."""

    __slots__ = ()

    def text(self) -> str:
        """What `json.dumps` writes for the parsed number; itself where it is beyond a double (1e400)."""
        if self.lstrip("-").isdigit():
            return "0" if self == "-0" else str(self)
        number = float(self)
        return str(self) if isinf(number) else repr(number)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN, Infinity, -Infinity: Python's own additions to JSON


class Object(dict[str, Any]):
    """A JSON object. Of a duplicate key the last one wins, where it is a field; a text keeps both."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _text(value: Any) -> str:
    """Compact JSON text, in the order of delivery."""
    if isinstance(value, Number):
        return value.text()
    if isinstance(value, Object):
        return "{" + ",".join([f"{_text(name)}:{_text(item)}" for name, item in value.pairs]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value.isoformat() if isinstance(value, date) else value, ensure_ascii=False)


def _version(spec: Dataset, record: dict[str, Any]) -> int:
    """An integer of 64 bits. 1.0 is the integer 1; 1.0000000000000000001 is none."""
    version = record.get("version")
    if version is None:
        raise BadLineError("missing_field")
    try:
        number = Decimal(version) if isinstance(version, Number) else Decimal("nan")
    except InvalidOperation:  # an exponent of twenty digits
        number = Decimal("nan")
    if number != number.to_integral_value() or not -(2**63) <= number < 2**63:
        raise BadLineError("bad_value")
    if number not in spec.versions:
        raise BadLineError("unknown_version")
    return int(number)


def _string(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise BadLineError("bad_value")
    return value


def _map(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise BadLineError("bad_value")
    return {name: item if item is None or type(item) is str else _text(item) for name, item in value.items()}


def parse_timestamp(value: Any) -> datetime:
    """RFC 3339, a little wider (see TIMESTAMP); no zone is UTC. Digits beyond microseconds are cut, not rounded.

    Years are 1 to 9999, as written and in UTC. Raises BadLineError.
    """
    match = TIMESTAMP.fullmatch(_string(value))
    if match is None:
        raise BadLineError("bad_value")
    *fields, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise BadLineError("bad_value")
    year, month, day, hour, minute, second = map(int, fields)
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        return local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError) as error:
        raise BadLineError("bad_value") from error


def _exact(value: Any) -> Fraction:
    """A number's exact value. One that no column reaches, great or small, is refused before it is written out."""
    if not isinstance(value, Number):
        raise BadLineError("bad_value")
    digits, _, exponent = value.lower().partition("e")
    if not digits.strip("-0."):
        return Fraction(0)
    try:
        number = Decimal(f"{digits}e{exponent or 0}")
    except InvalidOperation as error:
        raise BadLineError("bad_value") from error
    if abs(number.adjusted()) > 1000:
        raise BadLineError("bad_value")
    return Fraction(number)


def _long(value: Any) -> int:
    number = _exact(value)
    if number.denominator != 1 or not -(2**63) <= number < 2**63:
        raise BadLineError("bad_value")
    return int(number)


def _double(value: Any) -> float:
    number = float(value) if isinstance(value, Number) and value != "-0" else float(_exact(value))
    if isinf(number):
        raise BadLineError("bad_value")
    return number


def _decimal(precision: int, scale: int, value: Any) -> Decimal:
    units = _exact(value) * 10**scale
    if units.denominator != 1 or abs(units) >= 10**precision:
        raise BadLineError("bad_value")
    return Decimal(int(units)).scaleb(-scale, Context(prec=precision))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadLineError("bad_value")
    return value


def _date(value: Any) -> date:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", _string(value)):
        raise BadLineError("bad_value")
    return parse_timestamp(f"{value}T00:00:00Z").date()


def converter(kind: str) -> Callable[[Any], Any]:
    if decimal := re.fullmatch(r"decimal\((\d+),(\d+)\)", kind):
        return partial(_decimal, int(decimal[1]), int(decimal[2]))
    return CONVERT[kind]


CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": _string,
    "timestamp": parse_timestamp,
    "map": _map,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "date": _date,
}

"""A corpus of bad lines, each kind under a name.

`LINES` are lines for a file of good ones, `LONG` are files with one line over `LINE_LIMIT`. All of it is built from
seeds, so a name stands for the same bytes in every run.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

PERSON = "fan@example.com"  # stands in all lines; nothing that may be logged quotes it


LINE_LIMIT = 1_000  # bytes, for the files of `LONG`


BLOCK_BYTES = 4_096  # bytes of a block, for the files of `LONG` and `FILES`


# Fields of a good record by their JSON text, in the order in which they are judged.
_ENVELOPE = {"id": '"ID"', "version": "1", "roverID": f'"{PERSON}"', "emittedAt": '"2026-11-01T05:00:00Z"'}


RECORDS: dict[str, dict[str, str]] = {
    "fan_profiles": _ENVELOPE | {"updatedAt": '"2026-11-01T04:00:00Z"', "traits": '{"tier":"gold","spend":12.5}'},
    "fan_identity_graph": _ENVELOPE
    | {
        "identifierType": '"email"',
        "identifierValue": f'"{PERSON}"',
        "operation": '"upsert"',
        "updatedAt": '"2026-11-01T04:00:00Z"',
    },
    "fan_profile_merges": _ENVELOPE
    | {"fromRoverID": f'"{PERSON}"', "toRoverID": '"f2"', "mergedAt": '"2026-11-01T04:00:00Z"'},
    "fan_track_events": _ENVELOPE
    | {"event": '"opened"', "occurredAt": '"2026-11-01T04:00:00Z"', "attributes": "{}", "device": '{"os":"iOS"}'},
}


@dataclass(frozen=True)
class BadLine:
    """A line of `dataset` that has to be quarantined for `reason`. `version` is its record's, if it has a number."""

    dataset: str
    line: bytes
    reason: str
    version: int | None = None


def record(dataset: str = "fan_profiles", *, id_: str = "bad", **texts: str | None) -> bytes:
    """A record with some fields by another JSON text; None leaves a field out."""
    fields = RECORDS[dataset] | {"id": json.dumps(id_)} | texts
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None) + "}").encode()


def good_lines(seed: str, count: int, dataset: str = "fan_profiles") -> list[bytes]:
    """Good records, each with an id that begins with the seed."""
    chance = random.Random(seed)
    lines = []
    for number in range(count):
        texts = {}
        for name in ("roverID", "identifierValue", "fromRoverID"):
            if name in RECORDS[dataset]:
                texts[name] = json.dumps(f"fan-{chance.randrange(50)}")
        lines.append(record(dataset, id_=f"{seed}-{number}", **texts))
    return lines


# Lines


def _lines() -> dict[str, BadLine]:
    found: dict[str, BadLine] = {}

    def add(name: str, line: bytes, reason: str, version: int | None = None, dataset: str = "fan_profiles") -> None:
        assert name not in found, name
        found[name] = BadLine(dataset, line, reason, version)

    _add_not_json(add)
    _add_not_object(add)
    _add_versions(add)
    _add_fields(add)
    _add_timestamps(add)
    _add_not_utf8(add)
    _add_deep(add)
    return found


_Add = Callable[..., None]


def _add_not_json(add: _Add) -> None:
    good = record()
    broken = {
        "truncated in a value": good[:-20],
        "truncated by a byte": good[:-1],
        "truncated in a key": good[:5],
        "truncated in an escape": good[:-2] + b"\\u00",
        "a single brace": b"{",
        "a closing brace": b"}",
        "a word": b"hello",
        "a number with a leading zero": record(traits='{"a":01}'),
        "a number with a plus": record(traits='{"a":+1}'),
        "a number that ends with a dot": record(traits='{"a":1.}'),
        "a number that begins with a dot": record(traits='{"a":.5}'),
        "a number in hex": record(traits='{"a":0x10}'),
        "a number without its exponent": record(traits='{"a":1e}'),
        "a number with underscores": record(traits='{"a":1_000}'),
        "a lone minus": record(traits='{"a":-}'),
        "a comma at the end of an object": good[:-1] + b",}",
        "a comma at the end of a map": record(traits='{"a":1,}'),
        "a comma and space at the end of a map": record(traits='{"a":1, \t}'),
        "a comma at the end of a list": record(traits='{"a":[1,]}'),
        "a comma at the end of an unknown field": record(x='{"a":[{"b":1,}]}'),
        "a comma too many": good.replace(b",", b",,", 1),
        "a comma too few": good.replace(b",", b" ", 1),
        "a leading comma": b"{," + good[1:],
        "a colon too few": good.replace(b":", b" ", 1),
        "NaN": record(traits='{"a":NaN}'),
        "nan": record(traits='{"a": nan}'),
        "NaN in a list": record(traits='{"a":[ NaN]}'),
        "NaN behind another": record(traits='{"a":[1, NaN]}'),
        "NaN in an unknown field": record(x="NaN"),
        "NaN as a version": record(version="NaN"),
        "Infinity": record(traits='{"a":Infinity}'),
        "inf": record(traits='{"a":inf}'),
        "-Infinity": record(traits='{"a":-Infinity}'),
        "-inf": record(traits='{"a":-inf}'),
        "-inf in an unknown list": record(x="[0,-inf]"),
        "undefined": record(traits='{"a":undefined}'),
        "None": record(traits="None"),
        "True": record(traits='{"a":True}'),
        "NULL": record(traits="NULL"),
        "single quotes": good.replace(b'"', b"'"),
        "no quotes around a key": good.replace(b'"id"', b"id"),
        "a number as a key": record(traits='{1:"a"}'),
        "a key without a value": record(traits='{"a"}'),
        "NUL in a string": record(traits='{"a":"\0"}'),
        "NUL behind the record": good + b"\0",
        "a tab in a string": record(traits='{"a":"\t"}'),
        "a carriage return in a string": record(traits='{"a":"\r"}'),
        "an escape character in a string": record(traits='{"a":"\x1b[2J"}'),
        "a control character in a key": record(traits='{"\x1f":1}'),
        "an unknown escape": record(traits='{"a":"\\x41"}'),
        "an escape in capitals": record(traits='{"a":"\\U0041"}'),
        "a short escape": record(traits='{"a":"\\u41"}'),
        "a lone high surrogate": record(traits='{"a":"\\ud83d"}'),
        "a lone low surrogate": record(traits='{"a":"\\ude00"}'),
        "surrogates in the wrong order": record(traits='{"a":"\\ude00\\ud83d"}'),
        "a lone surrogate in a key": record(traits='{"\\ud800":1}'),
        "a lone surrogate in an unknown field": record(x='[{"a":["\\uDFFF"]}]'),
        "a lone surrogate in a value that a later key replaces": record(traits='{"a":"\\ud800","a":1}'),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "two objects": good + good,
        "two objects and a space": good + b" " + good,
        "two objects and a comma": good + b"," + good,
        "two objects and a carriage return": good + b"\r" + good,
        "a word behind the record": good + b" oops",
        "a brace behind the record": good + b"}",
        "a comment behind the record": good + b" // why",
        "a comment in the record": b"{/* why */" + good[1:],
        "a comment in front of the record": b"# why\t" + good,
        "a form feed in front of the record": b"\x0c" + good,
        "a no-break space in front of the record": "\xa0".encode() + good,
        "a vertical tab in the record": b"{\x0b" + good[1:],
        "an array that is not closed": b"[" + good,
        "YAML": b"id: a",
        "CSV": b"id,version,roverID",
        "UTF-16": good.decode().encode("utf-16-be"),
        "HTML": b"<html><body>503 Service Unavailable</body></html>",
    }
    for name, line in broken.items():
        add(name, line, "not_json")


def _add_not_object(add: _Add) -> None:
    others = {
        "an empty array": b"[]",
        "an array of one record": b"[" + record() + b"]",
        "a number": b"1",
        "a number over all limits": b"1e400",
        "a string": b'"id"',
        "a record in a string": json.dumps(record().decode()).encode(),
        "null": b"null",
        "true": b" true ",
        "false": b"false",
    }
    for name, line in others.items():
        add(name, line, "not_object")


def _add_versions(add: _Add) -> None:
    for version in (2, 0, -1, 99, 2**63 - 1, -(2**63)):
        add(f"version {version}", record(version=str(version)), "unknown_version", version)
    add("version 2.0", record(version="2.0"), "unknown_version", 2)
    add("version -0", record(version="-0"), "unknown_version", 0)
    add("version 2 of a record that is none of ours", b'{"version":2,"a":{"b":[]}}', "unknown_version", 2)
    add("no version", record(version=None), "missing_field")
    add("version null", record(version="null"), "missing_field")
    add("an empty object", b"{}", "missing_field")
    add("an object of nothing known", b'{"a":1}', "missing_field")
    for text in ('"1"', '"v1"', '""', "true", "[1]", "{}", "1.5", "1e-1", "1.0000000000000000000000000000001"):
        add(f"version {text}", record(version=text), "bad_value")
    for text in (str(2**63), str(-(2**63) - 1), "1" * 5_000, "1e999999", "-1e999999", "1e-999999", "1e" + "9" * 30):
        add(f"version {text[:20]} of {len(text)} characters", record(version=text), "bad_value")
    add("a version twice, the last unknown", record()[:-1] + b',"version":7}', "unknown_version", 7)


def _add_fields(add: _Add) -> None:
    optional = {"traits", "operation", "toRoverID", "event", "attributes", "device"}
    for dataset, fields in RECORDS.items():
        for name, text in fields.items():
            place = f"{name} of {dataset}"
            if name != "version" and name not in optional:
                null = record(dataset, **{name: "null"})
                add(f"null as {place}", null, "missing_field", 1, dataset)
                add(f"no {place}", null.replace(f'"{name}":null'.encode(), b'"other":1'), "missing_field", 1, dataset)
            if name == "version" or (name in _ENVELOPE and dataset != "fan_profiles"):
                continue
            wrong = ("1", "1.5", "true", "[]", '"a"') if text.startswith("{") else ("1", "-1.5e3", "false", "{}", "[]")
            for value in wrong:
                add(f"{value} as {place}", record(dataset, **{name: value}), "bad_value", 1, dataset)
    add("a list of pairs as a map", record(traits='[["a",1]]'), "bad_value", 1)
    add("a map in a string", record(traits='"{\\"a\\":1}"'), "bad_value", 1)
    add("an object as a timestamp", record(emittedAt='{"$date":"2026-11-01T05:00:00Z"}'), "bad_value", 1)
    add("a number of 400 digits as a string", record(roverID="9" * 400), "bad_value", 1)
    add("an id twice, the last null", record()[:-1] + b',"id":null}', "missing_field", 1)
    add("an id twice, the last a number", record()[:-1] + b',"id":7}', "bad_value", 1)
    add("a key in other capitals", record(roverID=None, RoverID='"f1"'), "missing_field", 1)
    add("a key with space", record()[:-1].replace(b'"roverID"', b'"roverID "') + b"}", "missing_field", 1)


def _add_timestamps(add: _Add) -> None:
    texts = {
        "a text": "now",
        "an empty text": "",
        "a number in a text": "1793509200",
        "a date alone": "2026-11-01",
        "a time alone": "05:00:00Z",
        "no seconds": "2026-11-01T05:00Z",
        "month 13": "2026-13-01T05:00:00Z",
        "month 0": "2026-00-01T05:00:00Z",
        "30 February": "2026-02-30T05:00:00Z",
        "29 February of no leap year": "2026-02-29T05:00:00Z",
        "29 February 1900": "1900-02-29T05:00:00Z",
        "31 November": "2026-11-31T05:00:00Z",
        "day 0": "2026-11-00T05:00:00Z",
        "second 60": "2026-11-01T23:59:60Z",
        "minute 60": "2026-11-01T05:60:00Z",
        "hour 24": "2026-11-01T24:00:00Z",
        "year 0": "0000-01-01T00:00:00Z",
        "year 12026": "12026-11-01T05:00:00Z",
        "year +12026": "+12026-11-01T05:00:00Z",
        "a negative year": "-2026-11-01T05:00:00Z",
        "a year of two digits": "26-11-01T05:00:00Z",
        "before the year 1 in UTC": "0001-01-01T00:00:00+00:01",
        "after the year 9999 in UTC": "9999-12-31T23:59:59-00:01",
        "an offset of 24 hours": "2026-11-01T05:00:00+24:00",
        "an offset of 60 minutes": "2026-11-01T05:00:00+01:60",
        "an offset of one digit": "2026-11-01T05:00:00+1",
        "two zones": "2026-11-01T05:00:00+01:00Z",
        "the name of a zone": "2026-11-01T05:00:00 Europe/Paris",
        "ten digits of a second": "2026-11-01T05:00:00.1234567890Z",
        "a dot without digits": "2026-11-01T05:00:00.Z",
        "a comma for the dot": "2026-11-01T05:00:00,5Z",
        "slashes": "2026/11/01T05:00:00Z",
        "months by name": "1 Nov 2026 05:00:00",
        "one digit of a day": "2026-11-1T05:00:00Z",
        "a space behind": "2026-11-01T05:00:00Z ",
        "a newline behind": "2026-11-01T05:00:00Z\n",
        "NUL behind": "2026-11-01T05:00:00Z\0",
        "digits that are not ASCII": "\uff12\uff10\uff12\uff16-11-01T05:00:00Z",
        "infinity": "infinity",
        "epoch": "epoch",
    }
    for name, text in texts.items():
        add(f"timestamp with {name}", record(updatedAt=json.dumps(text, ensure_ascii=False)), "bad_value", 1)


def _add_not_utf8(add: _Add) -> None:
    pieces = {
        "a lone continuation byte": b"\x80",
        "a sequence cut short": b"\xe2\x82",
        "an overlong slash": b"\xc0\xaf",
        "an overlong NUL": b"\xc0\x80",
        "a surrogate in three bytes": b"\xed\xa0\x80",
        "a surrogate pair in six bytes": b"\xed\xa0\xbd\xed\xb8\x80",
        "a character past the last": b"\xf4\x90\x80\x80",
        "a sequence of five bytes": b"\xf8\x88\x80\x80\x80",
        "the byte FF": b"\xff",
        "Latin-1": "Zoë".encode("latin-1"),
        "Shift JIS": "漢字".encode("shift_jis"),
    }
    for name, piece in pieces.items():
        add(f"not UTF-8: {name}", record().replace(b"gold", b"<" + piece + b">"), "invalid_utf8")
    add("not UTF-8: in a key", record().replace(b'"tier"', b'"\xfe"'), "invalid_utf8")
    add("not UTF-8: behind the record", record() + b"\xc3", "invalid_utf8")
    add("not UTF-8: nor JSON", b"\xff\xfe{", "invalid_utf8")
    add("not UTF-8: UTF-16 with its mark", b"\xfe\xff" + record().decode().encode("utf-16-be"), "invalid_utf8")
    add("not UTF-8: gzip once more", gzip.compress(record(), mtime=0).replace(b"\n", b""), "invalid_utf8")


def _add_deep(add: _Add) -> None:
    deep = {"lists": "[" * 100_000 + "]" * 100_000, "maps": '{"a":' * 100_000 + "1" + "}" * 100_000}
    for kind, text in deep.items():
        add(f"100,000 {kind} in each other in a map", record(traits=f'{{"a":{text}}}'), "not_json")
        add(f"100,000 {kind} in each other in an unknown field", record(x=text), "not_json")
    add("100,000 lists in each other", ("[" * 100_000 + "]" * 100_000).encode(), "not_json")
    add("100,000 opening brackets", b"[" * 100_000, "not_json")
    add("100,000 opening braces", b'{"a":' * 100_000, "not_json")


LINES = _lines()


# Files with a line over the limit


@dataclass(frozen=True)
class LongLine:
    """Lines of a file, of which only that at `index` is over `LINE_LIMIT`."""

    lines: tuple[bytes, ...]
    index: int
    newline_at_end: bool = True


def _sized(id_: str, size: int) -> bytes:
    """A good record of exactly so many bytes."""
    bare = len(record(id_=id_, traits='{"fill":""}'))
    return record(id_=id_, traits=f'{{"fill":"{"x" * (size - bare)}"}}')


def _after(name: str, start: int, long: bytes, *, more: int = 5, newline_at_end: bool = True) -> LongLine:
    """`long` at this byte of the file, between good lines."""
    lines: list[bytes] = []
    while start:
        size = min(start, LINE_LIMIT if start >= 2 * LINE_LIMIT else start if start <= LINE_LIMIT else start // 2)
        lines.append(_sized(f"{name}-{len(lines)}", size - 1))
        start -= size
    after = [_sized(f"{name}-after-{number}", LINE_LIMIT) for number in range(more)]
    return LongLine((*lines, long, *after), len(lines), newline_at_end)


def _long(size: int) -> bytes:
    return _sized("bad", size)


def _too_long() -> dict[str, LongLine]:
    block, limit = BLOCK_BYTES, LINE_LIMIT
    places = {  # name -> (first byte, bytes without the newline)
        "by one byte, as the first line": (0, limit + 1),
        "at the start of a block": (block, limit + 500),
        "in the middle of a block": (block + 1_500, limit + 500),
        "at the end of a block": (2 * block - limit - 501, limit + 500),
        "with its newline first in the next block": (2 * block - limit - 500, limit + 500),
        "by one byte, with that byte in the next block": (block - limit, limit + 1),
        "by one byte, over two blocks": (block - 700, limit + 1),
        "over two blocks": (block - 700, limit + 500),
        "a whole block": (block, block - 1),
        "a whole block and its newline in the next": (block, block),
        "over five blocks": (700, 4 * block),
        "over five blocks, as the first line": (0, 4 * block),
    }
    found = {name: _after(f"long{n}", start, _long(size)) for n, (name, (start, size)) in enumerate(places.items())}
    found |= {
        "as the last line": _after("last", 3_000, _long(2 * limit), more=0),
        "as the last line, without a newline": _after("end", 3_000, _long(2 * limit), more=0, newline_at_end=False),
        "over the last blocks, without a newline": _after(
            "ends", 3_000, _long(3 * block), more=0, newline_at_end=False
        ),
        "as the only line": _after("only", 0, _long(3 * block), more=0),
        "as the only line, without a newline": _after("bare", 0, _long(3 * block), more=0, newline_at_end=False),
        "not JSON either": _after("word", 700, b"x" * (limit + 1)),
        "not UTF-8 either": _after("latin", 700, b"\xff" * (limit + 1)),
        "of many-byte characters, over two blocks": _after("wide", block - 700, "é漢😀".encode() * 300),
    }
    return found


LONG = _too_long()

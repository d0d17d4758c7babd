"""Odd JSON: texts that are easily read in another way than they should be, and a dataset with every type."""

from __future__ import annotations

from datetime import UTC, datetime

NUMBERS = {  # JSON text -> the text in the tables
    "0": "0",
    "-0": "0",
    "-1": "-1",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "18446744073709551616",
    "-123456789012345678901234567890": "-123456789012345678901234567890",
    "9" * 400: "9" * 400,
    "1.50": "1.5",
    "1.0": "1.0",
    "-0.0": "-0.0",
    "0e0": "0.0",
    "-0e9": "-0.0",
    "0.1": "0.1",
    "0.30000000000000004": "0.30000000000000004",
    "3.141592653589793238462643": "3.141592653589793",
    "100000000000000000000.5": "1e+20",
    "0.0001": "0.0001",
    "0.00001": "1e-05",
    "1e5": "100000.0",
    "1E5": "100000.0",
    "1e+05": "100000.0",
    "1e15": "1000000000000000.0",
    "1e16": "1e+16",
    "1e22": "1e+22",
    "-1e22": "-1e+22",
    "1.5e300": "1.5e+300",
    "1.7976931348623157e308": "1.7976931348623157e+308",
    "5e-324": "5e-324",
    "1e-400": "0.0",
    "1e400": "1e400",
    "1E400": "1E400",
    "-1.5e+400": "-1.5e+400",
    "1e99999999999999999999": "1e99999999999999999999",
}
STRINGS = {  # JSON text -> the text in the tables
    '""': "",
    '" a  b "': " a  b ",
    '"\\"\\\\\\/"': '"\\/',
    '"\\b\\f\\n\\r\\t"': "\b\f\n\r\t",
    '"\\u0041\\u00e9\\u00E9\\u20ac"': "Aéé€",
    '"\\ud83d\\ude00\\uD83D\\uDE00"': "😀😀",
    '"\\u0000"': "\0",
    '"a\\u0000b\\u001f\\u007f\\u0085"': "a\0b\x1f\x7f\x85",
    '"\\\\u0000"': "\\u0000",
    '"\\u2028\\u2029\\ufeff\\ufffe\\uffff"': "\u2028\u2029\ufeff\ufffe\uffff",
    '"\u2028\u2029\x85\ufeff\ufffe\uffff"': "\u2028\u2029\x85\ufeff\ufffe\uffff",
    '"\x7f\xa0éß漢字"': "\x7f\xa0éß漢字",
    '"😀🏳️\u200d🌈\U0010ffff"': "😀🏳️\u200d🌈\U0010ffff",
    '"e\u0301é"': "e\u0301é",
    '"{\\"a\\":1}"': '{"a":1}',
    '"NaN, ,} :-inf [nan"': "NaN, ,} :-inf [nan",
    '"null"': "null",
    '"it\'s"': "it's",
}
TIMESTAMPS = {
    "2026-11-01T05:06:07Z": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01t05:06:07z": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01 05:06:07Z": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01 05:06:07": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01T05:06:07": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01T05:06:07.1Z": datetime(2026, 11, 1, 5, 6, 7, 100_000, tzinfo=UTC),
    "2026-11-01T05:06:07.12Z": datetime(2026, 11, 1, 5, 6, 7, 120_000, tzinfo=UTC),
    "2026-11-01T05:06:07.123Z": datetime(2026, 11, 1, 5, 6, 7, 123_000, tzinfo=UTC),
    "2026-11-01T05:06:07.1234Z": datetime(2026, 11, 1, 5, 6, 7, 123_400, tzinfo=UTC),
    "2026-11-01T05:06:07.12345Z": datetime(2026, 11, 1, 5, 6, 7, 123_450, tzinfo=UTC),
    "2026-11-01T05:06:07.123456Z": datetime(2026, 11, 1, 5, 6, 7, 123_456, tzinfo=UTC),
    "2026-11-01T05:06:07.1234567Z": datetime(2026, 11, 1, 5, 6, 7, 123_456, tzinfo=UTC),
    "2026-11-01T05:06:07.12345678Z": datetime(2026, 11, 1, 5, 6, 7, 123_456, tzinfo=UTC),
    "2026-11-01T05:06:07.999999999Z": datetime(2026, 11, 1, 5, 6, 7, 999_999, tzinfo=UTC),
    "1969-12-31T23:59:59.9999999Z": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "2026-11-01T05:06:07+00:00": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01T05:06:07-00:00": datetime(2026, 11, 1, 5, 6, 7, tzinfo=UTC),
    "2026-11-01T05:06:07+05:30": datetime(2026, 10, 31, 23, 36, 7, tzinfo=UTC),
    "2026-11-01T05:06:07.5-0800": datetime(2026, 11, 1, 13, 6, 7, 500_000, tzinfo=UTC),
    "2026-11-01T05:06:07-08": datetime(2026, 11, 1, 13, 6, 7, tzinfo=UTC),
    "2026-11-01T05:06:07+23:59": datetime(2026, 10, 31, 5, 7, 7, tzinfo=UTC),
    "2024-02-29T00:00:00Z": datetime(2024, 2, 29, tzinfo=UTC),
    "2000-02-29T23:59:59Z": datetime(2000, 2, 29, 23, 59, 59, tzinfo=UTC),
    "1582-10-10T00:00:00Z": datetime(1582, 10, 10, tzinfo=UTC),  # a day that never was, in Rome
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "0999-12-31T23:59:59Z": datetime(999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "9999-12-31T23:59:59.999999Z": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "3000-01-01T00:00:00Z": datetime(3000, 1, 1, tzinfo=UTC),
}
ODD_NAMES = {  # a key as JSON text -> the key
    '"a\'b"': "a'b",
    '"a\\"b"': 'a"b',
    '"a/b"': "a/b",
    '"a\\/c"': "a/c",
    '"/"': "/",
    '"~"': "~",
    '"~0~1"': "~0~1",
    '"a.b"': "a.b",
    '"$"': "$",
    '"$.id"': "$.id",
    '"*"': "*",
    '"[0]"': "[0]",
    '"#"': "#",
    '"-"': "-",
    '"0"': "0",
    '""': "",
    '" "': " ",
    '"\\\\"': "\\",
    '"\\u0000"': "\0",
    '"\\u0061\\u006c"': "al",
    '"\\n"': "\n",
    '"é漢😀\u2028"': "é漢😀\u2028",
    '"ID"': "ID",
    '"Version"': "Version",
    '"rover_id"': "rover_id",
    '"extra"': "extra",
    '"line_no"': "line_no",
    '"ok"': "ok",
    '"select"': "select",
    '"{}"': "{}",
    f'"{"k" * 3000}"': "k" * 3000,
}
EVERY_TYPE = """\
dataset: things
kind: events
order: happened_at
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      happenedAt: {type: timestamp, required: true}
      endedAt: timestamp
      count: long
      score: double
      flag: boolean
      day: date
      price: "decimal(10,2)"
      wide: "decimal(38,20)"
      whole: "decimal(18,0)"
      note: string
      attributes: map
  2:
    changes:
      - rename: {from: happenedAt, to: occurredAt, column: happened_at}
      - rename: {from: score, to: points, column: score}
      - add: {field: colour, type: string}
      - add: {field: "odd/na~me'", type: long, required: true, column: odd}
"""
CHAIN = (
    EVERY_TYPE
    + """\
  3:
    changes:
      - retype: {field: endedAt, to: string}
      - retype: {field: count, to: timestamp, unit: milliseconds}
      - retype: {field: flag, to: string}
      - retype: {field: day, to: timestamp}
      - retype: {field: price, to: "decimal(12,4)"}
      - retype: {field: whole, to: double}
      - split: {field: note, into: [noteHead, noteTail, noteRest], separator: " "}
      - default: {field: colour, value: red}
  4:
    changes:
      - retype: {field: endedAt, to: timestamp}
      - retype: {field: points, to: long}
      - retype: {field: flag, to: boolean}
      - retype: {field: day, to: date}
      - retype: {field: price, to: "decimal(10,2)"}
      - merge: {fields: [noteHead, noteTail], into: note, separator: "-"}
      - retype: {field: noteRest, to: long}
      - default: {field: colour, value: blue}
      - remove: {field: wide}
"""
)

PIECES = [  # of strings: characters as they are, and in the escapes that there are for them
    *(
        "a",
        "b",
        "9",
        " ",
        "/",
        "~",
        ".",
        "'",
        "$",
        "*",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "-",
        "NaN",
        "\x7f",
        "\x85",
        "\xa0",
        "\u2028",
    ),
    *(
        "é",
        "漢",
        "😀",
        "\ufeff",
        "\uffff",
        '\\"',
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0061",
        "\\u00e9",
        "\\u00E9",
    ),
    *(
        "\\u2028",
        "\\ud83d\\uDE00",
        "\\u0000",
        "\\u001f",
        "\\u0022",
        "\\u005c",
        "\\u007f",
        "\\ufeff",
        "\\\\u0000",
        ", ]",
        ":nan",
        "1e5",
    ),
]
WRONG = [  # no JSON at all, or no text
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "inf",
    "-inf",
    "INF",
    "undefined",
    "None",
    "True",
    "FALSE",
    "nul",
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "1e",
    "0x10",
    "1_000",
    '"a',
    "1,2",
    '{"a":1,}',
    "[1,]",
    "[,]",
    '"\\ud800"',
    '"\\ude00\\ud83d"',
    '"\\x41"',
    '"\\u12"',
    '"\\U0041"',
    '"\x01"',
    '{"a"}',
    "{1:2}",
    "{'a':1}",
    "[1",
    "//",
    "/**/1",
    "\x0c1",
    "\xa01",
    "\ufeff1",
]
_NUMERALS = (
    "1.5|2.5|-1.5|1.005|0.004|1e3|1.0|-0.0|-0|0|1|100000000|99999999.99|9007199254740993|9223372036854775807"
    "|9223372036854775808|-9223372036854775808|0.00001|1e16|1e400|123456789.125|1793509567|1793509567123|20261101"
)
_LOOK_ALIKES = (
    "0x10|0b11|0o7|1_000|1,000|+5| 5|5 |05|5.|.5|1E+3|1e-3|15e-1|150e-1|1e999|1e-999|0e999|5.0|5.10|NaN|Infinity|-inf"
    "|99999999.990|99999999.995|0.1234|0.12345|٣|1\n|123456789012345.125|0.30000000000000004|12345678901234567.5"
    "|True|TRUE|t|f|yes|no|on|off|2026-11-01|2026/11/01|11/01/2026|2026-11-1|2026-11-01 |2026-02-30|2026-11-01x"
    "|19900-05-01|10000-01-01|0000-01-01|0001-01-01|0999-12-31|9999-12-31|infinity|-infinity|inf|44-03-15 (BC)"
    "|-0044-03-15|epoch|now|today|1582-10-10|2026-11-01T24:00:00Z|2026-11-01T23:59:60Z|2026-11-01T05:60:00Z"
    "|2026-11-01T05:06Z|2026-11-01T05|2026-11-01T23:30:00-02:00|2026-11-01T00:30:00+02:00|2026-11-01T00:00:00Z"
    "|2026-11-01 05:06:07 UTC|2026-11-01T05:06:07+24:00|2026-11-01T05:06:07+14:30|2026-11-01T05:06:07 Europe/Oslo"
    "|1000-01-01T00:00:00+23:59|9999-12-31T23:59:59-01:00|0001-01-01T00:00:00+01:00|10000-01-01T00:00:00Z"
    "|1582-10-10T00:00:00+01:00|2026-11-01T05:06:07.1234567890Z|2026-11-01T05:06:07.1234567-03:30"
    "|2026-11-01T05:06:07,5Z|2026-W44-7||null|gold"
)
_LITERALS = ["true", "false", "null", "[]", "[1]", "{}", '{"a":1.50}', "[18446744073709551616]"]
ODD_SCALARS = [  # JSON values of which a lenient cast makes a number, a boolean, a date or a timestamp; some are one
    *_LITERALS,
    *_NUMERALS.split("|"),
    *(f'"{text}"' for text in [*_NUMERALS.split("|"), *_LOOK_ALIKES.replace("\n", "\\n").split("|"), "true", "false"]),
]

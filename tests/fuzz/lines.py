"""Lines to fuzz with: records like those of a dataset, with odd values, odd structure and broken bytes.

All is a function of the `Random` that is handed in, so that a seed replays it on every platform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from compactor.registry.dataset import Dataset
from tests.support.odd_json import NUMBERS, ODD_NAMES, ODD_SCALARS, PIECES, STRINGS, TIMESTAMPS, WRONG

Pair = tuple[str, str]

_SPACES = [" ", "\t", "\r", " \t\r  "]
_NO_SPACES = ["\x0b", "\x0c", "\xa0", "\u2028", "\ufeff", "\0", "\x85"]  # space to some readers, to JSON never
_VERSIONS = ["1", "2", "1.0", "20e-1", "0", "-1", "3", "1.5", '"1"', "null", "1e999", "true", "1" * 30, "0e99999", "[]"]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[ \t\r]+|[^ \t\r"{}\[\]:,]+|"')
_BROKEN_BYTES = [
    *(
        b",",
        b"}",
        b"{",
        b"[",
        b"]",
        b'"',
        b"\\",
        b":",
        b"0",
        b"-",
        b"+",
        b".",
        b"e",
        b"\0",
        b" ",
        b"\x0b",
        b"\r",
        b"\x7f",
    ),
    *(
        b"\xff",
        b"\xfe",
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x80",
        b"\xef\xbb\xbf",
        b"\xc2\x85",
    ),
    *(
        b"nan",
        b"NaN",
        b"-Infinity",
        b"null",
        b"\\u0000",
        b"\\ud800",
        b"\\udc00",
        b"\\u12",
        b"\\x",
        b"//",
        b"/**/",
        b"1e400",
    ),
]
_RANGES = [
    (0x20, 0x7E),
    (0, 0x1F),
    (0x7F, 0xFF),
    (0x300, 0x36F),
    (0x2000, 0x206F),
    (0xE000, 0xFFFF),
    (0x10000, 0x10FFFF),
]


def lines(chance: Random, dataset: Dataset) -> list[bytes]:
    """A batch. Its unknown keys come from a pool: with few of them the bulk path takes them, with many it does not."""
    pool = [key(chance, 0.5) for _ in range(chance.choice([1, 3, 10, 60, 300]))]
    found: list[bytes] = []
    for _ in range(chance.choice([1, 2, 10, 100, 300, 1000, 3000])):
        line = record(chance, dataset, pool)
        while chance.random() < 0.2:
            line = broken(chance, line, found or [line])
        found.append(line.replace(b"\n", b""))
    return found


def record(chance: Random, dataset: Dataset, pool: list[str]) -> bytes:
    """A line without a newline: most often with the right keys, with values from plain to impossible.

    How odd it is differs from line to line. One that has a single oddity is the one that a short cut may let through.
    """
    odd = chance.choice([0.0, 0.03, 0.1, 0.1, 0.4])
    shape = dataset.versions[chance.choice(sorted(dataset.versions))]
    fields: list[Pair] = []
    for field in shape.fields:
        if field.required or chance.random() < 0.7:
            make = _BY_TYPE[field.type.name.partition("(")[0]]
            text = str(shape.number) if field.column == "version" else make(chance, odd)
            fields.append((json.dumps(field.json), text))
    if chance.random() < 0.4:
        fields += [
            (name, value(chance, odd)) for name in dict.fromkeys(chance.choices(pool, k=chance.choice([1, 1, 2, 5])))
        ]
    if chance.random() < 0.002:
        fields += [(f'"k{number}"', "1") for number in range(chance.choice([99, 101, 3000]))]
    while fields and chance.random() < 0.2:
        _change(chance, fields, pool)
    if chance.random() < 0.1:
        chance.shuffle(fields)
    space = chance.choice(_SPACES) if chance.random() < odd else ""
    return f"{space}{_object(fields, space)}{space}".encode("utf-8", "surrogatepass")


def _change(chance: Random, fields: list[Pair], pool: list[str]) -> None:
    index = chance.randrange(len(fields))
    name, text = fields[index]
    match chance.choice([*range(7), *range(7), *range(7), 7]):
        case 0:
            del fields[index]
        case 1:
            fields[index] = (key(chance, 0.5), text)
        case 2:
            fields.insert(chance.randint(0, len(fields)), (name, value(chance, 0.5)))  # a duplicate key
        case 3:
            fields[index] = (name, chance.choice(WRONG))
        case 4:
            fields[index] = (
                name,
                chance.choice(["null", "true", "[]", "{}", '""', "0", number(chance, 1), string(chance, 1)]),
            )
        case 5:
            at = next((n for n, (known, _) in enumerate(fields) if known == '"version"'), index)
            fields[at] = (fields[at][0], chance.choice(_VERSIONS))
        case 6:
            fields[index] = (name[:-1] + chance.choice(PIECES) + '"' if chance.random() < 0.5 else _escaped(name), text)
        case 7:
            fields[index] = (name, _deep(chance))


def value(chance: Random, odd: float, depth: int = 0) -> str:
    """Any JSON value."""
    if chance.random() < odd / 20:
        return _deep(chance)
    draw = chance.random()
    if draw < 0.05:
        return chance.choice(ODD_SCALARS)
    if draw < 0.3:
        return string(chance, odd)
    if draw < 0.6:
        return number(chance, odd)
    if draw < 0.75 or depth > 3:
        return chance.choice(["true", "false", "null"])
    if draw < 0.87:
        return "[" + ",".join(value(chance, odd, depth + 1) for _ in range(chance.randrange(4))) + "]"
    return _map(chance, odd, depth + 1)


def string(chance: Random, odd: float) -> str:
    draw = chance.random()
    if chance.random() > odd:
        return f'"{chance.choice("abc")}{chance.randrange(100)}"'
    if draw < 0.5:
        return chance.choice(list(STRINGS))
    if draw < 0.8:
        return '"' + "".join(chance.choices(PIECES, k=chance.randrange(6))) + '"'
    text = "".join(chr(chance.randint(*chance.choice(_RANGES))) for _ in range(chance.randrange(6)))
    return json.dumps(text, ensure_ascii=chance.random() < 0.5)


def key(chance: Random, odd: float) -> str:
    """An unknown field's key, or a map's, as JSON text."""
    if chance.random() > odd:
        return f'"{chance.choice("abcxyz")}{chance.choice(["", "1", "2"])}"'
    return chance.choice(list(ODD_NAMES)) if chance.random() < 0.6 else string(chance, 1)


def number(chance: Random, odd: float) -> str:
    draw = chance.random()
    if chance.random() > odd:
        return f"{chance.randint(-1000, 1000)}{'' if draw < 0.7 else f'.{chance.randrange(10_000)}'}"
    if draw < 0.5:
        return chance.choice(list(NUMBERS))
    if draw < 0.6:
        edge = 2 ** chance.choice([15, 31, 32, 53, 63, 64, 127])
        return str(chance.choice([1, -1]) * (edge + chance.randint(-2, 2)))
    if draw < 0.75:
        return repr(chance.choice([chance.random(), chance.uniform(-1e18, 1e18), 10.0 ** chance.randint(-330, 308)]))
    digits = "".join(chance.choices("0123456789", k=chance.choice([1, 2, 8, 15, 16, 17, 18, 19, 20, 38, 39])))
    text = chance.choice(["", "-"]) + (digits.lstrip("0") or "0")
    if chance.random() < 0.6:
        text += "." + "".join(chance.choices("0123456789", k=chance.choice([1, 2, 3, 10, 17, 20, 21, 40])))
    if chance.random() < 0.3:
        text += (
            chance.choice("eE")
            + chance.choice(["", "+", "-"])
            + str(chance.choice([0, 1, 2, 17, 19, 38, 308, 309, 400, 9999]))
        )
    return text


def timestamp(chance: Random, odd: float) -> str:
    draw = chance.random() if chance.random() < odd else 0.5
    if draw < 0.2:
        return f'"{chance.choice(list(TIMESTAMPS))}"'
    year = chance.choice(
        [1969, 1970, 2024, 2026] if draw == 0.5 else [1, 999, 1000, 1582, 1899, 2026, 2999, 3000, 9999]
    )
    at = datetime(year, 1, 1) + timedelta(days=chance.randrange(365), microseconds=chance.randrange(86_400 * 10**6))  # noqa: DTZ001  the zone is written beside it
    text = at.isoformat(timespec=chance.choice(["seconds", "milliseconds", "microseconds"]))
    zone = (
        "Z"
        if draw < 0.7
        else chance.choice(["", "z", "+00:00", "-23:59", "+24:00", "+0530", "-08", "+5:30", "+05:60", " Z"])
    )
    if draw != 0.5 and chance.random() < 0.3:
        text = chance.choice([f"{text[:11]}24:00:00", f"{text[:19]}.{'123456789' * 2:.{chance.randint(1, 12)}}"])
    text = f"{text}{zone}"
    if draw != 0.5 and chance.random() < 0.5:
        place = chance.choice([5, 8, 11, 14, 17])  # month, day, hour, minute, second
        digits = chance.choice(["00", "1", "13", "24", "29", "30", "31", "32", "59", "60"])
        text = text[:place] + digits + text[place + 2 :]
    if draw != 0.5 and chance.random() < 0.3:
        place = chance.randrange(len(text))
        sign = chance.choice([*"0123456789-:.TtZz +", "", "\u0663", "\uff11"])
        text = text[:place] + sign + text[place + chance.randrange(2) :]
    return f'"{text}"'


def _date(chance: Random, odd: float) -> str:
    text = timestamp(chance, odd)
    day = text[1:11].rstrip('T"')
    if chance.random() < odd:
        day = chance.choice(
            [day.replace("-0", "-"), day.replace("-", "/"), day.replace("-", ""), f"1{day}", f"{day[:8]}31"]
        )
    return text if chance.random() < odd / 3 else f'"{day}"'


def _boolean(chance: Random, _: float) -> str:
    return chance.choice(["true", "false"])


def _integer(chance: Random, odd: float) -> str:
    if chance.random() > odd:
        return str(chance.randint(-(2**40), 2**40))
    edge = chance.choice([-(2**63), 2**63]) + chance.randint(-1, 1)
    return str(edge) if chance.random() < 0.4 else number(chance, 1)


def _decimal(chance: Random, odd: float) -> str:
    if chance.random() > odd:
        return str(chance.randint(-9, 9) if chance.random() < 0.8 else chance.randint(-999, 999))
    if chance.random() < 0.3:
        return number(chance, 1)
    digits = chance.randint(0, 10 ** chance.choice([1, 3, 8, 9, 10, 15, 16, 18, 19]))
    return f"{chance.choice(['', '-'])}{digits}" + chance.choice(
        ["", f".{chance.randrange(100)}", f".{chance.randrange(10**9)}0", ".0"]
    )


def _map(chance: Random, odd: float, depth: int = 0) -> str:
    pairs = [(key(chance, odd), value(chance, odd, depth)) for _ in range(chance.choice([0, 1, 2, 3, 6]))]
    return _object(pairs if chance.random() < odd else list(dict(pairs).items()), "")


_BY_TYPE: dict[str, Callable[[Random, float], str]] = {
    "string": string,
    "timestamp": timestamp,
    "date": _date,
    "long": _integer,
    "double": number,
    "boolean": _boolean,
    "map": _map,
    "decimal": _decimal,
}


def _object(pairs: list[Pair], space: str) -> str:
    inner = f"{space},{space}".join(f"{name}{space}:{space}{text}" for name, text in pairs)
    return f"{{{space}{inner}{space}}}"


def _deep(chance: Random) -> str:
    depth = chance.choice([60, 400, 496, 497, 498, 499, 500, 501, 1100])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    return opening * depth + chance.choice(["1", "", '"[["']) + closing * chance.choice([depth, depth, depth - 1])


def _escaped(name: str) -> str:
    place = 1 + min(len(name) - 2, 1)
    return f"{name[:place]}\\u{ord(name[place]):04x}{name[place + 1 :]}" if len(name) > 2 else name


def broken(chance: Random, line: bytes, others: list[bytes]) -> bytes:
    """The line with its bytes or its tokens disturbed."""
    place = chance.randint(0, len(line))
    end = min(len(line), place + chance.choice([1, 1, 2, 5, 50]))
    match chance.randrange(11):
        case 0:
            return line[:place] + line[end:]
        case 1:
            return line[:place] + chance.choice(_BROKEN_BYTES) + line[place:]
        case 2:
            return line[:place]
        case 3:
            return line[:place] + line[place:end] * chance.choice([2, 3, 50]) + line[end:]
        case 4:
            flipped = bytearray(line or b"\0")
            flipped[place % len(flipped)] ^= 1 << chance.randrange(8)
            return bytes(flipped)
        case 5:
            return line[:place] + chance.choice(others)[place:]
        case 6:
            space = chance.choice([*_SPACES, *_NO_SPACES]).encode()
            return chance.choice([space + line, line + space, line[:place] + space + line[place:], space])
        case 7:
            return chance.choice([line + line, line + b" x", b"[" + line + b"]", b"", line + b"//", b'"' + line + b'"'])
        case _:
            return _respliced(chance, line, chance.choice(others))


def _respliced(chance: Random, line: bytes, other: bytes) -> bytes:
    """The line with a token taken out, doubled, exchanged with another of its own, or put in from another line."""
    tokens, donors = _TOKEN.findall(line), _TOKEN.findall(other)
    if not tokens or not donors:
        return other
    here, there = chance.randrange(len(tokens)), chance.randrange(len(tokens))
    match chance.randrange(5):
        case 0:
            del tokens[here]
        case 1:
            tokens.insert(here, tokens[there])
        case 2:
            tokens[here], tokens[there] = tokens[there], tokens[here]
        case 3:
            tokens[here] = chance.choice(donors)
        case _:
            start = chance.randrange(len(donors))
            tokens[here : here + chance.randrange(3)] = donors[start : start + chance.randrange(1, 6)]
    return b"".join(tokens)

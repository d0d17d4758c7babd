"""Strategies for records from right to hopeless, and the claim that all ways to decode them agree."""

from __future__ import annotations

import json
from datetime import timedelta, timezone

import duckdb
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st

from compactor.registry.dataset import Dataset
from tests.support.decoding import decoded
from tests.support.odd_json import NUMBERS, ODD_NAMES, PIECES, TIMESTAMPS, WRONG
from tests.support.outcomes import by_exact_path, shown

STEADY = settings(
    derandomize=True,  # the same examples in every run: a red build is never luck
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


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
    """A line like the records of the dataset: from correct to hopeless."""
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
    expected = [by_exact_path(dataset, line) for line in lines]
    for outcome in expected:
        event(outcome[0] if isinstance(outcome, tuple) else "accepted" if outcome else "blank")
    together = decoded(con, dataset, lines)
    alone = decoded(con, dataset, lines, per_chunk=1)
    for line, letter, one, other in zip(lines, expected, together, alone, strict=True):
        assert shown(one) == shown(letter), line
        assert shown(other) == shown(letter), line

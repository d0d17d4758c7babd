"""Odd but valid files have their lines at their numbers."""

from __future__ import annotations

import gzip
import io

import duckdb
import pytest

from compactor.decode.gunzip import whole_lines
from tests.support.decoding import LIMIT, PROFILES, decoded_parts, written

A, B, C = (written(id=f'"{name}"') for name in "abc")


BIG = [written(id=f'"{number}"', traits=f'{{"n":"{"x" * 2000}"}}') for number in range(5000)]  # more than one block


FILES: dict[str, tuple[bytes, dict[int, str]]] = {  # compressed bytes -> the id at each line
    "plain": (gzip.compress(b"%s\n%s\n" % (A, B)), {1: "a", 2: "b"}),
    "no newline at the end": (gzip.compress(b"%s\n%s" % (A, B)), {1: "a", 2: "b"}),
    "one line without a newline": (gzip.compress(A), {1: "a"}),
    "only newlines": (gzip.compress(b"\n\n\n"), {}),
    "nothing in it": (gzip.compress(b""), {}),
    "only space": (gzip.compress(b" \t\r\n \n\r\n "), {}),
    "blank lines count": (gzip.compress(b"\n%s\n\n \t\r\n%s\n\n" % (A, B)), {2: "a", 5: "b"}),
    "carriage returns": (gzip.compress(b"%s\r\n\r\n%s\r\n" % (A, B)), {1: "a", 3: "b"}),
    "a space-only last line": (gzip.compress(b"%s\n  " % A), {1: "a"}),
    "two members": (gzip.compress(A + b"\n") + gzip.compress(B + b"\n"), {1: "a", 2: "b"}),
    "a line over two members": (
        gzip.compress(A + b"\n" + B[:20]) + gzip.compress(B[20:] + b"\n" + C),
        {1: "a", 2: "b", 3: "c"},
    ),
    "a newline apart": (gzip.compress(A) + gzip.compress(b"\n") + gzip.compress(B), {1: "a", 2: "b"}),
    "empty members": (b"".join(map(gzip.compress, [b"", A + b"\n", b"", b"", B, b""])), {1: "a", 2: "b"}),
    "a member for each byte": (b"".join(gzip.compress(bytes([byte])) for byte in A + b"\n" + B), {1: "a", 2: "b"}),
    "not compressed at all": (gzip.compress(A + b"\n" + B, 0), {1: "a", 2: "b"}),
    "several blocks": (gzip.compress(b"\n".join(BIG), 1), {number + 1: str(number) for number in range(5000)}),
}


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file_has_its_lines_at_their_numbers(con: duckdb.DuckDBPyConnection, name: str) -> None:
    packed, expected = FILES[name]
    unpacked = whole_lines(io.BytesIO(packed), "key", line_limit=LIMIT, file_limit=1 << 30)
    parts = [(first_line, bytes(data)) for first_line, _, data in unpacked]
    for chunks in ([parts], [[part] for part in parts]):
        found = decoded_parts(con, PROFILES, chunks)
        assert {number: row["id"] for number, row in found.items() if isinstance(row, dict)} == expected
        assert len(found) == len(expected)

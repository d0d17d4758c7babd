"""No line costs more than a few good ones, and no object holds more lines than it may."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import hostile_kinds as kinds
from compactor.decode import exact, gunzip, rejects
from compactor.decode.decoder import Decoder
from compactor.decode.gunzip import whole_lines
from compactor.decode.lines import Block
from compactor.decode.rejects import Reject, RejectedLines
from compactor.errors import DamagedObject
from tests.support.bad_lines import LINES
from tests.support.decoding import LIMIT, PROFILES, decoded_parts, written
from tests.support.lake import ROOT
from tests.support.outcomes import by_exact_path

SAMPLE_BYTES, SAMPLE_LINES = 200_000, 2_000
GOOD_LENGTHS = (kinds.USUAL, 1024, 4096, 16384)
MOST = 8  # times what Python's own parser takes of a good line of the same length
SHORT = [kind for kind in kinds.KINDS if len(kind.line(0, random.Random(0))) < SAMPLE_BYTES]


def seconds_per_line(con: duckdb.DuckDBPyConnection, kind: kinds.Kind) -> tuple[float, int]:
    """The least CPU time of two, and the bytes of a line."""
    lines = min(SAMPLE_LINES, max(20, SAMPLE_BYTES // len(kind.line(0, random.Random(0)))))
    content = kind.content(lines)
    took = []
    for _ in range(2):
        decoder = Decoder(con, PROFILES, ["a-key"], line_limit=kinds.LINE_LIMIT)
        began = time.process_time()
        decoder.decode([Block.of(0, 1, content if content.endswith(b"\n") else content + b"\n")])
        took.append(time.process_time() - began)
    return min(took) / lines, len(content) // lines


@pytest.fixture(scope="module")
def good() -> dict[int, float]:
    """CPU seconds a byte that Python's own parser takes of good lines, by their length: the least of two."""
    found = {}
    for length in GOOD_LENGTHS:
        lines = kinds.good(length).content(SAMPLE_LINES).splitlines()
        took = []
        for _ in range(2):
            began = time.process_time()
            for line in lines:
                json.loads(line)
            took.append(time.process_time() - began)
        found[length] = min(took) / sum(map(len, lines))
    return found


@pytest.mark.parametrize("kind", SHORT, ids=lambda kind: kind.name)
def test_a_hostile_line_costs_no_more_than_a_few_good_ones(
    con: duckdb.DuckDBPyConnection, good: dict[int, float], kind: kinds.Kind
) -> None:
    seconds, size = seconds_per_line(con, kind)
    length = max(size, kinds.USUAL)
    assert seconds < MOST * good[max(each for each in GOOD_LENGTHS if each <= length)] * length


@pytest.mark.soak
def test_what_hostile_objects_cost_from_end_to_end_is_within_the_aims(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/bench.py"), "--only", "hostile", "--json", str(tmp_path / "found")]
    subprocess.run(command, check=True)
    rows = json.loads((tmp_path / "found").read_text())["rows"]
    assert len(rows) > len(kinds.KINDS)
    assert [row["name"] for row in rows if not row["met"]] == []


@pytest.mark.parametrize("line", [b"[]" * 600 + b'"' + b'\\"' * 50_000, b"[]" * 600 + b'{"a":"' + b'\\"' * 50_000])
def test_a_text_that_is_never_closed_takes_no_more_than_its_length(line: bytes) -> None:
    began = time.process_time()
    assert isinstance(exact.read_line(line, PROFILES), Reject)
    assert time.process_time() - began < 2  # a regular expression that goes back takes half a minute


def test_brackets_of_a_text_that_is_never_closed_do_not_nest() -> None:
    assert by_exact_path(PROFILES, b'{"a":"' + b"[" * 1_000) == ("not_json", "not valid JSON at character 6", None)


@pytest.mark.parametrize("rest", [b"", b" ", b"x", b'{"id":"a"}', b"[" * 499, b"[" * 500, b"[" * 600, b"\xff", b"\r"])
def test_what_needs_no_parser_is_rejected_in_the_words_of_the_exact_path(
    con: duckdb.DuckDBPyConnection, rest: bytes
) -> None:
    lines = [bytes([first]) + rest for first in range(256) if first != 10]
    found = decoded_parts(con, PROFILES, [[(1, b"\n".join(lines) + b"\n")]])
    for number, line in enumerate(lines, 1):
        assert found.get(number) == by_exact_path(PROFILES, line), line


def test_each_kind_of_bad_line_is_rejected_alike_alone_and_among_others(con: duckdb.DuckDBPyConnection) -> None:
    lines = [bad.line for bad in LINES.values() if bad.dataset == "fan_profiles" and len(bad.line) <= LIMIT]
    together = decoded_parts(con, PROFILES, [[(1, b"".join(line + b"\n\n \t\n" for line in lines))]])
    for number, line in enumerate(lines):
        assert together[3 * number + 1] == by_exact_path(PROFILES, line)
    assert len(together) == len(lines)


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
def test_a_block_is_cut_into_pieces_of_so_many_lines(most: int) -> None:
    block = b"".join(b"%d\n" % number for number in range(7))
    found = list(Block.of(0, 11, block).pieces(most))
    assert b"".join(each.data for each in found) == block
    assert all(bytes(each.data).count(b"\n") == each.lines <= most for each in found)
    assert [each.first_line for each in found] == list(range(11, 18, most))


def test_a_chunk_of_blank_lines_has_no_line(con: duckdb.DuckDBPyConnection) -> None:
    decoder = Decoder(con, PROFILES, ["a-key", "another"], line_limit=100)
    chunk = decoder.decode([Block.of(0, 1, b"\n \t\r\n\n"), Block.of(1, 5, b"\r\n")])
    assert (chunk.lines, len(chunk.records), chunk.rejected.num_rows) == ({}, 0, 0)


# The number of lines


def lines_of(content: bytes, most: int) -> int:
    blocks = whole_lines(
        io.BytesIO(gzip.compress(content)), "a-key", line_limit=100, file_limit=1 << 30, most_lines=most
    )
    return sum(bytes(data).count(b"\n") for _, _, data in blocks)


@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 22])
@pytest.mark.parametrize("content", [b"a\nb\nc\n", b"a\nb\nc", b"\n\n\n", b"\n\nc", b" \n \n "])
def test_an_object_may_have_as_many_lines_as_the_limit_says(
    monkeypatch: pytest.MonkeyPatch, content: bytes, block_bytes: int
) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    assert lines_of(content, 3) == 3
    with pytest.raises(DamagedObject, match=r"^a-key: has more than 2 lines; raise limits\.lines if it is genuine$"):
        lines_of(content, 2)


# What is kept of a line


def kept(line: bytes) -> str:
    rejected = RejectedLines()
    rejected.add(0, 1, rejects.invalid_utf8(0), line + b"\n")
    (row,) = rejected.table().to_pylist()
    return str(row["raw"])


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_a_line_that_no_registry_can_read_is_kept_up_to_whole_characters(more: int) -> None:
    line = b"\xff" + b"x" * (rejects.RAW_BYTES - 1 - more) + "\u20ac\u20ac".encode()
    raw = kept(line)
    assert raw == line[: rejects.RAW_BYTES - (more if more < 3 else 0)].decode("utf-8", "backslashreplace")


def test_a_line_that_another_registry_could_read_is_kept_whole(con: duckdb.DuckDBPyConnection) -> None:
    line = written(version="2", traits=f'{{"a":"{"x" * (rejects.RAW_BYTES + 10)}"}}')
    chunk = Decoder(con, PROFILES, ["a-key"], line_limit=1 << 30).decode([Block.of(0, 1, line + b"\n")])
    assert chunk.rejected["raw"].to_pylist() == [line.decode()]

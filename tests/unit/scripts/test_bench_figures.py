"""The benchmark's table, its section of a page, its count of code, and what a sample of a profile counts for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench_figures import FailedError, Row, Sample, markdown, rewrite_section, run
from bench_fixed import lines_of_code
from bench_profile import rows_of, shares
from memory_limit import memory_group


def test_a_row_shows_medians_and_the_highest_peak() -> None:
    times = [(3.0, 2.0, 5), (1.0, 9.0, 7), (2.0, 4.0, 6)]
    samples = [Sample({"seconds": wall, "cpu_seconds": cpu}, peak * 1_000_000) for wall, cpu, peak in times]
    row = Row("load", samples, raw_bytes=200_000_000, met=False)
    assert row.cells() == ["load", "2.00", "4.00", "100", "7", "", "", "NO"]


def test_a_section_of_a_page_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    rewrite_section(page, "results", markdown(["a", "b"], [["x|y", ""]]))
    table = "| a | b |\n| --- | ---: |\n| x\\|y | |\n"
    assert page.read_text() == f"before\n<!-- results: begin -->\n{table}<!-- results: end -->\nafter\n"


def test_a_page_without_the_section_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(SystemExit, match="needs one section 'peers'"):
        rewrite_section(page, "peers", "text\n")
    assert page.read_text() == "nothing\n"


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(FailedError, match="exit code 3\nno luck"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('no luck'); sys.exit(3)"])


def test_a_process_that_needs_more_than_its_group_allows_is_killed() -> None:
    with memory_group(64 << 20) as group:
        if group is None:
            pytest.skip("no control groups for memory, or no right to make one")
        with pytest.raises(FailedError) as failed:
            run([sys.executable, "-c", "b'x' * (256 << 20)"], group=group)
        assert failed.value.code == -9
        printed, _ = run([sys.executable, "-c", "print('small')"], group=group)
    assert printed == b"small\n"


def test_lines_of_code_are_those_without_comments_docstrings_and_blanks(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '"""Text\nof two lines."""\n\n# a comment\nx = (\n    1\n)  # one\n\n\ndef f():\n    "Doc."\n'
    )
    assert lines_of_code(tmp_path) == 4


def test_a_sample_counts_for_the_innermost_function_of_ours() -> None:
    stacks = [
        "<module> (a.py:6);run (/x/compactor/cli/main.py:9);read (/x/compactor/decode/lines.py:3);get (z.py:1) 6",
        "run (/x/compactor/cli/main.py:9);_find_and_load (<frozen importlib._bootstrap>:1);<module> (big.py:1) 3",
        "run (/x/compactor/cli/main.py:9);wait (threading.py:320) 50",
        "work (/site-packages/pyiceberg/io.py:4) 1",
    ]
    found = shares(stacks)
    assert found == [("`decode/lines.py`: read", 0.6), ("imports", 0.3), ("libraries and Python alone", 0.1)]
    assert rows_of({"load": found})[-1] == ["", "the rest", "0%"]

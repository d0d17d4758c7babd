"""docs/reliability.md: each row names a test that exists, and each test of faults has a row."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.lake import ROOT


def rows() -> Iterator[list[str]]:
    """The cells of each row of each table whose last column is `test`."""
    claims = False
    for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            claims = False
        elif cells[-1] == "test":
            claims = True
        elif claims and not set(line) <= set("|- "):
            yield cells


def test_each_row_of_the_page_on_reliability_names_a_test_that_exists() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    known = {name for text in sources for name in re.findall(r"^def test_(\w+)", text, re.MULTILINE)}
    claimed = list(rows())
    assert len(claimed) > 30
    for number, cells in enumerate(claimed):
        assert len(cells) == len(claimed[0]), cells
        names = re.findall(r"`(\w+)`", cells[-1])
        assert names or (cells[-1] == "the same" and number), f"no test is named: {cells}"
        assert set(names) <= known, f"no such test: {set(names) - known}"


def test_the_page_on_reliability_speaks_of_each_test_of_faults() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    for module in ("test_faulty_s3", "test_faulty_tables", "test_clock"):
        text = (ROOT / "tests" / "proofs" / f"{module}.py").read_text(encoding="utf-8")
        for name in re.findall(r"^def test_(\w+)", text, re.MULTILINE):
            assert f"`{name}`" in page, f"no row of the page names {name}"

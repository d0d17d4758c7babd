"""Links, paths and quoted messages of the documentation lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lake import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The file and the anchor of each relative link of a page."""
    text = re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            yield ((page.parent / name).resolve() if name else page), anchor


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_resolves(page: Path) -> None:
    broken = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]

    assert not broken


def test_each_page_is_linked_from_another() -> None:
    linked = {target for page in PAGES for target, _ in links(page) if target != page}

    assert not [page.name for page in PAGES if page not in linked and page != ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_path_in_the_repository_exists(page: Path) -> None:
    spans = re.findall(r"`((?:compactor|tests|scripts|deploy|docs)/[\w./-]*)`", page.read_text(encoding="utf-8"))

    assert not [path for path in spans if not (ROOT / path).exists()]


def test_each_design_note_is_in_the_index_with_its_status_and_date() -> None:
    index = (ROOT / "docs" / "design" / "README.md").read_text(encoding="utf-8")
    for note in sorted((ROOT / "docs" / "design").glob("0*.md")):
        head = re.search(r"^- Status: (.+)\n- Date: (\d{4}-\d\d-\d\d)$", note.read_text(encoding="utf-8"), re.MULTILINE)
        assert head, f"{note.name} needs the lines '- Status: …' and '- Date: …' below its title"
        row = next((line for line in index.splitlines() if f"({note.name})" in line), "")
        assert f"| {head[1]} | {head[2]} |" in row, f"docs/design/README.md needs a row for {note.name}"


def sentences() -> list[str]:
    """All texts of the program, with `…` for what is put in when it runs."""
    found = []
    for path in sorted((ROOT / "compactor").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(parts))
    return found


def clauses(message: str) -> list[str]:
    """A message can be put together of several texts, clause by clause."""
    return [clause.strip() for clause in re.split(r"\(…\)|[…;,]", message) if " " in clause.strip()]


def stale(messages: list[str]) -> list[str]:
    """The messages with a clause that the program does not say."""
    known = sentences()
    return [each for each in messages if not all(any(clause in text for text in known) for clause in clauses(each))]


def cells(page: str, number: int) -> list[str]:
    """The cells of one column of all tables of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row[number].strip("| ") for row in rows if len(row) > number]


# Where a message has changed, the pages have to follow: the person on call searches for these words.


def test_each_message_of_the_page_for_exit_code_1_is_one_of_the_program() -> None:
    cell = " | ".join(cells("exit-code-1.md", 0))
    messages = [each[0] or each[1] for each in re.findall(r"``(.+?)``|`([^`]+)`", cell)]
    messages = [each for each in messages if " " in each]

    assert len(messages) > 40
    assert not stale(messages)


def test_each_message_of_the_page_on_reliability_is_one_of_the_program() -> None:
    messages = re.findall(r'"([^"]+)"', " | ".join(cells("reliability.md", 1)))

    assert len(messages) > 10
    assert not stale(messages)


def test_a_message_that_the_program_does_not_say_is_found() -> None:
    assert stale(["the disk is full of bananas; free some space"])
    assert not stale(["the disk is full; free some space"])

"""Docs, comments and help texts use plain words: see `tests.unit.docs.words`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from compactor.cli.main import program
from tests.support.lake import ROOT
from tests.unit.docs import prose
from tests.unit.docs.prose import Prose
from tests.unit.docs.words import WORDS, Word

# Globs below the root of the repository. To check the docstrings, comments and messages of more code, add its glob.
SOURCES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**/*.md",
    "deploy/*",
    "configs/**/*.yaml",
    "configs/**/*.sql",
    "compactor/**/*.py",
    "scripts/*.py",
)


def found_in(text: Prose) -> list[str]:
    return [
        f"{text.place(match.start())}: {' '.join(match[0].split())!r}; write instead: {word.instead}"
        for word in WORDS
        for match in word.compiled().finditer(text.text)
    ]


def files() -> Iterator[Path]:
    for pattern in SOURCES:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file() and path.suffix != ".json")


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_plain_words(path: Path) -> None:
    wrong = [each for text in prose.of_file(path, str(path.relative_to(ROOT))) for each in found_in(text)]

    assert not wrong, "\n" + "\n".join(wrong)


def test_the_help_texts_have_plain_words() -> None:
    wrong = [each for text in prose.of_help(program, "compactor") for each in found_in(text)]

    assert not wrong, "\n" + "\n".join(wrong)


def test_each_source_is_there() -> None:
    assert not [pattern for pattern in SOURCES if not list(ROOT.glob(pattern))]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.instead)
def test_each_pattern_finds_what_it_is_for_and_nothing_else(word: Word) -> None:
    assert word.compiled().search(word.catches), word.catches
    assert not word.compiled().search(word.passes), word.passes


def test_a_finding_has_file_line_and_suggestion(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A page\n\nA file whose whole\nfrontier is `frontier`, as it says: "the frontier".\n')

    (text,) = prose.of_file(page, "page.md")

    assert found_in(text) == ["page.md:4: 'frontier'; write instead: watermark"]


def test_output_of_programs_is_not_read_but_comments_in_examples_are(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\nin vain\n```\n\n```bash\ncompactor vain # in vain\n```\n")

    (text,) = prose.of_file(page, "page.md")

    assert [each.split(":")[1] for each in found_in(text)] == ["6"]


def test_in_python_comments_docstrings_and_messages_are_read_and_names_are_not(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""One thing that\ntells it."""\n\nfrontier = "frontier"\n\n\n# a comment that goes\n# on here\n'
        'raise ValueError(f"{frontier} is told; run again")\n'
    )

    lines = [each.split(":")[1] for text in prose.of_file(module, "module.py") for each in found_in(text)]

    assert sorted(lines) == ["2", "7", "9"]


def test_help_texts_are_read_down_to_the_options_of_subcommands() -> None:
    option = click.Option(["--deep"], help="Done in vain.")
    group = click.Group("top", commands={"sub": click.Command("sub", params=[option])})

    assert [each.split(":")[0] for text in prose.of_help(group, "top") for each in found_in(text)] == ["top sub --deep"]

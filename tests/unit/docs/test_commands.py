"""Each command that a message, a page, a config or a deployment names is one of the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from compactor.cli.main import program
from tests.support.lake import ROOT

FOLDERS = ("compactor", "configs", "deploy", "docs", "scripts")
FILES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(each for folder in FOLDERS for each in (ROOT / folder).rglob("*")))
    if path.suffix in (".md", ".py", ".yaml", ".yml", ".sh", ".example", ".sql", ".service")
)
_NAME = r"(?:compactor|\{command\})"
# `compactor verb …`, in a page also a line of a shell: with a path, after `python -m`, or after a prompt.
_QUOTED = re.compile(rf"`(?:python -m )?{_NAME} ([^`]+)`")
_IN_SHELL = re.compile(r"^[$ ]*(?:\S*/|\S*python3? -m )?compactor ((?:-|[a-z])[^#|>&\n]*)", re.MULTILINE)
_FENCED = re.compile(r"^ *```(?:bash|sh)?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def texts(path: Path) -> Iterator[str]:
    """What is said in a file: of Python, its texts, with `{name}` for what is put in."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield source
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value)
                if isinstance(part, ast.Constant)
                else "{command}"
                if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) == "command"
                else "{}"
                for part in node.values
            )


def named(path: Path) -> Iterator[str]:
    """The commands that a file names, without the program."""
    for text in texts(path):
        yield from _QUOTED.findall(text)
        if path.suffix == ".md":
            for block in _FENCED.findall(text):
                yield from _IN_SHELL.findall(block)
        if path.name == "render.py":
            yield from (each for each in re.findall(r"\{command\} ([a-z][^\"`]*)", text))


def mistake(command: str) -> str | None:
    """Why a command cannot be given so; None if it can. Values of options are not looked at."""
    words = [word.strip("[](),.;:") for word in command.replace("=", " ").replace("|", " ").split()]
    here: click.Command = program
    for word in words:
        context = click.Context(here)
        known = {name: each for each in here.get_params(context) for name in (*each.opts, *each.secondary_opts)}
        if word.startswith("-") and len(word) > 1:
            if word not in known and word != "--help":
                return f"{word} is no option of {here.name}"
        elif isinstance(here, click.Group) and word in here.commands:
            here = here.commands[word]
    if isinstance(here, click.Group) and "--help" not in words and "--version" not in words:
        return f"{here.name} needs one of {', '.join(here.commands)}"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_that_is_named_can_be_given(path: Path) -> None:
    wrong = {command: why for command in named(path) if (why := mistake(command))}
    assert not wrong


def test_the_commands_of_messages_and_pages_are_found() -> None:
    found = {command for path in FILES for command in named(path)}
    assert {"migrate apply", "compact --full-scan", "replay"} <= found
    assert len(found) > 40


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("migrate", True),
        ("migrate plan", False),
        ("-c FILE migrate apply --plan ID", False),
        ("migrate apply --yes", True),
        ("compact --full-scan", False),
        ("compact --fullscan", True),
        ("unknown", True),
    ],
)
def test_a_command_without_its_second_word_is_found(command: str, wrong: bool) -> None:
    assert bool(mistake(command)) == wrong

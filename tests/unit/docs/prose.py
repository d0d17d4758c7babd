"""The prose of a file: sentences with their line numbers, without code, output of programs and quotations.

Markdown            everything but fenced blocks, code spans, quotations, link targets and generated tables; of fenced
                    bash, yaml and python the comments
Python              comments, docstrings, and string constants with a space in them, such as messages
YAML, SQL, others   comments
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

_COMMENT = re.compile(r"(?:^|\s)(?:#|--)\s(.*)$")
_GENERATED = re.compile(r"<!-- table: .*?<!-- end of table -->", re.DOTALL)
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_COMMENTED = {"bash", "yaml", "python"}
_NO_PROSE = (re.compile(r"``.*?``"), re.compile(r"`[^`]*`"), re.compile(r"\"[^\"\n]*\""), re.compile(r"\]\([^)\n]*\)"))


@dataclass(frozen=True)
class Prose:
    """A text that begins at `line` (1-based) of `source`."""

    source: str
    line: int
    text: str

    def place(self, offset: int) -> str:
        return f"{self.source}:{self.line + self.text.count(chr(10), 0, offset)}"


def of_file(path: Path, source: str) -> Iterator[Prose]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield Prose(source, 1, _markdown(text))
    elif path.suffix == ".py":
        yield from _python(text, source)
    else:
        yield Prose(source, 1, _comments(text))


def of_help(command: click.Command, name: str) -> Iterator[Prose]:
    """The help texts of a command, of its options, and of its subcommands."""
    yield Prose(f"{name} --help", 1, command.help or "")
    for option in command.params:
        if isinstance(option, click.Option) and option.help:
            yield Prose(f"{name} {option.opts[0]}", 1, option.help)
    if isinstance(command, click.Group):
        for each, subcommand in command.commands.items():
            yield from of_help(subcommand, f"{name} {each}")


def _blank(text: str) -> str:
    """Spaces in place of the characters, so that lines keep their numbers."""
    return re.sub(r"[^\n]", " ", text)


def _comments(text: str) -> str:
    """The comments, in their lines. Lines without one are empty."""
    found = [_COMMENT.search(line) for line in text.split("\n")]
    return "\n".join(each[1] if each else "" for each in found)


def _markdown(text: str) -> str:
    text = _GENERATED.sub(lambda found: _blank(found[0]), text)
    text = _FENCED.sub(_fenced, text)
    for pattern in _NO_PROSE:
        text = pattern.sub(lambda found: _blank(found[0]), text)
    return text


def _fenced(found: re.Match[str]) -> str:
    kept: Callable[[str], str] = _comments if found[2] in _COMMENTED else _blank
    return f"\n{kept(found[3])}"


def _python(text: str, source: str) -> Iterator[Prose]:
    last = -1
    block: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != last + 1 and block:
                yield Prose(source, last - len(block) + 1, "\n".join(block))
                block = []
            block.append(token.string.lstrip("#"))
            last = line
    if block:
        yield Prose(source, last - len(block) + 1, "\n".join(block))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\s", node.value.strip()):
            yield Prose(source, node.lineno, re.sub(r"`[^`]*`", lambda found: _blank(found[0]), node.value))

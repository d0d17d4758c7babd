"""Each reason for which a line is rejected has one name and one constructor, which all paths use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import compactor
from compactor.decode import rejects
from compactor.decode.decoder import Decoder
from compactor.decode.exact import read_object
from compactor.decode.lines import Block
from compactor.decode.rejects import Reject
from tests.support.decoding import PROFILES

PACKAGE = Path(compactor.__file__).parent
OWN = Path(rejects.__file__)
REASONS = {value for name, value in vars(rejects).items() if name.isupper() and isinstance(value, str)}
CONSTRUCTORS = {
    node.name for node in ast.parse(OWN.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
}


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != OWN:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_no_other_module_writes_the_name_of_a_reason() -> None:
    reason = re.compile(rf"\b({'|'.join(REASONS)})\b")
    assert len(REASONS) == 7
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and reason.search(node.value)
    ]
    assert found == []


def test_no_other_module_makes_a_reject_by_itself() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == Reject.__name__
    ]
    assert found == []


def test_each_constructor_is_used() -> None:
    used = {
        node.attr
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "rejects"
    }
    assert used >= CONSTRUCTORS


@pytest.mark.parametrize(
    ("reject", "reason", "detail", "version"),
    [
        (rejects.invalid_utf8(16), "invalid_utf8", "byte 17 is not UTF-8", None),
        (rejects.line_too_long(9), "line_too_long", "longer than the limit of 9 bytes", None),
        (rejects.not_json(38), "not_json", "not valid JSON at character 39", None),
        (rejects.not_json(None), "not_json", "not valid JSON", None),
        (rejects.too_deep(500), "not_json", "nested deeper than 500 levels", None),
        (rejects.lone_surrogate(), "not_json", "a lone surrogate escape has no character", None),
        (rejects.not_object(), "not_object", "the line is JSON but not an object", None),
        (rejects.missing_field("roverID", 1), "missing_field", "field roverID is missing", 1),
        (rejects.bad_value("at", "not a timestamp", 1), "bad_value", "field at: not a timestamp", 1),
        (rejects.bad_upgrade("column at: not a timestamp", 2), "bad_value", "column at: not a timestamp", 2),
        (rejects.unknown_version(9, "version 9 is not listed"), "unknown_version", "version 9 is not listed", 9),
    ],
)
def test_a_reason_keeps_its_name_and_words(reject: Reject, reason: str, detail: str, version: int | None) -> None:
    assert reject == Reject(reason, detail, version)
    assert reason in REASONS


def test_a_line_that_is_not_utf8_has_the_same_words_in_bulk_and_by_itself(con: duckdb.DuckDBPyConnection) -> None:
    line = b'{"id":"p1","x":"\xe9"}'
    (row,) = (
        Decoder(con, PROFILES, ["a-key"], line_limit=100).decode([Block.of(0, 1, line + b"\n")]).rejected.to_pylist()
    )
    assert Reject(row["reason"], row["detail"], row["version"]) == read_object(line)

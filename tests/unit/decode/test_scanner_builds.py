"""What a build of the native scanner has to show, and that a build with a bug in it does not.

The checks are in `tests.support.scanner_checks`: rows of the exact path, an unreadable page behind the input, canaries
around the result and around each buffer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lake import ROOT
from tests.support.scanning import Plant, build

PLANTS: dict[str, Plant] = {
    "a string writes 32 bytes where it has asked for one": (
        "strings.c",
        "if (!buffer_has(out, STEP))",
        "if (!buffer_has(out, 1))",
    ),
    "the last lines are read in place": ("scan.c", "size > PADDING ? size - PADDING : 0;", "size;"),
    "an unsure line leaves its text behind": (
        "columns.c",
        "it->text.used = (size_t)offsets(it)[row];",
        "it->text.used += 0;",
    ),
    "keys that were predicted are not looked for": (
        "maps.c",
        "size_t from = it->agrees ? it->first : it->count;",
        "size_t from = it->count;",
    ),
    "a number keeps the zeros at its end": ("numbers.c", "(size ? size : 1)", "it->fraction_size"),
    "an hour may be 24": ("times.c", "hour > 23 ||", "hour > 24 ||"),
}


def checked(library: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.scanner_checks", str(library)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("exact_memory", "flags"),
    [(False, ()), (True, ()), (True, ("-U__SSE2__",))],
    ids=["as it is installed", "with exact memory", "with exact memory and without vectors"],
)
def test_a_build_shows_all(tmp_path: Path, exact_memory: bool, flags: tuple[str, ...]) -> None:
    build(tmp_path / "scanner.so", exact_memory=exact_memory, flags=flags)
    result = checked(tmp_path / "scanner.so")
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("name", PLANTS)
def test_a_bug_that_is_planted_is_found(tmp_path: Path, name: str) -> None:
    build(tmp_path / "scanner.so", exact_memory=True, plant=PLANTS[name])
    assert checked(tmp_path / "scanner.so").returncode not in (0, 2)


def test_the_compiler_has_nothing_to_warn_of(tmp_path: Path) -> None:
    build(tmp_path / "scanner.so", flags=("-Wall", "-Wextra", "-Wshadow", "-Wpedantic", "-Wno-pedantic", "-Werror"))

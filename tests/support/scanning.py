"""The native scanner beside the exact path, line by line, and builds of it that show what it does with memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa

import hatch_build
from compactor.decode.scanner import Scanned, Scanner
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from compactor.types.field_type import MAP
from tests.support.lake import ROOT
from tests.support.model import Row
from tests.support.odd_json import EVERY_TYPE
from tests.support.outcomes import by_exact_path, plain, shown

Plant = tuple[str, str, str]
LIMIT = 1 << 20
EXACT_MEMORY = ROOT / "tests" / "support" / "native" / "exact_memory.c"


@cache
def things(number: int) -> Dataset:
    """A dataset with each type, required and optional, as it is when this version is the newest: 1 or 2."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "things.yaml").write_text(EVERY_TYPE, encoding="utf-8")
        return loader.load(Path(folder)).get("things").at(number, ())


def scanner(dataset: Dataset, line_limit: int = LIMIT) -> Scanner:
    """A scanner of the newest version."""
    return Scanner(dataset.newest, dataset.version_field, line_limit=line_limit)


def block(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def accepted(found: Scanned) -> dict[int, Row]:
    """The rows by the number of their line, in the form of the exact path's."""
    rows = found.rows.to_pylist()  # a map comes as pairs
    return {number: plain(row) for number, row in zip(found.lines.tolist(), rows, strict=True)}


def faults(dataset: Dataset, lines: Sequence[bytes], found: Scanned, limit: int = LIMIT) -> Iterator[tuple[int, str]]:
    """(number of a line, what is wrong with it) of a scan of these lines, for the dataset's newest version."""
    found.rows.validate(full=True)
    expected = pa.schema([*((each.column, each.type.arrow) for each in dataset.newest.fields), ("extra", MAP.arrow)])
    assert found.rows.schema.equals(expected)
    rows = accepted(found)
    unsure = {number: (start, end) for number, start, end in found.unsure.tolist()}
    assert list(rows) == sorted(rows)
    assert list(unsure) == sorted(unsure)
    start = 0
    for number, line in enumerate(lines):
        end = start + len(line) + 1
        if number in unsure:
            if number in rows or unsure[number] != (start, end):
                yield number, "an unsure line is in another place, or accepted too"
        elif number not in rows:
            if line.strip(b" \t\r") or len(line) > limit:
                yield number, "a line that is not blank, or too long, is neither accepted nor unsure"
        elif len(line) > limit:
            yield number, "a line over the limit is accepted"
        elif shown(rows[number]) != (exact := shown(by_exact_path(dataset, line))):
            yield number, f"accepted as {rows[number]!r}, by the exact path {exact!r}"
        start = end


def build(library: Path, *, exact_memory: bool = False, flags: Sequence[str] = (), plant: Plant | None = None) -> None:
    """Compiles the scanner.

    Args:
        exact_memory: buffers have no byte more than was asked for, and canaries around them.
        flags: of the compiler, beside the usual ones.
        plant: (file, text, other text): the bug that the other text makes is in the library.
    """
    command = hatch_build.compiler()
    assert command is not None, "the tests of the scanner need a C compiler, such as gcc"
    with tempfile.TemporaryDirectory() as folder:
        files = sources(Path(folder), exact_memory=exact_memory, plant=plant)
        files += [EXACT_MEMORY] if exact_memory else []
        hatch_build.build(library, command, files, (f"-I{ROOT / 'native'}", *flags))


def sources(folder: Path, *, exact_memory: bool, plant: Plant | None) -> list[Path]:
    """The scanner's sources, without `memory.c` if another one is to be taken. A planted bug is in the folder."""
    found = {each.name: each for each in hatch_build.SOURCES if not (exact_memory and each.name == "memory.c")}
    if plant:
        file, text, other = plant
        right = (ROOT / "native" / file).read_text()
        assert right.count(text) == 1, f"not once in {file}: {text}"
        found[file] = folder / file
        found[file].write_text(right.replace(text, other))
    return list(found.values())

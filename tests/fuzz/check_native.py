"""Mutated lines under AddressSanitizer and UBSan: the native scanner touches no byte that is not its own.

A program in C (`native/harness.c`) does the mutations, by the thousand in a second, and looks at what comes out.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import hatch_build
from compactor.registry.dataset import Dataset
from tests.fuzz import lines as odd
from tests.fuzz.batch import Batch, Fault
from tests.support.lake import ROOT
from tests.support.scanning import EXACT_MEMORY, Plant, sources, things

_HARNESS = ROOT / "tests" / "fuzz" / "native" / "harness.c"
_KINDS = ("string", "long", "double", "boolean", "timestamp", "date", "decimal", "map")  # as in native/scanner.h
_LONGEST = 10_000
_ROUNDS = 3_000
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends


def make(chance: Random) -> Batch:
    found = [line for _ in range(4) for line in odd.lines(chance, _dataset()) if len(line) < _LONGEST]
    return Batch("native", tuple(found[:2000]) or (b"{}",), {"seed": chance.randrange(1 << 32), "rounds": _ROUNDS})


def faults(batch: Batch, program: Path | None = None) -> Iterator[Fault]:
    """Runs the program, which ends with the first fault. It has no number: the program mixes the inputs."""
    with tempfile.TemporaryDirectory() as folder:
        fields, corpus = Path(folder, "fields"), Path(folder, "corpus")
        fields.write_bytes(_fields(_dataset()))
        corpus.write_bytes(b"".join(line + b"\n" for line in batch.inputs))
        command = [
            str(program or _program()),
            str(fields),
            str(corpus),
            str(batch.settings["seed"]),
            str(batch.settings["rounds"]),
        ]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        said = re.search(r"(AddressSanitizer: [\w-]+|runtime error: .*|does not hold: .*)", result.stderr)
        place = re.search(r"#\d+ \S+ in (\w+) \S*/native/", result.stderr)
        kind = f"native: {said[1] if said else f'ends with {result.returncode}'}"
        yield Fault(f"{kind} in {place[1]}" if place else kind, result.stderr[:5000])


def harness(folder: Path, plant: Plant | None = None) -> Path:
    """Builds the program. Raises CalledProcessError if the compiler has no sanitizers."""
    command = hatch_build.compiler()
    assert command is not None, "fuzzing the scanner needs a C compiler"
    program = folder / "harness"
    files = [_HARNESS, EXACT_MEMORY, *sources(folder, exact_memory=True, plant=plant)]
    words = [*command, "-std=c11", *_SANITIZERS, f"-I{ROOT / 'native'}", "-o", str(program), *map(str, files), "-lm"]
    subprocess.run(words, check=True)
    return program


@cache
def _program() -> Path:
    _KEPT.append(tempfile.TemporaryDirectory())
    return harness(Path(_KEPT[-1].name))


def _dataset() -> Dataset:
    return things(1)


def _fields(dataset: Dataset) -> bytes:
    found = b""
    for field in dataset.newest.fields:
        kind, name = _KINDS.index(field.type.name.partition("(")[0]), field.json.encode()
        precision, scale = field.type.digits or (0, 0)
        found += f"{kind} {field.required:d} {precision} {scale} {len(name)} ".encode() + name + b"\n"
    return found

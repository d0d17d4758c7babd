"""Any line is a row or a rejection: the same one by the bulk path, by the exact path and by the model."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from compactor.config import Resources
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.decode.lines import Block
from compactor.duck import session as engine
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.fuzz import lines as odd
from tests.fuzz.batch import Batch, Fault
from tests.support.decoding import outcomes_of
from tests.support.lake import SCHEMAS
from tests.support.model import DATASETS, ENVELOPE, BadLineError, parse_row
from tests.support.model import Dataset as Spec
from tests.support.odd_json import EVERY_TYPE
from tests.support.outcomes import Outcome, by_exact_path, shown
from tests.support.promoted import of_each_kind, with_promoted

THINGS = "things"
PROMOTED = (*of_each_kind("attributes", "a", "pa"), *of_each_kind("extra", "b", "pb"))


def make(chance: Random) -> Batch:
    name = chance.choice([*DATASETS, THINGS, THINGS])
    limit = chance.choice([1 << 20, 1 << 20, 1 << 20, 400, 150])
    settings = {"dataset": name, "limit": limit, "files": chance.choice([1, 1, 3]), "chunks": chance.choice([1, 1, 2])}
    return Batch("lines", tuple(odd.lines(chance, _dataset(name))), settings)


def faults(batch: Batch) -> Iterator[Fault]:
    name, limit = batch.settings["dataset"], batch.settings["limit"]
    dataset = _dataset(name)
    found = decoded(session(), dataset, batch)
    for number, line in enumerate(batch.inputs):
        expected, model = _due(dataset, line, limit), _modelled(name, line, limit)
        got, raw = found.get(number, (None, None))
        if shown(got) != expected:
            yield Fault(
                f"lines: decode, not strict, on {_where(shown(got), expected)}",
                f"{got!r}\nis expected as {expected!r}",
                number,
            )
        if model != (expected[0] if isinstance(expected, tuple) else expected):
            yield Fault(
                f"lines: strict, not the model, on {_where(expected, model)}",
                f"{expected!r}\nby the model {model!r}",
                number,
            )
        if raw is not None and raw != line[:limit].rstrip(b"\r\n").decode("utf-8", "backslashreplace"):
            yield Fault("lines: the raw text of a reject is another", raw, number)


def decoded(con: duckdb.DuckDBPyConnection, dataset: Dataset, batch: Batch) -> dict[int, tuple[Outcome, str | None]]:
    """What the decoder makes of each line, by its number, with the raw text of those rejected."""
    chunks = decoded_chunks(con, dataset, batch)
    files = batch.settings.get("files", 1)
    found: dict[int, tuple[Outcome, str | None]] = {}
    counted, per_file = Counter[int](), Counter[int]()
    for chunk in chunks:
        counted += chunk.lines
        places = zip(chunk.rejected["file_no"].to_pylist(), chunk.rejected["line_no"].to_pylist(), strict=True)
        raws = dict(zip(places, chunk.rejected["raw"].to_pylist(), strict=True))
        for (file_no, line_no), outcome in outcomes_of(chunk).items():
            number = (line_no - 1) * files + file_no
            if number in found:
                raise AssertionError(f"line {number} came out twice")
            found[number] = (outcome, raws.get((file_no, line_no)))
            per_file[file_no] += 1
    if counted != per_file:
        raise AssertionError(f"lines counted {counted}, records and rejected {per_file}")
    return found


def decoded_chunks(con: duckdb.DuckDBPyConnection, dataset: Dataset, batch: Batch) -> Iterator[DecodedChunk]:
    """The lines of a batch, decoded as it says."""
    numbers = range(len(batch.inputs))
    files, chunks = batch.settings.get("files", 1), batch.settings.get("chunks", 1)
    keys = [f"key-{number}" for number in range(files)]
    decoder = Decoder(con, dataset, keys, line_limit=batch.settings.get("limit", 1 << 20))
    for which in range(chunks):
        parts = []
        for file_no in range(files):
            mine = list(numbers[file_no::files])
            size = -(-len(mine) // chunks)
            lines = mine[which * size : (which + 1) * size]
            parts.append(
                Block.of(file_no, 1 + which * size, b"".join(batch.inputs[number] + b"\n" for number in lines))
            )
        yield decoder.decode(parts)


def _due(dataset: Dataset, line: bytes, limit: int) -> Any:
    """What a line has to become, by `strict`; the limit is judged before it."""
    if len(line) > limit:
        return ("line_too_long", f"longer than the limit of {limit} bytes", None)
    return shown(by_exact_path(dataset, line))


def _modelled(name: str, line: bytes, limit: int) -> Any:
    if not line.strip(b" \t\r\n") and len(line) <= limit:
        return None
    reason = "unknown_version"
    for spec in MODELS[name]:
        try:
            with _roomy_stack():
                row = parse_row(spec, line, limit)
        except BadLineError as error:
            reason = str(error)
            if reason != "unknown_version":
                return reason
        else:
            columns = {column for each in MODELS[name] for column, _ in each.fields.values()}
            return shown(with_promoted(dict.fromkeys(columns) | row, PROMOTED if name == THINGS else ()))
    return reason


@contextmanager
def _roomy_stack() -> Iterator[None]:
    """The model recurses as it pleases; the product has to do with the usual stack."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def _where(got: Any, expected: Any) -> str:
    """Names the columns that differ, or what stands against what."""
    if isinstance(got, dict) and isinstance(expected, dict):
        return ", ".join(sorted(str(name) for name in {*got, *expected} if got.get(name) != expected.get(name)))
    names = [
        each if isinstance(each, str) else each[0] if isinstance(each, tuple) else "a row" if each else "nothing"
        for each in (got, expected)
    ]
    return " against ".join(names)


_VERSION_1 = ENVELOPE | {
    "happenedAt": ("happened_at", "timestamp"),
    "endedAt": ("ended_at", "timestamp"),
    "count": ("count", "long"),
    "score": ("score", "double"),
    "flag": ("flag", "boolean"),
    "day": ("day", "date"),
    "price": ("price", "decimal(10,2)"),
    "wide": ("wide", "decimal(38,20)"),
    "whole": ("whole", "decimal(18,0)"),
    "note": ("note", "string"),
    "attributes": ("attributes", "map"),
}
_VERSION_1.pop("roverID")
_VERSION_2 = {
    {"happenedAt": "occurredAt", "score": "points"}.get(name, name): kind for name, kind in _VERSION_1.items()
} | {"colour": ("colour", "string"), "odd/na~me'": ("odd", "long")}
MODELS: dict[str, tuple[Spec, ...]] = {name: (spec,) for name, spec in DATASETS.items()} | {
    THINGS: (
        Spec(_VERSION_2, (), "", tuple(list(_VERSION_2)[3:-1]), versions=frozenset({2})),
        Spec(_VERSION_1, (), "", tuple(list(_VERSION_1)[3:]), versions=frozenset({1})),
    )
}


@cache
def _dataset(name: str) -> Dataset:
    if name in DATASETS:
        return loader.load(SCHEMAS).get(name)
    with tempfile.TemporaryDirectory() as folder:
        promote = "promote:\n" + "".join(each.yaml for each in PROMOTED)
        (Path(folder) / f"{THINGS}.yaml").write_text(EVERY_TYPE + promote, encoding="utf-8")
        return loader.load(Path(folder)).get(name)


@cache
def session() -> duckdb.DuckDBPyConnection:
    """A session of the product's own settings, with one thread, that lives as long as the process."""
    opened = engine.session(Resources(threads=1))
    _OPENED.append(opened)
    return opened.__enter__()


_OPENED: list[Any] = []  # a context manager that is let go closes its session

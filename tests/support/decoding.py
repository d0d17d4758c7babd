"""The decoder, the exact path and the model, each asked for the outcome of a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import duckdb
import pytest

from compactor.config import Resources
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.decode.lines import Block
from compactor.duck import session
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.lake import SCHEMAS
from tests.support.model import DATASETS, BadLineError, Row, parse_line
from tests.support.odd_json import EVERY_TYPE
from tests.support.outcomes import Outcome, plain

LIMIT = 1 << 20


REGISTRY = loader.load(SCHEMAS)


PROFILES = REGISTRY.get("fan_profiles")


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with session.session(Resources()) as con:
        yield con


def decoded(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, lines: Sequence[bytes], *, per_chunk: int | None = None
) -> list[Outcome]:
    """What the decoder makes of each line, with so many of them in a chunk (default: all)."""
    size = per_chunk or max(len(lines), 1)
    parts = [
        (number + 1, b"".join(line + b"\n" for line in lines[number : number + size]))
        for number in range(0, len(lines), size)
    ]
    found = decoded_parts(con, dataset, [[part] for part in parts])
    return [found.get(number) for number in range(1, len(lines) + 1)]


def decoded_parts(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, chunks: Sequence[Sequence[tuple[int, bytes]]]
) -> dict[int, Outcome]:
    """What the decoder makes of chunks of (number of the first line, whole lines), by line number."""
    counted = 0
    found: dict[int, Outcome] = {}
    decoder = Decoder(con, dataset, ["a-key"], line_limit=LIMIT)
    for chunk in chunks:
        result = decoder.decode([Block.of(0, *part) for part in chunk])
        counted += result.lines.total()
        for (_, number), outcome in outcomes_of(result).items():
            assert number not in found
            found[number] = outcome
    assert counted == len(found)
    return found


def outcomes_of(chunk: DecodedChunk) -> dict[tuple[int, int], Outcome]:
    """What became of the lines of a chunk, by file_no and line number."""
    found: dict[tuple[int, int], Outcome] = {}
    for records in chunk.records:
        for file_no, row in zip(records.file_nos.tolist(), records.rows.to_pylist(), strict=True):
            row.pop("source_file")
            place = file_no, row.pop("source_line")
            assert place not in found
            found[place] = plain(row)
    for row in chunk.rejected.to_pylist():
        place = row["file_no"], row["line_no"]
        assert place not in found
        found[place] = (row["reason"], row["detail"], row["version"])
    return found


def modelled(dataset: str, line: bytes) -> Row | str:
    try:
        return parse_line(DATASETS[dataset], line)[0]
    except BadLineError as error:
        return str(error)


# Odd but valid lines, each with its expected row

FIELDS = {
    "id": '"r1"',
    "version": "1",
    "roverID": '"f1"',
    "emittedAt": '"2026-11-01T05:00:00Z"',
    "updatedAt": '"2026-11-01T04:00:00Z"',
}


ROW: Row = {
    "id": "r1",
    "version": 1,
    "rover_id": "f1",
    "emitted_at": datetime(2026, 11, 1, 5, tzinfo=UTC),
    "updated_at": datetime(2026, 11, 1, 4, tzinfo=UTC),
    "traits": None,
    "extra": {},
}


def written(*more: tuple[str, str], **fields: str) -> bytes:
    """A profile: fields by JSON text, `more` with their keys as JSON text too."""
    known = [f'"{name}":{text}' for name, text in (FIELDS | fields).items()]
    return ("{" + ",".join([*known, *(f"{key}:{text}" for key, text in more)]) + "}").encode()


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with each type, optional and required, and of two versions."""
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "things.yaml").write_text(EVERY_TYPE, encoding="utf-8")
    return loader.load(folder).get("things")

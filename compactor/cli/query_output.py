"""Prints the rows of a query: as a table for people, as CSV, or as one JSON object.

Rows stream in batches. As text, times are ISO 8601 in UTC, maps and lists are JSON, decimals keep every digit, and NULL
is empty in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, count, islice
from tempfile import SpooledTemporaryFile
from typing import Any, TextIO

import pyarrow as pa
from rich.console import Console

from compactor.cli.console import new_table
from compactor.errors import CompactorError
from compactor.log import printable

_SPOOL_BYTES = 16 * 1024 * 1024
_SAFE_INTEGER = 2**53 - 1
"""Many readers of JSON, such as jq and JavaScript, round a larger number."""


def write_table(reader: pa.RecordBatchReader, console: Console, limit: int) -> bool:
    """Prints at most `limit` rows: as lines of a table if they fit into the width, else with one value per line.

    Returns whether there are more rows.
    """
    names = _names(reader.schema)
    found = list(islice(_rows(reader), limit + 1))
    texts = [[printable(_cell(value)) for value in row] for row in found[:limit]]
    widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
    if sum(widths) + 2 * len(widths) <= console.width:
        numeric = [_is_number(field.type) for field in reader.schema]
        columns = {printable(name): is_number for name, is_number in zip(names, numeric, strict=True)}
        console.print(new_table(columns, texts))
    else:
        for number, row in enumerate(texts, start=1):
            console.print(f"row {number}")
            console.print(
                new_table(dict.fromkeys(("column", "value"), False), zip(names, row, strict=True), header=False)
            )
    return len(found) > limit


def write_csv(reader: pa.RecordBatchReader, out: TextIO) -> None:
    """Writes a header line and the rows, as RFC 4180 but with LF as the line end."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_names(reader.schema))
    for row in _rows(reader):
        writer.writerow("" if value is None else _cell(value) for value in row)


def write_json(reader: pa.RecordBatchReader, out: TextIO) -> None:
    """Writes one object, `{"columns": [...], "rows": [{...}, ...]}`.

    Nothing is written before the last row has arrived. If the query fails before, stdout gets one object as well: the
    error.
    """
    names = _names(reader.schema)
    with SpooledTemporaryFile(_SPOOL_BYTES, mode="w+", encoding="utf-8") as spool:
        spool.write(f'{{"columns": {json.dumps(names)}, "rows": [')
        for number, row in enumerate(_rows(reader)):
            spool.write((", " if number else "") + json.dumps(dict(zip(names, map(_plain, row), strict=True))))
        spool.write("]}\n")
        spool.seek(0)
        shutil.copyfileobj(spool, out)


def _rows(reader: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        try:
            columns = [column.to_pylist(maps_as_pydicts="strict") for column in batch.columns]
        except OverflowError:
            raise CompactorError(
                "the query gives a date that is not within the years 1 to 9999; cast it to a VARCHAR to see it"
            ) from None
        yield from zip(*columns, strict=True)


def _names(schema: pa.Schema) -> list[str]:
    """The names of the columns, made unique: a join can give two `id`, and a JSON object holds one of a name."""
    names: list[str] = []
    for name in schema.names:
        candidates = chain([name], (f"{name}_{number}" for number in count(2)))
        names.append(next(each for each in candidates if each not in names))
    return names


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it. A decimal of scale 0 (such as a sum of integers) is a number; others are texts.

    A whole number that readers of JSON would round is a text.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return _plain(int(value)) if value.as_tuple().exponent == 0 else str(value)
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat().replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case dict():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)


def _cell(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    return "NULL" if plain is None else json.dumps(plain, ensure_ascii=False)

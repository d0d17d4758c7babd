"""Lines of NDJSON to typed rows, in bulk.

Input is a chunk of lines from any number of objects. Output are two relations: `records` (the newest version's
columns, `extra`, and `__file_no`/`__line_no`, which say where a record came from) and `rejected`.

Each chunk takes three steps:

1. One pass lists the distinct *key patterns* of its lines: which keys, of which JSON types. There are few patterns and
   many lines, so every rule on keys and types is decided once per pattern, in Python.
2. One pass types the lines. Values of which it is not sure (a timestamp in an unusual form, JSON that a lenient parser
   lets through) leave `__sure` false.
3. What is left goes line by line through the exact path (`exact`), which alone decides what is rejected and why.

Steps 1 and 2 may only accept what the exact path accepts, with the same values: tests hold the two against each other.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor.decode import exact
from compactor.decode.lines import Chunk
from compactor.decode.rejects import REJECTED, Reject, RejectedLines
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, quote
from compactor.registry import expressions
from compactor.registry.dataset import Dataset, SchemaVersion
from compactor.registry.promotions import are_sure, with_values
from compactor.types.casts import text_reading
from compactor.types.field_type import DATE, DOUBLE, LONG, MAP, TIMESTAMP, FieldType

# What the bulk parser lets through or writes in another way than the exact path: trailing commas, NaN and Infinity
# in any case, numbers that are long, have an exponent, escapes of control characters. Each pattern begins with a
# literal byte: the engine skips to that byte, which is several times as fast as one combined pattern.
_ODD_VALUE = r"-?([nN][aA]|[iI][nN]|[0-9.]{16}|[0-9.]+[eE]|0\.0000)"
SUSPECT = (
    rf",[ \t\r\n]*([}}\]]|{_ODD_VALUE})",
    rf":[ \t\r\n]*{_ODD_VALUE}",
    rf"\[[ \t\r\n]*{_ODD_VALUE}",
    r"\\u00[01]",
)
# Brackets say at most how deep a line can be. Few lines are as long as one too deep must be, so few are counted.
_SHALLOW = (
    f"CASE WHEN strlen(line) > {2 * exact.MAX_DEPTH} THEN 2 * strlen(line) - strlen(replace(line, '[', ''))"
    f" - strlen(replace(line, '{{', '')) <= {exact.MAX_DEPTH} ELSE true END"
)
_PATTERNS = pa.schema([("keys", pa.list_(pa.string())), ("types", pa.list_(pa.string()))])
_NO_EXTRA = "MAP {}::MAP(VARCHAR, VARCHAR)"
_CAN_OVERFLOW = (LONG, DOUBLE)
# Past these numbers, per chunk, the keys are data, not fields, and the exact path serves as well.
_MOST_EXTRA_KEYS, _MOST_PATTERNS = 100, 1000
_EXACT_BYTES = 1 << 20  # of the exact path's rows at once: Python's objects take many times the size of their text


class Decoder:
    """Decodes the chunks of one dataset.

    Attributes:
        records: the decoded records.
        rejected: (file_no, line_no, version, reason, detail, raw) of the lines that are no records.
    """

    def __init__(self, relations: Relations, dataset: Dataset) -> None:
        self._relations, self._con = relations, relations.con
        self._dataset = dataset
        self._columns = [(column, kind) for column, kind, _ in dataset.columns]
        columns = {"__file_no": "INTEGER", "__line_no": "BIGINT"}
        columns |= {column: kind.duckdb for column, kind in self._columns}
        columns |= {"extra": MAP.duckdb, "__sure": "BOOLEAN"}
        self.records: Relation = relations.empty("records", columns)
        self.rejected: Relation = relations.empty("rejected", REJECTED)

    def decode(self, chunk: Chunk) -> Counter[int]:
        """Decodes a chunk. Returns the number of lines per file_no, blank ones apart."""
        lines = chunk.lines
        counts = _count(lines["file_no"]) + _count(chunk.rejected["file_no"])
        for number in sorted(self._dataset.versions, reverse=True):
            if lines.num_rows:
                lines = self._bulk(lines, self._dataset.versions[number])
        with _no_collections():
            rejected = pa.concat_tables([chunk.rejected, *map(self._one_by_one, lines.to_batches(max_chunksize=8192))])
        if rejected.num_rows:
            self._relations.append(self.rejected, rejected)
        return counts

    def _bulk(self, lines: pa.Table, version: SchemaVersion) -> pa.Table:
        """Adds the lines that are surely records of this version; returns the others."""
        plain, others, extra_keys = self._by_pattern(lines, version)
        if plain.num_rows:
            # DuckDB works on batches in parallel; one big batch would keep it on one core.
            small = pa.Table.from_batches(plain.to_batches(max_chunksize=8192))
            with self._relations.arrow("plain", small) as relation:
                self._con.execute(self._insert(relation, version, extra_keys))
            unsure = self._con.execute(
                f"SELECT __file_no AS file_no, __line_no AS line_no FROM {self.records} WHERE NOT __sure"
            ).to_arrow_table()
            if unsure.num_rows:
                self._con.execute(f"DELETE FROM {self.records} WHERE NOT __sure")
                others = pa.concat_tables([others, _matching(plain, unsure)])
        return others

    def _by_pattern(self, lines: pa.Table, version: SchemaVersion) -> tuple[pa.Table, pa.Table, list[str]]:
        """Splits lines into those whose keys and types fit the version, and the others; lists unknown keys."""
        pointers = [_pointer(field.json) for field in version.fields]
        # A line that is no JSON is kept from functions that raise an error for it: each costs as much as many lines.
        keys_and_types = f"try(json_keys(json)) AS keys, try(json_type(json, {_list(pointers)})) AS types"
        small = pa.Table.from_batches(lines.to_batches(max_chunksize=8192))
        with self._relations.arrow("lines", small) as relation:
            valid = f"(SELECT *, CASE WHEN json_valid(line) THEN line END AS json FROM {relation})"
            # Grouped by a hash, which is cheaper than comparing lists. Should two patterns ever share one, their lines
            # are separated below, where the lists themselves are compared, or found unsure when they are typed.
            patterns = self._con.execute(
                "SELECT any_value(keys), any_value(types)"
                f" FROM (SELECT {keys_and_types} FROM {valid}) GROUP BY hash(keys, types)"
                f" ORDER BY count(*) DESC LIMIT {_MOST_PATTERNS + 1}"
            ).fetchall()
            some = len(patterns) > _MOST_PATTERNS
            fits = [_fits(keys, types, version) for keys, types in patterns]
            known = {field.json for field in version.fields}
            extra = {key for fit, (keys, _) in zip(fits, patterns, strict=True) if fit for key in keys} - known
            if len(extra) > _MOST_EXTRA_KEYS:
                fits = [fit and known.issuperset(keys) for fit, (keys, _) in zip(fits, patterns, strict=True)]
                extra = set()
            if all(fits) and not some:
                return lines, lines.slice(0, 0), sorted(extra)
            good = [{"keys": keys, "types": types} for fit, (keys, types) in zip(fits, patterns, strict=True) if fit]
            with self._relations.arrow("good", pa.Table.from_pylist(good, _PATTERNS)) as fitting:
                chosen = self._con.execute(
                    f"SELECT file_no, line_no FROM (SELECT file_no, line_no, {keys_and_types} FROM {valid})"
                    f" SEMI JOIN {fitting} USING (keys, types)"
                ).to_arrow_table()
        plain = _matching(lines, chosen)
        return plain, _matching(lines, chosen, keep=False), sorted(extra)

    def _insert(self, plain: Relation, version: SchemaVersion, extra_keys: list[str]) -> str:
        """The statement that types all lines of `plain` and adds them, with `__sure` saying whether it was sure."""
        base: dict[str, str] = {}
        conditions = [_SHALLOW, *(f"NOT regexp_matches(line, {literal(pattern)})" for pattern in SUSPECT)]
        for position, field in enumerate(version.fields, 1):
            text = (
                f"struct_extract_at(s, {position})"  # to the engine `id` and `ID` are one name, and an empty name none
            )
            base[field.column], condition = _typed(text, field.type)
            sure = f"({text} IS NOT NULL{condition})" if field.required else ""
            sure = sure or (f"({text} IS NULL OR (true{condition}))" if condition else "")
            if not field.required and field.type in _CAN_OVERFLOW:
                # NULL is only sure where the line has no number: else the number did not fit.
                sure = f"({text} IS NOT NULL OR coalesce(t[{position}], 'NULL') = 'NULL')"
            conditions += [sure] if sure else []
            conditions += [f"{text} = {version.number}"] if field == self._dataset.version_field else []
        values = []
        for expression in self._dataset.upgrades(version.number).values():
            value, more = expressions.sql(expression, base.__getitem__)
            values.append(value)
            conditions += more
        reading = {field.json: _reading_type(field.type) for field in version.fields}
        structure = json.dumps(reading, ensure_ascii=False)
        needs_types = any(not field.required and field.type in _CAN_OVERFLOW for field in version.fields)
        types = f"json_type(line, {_list([_pointer(f.json) for f in version.fields])})" if needs_types else "NULL"
        extra = _NO_EXTRA
        if extra_keys:
            extra = _extra_map(extra_keys)
        extracted = f"json_extract(line, {_list([_pointer(key) for key in extra_keys])})" if extra_keys else "NULL"
        names = [quote(field.column) for field in self._dataset.newest.fields]
        columns = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
        typed = (
            f"SELECT file_no AS __file_no, line_no AS __line_no, {columns}, {extra} AS extra,"
            f" coalesce({' AND '.join(conditions)}, false) AS __sure"
            f" FROM (SELECT file_no, line_no, line, {types} AS t, {extracted} AS x,"
            f" try(from_json(line, {literal(structure)})) AS s FROM {plain})"
        )
        promoted = self._dataset.promoted
        listed = [*names, *(quote(each.column) for each in promoted), "extra", f"__sure AND {are_sure(promoted)}"]
        return (
            f"INSERT INTO {self.records} SELECT __file_no, __line_no, {', '.join(listed)}"
            f" FROM {with_values(promoted, typed)}"
        )

    def _one_by_one(self, lines: pa.RecordBatch) -> pa.Table:
        """Decodes lines by the exact path. Returns those that are rejected."""
        rows: list[dict[str, Any]] = []
        rejected, size = RejectedLines(), 0
        raws = lines.column("line").cast(pa.large_binary()).to_pylist()
        for file_no, line_no, raw in zip(*(lines.column(n).to_pylist() for n in range(2)), raws, strict=True):
            found = exact.read_line(raw, self._dataset)
            assert found is not None  # a chunk has no blank lines
            if isinstance(found, Reject):
                rejected.add(file_no, line_no, found, raw)
                continue
            rows.append({**found, "__file_no": file_no, "__line_no": line_no, "__sure": True})
            size += len(raw)
            if size > _EXACT_BYTES:
                self._add(rows)
                rows, size = [], 0
        self._add(rows)
        return rejected.table()

    def _add(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        fields = [("__file_no", pa.int32()), ("__line_no", pa.int64())]
        fields += [(column, kind.arrow) for column, kind in self._columns]
        fields += [("extra", MAP.arrow), ("__sure", pa.bool_())]
        self._relations.append(self.records, pa.Table.from_pylist(rows, pa.schema(fields)))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keeps Python from looking for circles among the values of lines, which have none, at up to ten times the cost."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _fits(keys: list[str] | None, types: list[str | None] | None, version: SchemaVersion) -> bool:
    """Whether lines of this pattern can be typed in bulk: an object, keys unique and without NUL, types as declared."""
    if not keys or types is None or len(set(keys)) < len(keys) or any("\0" in key for key in keys):
        return False
    for field, found in zip(version.fields, types, strict=True):
        if found is None or found == "NULL":
            if field.required:
                return False
        elif found not in field.type.json_types:
            return False
    return True


def _typed(text: str, kind: FieldType) -> tuple[str, str]:
    """SQL for a field's value, and the condition (beginning with AND) under which that value is surely right."""
    reading = text_reading(kind) if _is_text(kind) else None
    if reading:
        value = reading.sql.replace("{x}", text)
        return value, f" AND ({value}) IS NOT NULL"
    if kind == MAP:
        return text, f" AND list_unique(map_keys({text})) = cardinality({text})"
    return text, ""


def _extra_map(keys: list[str]) -> str:
    """SQL for the map of the unknown fields that a line has, from `x`, their texts (NULL: the line lacks the field)."""
    if len(keys) == 1:  # one new field in all records is the common case, and this costs a fraction
        return f"CASE WHEN x[1] IS NULL THEN {_NO_EXTRA} ELSE MAP {{{literal(keys[0])}: x[1]::VARCHAR}} END"
    entries = ", ".join(f"{{'k': {literal(key)}, 'v': x[{n}]::VARCHAR}}" for n, key in enumerate(keys, 1))
    return f"map_from_entries(list_filter([{entries}], lambda e: e.v IS NOT NULL))"


def _reading_type(kind: FieldType) -> str:
    return "VARCHAR" if _is_text(kind) else kind.duckdb


def _is_text(kind: FieldType) -> bool:
    """Whether the bulk parser is given a text: it has no such values, or is not exact."""
    return kind in (TIMESTAMP, DATE) or kind.digits is not None


def _pointer(name: str) -> str:
    """A top-level key as a JSON pointer (RFC 6901), which escapes where a path would be parsed."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _list(texts: list[str]) -> str:
    return "[" + ", ".join(map(literal, texts)) + "]"


def _matching(lines: pa.Table, places: pa.Table, *, keep: bool = True) -> pa.Table:
    """The lines at (or, with keep=False, not at) the given file_no and line_no."""
    return lines.filter(pa.array(np.isin(_places(lines), _places(places), invert=not keep)))


def _places(lines: pa.Table) -> npt.NDArray[np.int64]:
    """Each line's file_no and line_no as one number (files have fewer than 2**40 lines)."""
    place: npt.NDArray[np.int64] = lines["file_no"].to_numpy().astype(np.int64) * 2**40 + lines["line_no"].to_numpy()
    return place


def _count(file_nos: pa.ChunkedArray) -> Counter[int]:
    counted = file_nos.value_counts()
    return Counter({int(entry["values"].as_py()): int(entry["counts"].as_py()) for entry in counted})

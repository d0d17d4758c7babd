"""Rows of Arrow data taken by their numbers from many chunks, by native code: see `native/gather.h`.

Arrow joins the chunks of texts and maps first, which copies all rows to take a few. Without the native library, and for
columns of rare types, Arrow's own way serves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor import native

Numbers = npt.NDArray[np.int64]
_Ints = npt.NDArray[np.int32]

_BITS, _TEXT, _MAP = "bits", "text", "map"
_WIDTHS: Mapping[str | int, int] = {
    _BITS: 2,
    _TEXT: 2,
    _MAP: 7,
}  # numbers that describe a chunk; of values there is one, their address


@dataclass(frozen=True)
class Taking:
    """Rows to take from.

    Attributes:
        tables: have the rows, one table after the other. They own the memory.
        starts: the number of the first row of each chunk, and of all rows.
        columns: those that the library takes.
    """

    tables: Sequence[pa.Table]
    starts: Numbers
    columns: Mapping[str, _Chunks]

    @classmethod
    def of(cls, *tables: pa.Table) -> Taking:
        """The rows of all tables, which have one schema. Nothing is copied."""
        batches = [batch for table in tables for batch in table.to_batches() if batch.num_rows]
        columns = {
            field.name: _Chunks.of([batch.column(number) for batch in batches], kind)
            for number, field in enumerate(tables[0].schema)
            if _library() and (kind := _kind(field.type))
        }
        return cls(tables, np.cumsum([0, *(batch.num_rows for batch in batches)]), columns)

    @property
    def schema(self) -> pa.Schema:
        return self.tables[0].schema

    @property
    def num_rows(self) -> int:
        return int(self.starts[-1])

    def joined(self, *others: Taking) -> Taking:
        """The rows of this and of others, one after the other."""
        if not others:
            return self
        every = (self, *others)
        before = np.cumsum([each.num_rows for each in every])
        starts = [each.starts[1:] + size for each, size in zip(others, before, strict=False)]
        return Taking(
            [table for each in every for table in each.tables],
            np.concatenate([self.starts, *starts]),
            {name: _Chunks.joined([each.columns[name] for each in every]) for name in self.columns},
        )

    def take(self, numbers: Numbers) -> pa.Table:
        """Rows by their numbers, in this order."""
        rest = [name for name in self.schema.names if name not in self.columns]
        others: dict[str, pa.Array] = {}
        if rest:
            found = pa.concat_tables([table.select(rest) for table in self.tables]).take(pa.array(numbers))
            others = dict(zip(rest, found.columns, strict=True))
        chunk = np.searchsorted(self.starts, numbers, side="right") - 1
        where = chunk.astype(np.int32), (numbers - self.starts[chunk]).astype(np.int32)
        columns = [
            self.columns[field.name].take(field.type, *where) if field.name in self.columns else others[field.name]
            for field in self.schema
        ]
        return pa.table(columns, schema=self.schema)


@dataclass(frozen=True)
class _Chunks:
    """The chunks of a column as the library reads them: numbers and addresses.

    Attributes:
        kind: how its values are taken, see `_kind`.
        values, valid: a row for each chunk.
    """

    kind: str | int
    values: Numbers
    valid: Numbers

    @classmethod
    def of(cls, arrays: Sequence[pa.Array], kind: str | int) -> _Chunks:
        describe: Callable[[pa.Array], list[int]] = {_TEXT: _text, _MAP: _map, _BITS: _bits}.get(
            str(kind), lambda array: [_address(array.buffers()[1]) + array.offset * int(kind)]
        )
        values = np.array([describe(array) for array in arrays], np.int64).reshape(len(arrays), _WIDTHS.get(kind, 1))
        valid = np.array([_validity(array) for array in arrays], np.int64).reshape(len(arrays), 2)
        return cls(kind, values, valid)

    @classmethod
    def joined(cls, parts: Sequence[_Chunks]) -> _Chunks:
        values, valid = ([getattr(part, name) for part in parts] for name in ("values", "valid"))
        return cls(parts[0].kind, np.concatenate(values), np.concatenate(valid))

    def take(self, type_: pa.DataType, chunk: _Ints, row: _Ints) -> pa.Array:
        rows = len(row)
        library = _library()
        assert library is not None
        where = (_pointer(chunk), _pointer(row), rows)
        valid, nulls = self._bits(self.valid, where) if self.valid.any() else (None, 0)
        valid = valid if nulls else None
        if self.kind == _BITS:
            return pa.Array.from_buffers(type_, rows, [valid, self._bits(self.values, where)[0]], nulls)
        if self.kind == _TEXT:
            offsets = pa.allocate_buffer(4 * (rows + 1))
            size = library.texts_size(_pointer(self.values), *where, offsets.address)
            _check(size)
            texts = pa.allocate_buffer(size)
            library.gather_texts(_pointer(self.values), *where, texts.address)
            return pa.Array.from_buffers(type_, rows, [valid, offsets, texts], nulls)
        if self.kind == _MAP:
            return self._maps(type_, where, valid, nulls)
        values = pa.allocate_buffer(int(self.kind) * rows)
        library.gather_values(_pointer(self.values), *where, int(self.kind), values.address)
        return pa.Array.from_buffers(type_, rows, [valid, values], nulls)

    def _bits(self, described: Numbers, where: tuple[int, int, int]) -> tuple[pa.Buffer, int]:
        library, found = _library(), pa.allocate_buffer((where[2] + 7) // 8)
        assert library is not None
        return found, library.gather_bits(_pointer(described), *where, found.address)

    def _maps(self, type_: pa.DataType, where: tuple[int, int, int], valid: pa.Buffer | None, nulls: int) -> pa.Array:
        library, sizes = _library(), np.zeros(3, np.int64)
        assert library is not None
        offsets = pa.allocate_buffer(4 * (where[2] + 1))
        library.maps_size(_pointer(self.values), *where, offsets.address, _pointer(sizes))
        entries, key_bytes, item_bytes = sizes.tolist()
        _check(int(sizes.max()))
        places = [pa.allocate_buffer(4 * (entries + 1)) for _ in range(2)]
        keys, items = pa.allocate_buffer(key_bytes), pa.allocate_buffer(item_bytes)
        items_valid = pa.py_buffer(bytearray((entries + 7) // 8))
        missing = library.gather_maps(
            _pointer(self.values),
            *where,
            places[0].address,
            keys.address,
            places[1].address,
            items.address,
            items_valid.address,
        )
        children = [
            pa.Array.from_buffers(pa.string(), entries, [None, places[0], keys], 0),
            pa.Array.from_buffers(pa.string(), entries, [items_valid if missing else None, places[1], items], missing),
        ]
        entry = pa.Array.from_buffers(
            pa.struct([type_.key_field, type_.item_field]), entries, [None], 0, children=children
        )
        return pa.Array.from_buffers(type_, where[2], [valid, offsets], nulls, children=[entry])


def _kind(type_: pa.DataType) -> str | int | None:
    """How the library takes values of a type: by bits, as texts, as maps of texts, or as so many bytes each."""
    if pa.types.is_map(type_):
        return _MAP if type_.key_type == type_.item_type == pa.string() else None
    if pa.types.is_string(type_):
        return _TEXT
    if pa.types.is_boolean(type_):
        return _BITS
    return type_.byte_width if pa.types.is_primitive(type_) or pa.types.is_decimal(type_) else None


def _text(array: pa.Array) -> list[int]:
    _, offsets, texts = array.buffers()
    return [_address(offsets) + 4 * array.offset, _address(texts)]


def _map(array: pa.Array) -> list[int]:
    items = array.items  # of all rows, also of those before and behind a slice
    return [_address(array.buffers()[1]) + 4 * array.offset, *_text(array.keys), *_text(items), *_validity(items)]


def _bits(array: pa.Array) -> list[int]:
    return [_address(array.buffers()[1]), array.offset]


def _validity(array: pa.Array) -> list[int]:
    return [_address(array.buffers()[0]) if array.null_count else 0, array.offset]


def _address(buffer: pa.Buffer | None) -> int:
    return buffer.address if buffer else 0


def _pointer(numbers: npt.NDArray[Any]) -> int:
    return int(numbers.ctypes.data)


def _check(size: int) -> None:
    if size >= 1 << 31:
        raise MemoryError(f"{size:,} bytes of texts are too many to take at once")


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = native.load()
        pointer: Any = ctypes.c_void_p
        number: Any = ctypes.c_int64
        where = [pointer, pointer, pointer, number]
        library.gather_bits.argtypes, library.gather_bits.restype = [*where, pointer], number
        library.gather_values.argtypes, library.gather_values.restype = [*where, number, pointer], None
        library.texts_size.argtypes, library.texts_size.restype = [*where, pointer], number
        library.gather_texts.argtypes, library.gather_texts.restype = [*where, pointer], None
        library.maps_size.argtypes, library.maps_size.restype = [*where, pointer, pointer], None
        library.gather_maps.argtypes, library.gather_maps.restype = [*where, *[pointer] * 5], number
    except (OSError, AttributeError):
        return None  # `decode.scanner` says so
    return library

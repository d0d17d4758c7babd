"""Lines of NDJSON to Arrow, by the native scanner: see `native/scanner.h`, and the design note on it.

The scanner accepts the lines that it is sure of. Each other one is left to `decode.exact`, which alone rejects.
Without the library (it is compiled when the package is installed) no line is accepted, and `available` says so once.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor import native
from compactor.decode.exact import MAX_DEPTH
from compactor.errors import InvariantError
from compactor.registry.dataset import EXTRA, SchemaVersion
from compactor.registry.fields import Field
from compactor.types.field_type import BOOLEAN, DATE, DOUBLE, LONG, MAP, STRING, TIMESTAMP, FieldType

MOST_BYTES = 1 << 28
"""Of one scan: Arrow's offsets have 32 bits, and the text of numbers may grow."""

_KINDS = (STRING, LONG, DOUBLE, BOOLEAN, TIMESTAMP, DATE, None, MAP)  # None: decimals
_BUFFERS = {STRING: 3, MAP: 7}  # of the others: 2
_log = logging.getLogger(__name__)


class _Field(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("required", ctypes.c_int32),
        ("precision", ctypes.c_int32),
        ("scale", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        ("name_size", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Scanned:
    """The lines of one scan.

    Attributes:
        rows: the accepted lines: a column for each field of the version, named by its column, in the version's order,
            of `FieldType.arrow`; then `extra`.
        lines: the number of each row's line in the data, ascending, from 0 on.
        unsure: (line number, start, end) of each line that is not accepted, with its newline; blank lines apart.
    """

    rows: pa.RecordBatch
    lines: npt.NDArray[np.int64]
    unsure: npt.NDArray[np.int64]


@cache
def available() -> bool:
    """Whether the library is there and fits. Logs a warning if not, once."""
    try:
        _library()
    except (OSError, AttributeError) as error:
        _log.warning(
            "the native scanner cannot be loaded, so that lines are read many times slower (%s); install a C compiler,"
            " such as gcc, and then this program again",
            error,
        )
        return False
    return True


class Scanner:
    """Scans lines of one version of a dataset. Several threads may use it at once.

    Args:
        version: the fields of the records.
        version_field: the field with the number of the version: only lines with the version's own are accepted.
        line_limit: bytes of a line, without its newline. A longer one is unsure.

    Raises InvariantError if the library is not `available`, MemoryError if there is no memory.
    """

    def __init__(self, version: SchemaVersion, version_field: Field, *, line_limit: int) -> None:
        if not available():
            raise InvariantError("the native scanner is not available")
        library = _library()
        fields = version.fields
        place = [field.json for field in fields].index(version_field.json)
        if fields[place].type != LONG:
            raise InvariantError("the field of the version is not a long")
        listed = (_Field * len(fields))(*map(_native, fields))
        self._types = [*(field.type for field in fields), MAP]
        self._schema = pa.schema([*((field.column, field.type.arrow) for field in fields), (EXTRA, MAP.arrow)])
        buffers = sum(_BUFFERS.get(type_, 2) for type_ in self._types) + 2
        self._new = partial(
            _Handle, library, buffers, listed, len(fields), place, version.number, line_limit, MAX_DEPTH
        )
        self._free: list[_Handle] = []  # those that no thread uses; `append` and `pop` are atomic

    def scan(self, data: bytes | pa.Buffer | memoryview) -> Scanned:
        """Scans whole lines, each with its newline, of `MOST_BYTES` at most. The result owns its memory."""
        source = pa.py_buffer(data)
        if source.size > MOST_BYTES or (source.size and source.slice(source.size - 1).to_pybytes() != b"\n"):
            raise ValueError(f"a scan takes whole lines, of {MOST_BYTES:,} bytes at most")
        try:
            handle = self._free.pop()
        except IndexError:
            handle = self._new()
        try:
            return self._result(handle, source)
        finally:
            self._free.append(handle)

    def _result(self, handle: _Handle, source: pa.Buffer) -> Scanned:
        memory = handle.scan(source)
        rows, unsure = handle.counts
        flat = list(handle.places)
        buffers = iter([memory.slice(flat[n], flat[n + 1]) if flat[n + 1] else None for n in range(0, len(flat), 2)])
        columns = [_array(type_, rows, buffers) for type_ in self._types]
        lines, triples = (np.frombuffer(each, np.int64) if each else _NONE for each in buffers)
        batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        return Scanned(batch, lines, triples.reshape(unsure, 3))


class _Handle:
    """A scanner of the library, and where it says what it has found. For one thread at a time."""

    def __init__(self, library: ctypes.CDLL, buffers: int, *settings: Any) -> None:
        self._library = library
        self._pointer = library.scanner_make(*settings)
        if not self._pointer:
            raise MemoryError
        self.counts = (ctypes.c_int64 * 2)()
        self.places = (ctypes.c_int64 * (2 * buffers))()

    def scan(self, source: pa.Buffer) -> pa.Buffer:
        """Scans the data. Returns the memory that `places` is about."""
        if not self._library.scanner_scan(self._pointer, source.address, source.size):
            raise MemoryError
        memory = pa.allocate_buffer(self._library.scanner_layout(self._pointer, self.counts, self.places))
        self._library.scanner_export(self._pointer, self.places, memory.address)
        return memory

    def __del__(self) -> None:
        self._library.scanner_free(self._pointer)


_NONE = np.zeros(0, np.int64)
_EMPTY = pa.py_buffer(b"")
_ENTRY = pa.struct([MAP.arrow.key_field, MAP.arrow.item_field])


def _array(type_: FieldType, rows: int, buffers: Iterator[pa.Buffer | None]) -> pa.Array:
    """The array of a column, of the next buffers."""
    valid, values = next(buffers), next(buffers) or _EMPTY
    if type_ == STRING:
        return pa.Array.from_buffers(type_.arrow, rows, [valid, values, next(buffers) or _EMPTY])
    if type_ != MAP:
        return pa.Array.from_buffers(type_.arrow, rows, [valid, values])
    starts = next(buffers)
    assert starts is not None  # offsets are one more than the values
    count = starts.size // 4 - 1
    keys = pa.Array.from_buffers(pa.string(), count, [None, starts, next(buffers) or _EMPTY])
    texts = [next(buffers), next(buffers), next(buffers) or _EMPTY]
    entries = [keys, pa.Array.from_buffers(pa.string(), count, texts)]
    entry = pa.Array.from_buffers(_ENTRY, count, [None], children=entries)
    return pa.Array.from_buffers(type_.arrow, rows, [valid, values], children=[entry])


def _native(field: Field) -> _Field:
    name = field.json.encode("utf-8", "surrogatepass")
    kind = _KINDS.index(None if field.type.digits else field.type)
    return _Field(kind, field.required, *(field.type.digits or (0, 0)), name, len(name))


def _library() -> ctypes.CDLL:
    """The library with the types of its functions. Raises what `native.load` raises."""
    library = native.load()
    library.scanner_make.restype = ctypes.c_void_p
    library.scanner_make.argtypes = [ctypes.POINTER(_Field), *[ctypes.c_int64] * 5]
    library.scanner_free.restype = None
    library.scanner_free.argtypes = [ctypes.c_void_p]
    library.scanner_scan.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    library.scanner_layout.restype = ctypes.c_int64
    library.scanner_layout.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.scanner_export.restype = None
    library.scanner_export.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return library

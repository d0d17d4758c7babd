"""Reads and writes Avro files of any schema: manifests and manifest lists, to change paths in them and nothing else.

PyIceberg's own writers know the fields of one format version, drop those of other writers, and assign sequence numbers
anew. Here a file is written again with its own schema, codec, header and blocks, so what is not changed stays as it is.

A record is a dict by field name. An optional value is the value or None. A map of Iceberg with keys that are no text is
a list of records with `key` and `value`, as in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from pyiceberg.avro.codecs import KNOWN_CODECS

from compactor.errors import CompactorError

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16


class _Kind(StrEnum):
    """Avro's own names of types."""

    NULL = "null"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BYTES = "bytes"
    STRING = "string"
    RECORD = "record"
    ARRAY = "array"
    MAP = "map"
    FIXED = "fixed"


_META = {"type": _Kind.MAP, "values": _Kind.BYTES}

Codec = tuple[Callable[[BytesIO], Any], Callable[[BytesIO, Any], None]]
"""How a value is read, and how it is written."""


@dataclass(frozen=True)
class AvroFile:
    """A whole file. `blocks` are lists of records, `meta` is the header."""

    meta: Mapping[str, bytes]
    sync: bytes
    blocks: list[list[dict[str, Any]]]

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records, to read or to change in place."""
        return [record for block in self.blocks for record in block]


def read(data: bytes) -> AvroFile:
    """Parses a file. Raises CompactorError where it is no whole Avro file, or of a kind that Iceberg does not write."""
    stream = BytesIO(data)
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise _damaged()
    meta = _codec(_META)[0](stream)
    sync = _take(stream, _SYNC_BYTES)
    read_record = _codec(json.loads(meta["avro.schema"]))[0]
    codec = _compression(meta)
    blocks = []
    while stream.tell() < len(data):
        count, content = _read_long(stream), _take(stream, _read_long(stream))
        block = BytesIO(codec.decompress(content) if codec else content)
        blocks.append([read_record(block) for _ in range(count)])
        if _take(stream, _SYNC_BYTES) != sync:
            raise _damaged()
    return AvroFile(meta, sync, blocks)


def write(file: AvroFile) -> bytes:
    """The bytes of a file."""
    stream = BytesIO()
    stream.write(_MAGIC)
    _codec(_META)[1](stream, file.meta)
    stream.write(file.sync)
    write_record = _codec(json.loads(file.meta["avro.schema"]))[1]
    codec = _compression(file.meta)
    for records in file.blocks:
        block = BytesIO()
        for record in records:
            write_record(block, record)
        content = block.getvalue()
        if codec:
            content, _ = codec.compress(content)
        _write_long(stream, len(records))
        _write_long(stream, len(content))
        stream.write(content)
        stream.write(file.sync)
    return stream.getvalue()


def _compression(meta: Mapping[str, bytes]) -> Any:
    name = meta.get("avro.codec", b"null").decode()
    if name not in KNOWN_CODECS:
        raise CompactorError(
            f"an Avro file is compressed by '{name}', which is not supported; let an engine rewrite it"
        )
    return KNOWN_CODECS[name]


def _damaged() -> CompactorError:
    return CompactorError("an Avro file is damaged; restore it from a backup")


def _codec(schema: Any, known: dict[str, Codec] | None = None) -> Codec:
    """How a value of an Avro schema is read and written. `known` are the types that the schema has named so far."""
    known = {} if known is None else known
    if isinstance(schema, list):
        return _optional(schema, known)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _codec(kind, known)
    match kind:
        case _Kind.RECORD:
            found = _record(schema, known)
        case _Kind.ARRAY:
            return _array(_codec(schema["items"], known))
        case _Kind.MAP:
            return _map(_codec(schema["values"], known))
        case _Kind.FIXED:
            found = _fixed(schema["size"])
        case _ if kind in _PRIMITIVE:
            return _PRIMITIVE[kind]
        case _ if kind in known:
            return known[kind]
        case _:
            raise CompactorError(f"an Avro file has values of the type '{kind}', so it is no manifest of Iceberg")
    known[schema["name"]] = found
    return found


def _optional(schema: list[Any], known: dict[str, Codec]) -> Codec:
    if len(schema) != 2 or _Kind.NULL not in schema:
        raise CompactorError("an Avro file has values of several types in one field, so it is no manifest of Iceberg")
    null = schema.index(_Kind.NULL)
    read_value, write_value = _codec(schema[1 - null], known)

    def read_optional(stream: BytesIO) -> Any:
        return None if _read_long(stream) == null else read_value(stream)

    def write_optional(stream: BytesIO, value: Any) -> None:
        _write_long(stream, null if value is None else 1 - null)
        if value is not None:
            write_value(stream, value)

    return read_optional, write_optional


def _record(schema: dict[str, Any], known: dict[str, Codec]) -> Codec:
    fields = [(field["name"], *_codec(field["type"], known)) for field in schema["fields"]]

    def read_record(stream: BytesIO) -> dict[str, Any]:
        return {name: read_field(stream) for name, read_field, _ in fields}

    def write_record(stream: BytesIO, record: Mapping[str, Any]) -> None:
        for name, _, write_field in fields:
            write_field(stream, record[name])

    return read_record, write_record


def _array(item: Codec) -> Codec:
    read_item, write_item = item

    def read_array(stream: BytesIO) -> list[Any]:
        items: list[Any] = []
        while count := _read_long(stream):
            if count < 0:
                _read_long(stream)  # the size of the part in bytes
            items += [read_item(stream) for _ in range(abs(count))]
        return items

    def write_array(stream: BytesIO, items: list[Any]) -> None:
        if items:
            _write_long(stream, len(items))
            for each in items:
                write_item(stream, each)
        _write_long(stream, 0)

    return read_array, write_array


def _map(value: Codec) -> Codec:
    read_value, write_value = value

    def write_item(stream: BytesIO, item: tuple[str, Any]) -> None:
        _write_text(stream, item[0])
        write_value(stream, item[1])

    read_items, write_items = _array((lambda stream: (_read_text(stream), read_value(stream)), write_item))
    return lambda stream: dict(read_items(stream)), lambda stream, values: write_items(stream, list(values.items()))


def _fixed(size: int) -> Codec:
    return lambda stream: _take(stream, size), _put


def _put(stream: BytesIO, data: bytes) -> None:
    stream.write(data)


def _take(stream: BytesIO, size: int) -> bytes:
    data = stream.read(size) if size >= 0 else b""
    if len(data) != size:
        raise _damaged()
    return data


def _read_long(stream: BytesIO) -> int:
    """A zigzag varint of 64 bits."""
    value = shift = 0
    while True:
        (byte,) = _take(stream, 1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7


def _write_long(stream: BytesIO, value: int) -> None:
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        stream.write(bytes([value & 0x7F | 0x80]))
        value >>= 7
    stream.write(bytes([value]))


def _read_bytes(stream: BytesIO) -> bytes:
    return _take(stream, _read_long(stream))


def _write_bytes(stream: BytesIO, data: bytes) -> None:
    _write_long(stream, len(data))
    stream.write(data)


def _read_text(stream: BytesIO) -> str:
    return _read_bytes(stream).decode()


def _write_text(stream: BytesIO, text: str) -> None:
    _write_bytes(stream, text.encode())


def _write_boolean(stream: BytesIO, value: bool) -> None:  # noqa: FBT001  as all writers
    stream.write(bytes([value]))


_PRIMITIVE: dict[str, Codec] = {
    _Kind.NULL: (lambda _stream: None, lambda _stream, _value: None),
    _Kind.BOOLEAN: (lambda stream: _take(stream, 1) != b"\0", _write_boolean),
    _Kind.INT: (_read_long, _write_long),
    _Kind.LONG: (_read_long, _write_long),
    _Kind.FLOAT: _fixed(4),
    _Kind.DOUBLE: _fixed(8),
    _Kind.BYTES: (_read_bytes, _write_bytes),
    _Kind.STRING: (_read_text, _write_text),
}

"""Rows of Arrow data taken by their numbers, from many small batches and without joining these.

Arrow itself takes from many chunks of most types. Of maps it first makes one chunk, which copies all of them each time.
So the entries of maps are taken here: their keys and values are columns of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Maps:
    """A column of maps: of each row its first entry, how many it has (-1: NULL), and the entries of all."""

    first: Numbers
    length: Numbers
    keys: pa.ChunkedArray
    items: pa.ChunkedArray
    type: pa.DataType

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Maps:
        first, length, keys, items = [], [], [], []
        before = 0
        for chunk in column.chunks:
            offsets = chunk.offsets.to_numpy().astype(np.int64)
            start, end = int(offsets[0]), int(offsets[-1])
            first.append(offsets[:-1] + (before - start))
            length.append(np.diff(offsets))
            if chunk.null_count:
                length[-1][~chunk.is_valid().to_numpy(zero_copy_only=False)] = -1
            keys.append(chunk.keys.slice(start, end - start))
            items.append(chunk.items.slice(start, end - start))
            before += end - start
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *first]),
            np.concatenate([none, *length]),
            pa.chunked_array(keys, column.type.key_type),
            pa.chunked_array(items, column.type.item_type),
            column.type,
        )

    def take(self, numbers: Numbers) -> pa.Array:
        length = self.length[numbers]
        is_null = length < 0
        length = np.maximum(length, 0)
        ends = np.cumsum(length)
        offsets = np.concatenate([np.zeros(1, np.int64), ends])
        # Of each entry its number: that of the row's first one, and its place in the row.
        entries = pa.array(np.repeat(self.first[numbers] - offsets[:-1], length) + np.arange(offsets[-1]))
        return pa.MapArray.from_arrays(
            pa.array(offsets.astype(np.int32)),
            self.keys.take(entries).combine_chunks(),
            self.items.take(entries).combine_chunks(),
            type=self.type,
            mask=pa.array(is_null) if is_null.any() else None,
        )

    @classmethod
    def joined(cls, maps: Sequence[_Maps]) -> _Maps:
        before = np.cumsum([0, *(len(each.keys) for each in maps)])
        return cls(
            np.concatenate([each.first + size for each, size in zip(maps, before, strict=False)]),
            np.concatenate([each.length for each in maps]),
            pa.chunked_array([chunk for each in maps for chunk in each.keys.chunks], maps[0].keys.type),
            pa.chunked_array([chunk for each in maps for chunk in each.items.chunks], maps[0].items.type),
            maps[0].type,
        )


class Taking:
    """Rows to take from.

    Attributes:
        schema: of the rows.
        num_rows: how many there are.
    """

    def __init__(self, table: pa.Table) -> None:
        """Copies no texts."""
        self.schema, self.num_rows = table.schema, table.num_rows
        names = [field.name for field in table.schema if _is_map_of_texts(field.type)]
        self._maps = {name: _Maps.of(table.column(name)) for name in names}
        self._others = table.drop_columns(names)

    @classmethod
    def joined(cls, parts: Sequence[Taking]) -> Taking:
        """The rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        found = cls.__new__(cls)
        found.schema, found.num_rows = parts[0].schema, sum(part.num_rows for part in parts)
        found._maps = {name: _Maps.joined([part._maps[name] for part in parts]) for name in parts[0]._maps}
        found._others = pa.concat_tables([part._others for part in parts])
        return found

    def take(self, numbers: Numbers) -> pa.Table:
        """Rows by their numbers, in this order."""
        others = self._others.take(pa.array(numbers))
        columns = [
            self._maps[name].take(numbers) if name in self._maps else others.column(name) for name in self.schema.names
        ]
        return pa.table(columns, schema=self.schema)


def _is_map_of_texts(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind) and all(pa.types.is_string(each) for each in (kind.key_type, kind.item_type))

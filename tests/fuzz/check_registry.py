"""Any registry or config file is refused with sentences, or serves: for tables, for decoding, for a plan."""

from __future__ import annotations

import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest import mock

import pyarrow as pa
from pyiceberg.table.metadata import new_table_metadata

from compactor import config
from compactor.decode import gunzip
from compactor.decode.batch_reader import Sums
from compactor.duck.relations import Relations
from compactor.engines.collected import collect, register_files
from compactor.engines.sorted_rows import Rewriting, bucket_function, gathered, ordered
from compactor.errors import UsageError
from compactor.lake import layout as layout_of
from compactor.lake.table import Table
from compactor.merge.current import decide_current
from compactor.merge.history import decide_history
from compactor.merge.rows import Rows
from compactor.registry import loader
from compactor.registry.dataset import Dataset, TableLayout
from compactor.types.field_type import TIMESTAMP
from tests.fuzz import registry
from tests.fuzz.batch import Batch, Fault
from tests.fuzz.check_lines import THINGS, decoded, decoded_chunks, session
from tests.fuzz.lines import record
from tests.support.outcomes import by_exact_path, shown


def make(chance: Random) -> Batch:
    kind = chance.choice(["schema", "schema", "schema", "config"])
    make = registry.schema if kind == "schema" else registry.config
    return Batch("registry", tuple(make(chance) for _ in range(chance.choice([1, 10, 20]))), {"kind": kind})


def faults(batch: Batch) -> Iterator[Fault]:
    for number, text in enumerate(batch.inputs):
        with tempfile.TemporaryDirectory() as folder:
            try:
                if batch.settings["kind"] == "config":
                    _use_config(Path(folder), text)
                else:
                    _use_schema(Path(folder), text)
            except UsageError as error:
                if not str(error).strip() or any(len(each) < 10 for each in str(error).split("\n") if each):
                    yield Fault("registry: an error without a sentence", repr(str(error)), number)


def _use_config(folder: Path, text: bytes) -> None:
    """Loads a config and uses what it says."""
    file = folder / "config.yaml"
    file.write_bytes(text)
    found = config.load(file)
    found.catalog_properties()
    next(
        gunzip.whole_lines(
            io.BytesIO(gzip.compress(b"x\n")),
            "key",
            line_limit=int(found.limits.line_bytes),
            file_limit=int(found.limits.file_bytes),
        ),
        None,
    )
    loader.load(found.schemas)


def _use_schema(folder: Path, text: bytes) -> None:
    """Loads a registry of one file, and takes lines of its dataset as far as the files of its tables."""
    name = re.search(rb"^dataset: *([a-z][a-z0-9_]{0,99})", text, re.MULTILINE)
    (folder / f"{name[1].decode() if name else THINGS}.yaml").write_bytes(text)
    for dataset in loader.load(folder).datasets.values():
        _make_tables(dataset)
        chance = Random(zlib.crc32(text))
        lines = [record(chance, dataset, ['"unknown"', '"ok"']).replace(b"\n", b"") for _ in range(8)]
        batch = Batch("lines", tuple(lines))
        found = decoded(session(), dataset, batch)
        with Relations(session()) as relations:
            _plan(relations, dataset, batch, {row["id"] for row, _ in found.values() if isinstance(row, dict)})
        for number, line in enumerate(lines):
            got, expected = shown(found.get(number, (None, None))[0]), shown(by_exact_path(dataset, line))
            if got != expected:
                raise AssertionError(f"{line!r}\nbecame {got!r}\nis expected as {expected!r}")


def _make_tables(dataset: Dataset) -> None:
    layouts = [(dataset.history, ("id",)), (dataset.current, dataset.key)]
    for layout, identifier in layouts:
        if layout is not None:
            schema = layout_of.iceberg_schema(dataset.table_columns, identifier)
            spec, order = layout_of.partition_spec(schema, layout), layout_of.sort_order(schema, layout)
            new_table_metadata(schema, spec, order, "file:///nowhere", {"format-version": "2"})


def _plan(relations: Relations, dataset: Dataset, batch: Batch, ids: set[str]) -> None:
    """Plans decoded records into empty tables, and reads what would be written."""
    files = register_files(relations, [("a-key", "an-etag", 1)])
    chunks = decoded_chunks(relations.con, dataset, batch)
    records = collect(relations, dataset, files, chunks, Sums(), memory=1 << 20).records
    none = [
        ("id", pa.string()),
        ("emitted_at", TIMESTAMP.arrow_stored),
        ("__file", pa.int32()),
        ("__place", pa.int64()),
    ]
    empty = pa.schema(none).empty_table()
    taken = decide_history(relations, dataset, records, empty.to_reader(), lambda _: empty.to_reader())
    _written(relations, dataset, dataset.history, taken.fresh, ids)
    if dataset.current is None:
        return
    kinds = {column: kind for column, kind, _ in dataset.columns}
    columns = dict.fromkeys([*dataset.key, dataset.order, "id"])
    held = pa.schema([*((name, kinds[name].arrow_stored) for name in columns), ("__file", pa.int32())]).empty_table()
    decision = decide_current(relations, dataset, taken.fresh.keys, held.to_reader(), None)
    chosen = relations.table("chosen", f"SELECT * FROM {taken.fresh.keys} SEMI JOIN {decision.inserted} USING (id)")
    _written(relations, dataset, dataset.current, Rows(taken.fresh.store, chosen), None)


def _written(relations: Relations, dataset: Dataset, layout: TableLayout, rows: Rows, ids: set[str] | None) -> None:
    with bucket_function(relations.con, dataset, _table(dataset, layout), layout) as bucket:
        order = ordered(relations, Rewriting(layout, rows), _table(dataset, layout), bucket, 1024)
        written = [batch.column("id") for batch in gathered(order.places, rows.store.taking, {})]
    found = [each for column in written for each in column.to_pylist()]
    if ids is not None and (len(found) != len(ids) or set(found) != ids):
        raise AssertionError(f"{len(ids)} ids became {len(found)} rows")


def _table(dataset: Dataset, layout: TableLayout) -> Table:
    """A table of this layout, as far as a partition needs one."""
    schema = layout_of.iceberg_schema(dataset.table_columns, ())
    spec, order = layout_of.partition_spec(schema, layout), layout_of.sort_order(schema, layout)
    metadata = new_table_metadata(schema, spec, order, "file:///nowhere")
    catalog = mock.Mock(properties={}, **{"load_table.return_value.schema.return_value": metadata.schema()})
    return Table(catalog, "fuzzed.things")

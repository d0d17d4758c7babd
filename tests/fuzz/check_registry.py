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

import duckdb
import pyarrow as pa
from pyiceberg.table.metadata import new_table_metadata

from compactor import config
from compactor.decode import batch_reader, gunzip
from compactor.decode.lines import chunk_of
from compactor.duck.sql import quote
from compactor.engines import local
from compactor.errors import UsageError
from compactor.lake import layout as layout_of
from compactor.lake.table import Table
from compactor.merge.columns import rows_to_write
from compactor.merge.current import current_source, plan_current
from compactor.merge.history import plan_history
from compactor.registry import loader
from compactor.registry.dataset import Dataset, TableLayout
from tests.fuzz import registry
from tests.fuzz.batch import Batch, Fault
from tests.fuzz.check_lines import THINGS, decoded, session
from tests.fuzz.lines import record
from tests.support.outcomes import by_the_letter, shown


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
    chunk_of([(0, 1, b"{}\n")], int(found.limits.line_bytes))
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
        found = decoded(session(), dataset, Batch("lines", tuple(lines)))
        for number, line in enumerate(lines):
            got, due = shown(found.get(number, (None, None))[0]), shown(by_the_letter(dataset, line))
            if got != due:
                raise AssertionError(f"{line!r}\nbecame {got!r}\nis due as {due!r}")
        _plan(session(), dataset, {row["id"] for row, _ in found.values() if isinstance(row, dict)})


def _make_tables(dataset: Dataset) -> None:
    layouts = [(dataset.history, ("id",)), (dataset.current, dataset.key)]
    for layout, identifier in layouts:
        if layout is not None:
            schema = layout_of.iceberg_schema(dataset.table_columns, identifier)
            spec, order = layout_of.partition_spec(schema, layout), layout_of.sort_order(schema, layout)
            new_table_metadata(schema, spec, order, "file:///nowhere", {"format-version": "2"})


def _plan(con: duckdb.DuckDBPyConnection, dataset: Dataset, ids: set[str]) -> None:
    """Plans the staged rows into empty tables, and reads what would be written."""
    con.execute("DROP TABLE IF EXISTS files CASCADE; DROP TYPE IF EXISTS object_key")
    batch_reader.register_files(con, [("a-key", "an-etag", 1)])
    none = pa.schema([("id", pa.string()), ("emitted_at", pa.timestamp("us", "UTC")), ("_file", pa.int32())])
    plan_history(con, dataset, none.empty_table().to_reader(), lambda _: none.empty_table().to_reader())
    _written(con, dataset, dataset.history, "fresh", ids)
    if dataset.current is None:
        return
    kinds = {column: kind for column, kind, _ in dataset.columns}
    held = con.execute(
        f"SELECT {', '.join(quote(name) for name in dict.fromkeys([*dataset.key, dataset.order, 'id']))},"
        " 0::INTEGER AS _file FROM fresh WHERE false"
    ).to_arrow_table()
    if kinds[dataset.order] == "timestamp":
        held = held.set_column(
            held.schema.get_field_index(dataset.order),
            dataset.order,
            held[dataset.order].cast(pa.timestamp("us", "UTC")),
        )
    plan_current(con, dataset, held.to_reader(), None)
    _written(con, dataset, dataset.current, current_source(dataset, rewritten=False), None)


def _written(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, layout: TableLayout, source: str, ids: set[str] | None
) -> None:
    if layout.partition.transform == "bucket":
        local._register_bucket(con, dataset, _table(dataset, layout), layout)
    rows = con.execute(rows_to_write(dataset, layout, source)).to_arrow_table()
    if ids is not None and (len(rows) != len(ids) or set(rows["id"].to_pylist()) != ids):
        raise AssertionError(f"{len(ids)} ids became {len(rows)} rows")


def _table(dataset: Dataset, layout: TableLayout) -> Table:
    """A table of this layout, as far as a partition needs one."""
    schema = layout_of.iceberg_schema(dataset.table_columns, ())
    spec, order = layout_of.partition_spec(schema, layout), layout_of.sort_order(schema, layout)
    table = Table.__new__(Table)
    table._iceberg = mock.Mock(
        **{"schema.return_value": new_table_metadata(schema, spec, order, "file:///nowhere").schema()}
    )
    return table

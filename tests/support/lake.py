"""A small lakehouse for tests: a folder as the source, the embedded catalog, and its tables read back as dicts.

Rows come back as the model has them, lineage apart, so that `==` is the whole comparison.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog, load_catalog

from compactor import config
from compactor.commands.compact import compact
from compactor.config import Config
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.progress import NullProgress
from compactor.registry import loader
from compactor.reports.report import RunReport
from tests.support.model import Model, Row

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "configs" / "schemas"
KEYS = {
    "fan_profiles": ("rover_id",),
    "fan_identity_graph": ("identifier_type", "identifier_value"),
    "fan_profile_merges": ("from_rover_id",),
}


class Lake:
    """A source folder and a warehouse below `folder`, and a model that is given the same."""

    def __init__(self, folder: Path, *, settings: str = "", schemas: Path = SCHEMAS) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)
        self.file = folder / "config.yaml"
        self.file.write_text(
            f"source: {{url: {self.source}}}\nwarehouse: {folder / 'warehouse'}\nschemas: {schemas}\n"
            # Tests that let runs meet mean it; those of the lease say so.
            f"if_running: ignore\n{settings}"
        )
        self.registry = loader.load(schemas)
        self.model = Model()

    @property
    def config(self) -> Config:
        return config.load(self.file)

    def deliver(
        self,
        dataset: str,
        lines: Sequence[bytes],
        *,
        hour: str = "2026-11-01T05",
        part: str = "a",
        raw: bytes | None = None,
    ) -> str:
        """Writes an object of these lines (or of the compressed bytes `raw`) and gives the lines to the model."""
        key = self.deliver_unmodelled(dataset, lines, hour=hour, part=part, raw=raw)
        if raw is None:
            data = (self.source / key).read_bytes()
            self.model.deliver(dataset, key, hashlib.md5(data).hexdigest(), list(lines))
        return key

    def deliver_unmodelled(
        self,
        dataset: str,
        lines: Sequence[bytes],
        *,
        hour: str = "2026-11-01T05",
        part: str = "a",
        raw: bytes | None = None,
    ) -> str:
        """Writes an object that the model need not know of. Returns its key."""
        date, number = hour.split("T")
        stamp = f"{date.replace('-', '')}T{number}0000Z"
        key = f"exports/{dataset}/date={date}/hour={number}/{dataset}-{stamp}-part-{part}.ndjson.gz"
        path = self.source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving = self.folder / "arriving"
        arriving.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0) if raw is None else raw)
        arriving.rename(path)  # whole, as in a bucket: a run may be looking
        return key

    def copy_in(self, path: Path, root: Path) -> None:
        """Delivers an object that lies below another source's folder."""
        key = path.relative_to(root).as_posix()
        (self.source / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.source / key)
        data = path.read_bytes()
        self.model.deliver(key.split("/")[1], key, hashlib.md5(data).hexdigest(), gzip.decompress(data).split(b"\n"))

    def compact(self, **options: Any) -> RunReport:
        return compact(self.config, self.registry, progress=NullProgress(), **options)

    @property
    def tables(self) -> Lakehouse:
        return Lakehouse(self.config)

    @property
    def catalog(self) -> Catalog:
        """The catalog as PyIceberg opens it, for what other engines do."""
        return load_catalog(self.config.catalog.name, **self.config.catalog_properties())

    def rows(self, table: str) -> list[Row]:
        """All rows of a table, lineage columns apart."""
        if not self.tables.exists(table):
            return []
        loaded = self.tables.table(table)
        reader = loaded.scan(loaded.schema.names).batches
        return [_plain(row) for batch in reader for row in batch.to_pylist()]

    @property
    def record_tables(self) -> list[str]:
        names = [name for dataset in self.registry.datasets.values() for name in (dataset.history_table, dataset.name)]
        return sorted(set(names))

    def history(self, dataset: str) -> dict[str, Row]:
        found = self.rows(self.registry.get(dataset).history_table)
        assert len({row["id"] for row in found}) == len(found), "a duplicate id in the history"
        return {row["id"]: row for row in found}

    def current(self, dataset: str) -> dict[tuple[str, ...], Row]:
        found = self.rows(dataset)
        rows = {tuple(row[name] for name in KEYS[dataset]): row for row in found}
        assert len(rows) == len(found), "a duplicate key in the current table"
        return rows

    def ledger(self) -> list[Row]:
        return self.rows(FILES)

    def quarantine(self) -> list[Row]:
        return self.rows(QUARANTINE)

    def assert_equals_model(self, datasets: Sequence[str]) -> None:
        """Tables, sums and quarantine are what the model says."""
        ledger, quarantine = self.ledger(), self.quarantine()
        for row in ledger:
            assert row["lines"] == row["new"] + row["duplicates"] + row["quarantined"], row
        assert len({(row["dataset"], row["key"], row["etag"]) for row in ledger}) == len(ledger)
        for dataset in datasets:
            _assert_same(self.history(dataset), self.model.history(dataset), f"{dataset}, history")
            if dataset in KEYS:
                _assert_same(self.current(dataset), self.model.current(dataset), f"{dataset}, current")
            mine = [row for row in ledger if row["dataset"] == dataset]
            assert sum(row["new"] for row in mine) == self.model.new_total(dataset)
            assert sum(row["lines"] for row in mine) == sum(n for n, _ in self.model.ledger(dataset).values())
            found = sorted(
                (row["source_file"], row["source_line"], row["reason"])
                for row in quarantine
                if row["dataset"] == dataset
            )
            assert found == sorted(self.model.quarantine(dataset))

    def data_files(self) -> set[str]:
        """All files below the tables' data folders."""
        return {str(path) for path in (self.folder / "warehouse").rglob("*.parquet") if "/data/" in str(path)}


def _assert_same(found: Mapping[Any, Row], expected: Mapping[Any, Row], what: str) -> None:
    differing = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    shown = [f"{key}\n  found    {found.get(key)}\n  expected {expected.get(key)}" for key in differing[:3]]
    assert not differing, f"{what}: {len(differing)} rows differ\n" + "\n".join(shown)


def _plain(row: dict[str, Any]) -> Row:
    plain = {}
    for name, value in row.items():
        if name in ("source_file", "source_line") and "reason" not in row:
            continue
        plain[name] = dict(value) if isinstance(value, list) else value
    return plain

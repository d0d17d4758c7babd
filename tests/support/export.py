"""A source folder for `infer`, filled record by record."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compactor.cli.main import program
from compactor.registry import loader
from compactor.registry.dataset import Dataset

EMAIL, TRAIT, PHONE = "planted.person@example.com", "planted-trait-value", "+999000111222"


Record = Mapping[str, Any]


class Export:
    """A source folder, and a config beside it that has no schemas yet."""

    def __init__(self, folder: Path, schemas: Path | None = None) -> None:
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)
        self.drafts = folder / "drafts"
        self.config = folder / "config.yaml"
        self.config.write_text(
            f"source: {{url: {self.source}}}\nwarehouse: {folder / 'warehouse'}\n"
            f"schemas: {schemas or folder / 'schemas'}\n"
        )

    def deliver(self, dataset: str, records: Iterable[Record | bytes], *, hour: str = "05", part: str = "a") -> Path:
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        folder = self.source / f"exports/{dataset}/date=2026-11-01/hour={hour}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{dataset}-20261101T{hour}0000Z-part-{part}.ndjson.gz"
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
        return path

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(program, ["-c", str(self.config), "infer", *words])

    def text(self, dataset: str, *words: str) -> str:
        result = self.run("--dataset", dataset, *words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def inferred(self) -> Mapping[str, Dataset]:
        """What all datasets are, by the files that infer wrote."""
        result = self.run("--out", str(self.drafts))
        assert result.exit_code == 0, result.output
        return loader.load(self.drafts).datasets

    def findings(self, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
        """Exit code and (dataset, what, detail) of each finding of `--check`."""
        result = self.run("--check", "--json", *words)
        found = json.loads(result.stdout)["findings"]
        return result.exit_code, [(each["dataset"], each["what"], each["detail"]) for each in found if not each["fits"]]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def moment(number: int) -> str:
    return f"2026-11-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"


def plain(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "version": 1, "emittedAt": moment(number), **fields}

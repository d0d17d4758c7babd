"""What the user has for PyIceberg itself does not act here, and a mistake in the own config names the own file."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pyiceberg
import pytest

from compactor import config
from compactor.errors import UsageError
from compactor.lake import library
from compactor.lake.catalog import Lakehouse
from tests.support.lake import ROOT, Lake
from tests.support.versioned_fans import FANS, fan

OF_USER = """\
catalog:
  rover:
    type: sql
    uri: sqlite:///{elsewhere}/catalog.db
    warehouse: file://{elsewhere}
    py-io-impl: no.such.Thing
  prod:
    type: sql
    uri: sqlite:///{elsewhere}/prod.db
max-workers: many
legacy-current-snapshot-id: maybe
downcast-ns-timestamp-to-us-on-write: sometimes
manifest-cache-size: much
"""
VARIABLES = {
    "PYICEBERG_CATALOG__ROVER__URI": "sqlite:////nowhere/catalog.db",
    "PYICEBERG_CATALOG__ROVER__WAREHOUSE": "file:///nowhere",
    "PYICEBERG_CATALOG__ROVER__PY_CATALOG_IMPL": "no.such.Catalog",
    "PYICEBERG_MAX_WORKERS": "many",
    "PYICEBERG_LEGACY_CURRENT_SNAPSHOT_ID": "maybe",
}


def things(folder: Path) -> Lake:
    schemas = folder / "schemas"
    schemas.mkdir()
    (schemas / "things.yaml").write_text(FANS, encoding="utf-8")
    lake = Lake(folder / "lake", schemas=schemas)
    lake.deliver_unmodelled("things", [fan(1), fan(2)])
    return lake


def run(cwd: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYICEBERG")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "place", ["HOME", *(pytest.param(each, marks=pytest.mark.soak) for each in ("PYICEBERG_HOME", "cwd"))]
)
def test_a_file_of_pyiceberg_and_its_variables_change_nothing(tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = "catalog: [\t{" if place == "HOME" else OF_USER.format(elsewhere=elsewhere)
    (elsewhere / ".pyiceberg.yaml").write_text(text, encoding="utf-8")
    lake = things(tmp_path)
    environment = {} if place == "cwd" else {place: str(elsewhere), **VARIABLES}
    command = ("-m", "compactor", "-c", str(lake.file), "compact")
    ended = run(elsewhere if place == "cwd" else tmp_path, *command, **{"HOME": str(tmp_path), **environment})
    assert ended.returncode == 0, ended.stderr
    assert len(lake.rows("things")) == 2
    assert [path.name for path in elsewhere.iterdir()] == [".pyiceberg.yaml"]


@pytest.mark.soak
def test_a_program_that_imports_this_one_keeps_the_catalogs_of_its_user(tmp_path: Path) -> None:
    (tmp_path / ".pyiceberg.yaml").write_text(OF_USER.format(elsewhere=tmp_path), encoding="utf-8")
    program = (
        "import compactor.lake.catalog\nfrom pyiceberg.catalog import load_catalog\n"
        "print(load_catalog('prod').properties['uri'])"
    )
    ended = run(tmp_path, "-c", program, HOME=str(tmp_path))
    assert ended.stdout == f"sqlite:///{tmp_path}/prod.db\n", ended.stderr


def test_each_module_of_pyiceberg_that_asks_for_settings_is_known() -> None:
    """Of those that this program uses: BigQuery's catalog is none of them."""
    root = Path(str(pyiceberg.__file__)).parent
    asking = {
        ".".join(("pyiceberg", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if "from pyiceberg.utils.config import Config" in path.read_text(encoding="utf-8")
    }
    assert asking == {*library.ASKING, "pyiceberg.catalog.bigquery_metastore"}
    for name in library.ASKING:
        assert importlib.import_module(name).Config is library.NoSettings


@pytest.mark.parametrize(
    ("properties", "wrong"),
    [
        ("type: sqll, uri: 'sqlite:////tmp/x.db'", "'sqll' is no type of catalog"),
        ("type: sql, warehouse: /tmp/x", "'uri' is missing"),
        ("warehouse: /tmp/x", "'uri' is missing"),
        ("uri: 'oracle://secret@host'", "'type' is missing, and the 'uri' does not show it"),
        ("type: glue, py-catalog-impl: a.B", "'type' and 'py-catalog-impl' exclude each other"),
    ],
)
def test_a_mistake_in_the_properties_names_the_config_file(tmp_path: Path, properties: str, wrong: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"source: {{url: {tmp_path}}}\ncatalog:\n  properties: {{{properties}}}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"^{file}: cannot open the catalog 'rover': {wrong}") as caught:
        Lakehouse(config.load(file))
    assert "secret" not in str(caught.value)

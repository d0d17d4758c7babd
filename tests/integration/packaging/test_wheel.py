"""The wheel: what it carries, and that it works in an environment and a folder without a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import compactor
from tests.support.lake import ROOT, Lake
from tests.support.packaging import built

CONFIGS = ROOT / "configs"


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(checkout, tmp_path_factory.mktemp("dist"), "wheel")


def test_the_wheel_carries_the_package_and_all_of_configs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}

    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compactor").rglob("*.py")}
    configs = {f"compactor/{path.relative_to(ROOT).as_posix()}" for path in CONFIGS.rglob("*") if path.is_file()}
    assert carried == modules | configs | {"compactor/py.typed", "compactor/_native.so"}
    assert sum(name.startswith("compactor/configs/schemas/") for name in carried) == 4


def test_the_wheel_says_what_the_project_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == compactor.__version__
    assert (metadata["License-Expression"], metadata["Author"]) == ("Apache-2.0", "The maintainers")
    assert metadata.get_all("Classifier") == sorted(project["classifiers"])
    assert len((ROOT / "LICENSE").read_bytes()) == 11_358  # the text of the Apache License 2.0, unchanged


def test_an_installed_wheel_starts_a_lake_loads_it_and_answers_queries(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own: only the dependencies are those of the environment that runs this test."""
    environment = tmp_path / "environment"
    apart = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMPACTOR_CONFIG")}
    venv.create(environment, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-index", "--no-deps", str(wheel)], env=apart, check=True, capture_output=True)
    # A path alone: the .pth file of an editable install in there is not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run(*words: str) -> str:
        result = subprocess.run(
            [str(environment / "bin" / words[0]), *words[1:]],
            cwd=folder,
            env=apart,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    place = run("python", "-c", "import compactor; print(compactor.__file__)").strip()
    assert Path(place).is_relative_to(environment)
    available = "from compactor.decode import scanner; print(scanner.available())"
    assert run("python", "-c", available).strip() == "True"
    assert run("compactor", "init").splitlines()[-1] == "  compactor -c compactor.yaml compact"
    record = {
        "id": "p1",
        "version": 1,
        "roverID": "fan-1",
        "updatedAt": "2026-11-01T05:00:00Z",
        "emittedAt": "2026-11-01T05:00:01Z",
        "operation": "upsert",
        "traits": {"team": "a"},
    }
    sample = Lake(tmp_path / "sample")
    sample.deliver_unmodelled("fan_profiles", [json.dumps(record).encode()])
    (folder / "data").mkdir()
    sample.source.rename(folder / "data" / "source")

    report = json.loads(run("compactor", "compact", "--json"))
    found = json.loads(run("compactor", "query", "--json", "select * from current_fans limit 5"))

    assert (report["exit_code"], report["version"]) == (0, compactor.__version__)
    assert [row["rover_id"] for row in found["rows"]] == ["fan-1"]

"""Wheels and source distributions, built from a copy of the checkout, in which the native scanner is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lake import ROOT

_PARTS = ("compactor", "configs", "docs", "native", *("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"))
_BUILD = ("constraints.txt", "hatch_build.py", "pyproject.toml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in (*_PARTS, *_BUILD):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(checkout: Path, folder: Path, target: str, **environment: str) -> Path:
    """Builds by the backend itself, without an isolated environment, so without a download."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=checkout, env={**os.environ, **environment}, check=True, capture_output=True)
    (result,) = folder.iterdir()
    return result


def requirements(checkout: Path, **environment: str) -> list[str]:
    """What the backend asks an installer for before it builds a wheel, beside itself."""
    command = [
        sys.executable,
        "-c",
        "import hatchling.build as it; print(*it.get_requires_for_build_wheel(), sep='\\n')",
    ]
    result = subprocess.run(
        command, cwd=checkout, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return result.stdout.split()

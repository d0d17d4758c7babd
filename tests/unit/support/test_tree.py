"""What holds for the test tree itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.lake import ROOT

MODULES = sorted((ROOT / "tests").rglob("*.py"))


def test_no_module_has_more_than_400_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_module_imports_from_a_test_module() -> None:
    """What test modules share is in tests/support, so that one can be moved or split without the others."""
    imports = re.compile(r"^(?:from|import) tests\.[\w.]*\btest_\w+", re.MULTILINE)
    assert [str(path) for path in MODULES if imports.search(path.read_text(encoding="utf-8"))] == []


def test_the_tests_of_the_engines_are_imported_without_what_make_engines_fetches(tmp_path: Path) -> None:
    """`make test` collects them. `workers` run in the environments of their engines, so they are not collected."""
    modules = [f"tests.engines.{path.stem}" for path in sorted((ROOT / "tests" / "engines").glob("*.py"))]
    assert len(modules) > 10
    environment = {
        **os.environ,
        "COMPACTOR_ENGINES": str(tmp_path),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")]),
    }
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    command = [sys.executable, "-c", code, *modules]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []

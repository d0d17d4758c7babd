"""The command line as a process: what it loads, and what a signal does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lake import ROOT

pytestmark = pytest.mark.usefixtures("logging_restored")


def test_help_loads_neither_arrow_nor_duckdb_nor_pyiceberg_nor_the_aws_sdk() -> None:
    code = (
        "import sys; from compactor.cli.main import program\n"
        "try: program.main(['compact', '--help'])\n"
        "except SystemExit: print(sorted({'pyarrow', 'duckdb', 'pyiceberg', 'boto3', 'rich', 'sqlglot'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_sigterm_stops_the_program_as_ctrl_c_does(tmp_path: Path) -> None:
    """A real process: the signal arrives while it waits for the statement on stdin."""
    code = (
        "import os, signal, sys, types\n"
        "query = types.ModuleType('compactor.commands.query'); query.query = None\n"
        "sys.modules['compactor.commands.query'] = query\n"
        "from compactor.cli import main as cli\n"
        "sys.stdin = types.SimpleNamespace(read=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "cli.run()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "query", "-"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip().startswith("stopped;")

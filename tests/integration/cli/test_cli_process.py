"""The command line as a process: what it loads, and what a signal does."""

from __future__ import annotations

import os
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


def test_the_completion_script_of_bash_completes_verbs_and_options(tmp_path: Path) -> None:
    """Evaluated by a real bash, with a `compactor` on its path."""
    command = tmp_path / "compactor"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m compactor "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_COMPACTOR_COMPLETE=bash_source compactor)"
        COMP_WORDS=(compactor ver) COMP_CWORD=1 COMPREPLY=()
        _compactor_completion compactor; echo "${COMPREPLY[@]}"
        COMP_WORDS=(compactor migrate apply --pl) COMP_CWORD=3 COMPREPLY=()
        _compactor_completion compactor; echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["verify", "--plan"]

"""The command line as a process: what it loads, and what a signal does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lake import ROOT, Lake

pytestmark = pytest.mark.usefixtures("logging_restored")


HEAVY = (
    "pyarrow",
    "numpy",
    "pandas",
    "duckdb",
    "pyiceberg",
    "sqlalchemy",
    "boto3",
    "pydantic",
    "yaml",
    "rich",
    "sqlglot",
)
"""What takes time to import, each alone more than all of `--help`."""


@pytest.mark.parametrize("words", [["--help"], ["compact", "--help"], ["verify", "--help"], ["--version"]])
def test_help_loads_no_library_but_that_of_the_command_line(words: list[str]) -> None:
    code = (
        "import sys; from compactor.cli.main import program\n"
        f"try: program.main({words})\n"
        f"except SystemExit: print(sorted({set(HEAVY)} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_run_without_news_loads_neither_a_decoder_nor_pandas_nor_what_shows_a_bar(tmp_path: Path) -> None:
    """A night's run on a lake in a folder, from a source whose objects are loaded."""
    lake = Lake(tmp_path)
    lake.deliver("fan_track_events", [])
    lake.compact()
    code = (
        "import os, sys; from compactor.cli import main\n"
        "gone = ('pandas', 'rich', 'boto3', 'sqlglot', 'pyspark', 'compactor.engines.local',"
        " 'compactor.decode.batch_reader', 'compactor.commands.drift.drift', 'compactor.evolution.plan')\n"
        "os._exit = lambda code: print(code, [name for name in gone if name in sys.modules])\n"
        "main.run()"
    )
    words = ["-c", str(lake.file), "compact", "--json"]
    result = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0 []"


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

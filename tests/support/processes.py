"""The command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.lake import ROOT, Lake


def start(
    lake: Lake, *arguments: str, kill_at: int | None = None, largest_file: int | None = None
) -> subprocess.Popen[str]:
    """Starts `compactor ARGUMENTS` on a lake.

    It is killed at its `kill_at`-th write (see fault_run), and no file that it writes may pass `largest_file` bytes.
    """
    program = (
        ["-m", "compactor"] if kill_at is None else [str(ROOT / "tests" / "support" / "fault_run.py"), str(kill_at)]
    )
    command = [sys.executable, *program, "-c", str(lake.file), *arguments]
    if largest_file is not None:
        command = ["bash", "-c", f'ulimit -f {largest_file // 1024}; exec "$@"', "bash", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

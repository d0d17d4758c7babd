"""A shell in a mount namespace of its own: disks of any size, without being root, that nobody else sees."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.lake import ROOT, Lake


@cache
def works() -> bool:
    """Whether this machine lets us make one. Some containers do not."""
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux" or not (works() or os.environ.get("CI")),
    reason="needs Linux with user namespaces (unshare -rm); wherever CI is set it runs, or fails",
)


class Namespace:
    """Runs commands one after another. `folder` is for its own files."""

    def __init__(self, folder: Path) -> None:
        self._output, self._errors = folder / "namespace-output", folder / "namespace-errors"
        self._shell = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "bash"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> tuple[int, str]:
        """The exit code of a command, and its stderr. One that takes two minutes hangs, and is killed."""
        assert self._shell.stdin
        assert self._shell.stdout
        command = shlex.join(["timeout", "-s", "KILL", "120", *map(str, words)])
        self._shell.stdin.write(f"{command} < /dev/null > {self._output} 2> {self._errors}; echo $?\n")
        self._shell.stdin.flush()
        return int(self._shell.stdout.readline()), self._errors.read_text()

    def must(self, *words: str | Path) -> str:
        """The stdout of a command that has to succeed."""
        code, errors = self.run(*words)
        assert code == 0, errors
        return self._output.read_text()

    def compactor(self, lake: Lake, *words: str) -> tuple[int, str]:
        return self.run(sys.executable, "-m", "compactor", "-c", lake.file, *words)

    def mount(self, folder: Path) -> None:
        """Puts a disk where `folder` is, with what is in it."""
        folder.mkdir(exist_ok=True)
        aside = folder.with_name(f"{folder.name}-aside")
        self.must("cp", "-a", folder, aside)
        self.must("mount", "-t", "tmpfs", "-o", "size=1g", "none", folder)
        self.must("cp", "-a", f"{aside}/.", folder)
        self.must("rm", "-r", aside)

    def give(self, folder: Path, kilobytes: int) -> None:
        """Lets the disk at `folder` have so much space left."""
        used = int(self.must("df", "--output=used", "-k", folder).split()[-1])
        self.must("mount", "-o", f"remount,rw,size={used + kilobytes}k", folder)

    def keep(self, folder: Path) -> None:
        """Copies what is on the disk to where everybody sees it."""
        aside = folder.with_name(f"{folder.name}-aside")
        self.must("cp", "-a", folder, aside)
        self.must("umount", folder)
        shutil.rmtree(folder)
        aside.rename(folder)

    def end(self) -> None:
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.close()
        self._shell.wait(timeout=60)
        self._shell.stdout.close()

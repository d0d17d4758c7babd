"""An engine in an environment of its own: a child process that answers one JSON object per line with another.

The child is one of the modules in `workers/`, which know nothing of this project.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engines.results import EngineError, Result
from tests.engines.workers.answers import dumps, loads

ROOT = Path(__file__).parents[2]


class Worker:
    """A running module of `workers/`; its standard error goes to `log`."""

    def __init__(self, python: Path, module: str, log: Path, *, environment: Mapping[str, str], setup: Any) -> None:
        self._log = log
        given = {**os.environ, "TZ": "UTC", **environment, "PYTHONPATH": str(ROOT)}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", f"tests.engines.workers.{module}", dumps(setup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={key: value for key, value in given.items() if value},
                cwd="/",  # chDB reads nothing outside its working directory
                text=True,
            )

    def call(self, **request: Any) -> Any:
        """The answer. Raises EngineError."""
        assert self._process.stdin
        assert self._process.stdout
        if self._process.poll() is None:
            self._process.stdin.write(dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the worker has ended:\n{self._log.read_text(errors='replace')[-5000:]}"
        answer = loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def ask(self, **request: Any) -> Result:
        answer = self.call(**request)
        return Result(answer["names"], answer["types"], [tuple(row) for row in answer["rows"]])

    def stop(self) -> None:
        self._process.communicate(timeout=60)  # closes its input, at which it ends

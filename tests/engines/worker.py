"""An engine in an environment of its own: a child process that answers a JSON object a line with another.

The child is one of the modules in `workers/`, which know nothing of this project. JSON knows neither times nor tuples:
see `workers/answers.py` for how values are written.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from engines.results import Result

TESTS = Path(__file__).parent.parent
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WorkerError(Exception):
    """The engine refused; the text is its own."""


class Worker:
    """A running script; its standard error goes to `log`."""

    def __init__(self, python: Path, script: str, log: Path, *, environment: Mapping[str, str], setup: Any) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", f"engines.workers.{script}", json.dumps(setup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**environment, "PYTHONPATH": str(TESTS)},
                text=True,
            )

    def call(self, **request: Any) -> Any:
        """The answer. Raises WorkerError."""
        assert self._process.stdin
        assert self._process.stdout
        if self._process.poll() is None:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the worker has ended:\n{self._log.read_text(errors='replace')[-5000:]}"
        answer = json.loads(line, object_hook=_value)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **request: Any) -> Result:
        answer = self.call(**request)
        return Result(answer["names"], answer["types"], [tuple(row) for row in answer["rows"]])

    def stop(self) -> None:
        self._process.communicate(timeout=60)  # closes its input, at which it ends


def _value(found: dict[str, Any]) -> Any:
    if found.keys() == {"$timestamp"}:
        return EPOCH + timedelta(microseconds=found["$timestamp"])
    if found.keys() == {"$map"}:
        return dict(found["$map"])
    if found.keys() == {"$decimal"}:
        return Decimal(found["$decimal"])
    if found.keys() == {"$date"}:
        return date.fromisoformat(found["$date"])
    return found

"""How a worker speaks: a JSON object a line on what was its standard output; anything else printed goes to the log.

A time is {"$timestamp": microseconds since 1970, UTC}, a map {"$map": [[key, value], ...]}, a decimal
{"$decimal": text}, a date {"$date": text}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def serve(handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answers until the input ends. What `handle` raises is an answer too. `sys.stdout` is the log from here on."""
    with answers() as out:
        for line in sys.stdin:
            try:
                answer = handle(json.loads(line))
            except Exception as error:  # whatever an engine raises, the test judges
                answer = {"error": f"{type(error).__name__}: {error}"}
            out.write(json.dumps(answer) + "\n")
            out.flush()


def answers() -> Any:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def plain(value: Any) -> Any:
    """A value as JSON has it. A naive time is taken for UTC, which the workers' zone is."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return {"$timestamp": (aware - EPOCH) // timedelta(microseconds=1)}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, dict):
        return {"$map": [[plain(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value

"""How a worker and its test speak: one JSON object per line, each way. Only the standard library is needed here.

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
    """Answers until the input ends. What `handle` raises is an answer too.

    What anything else prints goes to the log, which standard output is from here on: for children, too.
    """
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        for line in sys.stdin:
            try:
                answer = handle(loads(line))
            except Exception as error:
                lines = [line for line in str(error).splitlines() if not line.lstrip().startswith(("at ", "..."))]
                answer = {"error": "\n".join([f"{type(error).__name__}: {lines[0] if lines else ''}", *lines[1:6]])}
            out.write(dumps(answer) + "\n")
            out.flush()


def dumps(value: Any) -> str:
    return json.dumps(_plain(value))


def loads(text: str) -> Any:
    return json.loads(text, object_hook=_value)


def pairs_as_map(value: Any) -> Any:
    """A map that came as a list of pairs, as Arrow gives it, as a dict."""
    return dict(value) if isinstance(value, list) else value


def _plain(value: Any, *, top: bool = True) -> Any:
    """A value as JSON has it. A naive time is taken for UTC, which the workers' zone is."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return {"$timestamp": (aware - EPOCH) // timedelta(microseconds=1)}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, dict):
        if top:  # the request or answer itself
            return {key: _plain(item, top=False) for key, item in value.items()}
        return {"$map": [[_plain(key, top=False), _plain(item, top=False)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(item, top=False) for item in value]
    return value


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

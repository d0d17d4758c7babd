"""A batch of inputs to fuzz with, and what is found wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Batch:
    """Inputs of one target, and how they are to be read."""

    target: str
    inputs: tuple[bytes, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def only(self, inputs: Sequence[bytes]) -> Batch:
        return replace(self, inputs=tuple(inputs))

    def to_json(self) -> str:
        """Bytes as Latin-1, so that what is ASCII can be read."""
        inputs = [data.decode("latin-1") for data in self.inputs]
        return json.dumps({"target": self.target, "settings": self.settings, "inputs": inputs}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Batch:
        found = json.loads(text)
        return cls(found["target"], tuple(each.encode("latin-1") for each in found["inputs"]), found["settings"])


@dataclass(frozen=True)
class Fault:
    """What does not hold. Faults of one `kind` are one finding; `input` is the number of the input, if known."""

    kind: str
    detail: str
    input: int | None = None

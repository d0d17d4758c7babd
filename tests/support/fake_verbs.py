"""Verbs that only record how they were called, for tests of the command line."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import compactor
from compactor.cli.main import program


class Lake:
    """Stands in for config, registry and the verbs: records each call, and answers or raises what the test asks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.config = types.SimpleNamespace(schemas="the schemas", log=types.SimpleNamespace(format="text"))
        self.calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.stand_in_for("compactor.config", "load", self.config)
        self.stand_in_for("compactor.registry.loader", "load", "the registry")

    def answer(self, verb: str, answer: Any) -> None:
        room = "verify" if verb == "repair" else verb
        folder = Path(compactor.__file__).parent / "commands" / room
        self.stand_in_for(
            f"compactor.commands.{room}.{verb}" if folder.is_dir() else f"compactor.commands.{verb}", verb, answer
        )

    def stand_in_for(self, module: str, function: str, answer: Any) -> None:
        def fake(*args: Any, **options: Any) -> Any:
            self.calls[f"{module.rpartition('.')[2]}.{function}"] = (args, options)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        stand_in = types.ModuleType(module)
        setattr(stand_in, function, fake)
        self._monkeypatch.setitem(sys.modules, module, stand_in)
        self._monkeypatch.setattr(module, stand_in, raising=False)

    def call(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.calls[name]


def invoke(*words: str, **options: Any) -> Result:
    return CliRunner().invoke(program, words, **options)

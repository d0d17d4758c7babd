"""Spares the command line what its libraries do at their start and no verb needs. Not for a process of a user's own."""

from __future__ import annotations

import ctypes
import gc
import importlib.abc
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType

_ARENAS = -8  # M_ARENA_MAX of mallopt(3)


def prepare() -> None:
    """Call this before a library is imported."""
    # Imports and metadata make many objects that stay. To look through them for garbage takes a tenth of a small run.
    gc.set_threshold(100_000, 20, 20)
    _share_memory()
    sys.meta_path.insert(0, _WithoutPandas())


def _share_memory() -> None:
    """Lets threads share what they have given back. Else each keeps its own, and readers of objects keep much."""
    with suppress(AttributeError, OSError):  # another C library than GNU's
        ctypes.CDLL(None).mallopt(_ARENAS, 2)


class _WithoutPandas(importlib.abc.MetaPathFinder):
    """Refuses to import pandas, unless Spark is imported: that needs it.

    At its first value, pyarrow imports pandas to see whether it is installed. That takes longer than its own import.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  as importlib declares it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname == "pyspark":
            sys.meta_path.remove(self)
        elif fullname == "pandas":
            raise ImportError("pandas is not needed without Spark")
        return None

"""Keeps PyIceberg to this program's config: what the user has for PyIceberg itself must not act here.

PyIceberg reads `.pyiceberg.yaml` (in PYICEBERG_HOME, the home folder or the working folder) and the variables
PYICEBERG_… in two ways. `load_catalog` merges a catalog of the same name into the given properties, so `connection`
opens catalogs without it. And modules ask for settings, such as `max-workers`, whenever they need them: here they find
none. A file that is damaged would break the import of PyIceberg; it is not read then.

A user's own program that imports this one still has the catalogs of its file by `pyiceberg.catalog.load_catalog`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pyiceberg.utils.config as library_config

ASKING = (
    "pyiceberg.catalog",
    "pyiceberg.io.pyarrow",
    "pyiceberg.manifest",
    "pyiceberg.serializers",
    "pyiceberg.table",
    "pyiceberg.table.metadata",
    "pyiceberg.utils.concurrent",
)
"""The modules of PyIceberg that ask for settings, of those that this program uses. A test holds the list."""


class NoSettings:
    """Answers as PyIceberg's `Config` does where nothing is set."""

    def get_default_catalog_name(self) -> str:
        return "default"

    def get_catalog_config(self, catalog_name: str) -> None:  # noqa: ARG002
        return None

    def get_known_catalogs(self) -> list[str]:
        return []

    def get_int(self, key: str) -> None:  # noqa: ARG002
        return None

    def get_bool(self, key: str) -> None:  # noqa: ARG002
        return None


def keep_apart() -> None:
    """Imports the modules that ask for settings, and lets them find none. Idempotent."""
    of_user: Any = library_config.Config
    library_config.Config = NoSettings  # type: ignore[assignment,misc]  # while modules are imported
    try:
        modules = [importlib.import_module(name) for name in ASKING]
    finally:
        library_config.Config = of_user  # type: ignore[misc]
    for module in modules:
        _let_find_none(module, of_user)


def _let_find_none(module: ModuleType, of_user: Any) -> None:
    module.Config = NoSettings  # type: ignore[attr-defined]
    catalogs = getattr(module, "_ENV_CONFIG", None)
    if isinstance(catalogs, NoSettings):  # for the user's own calls of `load_catalog`
        try:
            module._ENV_CONFIG = of_user()  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001  whatever is wrong with the user's file or variables, it is not ours
            return

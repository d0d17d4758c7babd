"""Where `make engines` has put the engines. Versions are those of `scripts/engines.toml`, and no other place."""

from __future__ import annotations

from pathlib import Path

import pytest

import fetch_engines
from fetch_engines import PINS, Artifact, environment, java_home


def require(engine: str) -> None:
    """Fails the test, with what to do, where an engine is not in the cache."""
    if lacking := fetch_engines.missing([engine]):
        pytest.fail(f"{engine} needs {', '.join(lacking)}: run `make engines`", pytrace=False)


def trino_home() -> Path:
    require("trino")
    return Artifact.named("trino").place


def nessie_jar() -> Path:
    require("nessie")
    return Artifact.named("nessie").place


def spark_jars(version: str) -> list[Path]:
    """The jars for `spark.jars` of Spark "3.5" or "4.1": Iceberg, its AWS bundle, drivers of SQLite and PostgreSQL."""
    require(f"spark{version.replace('.', '')}")
    return fetch_engines.jars(version)


def python(engine: str) -> Path:
    """The Python of an engine's own environment: spark35, spark41, polars, chdb, sail or daft."""
    require(engine)
    return environment(engine) / "bin" / "python"


def java(engine: str) -> Path:
    """JAVA_HOME for "trino" or "spark"."""
    return java_home(engine)


def pinned(name: str) -> str:
    """The version of a file or of the first package of an environment, as pinned."""
    if name in PINS["files"]:
        return str(PINS["files"][name]["of"]).partition("@")[0].split(":")[2]
    return str(PINS["venvs"][name][0]).partition("==")[2]

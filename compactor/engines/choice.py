"""Which engine does a run's work: the one in this process, or Spark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compactor.config import Batch, Config, EngineName
from compactor.engines import local
from compactor.engines.base import Engine
from compactor.errors import UsageError


@contextmanager
def opened(config: Config, name: EngineName | None = None) -> Iterator[tuple[Engine, Batch]]:
    """The engine (default: as the config says), and how much goes into one of its commits.

    Raises UsageError where Spark is not installed.
    """
    if (name or config.engine) == "local":
        yield local.open_batch, config.batch
        return
    try:
        from compactor.engines.spark import SparkEngine
    except ImportError as error:
        raise UsageError("the engine spark is not installed; pip install '.[spark]', see docs/spark.md") from error
    with SparkEngine(config) as spark:
        yield spark.open_batch, config.spark.batch

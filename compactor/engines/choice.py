"""Which engine does a run's work: the one in this process, or Spark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from compactor.config import Batch, Config, EngineName
from compactor.engines import base
from compactor.errors import UsageError
from compactor.lake.catalog import Lakehouse
from compactor.registry.dataset import Dataset


@contextmanager
def opened(config: Config, name: EngineName | None = None) -> Iterator[tuple[base.Engine, Batch]]:
    """The engine (default: as the config says), and how much goes into one of its commits.

    Raises UsageError where Spark is not installed.
    """
    if (name or config.engine) == "local":
        yield _open_local, config.batch
        return
    try:
        from compactor.engines.spark import SparkEngine
    except ImportError as error:
        raise UsageError("the engine spark is not installed; pip install '.[spark]', see docs/spark.md") from error
    with SparkEngine(config) as spark:
        yield spark.open_batch, config.spark.batch


def _open_local(lake: Lakehouse, dataset: Dataset) -> AbstractContextManager[base.Batch[Any]]:
    """A run without news reads nothing, so it does not wait for the decoder to be imported."""
    from compactor.engines import local

    return local.open_batch(lake, dataset)

"""Lakes with bad input planted among good lines."""

from __future__ import annotations

import pytest

from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.decode import batch_reader, gunzip
from tests.support.bad_lines import BLOCK_BYTES, RECORDS
from tests.support.lake import Lake

DATASETS = tuple(RECORDS)


PROFILES = ("fan_profiles",)


def assert_all_sound(lake: Lake) -> None:
    checks = verify(lake.config, lake.registry, rebuild=True).checks
    assert [check for check in checks if not check.ok] == []


def pending(lake: Lake) -> int:
    return sum(found.objects for found in status(lake.config, lake.registry).pending.values())


def in_small_pieces(patch: pytest.MonkeyPatch) -> None:
    """Small blocks and chunks, so that a small file has many, and rows are staged before its end is seen."""
    patch.setattr(gunzip, "BLOCK_BYTES", BLOCK_BYTES)
    patch.setattr(batch_reader, "CHUNK_BYTES", 3 * BLOCK_BYTES)

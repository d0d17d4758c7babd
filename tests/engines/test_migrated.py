"""Tables that were migrated read right in every engine: columns are followed by id, through old and new files."""

from __future__ import annotations

import pytest

from tests.engines.conftest import Check
from tests.engines.engines import Engine
from tests.engines.migrations import KINDS, MigratedLake
from tests.engines.same import assert_all_same, assert_same_rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_migrated_table_is_read_at_its_new_version(
    engine: Engine, check: Check, migrated_lake: MigratedLake, kind: str
) -> None:
    reader = engine.open(migrated_lake)
    with check(f"migrated_{kind}"):
        assert_same_rows(reader.rows(kind), migrated_lake.expected[kind], kind)


def test_the_tag_from_before_a_migration_is_read_at_the_old_version(
    engine: Engine, check: Check, migrated_lake: MigratedLake
) -> None:
    reader = engine.open(migrated_lake)
    with check("tag"):
        assert_all_same(
            (kind, reader.rows(kind, at=migrated_lake.tags[kind]), migrated_lake.expected_before[kind])
            for kind in ("rename", "retype", "remove")
        )

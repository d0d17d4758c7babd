"""What `verify` counts, as relations of one session."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.commands.verify import differences
from compactor.duck import session
from compactor.duck.relations import Relations
from tests.support.fans import Fans
from tests.support.lake import Lake


@pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")  # the library's writer, which only tests use
def test_what_is_found_in_one_table_stays_when_another_is_looked_at(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", Fans(2, fans=4).lines("fan_profiles"))
    lake.compact(datasets=("fan_profiles",))
    dataset = lake.tables.at_table_version(lake.registry.get("fan_profiles"))
    history = lake.tables.load_iceberg("fan_profiles_history")
    history.append(history.scan().to_arrow().slice(0, 2))
    table, current = lake.tables.table("fan_profiles_history"), lake.tables.table("fan_profiles")

    with session.session(lake.config.resources) as con, Relations(con) as relations:
        found = differences.find_duplicates(relations, table, ["id"])
        none = differences.find_duplicates(relations, current, dataset.key)
        compared = differences.compare(relations, dataset, current, table)
        again = differences.compare(relations, dataset, current, table, [file.file_path for file in current.files])
        derived = differences.keys_to_derive(relations, dataset, table, again, spare=True)

        assert (found.count, found.surplus, found.disputed) == (relations.count(found.keys), 2, 0) == (2, 2, 0)
        assert (none.count, relations.count(none.keys)) == (0, 0)
        rows = len(lake.rows("fan_profiles"))
        assert (relations.count(compared.found), relations.count(again.found)) == (rows, 0)
        assert compared.difference.is_none
        assert (again.difference.missing, derived.count, derived.spared) == (rows, rows, 0)
        copies = differences.winning_copies(relations, dataset, table, found)
        assert relations.count(copies) == 2

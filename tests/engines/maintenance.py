"""Lakes that another engine has worked on, as its users do: it rewrites files, drops old snapshots, deletes rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import OWN_TABLES
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.model import Row

OWN = tuple(OWN_TABLES)
DELETED_FROM = ("fan_profiles", "fan_track_events")
Query = Callable[[str], list[tuple[Any, ...]]]


def maintain_by_spark(query: Query, tables: list[str]) -> None:
    for table in tables:
        name = f"table => 'rover.rover.{table}'"  # the catalog and the namespace have one name
        query(f"CALL rover.system.rewrite_data_files({name}, options => map('rewrite-all', 'true'))")
        query(f"CALL rover.system.rewrite_manifests({name})")
        future = "TIMESTAMP '2100-01-01 00:00:00'"
        query(f"CALL rover.system.expire_snapshots({name}, older_than => {future}, retain_last => 1)")


def maintain_by_trino(query: Query, tables: list[str]) -> None:
    for table in tables:
        query(f"ALTER TABLE {table} EXECUTE optimize")
        query(f"ALTER TABLE {table} EXECUTE optimize_manifests")
        query(f"ALTER TABLE {table} EXECUTE expire_snapshots(retention_threshold => '0s')")


def delete_by_spark(query: Query, fan: str) -> None:
    """By files of deleted positions, as a table is set to that has many deletes."""
    for table in ("fan_profiles", "fan_profiles_history", "fan_track_events"):
        query(f"ALTER TABLE {table} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
        query(f"DELETE FROM {table} WHERE rover_id = '{fan}'")


def delete_by_trino(query: Query, fan: str) -> None:
    for table in ("fan_profiles", "fan_profiles_history", "fan_track_events"):
        query(f"DELETE FROM {table} WHERE rover_id = '{fan}'")


class ForeignLake(Lake):
    """Three nights of all datasets, then `work` by another engine, then a fourth night, and what `verify` then finds.

    `gone` is a fan whose rows `work` deletes: the fourth night has nothing of it.
    """

    def __init__(self, folder: Path, *, gone: str | None = None) -> None:
        super().__init__(folder / "lake")
        self._gone = gone
        self.failed: list[str] = []
        self.is_full = False

    def fill(self, work: Callable[[list[str]], None]) -> None:
        history = History(23, entities=30, days=3, replaces=False)
        for night in range(4):
            for delivery in history.night(200):
                lines = [line for line in delivery.lines if night < 3 or not self._is_of_gone(line)]
                self.deliver(delivery.dataset, lines or [b" "], hour=delivery.hour, part=delivery.part)
            self.compact(full_scan=True)
            if night == 2:
                work([name for name in (*self.record_tables, *OWN) if self.tables.exists(name)])
        checks = verify(self.config, self.registry, rebuild=True, files=True).checks
        self.failed = [str(check) for check in checks if not check.ok]
        self.is_full = True

    def expected(self, table: str) -> list[Row]:
        dataset = table.removesuffix("_history")
        rows = self.model.current(dataset) if table == dataset else self.model.history(dataset)
        return [row for row in rows.values() if dataset not in DELETED_FROM or row["rover_id"] != self._gone]

    def _is_of_gone(self, line: bytes) -> bool:
        return self._gone is not None and f'"{self._gone}"'.encode() in line

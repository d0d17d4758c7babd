"""Lakes that another engine has worked on, as its users do: it rewrites files, drops old snapshots, deletes rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compactor.commands.migrate import migrate
from compactor.commands.verify.repair import repair
from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import OWN_TABLES
from compactor.progress import NullProgress
from compactor.registry import loader
from compactor.reports.report import Check
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake
from tests.support.model import Row

OWN = tuple(OWN_TABLES)
DELETED_FROM = ("fan_profiles", "fan_profiles_history", "fan_track_events")
GONE, CHANGED = ("fan-3", "fan-7"), "fan-5"
NIGHTS = 30  # well past the number of commits after which manifests are merged
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
        if query(f'SELECT 1 FROM "{table}$snapshots" LIMIT 1'):  # Trino fails on a table without any
            query(f"ALTER TABLE {table} EXECUTE optimize_manifests")
        query(f"ALTER TABLE {table} EXECUTE expire_snapshots(retention_threshold => '0s')")


def delete_by_spark(query: Query) -> None:
    """By files of deleted positions, as a table is set to that has many deletes."""
    for table in DELETED_FROM:
        modes = "'write.delete.mode' = 'merge-on-read', 'write.merge.mode' = 'merge-on-read'"
        query(f"ALTER TABLE {table} SET TBLPROPERTIES ({modes})")
    _delete(query, f"t.extra = map('note', '{CHANGED}')")


def delete_by_trino(query: Query) -> None:
    _delete(query, f"extra = map(ARRAY['note'], ARRAY['{CHANGED}'])")


def _delete(query: Query, changed: str) -> None:
    """Deletes one fan by DELETE and one by MERGE, and changes the current row of a third, which is not a record's."""
    for table in DELETED_FROM:
        query(f"DELETE FROM {table} WHERE rover_id = '{GONE[0]}'")
        query(
            f"MERGE INTO {table} t USING (SELECT '{GONE[1]}' AS fan) s ON t.rover_id = s.fan WHEN MATCHED THEN DELETE"
        )
    query(
        f"MERGE INTO fan_profiles t USING (SELECT '{CHANGED}' AS fan) s ON t.rover_id = s.fan"
        f" WHEN MATCHED THEN UPDATE SET {changed}"
    )


class ForeignLake(Lake):
    """Three nights of all datasets, then `work` by another engine, then a fourth night, and what `verify` then finds.

    Attributes:
        failed: the checks of `verify` that failed.
    """

    def __init__(self, folder: Path) -> None:
        self._schemas = folder / "schemas"
        shutil.copytree(SCHEMAS, self._schemas)
        super().__init__(folder / "lake", schemas=self._schemas)
        self.failed: list[Check] = []
        self.is_full = False

    def fill(self, work: Callable[[list[str]], None]) -> None:
        history = History(23, entities=30, days=3, replaces=False)
        for _ in range(3):
            self._night(history, 200)
        work([name for name in (*self.record_tables, *OWN) if self.tables.exists(name)])
        self.after(history)
        checks = verify(self.config, self.registry, rebuild=True, files=True).checks
        self.failed = [check for check in checks if not check.ok]
        self.is_full = True

    def after(self, history: History) -> None:
        """What comes after the work of the other engine."""
        self._night(history, 200)

    def expected(self, table: str) -> list[Row]:
        dataset = table.removesuffix("_history")
        rows = self.model.current(dataset) if table == dataset else self.model.history(dataset)
        return list(rows.values())

    def _night(self, history: History, lines: int) -> None:
        for delivery in history.night(lines):
            kept = [line for line in delivery.lines if self._is_kept(line)]
            self.deliver(delivery.dataset, kept or [b" "], hour=delivery.hour, part=delivery.part)
        self.compact(full_scan=True)

    def _is_kept(self, line: bytes) -> bool:
        return True


class DeletedLake(ForeignLake):
    """The other engine deletes fans of two datasets. Then come 30 nights without them, a migration, and a repair."""

    _is_deleted = False

    def after(self, history: History) -> None:
        self._is_deleted = True
        for _ in range(NIGHTS):
            self._night(history, 6)
        with (self._schemas / "fan_profiles.yaml").open("a", encoding="utf-8") as file:
            file.write("promote:\n  - {from: traits, key: k0, column: k0, type: string}\n")
        self.registry = loader.load(self._schemas)
        assert migrate.apply(self.config, self.registry, plan_id=None, progress=NullProgress()).exit_code == 0
        repair(self.config, self.registry, yes=True)
        self._night(history, 200)

    def expected(self, table: str) -> list[Row]:
        dataset, rows = table.removesuffix("_history"), super().expected(table)
        if dataset == "fan_profiles":
            rows = [row | {"k0": (row["traits"] or {}).get("k0")} for row in rows]
        return [row for row in rows if table not in DELETED_FROM or row["rover_id"] not in GONE]

    def _is_kept(self, line: bytes) -> bool:
        return not (self._is_deleted and any(f'"{fan}"'.encode() in line for fan in GONE))

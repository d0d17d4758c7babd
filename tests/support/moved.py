"""Lakes that were moved or copied to another folder, and what must be the same there."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog

from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.warehouse import delete_by_position

BOTH = ("fan_identity_graph", "fan_track_events")
SEED = 11


def lived_in(folder: Path) -> Lake:
    """A lake after two nights, between which another engine has tagged a snapshot and deleted a row."""
    lake = Lake(folder)
    histories = [History(SEED, datasets=(name,), entities=4, replaces=False) for name in BOTH]
    _night(lake, histories)
    table = lake.catalog.load_table("rover.fan_track_events")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    with table.manage_snapshots() as manage:
        manage.create_tag(snapshot.snapshot_id, "before")
    file = next(iter(table.scan().plan_files())).file
    delete_by_position(lake.catalog.load_table("rover.fan_track_events"), file, [0])
    _night(lake, histories)
    return lake


def _night(lake: Lake, histories: Sequence[History]) -> None:
    for history in histories:
        for delivery in history.deliveries(1, 8):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    lake.compact(datasets=BOTH, full_scan=True)


def at_new_place(lake: Lake, folder: Path, *, keep: bool = True, move: bool = True) -> Lake:
    """The lake with its warehouse in another folder, and an empty source.

    Args:
        keep: the original stays: a copy. Else it is moved.
        move: the files go along; else only the config says the new place.
    """
    moved = Lake(folder)
    moved.model = copy.deepcopy(lake.model)
    if move and keep:
        shutil.copytree(lake.folder / "warehouse", folder / "warehouse", symlinks=True)
    elif move:
        (lake.folder / "warehouse").rename(folder / "warehouse")
    return moved


def frozen(folder: Path) -> Mapping[str, tuple[str, int]]:
    """Path -> (hash of the content, time of the last change), of all files below a folder."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def told_by_pyiceberg(catalog: Catalog, namespace: str = "rover", names: Sequence[str] = ()) -> dict[str, Any]:
    """What an engine reads: of each table (or of these) its UUID, its tags, and the rows of each snapshot."""
    found: dict[str, Any] = {}
    for name in names or [identifier[-1] for identifier in catalog.list_tables(namespace)]:
        table = catalog.load_table(f"{namespace}.{name}")
        metadata = table.metadata
        found[name] = (
            str(metadata.table_uuid),
            {name: ref.snapshot_id for name, ref in metadata.refs.items()},
            [(each.snapshot_id, each.sequence_number, each.timestamp_ms) for each in metadata.snapshots],
            {each.snapshot_id: _rows(table, each.snapshot_id) for each in metadata.snapshots},
            _sequence_numbers(table),
        )
    return found


def paths_in(catalog: Catalog, namespace: str = "rover") -> Iterator[str]:
    """Every path that the metadata of all tables names, deleted entries and commit intents too."""
    for _, name in catalog.list_tables(namespace):
        table = catalog.load_table(f"{namespace}.{name}")
        metadata = table.metadata
        yield from (table.metadata_location, metadata.location, *(each.metadata_file for each in metadata.metadata_log))
        for snapshot in metadata.snapshots:
            yield snapshot.manifest_list
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            yield from (value for value in summary.values() if "/" in value)
            for manifest in snapshot.manifests(table.io):
                yield manifest.manifest_path
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                    yield entry.data_file.file_path
                    yield from (
                        bound.decode()
                        for bounds in (entry.data_file.lower_bounds, entry.data_file.upper_bounds)
                        for number, bound in (bounds or {}).items()
                        if number > 2147483000
                    )


def _rows(table: Any, snapshot_id: int) -> list[str]:
    return sorted(map(str, table.scan(snapshot_id=snapshot_id).to_arrow().to_pylist()))


def _sequence_numbers(table: Any) -> list[tuple[Any, ...]]:
    """Of each entry of each snapshot, all that ties it to a snapshot."""
    return sorted(
        (snapshot.snapshot_id, entry.status, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number)
        for snapshot in table.metadata.snapshots
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    )

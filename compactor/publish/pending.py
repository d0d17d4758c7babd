"""Which objects are pending: those that the source lists and the ledger does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from compactor.config import Batch as BatchLimits
from compactor.duck.relations import Relation, Relations
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.publish.run_log import LastRun, last_run
from compactor.source import Hour, IgnoredKeys, Source, SourceObject, same_etag_sql

_PAGE = 10_000
_LISTED = pa.schema([("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])


@dataclass(frozen=True)
class Listing:
    """What a listing of a dataset found.

    Attributes:
        pending: (key, etag, size) of the objects to load.
        objects, size: their number, and their compressed bytes.
        after: the newest run before this one.
        newest: the newest hour that was listed; None if nothing was.
    """

    pending: Relation
    objects: int
    size: int
    after: LastRun | None
    newest: Hour | None

    def watermark(self, start: Hour | None, failed: Iterable[str]) -> Hour | None:
        """The hour up to which everything is loaded once these objects are, so that the next listing can begin there.

        A run over chosen hours that leaves a gap does not move it, and an object that stays pending holds it back.

        Args:
            start: the first hour that was asked for.
            failed: the keys of the objects that could not be loaded.
        """
        before = self.after.watermark if self.after else None
        gap = start is not None and (before is None or before < start)
        reached = max(filter(None, (before, self.newest)), default=None) if not gap else before
        for key in failed:
            hour = Hour.of_key(key)
            reached = min(reached, hour) if reached and hour else reached
        return reached


def list_pending(
    relations: Relations,
    lake: Lakehouse,
    source: Source,
    dataset: str,
    ignored: IgnoredKeys,
    *,
    start: Hour | None = None,
    stop: Hour | None = None,
    full_scan: bool = False,
) -> Listing:
    """Lists the source and takes away what the ledger has.

    Without `start` and `full_scan` the listing begins `source.window_hours` before the watermark. Neither the listing
    nor the ledger is held in Python.

    Raises SourceError where the source cannot be listed.
    """
    after = last_run(relations, lake, dataset)
    if start is None and not full_scan and after is not None:
        start = after.watermark.minus(lake.config.source.window_hours)
    listed = relations.empty("listed", {"key": "VARCHAR", "etag": "VARCHAR", "size": "BIGINT"})
    newest: Hour | None = None
    for page in _pages(source.list(dataset, start, stop, ignored)):
        newest = page[-1].hour if newest is None else max(newest, page[-1].hour)
        columns = [[o.key for o in page], [o.etag for o in page], [o.size for o in page]]
        relations.append(listed, pa.table(columns, schema=_LISTED))
    loaded = loaded_objects(relations, lake, dataset)
    same = same_etag_sql("i.etag", "o.etag")
    pending = relations.table("pending", f"SELECT i.* FROM {listed} i ANTI JOIN {loaded} o ON i.key = o.key AND {same}")
    relations.drop(listed, loaded)
    objects, size = relations.con.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM {pending}").fetchall()[0]
    return Listing(pending, int(objects), int(size), after, newest)


def loaded_objects(relations: Relations, lake: Lakehouse, dataset: str) -> Relation:
    """The (key, etag) of the dataset's objects that the ledger has."""
    ledger = lake.find(FILES)
    if ledger is None:
        return relations.empty("loaded", {"key": "VARCHAR", "etag": "VARCHAR"})
    return relations.stored("loaded", ledger.scan(["key", "etag"], where={"dataset": dataset}).batches)


def batches(relations: Relations, listing: Listing, dataset: str, limits: BatchLimits) -> Iterator[list[SourceObject]]:
    """The pending objects in the order of their hours, in batches of limited count and size."""
    batch: list[SourceObject] = []
    size = 0
    pending = relations.con.execute(f"SELECT key, etag, size FROM {listing.pending} ORDER BY key")
    while rows := pending.fetchmany(_PAGE):
        for key, etag, length in rows:
            if batch and (len(batch) >= limits.objects or size + length > limits.bytes):
                yield batch
                batch, size = [], 0
            hour = Hour.of_key(key)
            assert hour is not None
            batch.append(SourceObject(dataset, key, etag, length, hour))
            size += length
    if batch:
        yield batch


def _pages(objects: Iterable[SourceObject]) -> Iterator[list[SourceObject]]:
    rows: list[SourceObject] = []
    for found in objects:
        rows.append(found)
        if len(rows) == _PAGE:
            yield rows
            rows = []
    if rows:
        yield rows

"""Which objects are pending: those that the source lists, the ledger does not have, and nobody has acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from compactor.config import Batch as BatchLimits
from compactor.duck.relations import Relation, Relations
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.publish import acknowledged
from compactor.publish.run_log import LastRun
from compactor.source import Hour, IgnoredKeys, Source, SourceObject, key_window, same_etag_sql

_PAGE = 10_000
_LISTED = pa.schema([("key", pa.string()), ("etag", pa.string()), ("size", pa.int64())])


@dataclass(frozen=True)
class Listing:
    """What a listing of a dataset found.

    Attributes:
        pending: (key, etag, size) of the objects to load.
        objects, size: their number, and their compressed bytes.
        listed: how many objects were listed, loaded ones included.
        after: the newest run before this one.
        newest: the newest hour that was listed; None if nothing was.
        oldest: the first key to load; None if there is none.
        acknowledged: objects that cannot be read and that a person has acknowledged, so they are not in `pending`.
    """

    pending: Relation
    objects: int
    size: int
    listed: int
    after: LastRun | None
    newest: Hour | None
    oldest: str | None
    acknowledged: int

    @property
    def held_back(self) -> Hour | None:
        """Where the watermark has to be if none of these objects is loaded after all; None: where it was."""
        oldest = Hour.of_key(self.oldest) if self.oldest else None
        return oldest if self.after and oldest and oldest < self.after.watermark else None

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
    after: LastRun | None,
    start: Hour | None = None,
    stop: Hour | None = None,
    full_scan: bool = False,
) -> Listing:
    """Lists the source and takes away what the ledger has, and what was acknowledged.

    Without `start` and `full_scan` the listing begins `source.window_hours` before the watermark. An acknowledged
    object does not hold the watermark back, so its hour is listed as well: it may have been delivered again. Neither
    the listing nor the ledger is held in Python.

    Args:
        after: the newest run before this one (`run_log.last_run`). None: all is listed.

    Raises SourceError where the source cannot be listed.
    """
    set_aside = acknowledged.objects(relations, lake, dataset)
    earlier: list[Hour] = []
    if start is None and not full_scan and after is not None:
        start = after.watermark.minus(lake.config.source.window_hours)
        earlier = [hour for hour in acknowledged.hours(relations, set_aside) if hour < start]
    listed = relations.empty("listed", {"key": "VARCHAR", "etag": "VARCHAR", "size": "BIGINT"})
    newest, count = None, 0
    again = chain.from_iterable(source.list(dataset, hour, hour) for hour in earlier if stop is None or hour <= stop)
    for page in _pages(chain(again, source.list(dataset, start, stop, ignored))):
        newest = page[-1].hour if newest is None else max(newest, page[-1].hour)
        count += len(page)
        columns = [[o.key for o in page], [o.etag for o in page], [o.size for o in page]]
        relations.append(listed, pa.table(columns, schema=_LISTED))
    loaded = loaded_objects(relations, lake, dataset, first=None if earlier else key_window(dataset, start, stop)[0])
    same = same_etag_sql("i.etag", "o.etag")
    pending = relations.table(
        "pending",
        f"SELECT i.* FROM {listed} i ANTI JOIN {loaded} o ON i.key = o.key AND {same}"
        f" ANTI JOIN {set_aside} a ON i.key = a.key AND i.etag = a.etag",
    )
    acknowledgements = relations.count(set_aside)
    relations.drop(listed, loaded, set_aside)
    objects, size, oldest = relations.con.execute(
        f"SELECT count(*), coalesce(sum(size), 0), min(key) FROM {pending}"
    ).fetchall()[0]
    return Listing(pending, int(objects), int(size), count, after, newest, oldest, acknowledgements)


def loaded_objects(relations: Relations, lake: Lakehouse, dataset: str, *, first: str | None = None) -> Relation:
    """The (key, etag) of the dataset's objects that the ledger has.

    Args:
        first: no smaller keys. The files of nights long ago are not opened then.
    """
    ledger = lake.find(FILES)
    if ledger is None:
        return relations.empty("loaded", {"key": "VARCHAR", "etag": "VARCHAR"})
    at_least = {"key": first} if first else None
    rows = ledger.scan(["key", "etag"], where={"dataset": dataset}, at_least=at_least).batches
    return relations.stored("loaded", rows)


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

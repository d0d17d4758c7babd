"""Lets the source give again what no table has any more: objects become pending, and their counts stay right.

The ledger's rows of a dataset are made anew from its history and the quarantine (see `compactor.publish.recovered`).
Objects that the source still has are then pending: the next run reads them, and finds their known records again.
"""

from __future__ import annotations

import itertools
import uuid

import pyarrow as pa

from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.engines.local import open_batch
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.publish import recovered, run_log, upsert
from compactor.publish.protocol import settled
from compactor.publish.run_log import Run, Tally
from compactor.publish.upsert import RECOVERED
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.source import ETAG_MARK, Hour, IgnoredKeys, open_source

_PAGE = 10_000
_LISTED = pa.schema([("key", pa.string()), ("etag", pa.string())])
_FIRST_HOUR = Hour("0001-01-01", 0)


def nothing(_run: Run) -> None:
    """For a table that nothing has to be done for once it is there."""


def lost_objects(config: Config, lake: Lakehouse, dataset: Dataset) -> tuple[int, int, int]:
    """How many objects the ledger has of a dataset, how many of these the source lacks, and with how many new records.

    Raises SourceError where the source cannot be listed.
    """
    with session.session(config.resources) as con, Relations(con) as relations:
        listed = _listed(relations, config, dataset)
        scan = lake.table(FILES).scan(["key", "etag", "new"], where={"dataset": dataset.name})
        with relations.arrow("entries", scan.batches) as rows:
            entries = relations.table("entries", f"SELECT * FROM {rows} WHERE etag <> '{RECOVERED}'")
        found = con.execute(
            f"SELECT (SELECT count(*) FROM {entries}), count(*), coalesce(sum(new), 0)::BIGINT"
            f" FROM {entries} ANTI JOIN {listed} USING (key, etag)"
        ).fetchall()[0]
    return int(found[0]), int(found[1]), int(found[2])


def reload(run: Run, *, config: Config, registry: Registry, dataset: Dataset) -> None:
    """Makes the tables of a dataset that are gone, and all objects of the dataset pending."""
    run.lake.ensure(registry, [dataset.name], replaces=dataset.tables)
    _recount(run, config, dataset)


def recount_all(run: Run, *, config: Config, registry: Registry) -> None:
    """Makes the ledger's rows anew for all datasets that have tables."""
    for name in sorted(registry.datasets):
        if run.lake.exists(registry.datasets[name].history_table):
            _recount(run, config, registry.datasets[name])


def requarantine(run: Run, *, config: Config, registry: Registry) -> None:
    """Makes the objects pending whose rejected lines the quarantine lacks."""
    for name in sorted(registry.datasets):
        if run.lake.exists(registry.datasets[name].history_table):
            _reread_rejected(run, config, registry.datasets[name])


def _recount(run: Run, config: Config, dataset: Dataset) -> None:
    lake = run.lake
    history = settled(lake, lake.at_table_version(dataset), open_batch)
    with session.session(config.resources) as con, Relations(con) as relations:
        listed = _listed(relations, config, dataset)
        ledger = lake.table(FILES)
        with relations.arrow("records", history.scan(["id", "source_file"]).batches) as rows:
            new = relations.table(
                "new_lines", f"SELECT source_file AS key, count(DISTINCT id) AS n FROM {rows} GROUP BY 1"
            )
        rejected = _rejected(relations, lake, dataset)
        # The text of lines whose objects the source no longer has is nowhere else.
        kept = relations.table("kept", f"SELECT * FROM {rejected} ANTI JOIN {listed} USING (key, etag)")
        entries = recovered.ledger_rows(
            relations, ledger, dataset.name, new, _counted_by(run), run_log.now(), rejected=kept, adds=False
        )
        _replace_entries(run, relations, dataset, entries)
        read_again = relations.table(
            "read_again",
            f"SELECT '{dataset.name}' AS dataset, key AS source_file, etag FROM {rejected}"
            f" SEMI JOIN {listed} USING (key, etag)",
        )
        _forget_lines(run, relations, read_again)
    run_log.record(run, [(dataset, Tally(started_at=run.started_at, watermark=_FIRST_HOUR))])


def _reread_rejected(run: Run, config: Config, dataset: Dataset) -> None:
    lake = run.lake
    settled(lake, lake.at_table_version(dataset), open_batch)
    with session.session(config.resources) as con, Relations(con) as relations:
        listed = _listed(relations, config, dataset)
        ledger = lake.table(FILES)
        entries = relations.stored("entries", ledger.scan(ledger.schema.names, where={"dataset": dataset.name}).batches)
        again = relations.table(
            "read_again",
            f"SELECT e.* FROM {entries} e SEMI JOIN {listed} USING (key, etag)"
            f" LEFT JOIN {_rejected(relations, lake, dataset)} r USING (key, etag)"
            " WHERE e.quarantined <> coalesce(r.n, 0)",
        )
        if not relations.count(again):
            return
        new = relations.table("new_lines", f"SELECT key, sum(new)::BIGINT AS n FROM {again} WHERE new > 0 GROUP BY 1")
        counted = recovered.ledger_rows(relations, ledger, dataset.name, new, _counted_by(run), run_log.now())
        left = relations.table(
            "left_entries",
            f"SELECT * FROM {entries} ANTI JOIN {again} USING (key, etag) WHERE etag <> '{RECOVERED}' OR key NOT IN"
            f" (SELECT key FROM {counted}) UNION ALL BY NAME SELECT * FROM {counted}",
        )
        _replace_entries(run, relations, dataset, left)
        lines = relations.table("lines", f"SELECT dataset, key AS source_file, etag FROM {again}")
        _forget_lines(run, relations, lines)
    run_log.record(run, [(dataset, Tally(started_at=run.started_at, watermark=_FIRST_HOUR))])


def _counted_by(run: Run) -> str:
    """What the rows name as their run. Not the repair, whose own row says that it has loaded nothing."""
    return f"{run.run_id}-recovered"


def _replace_entries(run: Run, relations: Relations, dataset: Dataset, entries: Relation) -> None:
    """Puts these rows into the ledger in place of all that it has of the dataset."""
    keys = ", ".join(upsert.OBJECT)

    scan = run.lake.table(FILES).scan(upsert.OBJECT, where={"dataset": dataset.name})
    with relations.arrow("stored", scan.batches) as stored:
        scope = relations.table("scope", f"SELECT {keys} FROM {stored} UNION SELECT {keys} FROM {entries}")
    upsert.put(
        run.lake,
        relations.con,
        FILES,
        upsert.OBJECT,
        lambda _relations, _table: entries,
        scope=scope,
        commit_id=uuid.uuid4().hex,
        run_id=run.run_id,
    )


def _forget_lines(run: Run, relations: Relations, objects: Relation) -> None:
    """Takes the lines of objects that are read again out of the quarantine."""
    upsert.put(
        run.lake,
        relations.con,
        QUARANTINE,
        upsert.LINES_OF_OBJECT,
        lambda inner, table: inner.stored("none", table.schema.empty_table()),
        scope=objects,
        commit_id=uuid.uuid4().hex,
        run_id=run.run_id,
    )


def _rejected(relations: Relations, lake: Lakehouse, dataset: Dataset) -> Relation:
    """(key, etag, n): the rows of the quarantine by object."""
    scan = lake.table(QUARANTINE).scan(["source_file", "etag"], where={"dataset": dataset.name})
    with relations.arrow("lines", scan.batches) as rows:
        return relations.table("rejected", f"SELECT source_file AS key, etag, count(*) AS n FROM {rows} GROUP BY 1, 2")


def _listed(relations: Relations, config: Config, dataset: Dataset) -> Relation:
    """(key, etag) of all objects of a dataset that the source has, also with the ETags of older versions."""
    listed = relations.empty("listed", {"key": "VARCHAR", "etag": "VARCHAR"})
    objects = open_source(config.source).list(dataset.name, None, None, IgnoredKeys())
    while page := list(itertools.islice(objects, _PAGE)):
        columns = [[each.key for each in page], [each.etag for each in page]]
        relations.append(listed, pa.table(columns, schema=_LISTED))
    relations.con.execute(
        f"INSERT INTO {listed} SELECT key, split_part(etag, '{ETAG_MARK}', 1) FROM {listed}"
        f" WHERE contains(etag, '{ETAG_MARK}')"
    )
    return listed

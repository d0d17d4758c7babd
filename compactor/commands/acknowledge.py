"""`acknowledge`: a person sets aside what cannot be loaded, so that it is listed and no longer raises an alarm.

It changes no record, no count and no line of the quarantine. What was acknowledged is in a table of its own, by its
place and ETag. So another delivery is not covered, and neither are lines that come later for the same reason.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, number
from compactor.engines.local import open_batch
from compactor.errors import UsageError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import ACKNOWLEDGED, FILES, OWN_TABLES, QUARANTINE
from compactor.progress import NullProgress
from compactor.publish import acknowledged, pending, run_log, upsert
from compactor.publish.acknowledged import WHOLE_OBJECT
from compactor.publish.run_log import Run, Tally
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.acknowledgement import Acknowledgement, AcknowledgeReport
from compactor.source import Hour, IgnoredKeys, open_source

_COLUMNS = [name for name, _, _ in OWN_TABLES[ACKNOWLEDGED].columns]
_LONGEST = 1000


@dataclass(frozen=True)
class Selection:
    """What is meant: objects and lines that fit all that is given.

    Attributes:
        keys: of objects. An object itself is meant only without `line` and `reasons`.
        line: of the one object.
        reasons: of quarantined lines.
    """

    keys: tuple[str, ...] = ()
    line: int | None = None
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.keys or self.reasons):
            raise UsageError("name what to acknowledge: an object with --object, or lines with --reason")
        if self.line is not None and len(self.keys) != 1:
            raise UsageError("--line is a line of one object; name that with --object")

    @property
    def takes_objects(self) -> bool:
        return self.line is None and not self.reasons

    def of_lines(self, key: str, line: str) -> str:
        """SQL for whether a line fits; `key` and `line` are the names of columns."""
        tests = [f"{key} IN ({_texts(self.keys)})"] if self.keys else []
        tests += [f"reason IN ({_texts(self.reasons)})"] if self.reasons else []
        tests += [f"{line} = {self.line}"] if self.line is not None else []
        return " AND ".join(tests)

    @property
    def of_acknowledged(self) -> str:
        """SQL for whether an acknowledgement fits."""
        lines = f"line <> {WHOLE_OBJECT} AND {self.of_lines('key', 'line')}"
        objects = f"line = {WHOLE_OBJECT} AND key IN ({_texts(self.keys)})"
        return f"({lines} OR {objects})" if self.takes_objects else lines


def _texts(values: Sequence[str]) -> str:
    return ", ".join(map(literal, values))


def acknowledge(
    config: Config, registry: Registry, selection: Selection, *, datasets: tuple[str, ...] = (), because: str
) -> AcknowledgeReport:
    """Acknowledges objects that cannot be read, and lines that are in the quarantine now.

    Raises:
        UsageError: something that was named is not there, or an object can be read. Nothing is acknowledged then.
        SourceError: the source cannot be listed.
        CompactorError: the catalog or the storage failed, or other runs kept committing first.
    """
    because = because.strip()
    if not because or len(because) > _LONGEST:
        raise UsageError(f"--because needs a text of 1 to {_LONGEST} characters, for those who read it later")
    with _opened(config, registry, datasets) as (lake, chosen, relations):
        lake.ensure_own()
        run = Run.begin("acknowledge", lake, NullProgress())
        found = relations.empty("found", dict.fromkeys(("dataset", "key", "etag"), "VARCHAR") | {"line": "BIGINT"})
        relations.con.execute(f"ALTER TABLE {found} ADD COLUMN reason VARCHAR")
        for dataset in chosen:
            if selection.takes_objects:
                _find_objects(relations, lake, dataset, selection, found)
            _find_lines(relations, lake, dataset, selection, found)
        set_aside = _set_aside(relations, lake, chosen)
        _refuse_what_is_not_there(relations, selection, found, set_aside)
        rows = relations.table(
            "rows",
            f"SELECT *, $1::VARCHAR AS because, $2::VARCHAR AS run_id, $3::TIMESTAMPTZ AS acknowledged_at FROM {found}"
            f" ANTI JOIN {set_aside} USING (dataset, key, etag, line)",
            [because, run.run_id, run.started_at],
        )
        before = number(relations.con, f"SELECT count(*) FROM {set_aside} WHERE {selection.of_acknowledged}")
        if relations.count(rows):
            _put(lake, relations, rows, rows, run.run_id)
        return _report("acknowledged", relations, rows, before)


def undo(
    config: Config, registry: Registry, selection: Selection, *, datasets: tuple[str, ...] = ()
) -> AcknowledgeReport:
    """Takes acknowledgements back. The next `compact` lists from the hours of the objects and reads them again.

    Raises:
        UsageError: nothing that was named is acknowledged.
        CompactorError: the catalog or the storage failed, or other runs kept committing first.
    """
    with _opened(config, registry, datasets) as (lake, chosen, relations):
        lake.ensure_own()
        run = Run.begin("acknowledge", lake, NullProgress())
        set_aside = _set_aside(relations, lake, chosen)
        rows = relations.table("rows", f"SELECT * FROM {set_aside} WHERE {selection.of_acknowledged}")
        if not relations.count(rows):
            raise UsageError("nothing of this is acknowledged; `compactor acknowledge --list` shows what is")
        # The watermark first: an object whose acknowledgement is gone must not be behind it.
        again = []
        for dataset in chosen:
            objects = f"SELECT min(key) FROM {rows} WHERE line = {WHOLE_OBJECT} AND dataset = $1"
            (key,) = relations.con.execute(objects, [dataset.name]).fetchall()[0]
            if key is not None:
                again.append((dataset, Tally(started_at=run.started_at, watermark=Hour.of_key(key))))
        if again:
            run_log.record(run, again)
        none = relations.table("none", f"SELECT * FROM {rows} WHERE false")
        _put(lake, relations, none, rows, run.run_id)
        return _report("undone", relations, rows)


def listed(config: Config, registry: Registry, *, datasets: tuple[str, ...] = ()) -> AcknowledgeReport:
    """What is acknowledged and still there. Changes nothing. Raises CompactorError where a table cannot be read."""
    with _opened(config, registry, datasets) as (lake, chosen, relations):
        return _report("listed", relations, _set_aside(relations, lake, chosen))


@contextmanager
def _opened(
    config: Config, registry: Registry, datasets: tuple[str, ...]
) -> Iterator[tuple[Lakehouse, list[Dataset], Relations]]:
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    lake = Lakehouse(config)
    lake.table(FILES)  # on a lake without tables nothing has failed yet
    with session.session(config.resources) as con, Relations(con) as relations:
        yield lake, chosen, relations


def _find_objects(
    relations: Relations, lake: Lakehouse, listed: Dataset, selection: Selection, found: Relation
) -> None:
    """Adds the named objects that are pending and cannot be read.

    Each is read to see that: an object that nobody has tried to load yet must not be set aside by mistake.
    """
    keys = [key for key in selection.keys if key.split("/")[1:2] == [listed.name]]
    if not keys:
        return
    source, dataset = open_source(lake.config.source), lake.at_table_version(listed)
    for key in keys:
        hour = Hour.of_key(key)
        if hour is None:
            raise UsageError(f"'{key}' is not the key of an export; take it from the report of the run")
        with Relations(relations.con) as own:
            listing = pending.list_pending(
                own, lake, source, dataset.name, IgnoredKeys(), after=None, start=hour, stop=hour
            )
            for objects in pending.batches(own, listing, dataset.name, lake.config.batch):
                for each in objects:
                    if each.key != key:
                        continue
                    with open_batch(lake, dataset) as batch:
                        failed = batch.read(source, [each], NullProgress()).failed
                    if not failed:
                        raise UsageError(f"{key} can be read; run `compactor compact`, which loads it")
                    values = [dataset.name, key, each.etag, WHOLE_OBJECT, failed[0]]
                    relations.con.execute(f"INSERT INTO {found} VALUES (?, ?, ?, ?, ?)", values)


def _find_lines(relations: Relations, lake: Lakehouse, dataset: Dataset, selection: Selection, found: Relation) -> None:
    """Adds the lines that are in the quarantine and fit."""
    columns = ["dataset", "source_file", "etag", "source_line", "reason"]
    where = {"dataset": dataset.name}
    with relations.arrow("quarantined", lake.table(QUARANTINE).scan(columns, where=where).batches) as rows:
        relations.con.execute(
            f"INSERT INTO {found} SELECT dataset, source_file, etag, source_line, reason FROM {rows}"
            f" WHERE {selection.of_lines('source_file', 'source_line')}"
        )


def _set_aside(relations: Relations, lake: Lakehouse, chosen: Sequence[Dataset]) -> Relation:
    """What is acknowledged and still there, with the columns of the table."""
    parts = []
    for dataset in chosen:
        objects = acknowledged.objects(relations, lake, dataset.name)
        lines = acknowledged.lines(relations, lake, dataset.name)
        both = f"SELECT {WHOLE_OBJECT}::BIGINT AS line, * FROM {objects} UNION ALL BY NAME SELECT * FROM {lines}"
        parts.append(f"SELECT {literal(dataset.name)} AS dataset, * FROM ({both})")
    columns = ", ".join(_COLUMNS)
    return relations.table("acknowledgements", f"SELECT {columns} FROM ({' UNION ALL BY NAME '.join(parts)})")


def _refuse_what_is_not_there(relations: Relations, selection: Selection, found: Relation, set_aside: Relation) -> None:
    place = "SELECT key, line, reason FROM"
    there = relations.view("there", f"{place} {found} UNION ALL {place} {set_aside}")

    def is_there(test: str, value: str) -> bool:
        return bool(relations.con.execute(f"SELECT 1 FROM {there} WHERE {test} LIMIT 1", [value]).fetchall())

    for reason in selection.reasons:
        if not is_there(f"line <> {WHOLE_OBJECT} AND reason = ?", reason):
            raise UsageError(
                f"no line is in the quarantine for the reason '{reason}'; `compactor status` shows the reasons that"
                " there are"
            )
    for key in selection.keys:
        if not is_there("key = ?" + (f" AND line = {selection.line}" if selection.line else ""), key):
            what = f"line {selection.line} of {key} is" if selection.line else f"{key} is"
            raise UsageError(
                f"{what} neither pending nor in the quarantine; take the key from the report of a run, or from"
                f' `compactor query "select source_file, source_line from {QUARANTINE}"`'
            )


def _put(lake: Lakehouse, relations: Relations, rows: Relation, scope: Relation, run_id: str) -> None:
    upsert.put(
        lake,
        relations.con,
        ACKNOWLEDGED,
        upsert.ACKNOWLEDGEMENT,
        lambda _relations, _table: rows,
        scope=scope,
        commit_id=uuid.uuid4().hex,
        run_id=run_id,
    )


def _report(action: str, relations: Relations, rows: Relation, before: int = 0) -> AcknowledgeReport:
    is_object = f"line = {WHOLE_OBJECT}"
    found: pa.Table = relations.con.execute(
        f"SELECT dataset, count(*) FILTER (NOT {is_object})::BIGINT AS lines,"
        f" CASE WHEN min(key) = max(key) THEN min(key) END AS key, nullif(CASE WHEN count(*) = 1 THEN min(line) END,"
        f" {WHOLE_OBJECT}) AS line, reason, because, run_id, acknowledged_at AS at FROM {rows}"
        f" GROUP BY dataset, reason, because, run_id, acknowledged_at, CASE WHEN {is_object} THEN key END"
        " ORDER BY dataset, acknowledged_at, lines, key, reason"
    ).to_arrow_table()
    entries = tuple(Acknowledgement(**row) for row in found.to_pylist())
    objects = sum(not entry.lines for entry in entries)
    lines = sum(entry.lines for entry in entries)
    return AcknowledgeReport(action, objects, lines, before, entries)  # type: ignore[arg-type]

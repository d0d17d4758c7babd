"""The commit intent of a batch: what quarantine and ledger will say once the batch's history commit has landed.

A write-ahead record. The history's snapshot names the intent. As long as the intent exists the batch is unfinished;
deleting it is the last step. Intents lie under the ledger table's location, as two Parquet files each: `<commit
id>-ledger` and `-quarantine`.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow.parquet as pq

from compactor.duck.relations import Relation, Relations
from compactor.errors import UnreadableError
from compactor.lake.catalog import Lakehouse
from compactor.lake.file_reading import damage
from compactor.lake.marks import NOTES
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import COMMIT_ID, RUN_ID, Snapshot, Table, summary
from compactor.publish import upsert
from compactor.publish.accounting import Entries

# Names that stand in tables and folders of lakes that exist: older than the term "intent", and kept.
_INTENT, _MODE = "compactor.note", "compactor.note-mode"
_PARTS = ("ledger", "quarantine")
_BATCH_ROWS = 8192


@dataclass(frozen=True)
class CommitIntent:
    """A batch's commit intent.

    Attributes:
        storage: any table of the lake; it opens the intent's files.
        base: where these lie, without the ends of their names.
        mode: what its ledger rows do to those that are there: `keep` leaves them, `replace` takes their place (a
            replay's do), and so does `migrate`, whose batch has no new records: it brings the tables to a new version.
        found_in: the history's snapshot that names it; None for a new one.
    """

    lake: Lakehouse
    storage: Table
    commit_id: str
    run_id: str
    base: str
    mode: str
    found_in: Snapshot | None = None

    @classmethod
    def new(cls, lake: Lakehouse, run_id: str, mode: Literal["keep", "replace", "migrate"]) -> CommitIntent:
        commit_id, ledger = uuid.uuid4().hex, lake.table(FILES)
        return cls(lake, ledger, commit_id, run_id, f"{folder(ledger)}/{commit_id}", mode)

    @classmethod
    def of(cls, lake: Lakehouse, history: Table) -> CommitIntent | None:
        """The intent of the history's newest batch if that is unfinished.

        No older batch can be: nobody commits to a history before its newest batch is finished.
        """
        snapshot = history.last_commit()
        if snapshot is None:
            return None
        marks = summary(snapshot)
        if _INTENT not in marks:
            return None
        run_id, mode = marks.get(RUN_ID, ""), marks.get(_MODE, "keep")
        intent = cls(lake, history, marks[COMMIT_ID], run_id, marks[_INTENT], mode, snapshot)
        return intent if intent.is_open() else None

    @property
    def snapshot(self) -> Snapshot:
        assert self.found_in is not None
        return self.found_in

    @property
    def properties(self) -> dict[str, str]:
        """The marks by which the history's snapshot names this intent."""
        return {_INTENT: self.base, _MODE: self.mode}

    def write(self, con: duckdb.DuckDBPyConnection, entries: Entries) -> None:
        """Writes the entries; the ledger's last, because they are what `exists` asks for."""
        for part, rows in (("quarantine", entries.quarantine), ("ledger", entries.ledger)):
            reader = con.execute(f"SELECT * FROM {rows}").to_arrow_reader(_BATCH_ROWS)
            with (
                self.storage.create(self._path(part)) as stream,
                pq.ParquetWriter(stream, reader.schema, write_page_checksum=True) as writer,
            ):
                for batch in reader:
                    writer.write_batch(batch)

    def exists(self) -> bool:
        return self.storage.has(self._path("ledger"))

    def is_open(self) -> bool:
        """Whether the batch is unfinished: its intent exists, or is gone although the ledger lacks the batch.

        The latter is so after a restore of the catalog. In this order: an intent is deleted after the ledger's commit.
        """
        return self.exists() or (self.found_in is not None and not self._is_accounted(self.found_in))

    def _is_accounted(self, snapshot: Snapshot) -> bool:
        """Whether the ledger shows that the batch is finished, by its commit with the intent's id."""
        seen = self.lake.seen(FILES)
        if seen is not None and seen.find(self.commit_id) is not None:
            return True  # a newer ledger has it as well
        ledger = self.lake.table(FILES)
        if ledger.find(self.commit_id) is not None:
            return True
        oldest = next(reversed(list(ledger.history())), None)
        if oldest is None or oldest.parent_snapshot_id is None:
            return False
        # The commit can have expired, unless it would be younger than one that is kept. An unfinished batch does not
        # get as old as that: each run finishes it first.
        return snapshot.timestamp_ms <= oldest.timestamp_ms

    def read(self, relations: Relations) -> Entries | None:
        """The entries that were written; None if they are gone.

        Raises UnreadableError where a file of the intent is missing or damaged.
        """
        found = {}
        for part in _PARTS:
            try:
                found[part] = self._read(relations, part)
            except Exception as error:
                if not self.exists():
                    return None
                raise UnreadableError(self.storage.identifier, self._path(part), damage(error)) from error
        return Entries(**found)

    def _read(self, relations: Relations, part: str) -> Relation:
        with self.storage.open(self._path(part)) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            rows = relations.stored(f"{part}_entries", file.schema_arrow.empty_table())
            for batch in file.iter_batches(_BATCH_ROWS):
                relations.append(rows, batch)
        return rows

    def settle(self, con: duckdb.DuckDBPyConnection, entries: Entries) -> None:
        """Puts quarantine and ledger in place, unless another run has, then deletes the intent."""
        with Relations(con) as keys:
            # The ledger comes last: an object counts as loaded only when all else is in place.
            scope = keys.view("scope", f"SELECT dataset, key AS source_file, etag FROM {entries.ledger}")
            upsert.put(
                self.lake,
                con,
                QUARANTINE,
                upsert.LINES_OF_OBJECT,
                lambda _relations, _table: entries.quarantine if self.is_open() else None,
                scope=scope,
                commit_id=self.commit_id,
                run_id=self.run_id,
            )
        self.put_ledger(con, entries.ledger)
        self.delete()

    def put_ledger(self, con: duckdb.DuckDBPyConnection, rows: Relation) -> None:
        """Puts the batch's rows into the ledger, in a commit that shows that the batch is finished."""
        upsert.put_objects(
            self.lake,
            con,
            rows,
            self.is_open,
            existing="keep" if self.mode == "keep" else "replace",
            commit_id=self.commit_id,
            run_id=self.run_id,
            always=True,
        )

    def delete(self) -> None:
        for part in _PARTS:
            with suppress(FileNotFoundError):  # another run was as fast
                if self.storage.has(self._path(part)):
                    self.storage.delete(self._path(part))

    def _path(self, part: str) -> str:
        return f"{self.base}-{part}.parquet"


def batch_mode(snapshot: Snapshot) -> str | None:
    """The mode of the batch that a history's snapshot is the commit of (see `CommitIntent`); None if it is of none."""
    marks = summary(snapshot)
    return str(marks.get(_MODE, "keep")) if _INTENT in marks else None


def folder(ledger: Table) -> str:
    """Where commit intents lie, and the lease beside them."""
    return f"{ledger.location}/{NOTES}"

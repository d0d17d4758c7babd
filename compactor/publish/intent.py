"""The note of a batch: what quarantine and ledger will say once the batch's history commit has landed.

The history's snapshot names its note. As long as the note exists the batch is unfinished; deleting it is the last
step. Notes lie under the ledger table's location, as two Parquet files: `<commit id>-ledger` and `-quarantine`.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow.parquet as pq

from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import COMMIT_ID, RUN_ID, Snapshot, Table, summary
from compactor.publish import ledger

_NOTE, _MODE = "compactor.note", "compactor.note-mode"
_PARTS = ("ledger", "quarantine")
_BATCH_ROWS = 8192


@dataclass(frozen=True)
class Note:
    """A batch's note.

    Attributes:
        mode: what its ledger rows do to those that are there: `keep` leaves them, `replace` takes their place (a
            replay's do), and so does `migrate`, whose batch has no new records: a change of the tables' shape.
    """

    lake: Lakehouse
    commit_id: str
    run_id: str
    base: str
    mode: str
    found_in: Snapshot | None = None

    @classmethod
    def new(cls, lake: Lakehouse, run_id: str, mode: Literal["keep", "replace", "migrate"]) -> Note:
        commit_id = uuid.uuid4().hex
        base = f"{lake.table(FILES).location}/notes/{commit_id}"
        return cls(lake, commit_id, run_id, base, mode)

    @classmethod
    def of(cls, lake: Lakehouse, history: Table) -> Note | None:
        """The note of the history's newest batch if that is unfinished.

        No older batch can be: nobody commits to a history before its newest batch is finished.
        """
        snapshot = history.last_commit()
        if snapshot is None:
            return None
        marks = summary(snapshot)
        if _NOTE not in marks:
            return None
        note = cls(lake, marks[COMMIT_ID], marks.get(RUN_ID, ""), marks[_NOTE], marks.get(_MODE, "keep"), snapshot)
        return note if note.exists() else None

    @property
    def snapshot(self) -> Snapshot:
        assert self.found_in is not None
        return self.found_in

    @property
    def properties(self) -> dict[str, str]:
        """The marks by which the history's snapshot names this note."""
        return {_NOTE: self.base, _MODE: self.mode}

    def write(self, con: duckdb.DuckDBPyConnection) -> None:
        """Writes `ledger_rows` and `quarantine_rows`; the ledger part last, because it is what `exists` asks for."""
        table = self.lake.table(FILES)
        for part in reversed(_PARTS):
            reader = con.execute(f"SELECT * FROM {part}_rows").to_arrow_reader(_BATCH_ROWS)
            with table.create(self._path(part)) as stream, pq.ParquetWriter(stream, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)

    def exists(self) -> bool:
        return self.lake.table(FILES).has(self._path("ledger"))

    def read(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Loads the note into `ledger_rows` and `quarantine_rows`; False if somebody has finished the batch."""
        table = self.lake.table(FILES)
        for part in _PARTS:
            try:
                with table.open(self._path(part)) as stream:
                    file = pq.ParquetFile(stream)
                    con.register("part", file.schema_arrow.empty_table())
                    con.execute(f"CREATE OR REPLACE TABLE {part}_rows AS SELECT * FROM part")
                    for batch in file.iter_batches(_BATCH_ROWS):
                        con.register("part", batch)
                        con.execute(f"INSERT INTO {part}_rows SELECT * FROM part")
                    con.unregister("part")
            except OSError:
                if self.exists():
                    raise
                return False
        return True

    def settle(self, con: duckdb.DuckDBPyConnection) -> None:
        """Puts quarantine and ledger in place, unless somebody else has, then deletes the note."""
        # The ledger comes last: an object counts as loaded only when all else is in place.
        ledger.put(
            self.lake,
            con,
            QUARANTINE,
            "quarantine_rows",
            ledger.LINES_OF_OBJECT,
            scope="(SELECT dataset, key AS source_file, etag FROM ledger_rows)",
            commit_id=self.commit_id,
            run_id=self.run_id,
            needed=self.exists,
        )
        ledger.put(
            self.lake,
            con,
            FILES,
            "ledger_rows",
            ledger.OBJECT,
            existing="keep" if self.mode == "keep" else "replace",
            commit_id=self.commit_id,
            run_id=self.run_id,
            needed=self.exists,
        )
        self.delete()

    def delete(self) -> None:
        table = self.lake.table(FILES)
        for part in _PARTS:
            with suppress(FileNotFoundError):  # somebody else was as fast
                if table.has(self._path(part)):
                    table.delete(self._path(part))

    def _path(self, part: str) -> str:
        return f"{self.base}-{part}.parquet"

"""The marks: what the tables were at the end of the last run, in a small file that no catalog holds.

A table that is gone, and an older copy of one, look sound by themselves, and so does a whole catalog that is older than
its tables. The marks differ then. They lie beside the commit intents, under the ledger's location. A mark is a lower
bound: any later commit goes beyond it, so marks that are written late or lost do no harm.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pyiceberg.io import FileIO

from compactor import diagnose
from compactor.lake.table import Table

log = logging.getLogger(__name__)

NOTES = "notes"
"""The folder of the program's own files under the ledger's location."""
_FILE = "tables.json"


@dataclass(frozen=True)
class Mark:
    """What a table was.

    Attributes:
        uuid: of the table; it stays the same as long as nobody makes the table again.
        sequence: Iceberg's last sequence number, which each commit of rows raises and none lowers.
        metadata: the name of its metadata file.
    """

    uuid: str
    sequence: int
    metadata: str

    @classmethod
    def of(cls, table: Table) -> Mark:
        metadata = table._iceberg.metadata
        name = table.metadata_location.rsplit("/", 1)[-1]
        sequence = getattr(metadata, "last_sequence_number", 0)  # a table of format v1 has none
        return cls(str(metadata.table_uuid), sequence, name)

    def is_same_table(self, now: Mark) -> bool:
        """True too for a table that had no rows yet: made again it is as good."""
        return self.uuid == now.uuid or not self.sequence

    def is_reached_by(self, now: Mark) -> bool:
        """Whether a table is this one, with all commits that it had."""
        return self.is_same_table(now) and self.sequence <= now.sequence


@dataclass(frozen=True)
class Marks:
    """The marks of a lake.

    Attributes:
        run_id: the run that wrote them.
        tables: by name.
        unmade: tables that are gone with everybody's knowledge, so that they can be made again.
    """

    run_id: str
    tables: Mapping[str, Mark]
    unmade: tuple[str, ...] = ()


def path(ledger_location: str) -> str:
    return f"{ledger_location}/{NOTES}/{_FILE}"


def is_marks(file: str) -> bool:
    return file.endswith(f"/{NOTES}/{_FILE}")


def read(io: FileIO, ledger_location: str) -> Marks | None:
    """The marks of a lake; None if there are none, or if a run was killed while it wrote them."""
    try:
        with io.new_input(path(ledger_location)).open() as stream:
            found = json.loads(bytes(stream.read()))
        tables = {str(name): Mark(**each) for name, each in found["tables"].items()}
        return Marks(str(found["run_id"]), tables, tuple(found["unmade"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(ledger: Table, marks: Marks) -> None:
    """Writes the marks. A failure is logged: the older marks, or none, are only less exact."""
    tables = {name: asdict(mark) for name, mark in sorted(marks.tables.items())}
    content = {"run_id": marks.run_id, "tables": tables, "unmade": marks.unmade}
    try:
        with ledger.create(path(ledger.location)) as stream:
            stream.write(json.dumps(content, indent=1).encode())
    except OSError as error:
        reason = diagnose.reason(error) or type(error).__name__
        log.warning(
            "cannot write %s, so that the next run may not notice a lost table: %s", path(ledger.location), reason
        )

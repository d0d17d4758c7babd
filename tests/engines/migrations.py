"""A lake with a table for each kind of migration: old files, a migration, and a night after it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactor.commands.migrate import migrate
from compactor.progress import NullProgress
from tests.support.lake import Lake
from tests.support.model import Row, parse_timestamp

Record = dict[str, Any]
TABLE = """\
dataset: {name}
kind: state
key: [thing]
order: seen
versions:
  1:
    fields:
      id: {{type: string, required: true}}
      version: {{type: long, required: true}}
      emittedAt: {{type: timestamp, required: true}}
      thing: {{type: string, required: true}}
      seen: {{type: timestamp, required: true}}
      words: string
      more: string
      number: long
      price: "decimal(10,2)"
      joined: string
      notes: map
"""
FIELDS = ("id", "version", "thing", "seen", "words", "more", "number", "price", "joined", "notes")
TIMES = ("emitted_at", "seen")


@dataclass(frozen=True)
class Kind:
    """What is added to the registry's file, and what becomes of the fields of a record."""

    text: str
    change: Callable[[Record], Record]

    @property
    def promotes(self) -> bool:
        return self.text.startswith("promote")


def _change(text: str) -> str:
    return f"  2:\n    changes:\n      - {text}\n"


def _renamed(record: Record) -> Record:
    return {("terms" if name == "words" else name): value for name, value in record.items()}


def _split(record: Record) -> Record:
    first, _, last = (record["words"] or "").partition(" ")
    parts = {"first": first or None, "last": last or None} if record["words"] else {"first": None, "last": None}
    return {name: value for name, value in record.items() if name != "words"} | parts


def _merged(record: Record) -> Record:
    given = [record[name] for name in ("words", "more") if record[name] is not None]
    kept = {name: value for name, value in record.items() if name not in ("words", "more")}
    return kept | {"place": ", ".join(given) if given else None}


KINDS = {
    "rename": Kind(_change("rename: {from: words, to: terms}"), _renamed),
    "add": Kind(_change("add: {field: channel, type: string}"), lambda record: record | {"channel": None}),
    "add_default": Kind(
        _change("add: {field: channel, type: string, default: app}"), lambda record: record | {"channel": "app"}
    ),
    "fill": Kind(
        _change("default: {field: more, value: none}"),
        lambda record: record | {"more": "none" if record["more"] is None else record["more"]},
    ),
    "widen": Kind(_change('retype: {field: price, to: "decimal(18,2)"}'), lambda record: record),
    "retype": Kind(_change("retype: {field: joined, to: timestamp}"), lambda record: record),
    "remove": Kind(
        _change("remove: {field: number}"),
        lambda record: {name: value for name, value in record.items() if name != "number"},
    ),
    "split": Kind(_change('split: {field: words, into: [first, last], separator: " "}'), _split),
    "merge": Kind(_change('merge: {fields: [words, more], into: place, separator: ", "}'), _merged),
    "promote": Kind(
        "promote:\n  - {from: notes, key: tier, column: tier, type: string}\n",
        lambda record: record | {"tier": (record["notes"] or {}).get("tier")},
    ),
}


class MigratedLake(Lake):
    """Two nights of version 1, the migration of all tables, and a night of both versions.

    `expected` is table -> rows now, `expected_before` those before the migration, `tags` the name of that snapshot.
    """

    def __init__(self, folder: Path) -> None:
        self._schemas = folder / "schemas"
        self._schemas.mkdir()
        for name in KINDS:
            (self._schemas / f"{name}.yaml").write_text(TABLE.format(name=name), encoding="utf-8")
        super().__init__(folder / "lake", schemas=self._schemas)
        self.expected: dict[str, list[Row]] = {}
        self.expected_before: dict[str, list[Row]] = {}
        self.tags: dict[str, str] = {}

    def fill(self) -> None:
        for night in range(2):
            self._deliver(night, [_record(number, night) for number in range(night * 5, 10 + night * 5)])
        old = {f"t{n}": _record(n, night) for night in range(2) for n in range(night * 5, 10 + night * 5)}
        new = {f"t{n}": _record(n, 2) for n in range(12, 20)}
        for name, kind in KINDS.items():
            self.expected_before[name] = [_row(record, name=None) for record in old.values()]
            path = self._schemas / f"{name}.yaml"
            text = path.read_text()
            path.write_text(text.replace("versions:", f"{kind.text}versions:") if kind.promotes else text + kind.text)
        super().__init__(self.folder, schemas=self._schemas)
        assert migrate.apply(self.config, self.registry, plan_id=None, progress=NullProgress()).exit_code == 0
        for name, kind in KINDS.items():
            version = 1 if kind.promotes else 2
            shaped = [record if kind.promotes else kind.change(record) for record in new.values()]
            lines = [record | {"version": version} for record in shaped]
            self._deliver(2, lines, only=name)
            newest = {thing: kind.change(record) for thing, record in old.items()}
            newest |= {thing: {**kind.change(record), "version": version} for thing, record in new.items()}
            self.expected[name] = [_row(record, name) for record in newest.values()]
            refs = self.tables.load_iceberg(name).metadata.refs
            self.tags[name] = next((ref for ref in refs if ref.startswith("before-")), "")

    def _deliver(self, night: int, records: list[Record], only: str | None = None) -> None:
        lines = [
            json.dumps({key: value for key, value in record.items() if value is not None}).encode()
            for record in records
        ]
        for name in [only] if only else KINDS:
            self.deliver_unmodelled(name, lines, hour=f"2026-11-0{night + 1}T05", part="a")
        self.compact()


def _record(number: int, night: int) -> Record:
    return {
        "id": f"r{night}-{number}",
        "version": 1,
        "emittedAt": "2026-11-01T05:00:00Z",
        "thing": f"t{number}",
        "seen": f"2026-11-0{night + 1}T05:00:00Z",
        "words": [None, "Zoë", "one two three"][number % 3],
        "more": [None, "more"][number % 2],
        "number": number,
        "price": number + 0.25,
        "joined": None if number % 4 == 3 else f"2026-01-{number + 1:02d}T00:00:00.5+01:00",
        "notes": {"tier": "gold", "other": "x"} if number % 2 else {"other": None},
    }


def _row(record: Record, name: str | None) -> Row:
    """The row of a record with the columns that the table `name` has after its migration; None: before it."""
    row = {re.sub("([A-Z])", r"_\1", key).lower(): value for key, value in record.items()} | {"extra": {}}
    for column in (*TIMES, *(["joined"] if name == "retype" else [])):
        row[column] = None if row[column] is None else parse_timestamp(row[column])
    return row

"""The lakes that the engines read: written by `compact` night by night, with a model that says what must be in them.

Everything is seeded or written out by hand, so an engine meets the same files on each run.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from tests.support.histories import History
from tests.support.lake import KEYS, SCHEMAS, Lake
from tests.support.model import DATASETS, ENVELOPE, Dataset, Model, Row

ODD_TEXTS = (
    "",
    " ",
    "Zoë Łukasz",
    "👩‍👩‍👧‍👦🏟️",
    "مرحبا \u202eabc\u202c",
    "e\u0301 é",
    "日本語",
    "'\"`\\;--",
    "tab\there, bell\u0007, unit\u001f, line\nend",
    "\ufeffbom\uffff",
    "%_*?[a]",
    "NULL",
    "x" * 3000,
)
ODD_TIMES = (
    "0001-01-03T00:00:00Z",  # two days after the first of Python's: an engine's zone may not push it over
    "1582-10-04T12:00:00Z",  # around the day on which calendars part
    "1582-10-15T00:00:00.5Z",
    "1899-12-31T23:59:59.999999Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "2026-03-29T01:30:00.123456+01:00",
    "2026-11-01T05:00:00.000001Z",
    "2262-04-11T23:47:16.854776Z",  # one microsecond after the last that nanoseconds in 64 bits reach
    "2300-01-01T00:00:00.000001Z",
    "9999-12-30T23:59:59.999999Z",
)
VISITS = """\
dataset: visits
kind: state
key: [visit]
order: visited_at
tables:
  current: {partition: month(visited_at), sort: [visit]}
promote:
  - {from: traits, key: loyaltyTier, column: loyalty_tier, type: string}
  - {from: extra, key: gate, column: gate, type: long}
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      visit: {type: string, required: true}
      visitedAt: {type: timestamp, required: true}
      seat: long
      share: double
      price: "decimal(18,4)"
      member: boolean
      born: date
      traits: map
"""
_VISITS = Dataset(
    fields={"id": ENVELOPE["id"], "emittedAt": ENVELOPE["emittedAt"]}
    | {"visit": ("visit", "string"), "visitedAt": ("visited_at", "timestamp")}
    | {"seat": ("seat", "long"), "share": ("share", "double"), "price": ("price", "decimal(18,4)")}
    | {"member": ("member", "boolean"), "born": ("born", "date"), "traits": ("traits", "map")},
    key=("visit",),
    order="visitedAt",
    optional=("seat", "share", "price", "member", "born", "traits"),
)


class OddLake(Lake):
    """Three nights of all datasets, and a fifth that has each type there is, two promoted columns and odd values.

    `expected(table)` are the rows that a table must have, lineage apart. `before` are the snapshots that the tables had
    after the second night, and `expected_before` what was in the current ones then.
    """

    def __init__(self, folder: Path) -> None:
        schemas = folder / "schemas"
        shutil.copytree(SCHEMAS, schemas)
        (schemas / "visits.yaml").write_text(VISITS, encoding="utf-8")
        super().__init__(folder / "lake", schemas=schemas)
        self.model = Model({**DATASETS, "visits": _VISITS})

    def fill(self) -> None:
        """All nights. The third changes and deletes rows of files that the first two wrote."""
        history = History(11, entities=40, days=5, replaces=False)
        visits = list(_visits(random.Random(5)))
        for night in range(3):
            for delivery in history.night(400):
                self.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
            hour = f"2026-11-0{night + 1}T06"
            self.deliver("visits", visits[night::3], hour=hour, part="visits")
            self.compact(full_scan=True)
            if night == 1:
                self.before = {name: self.snapshot(name) for name in self.record_tables}
                self.expected_before = {name: self.expected(name) for name in self.record_tables}

    def snapshot(self, table: str) -> int:
        return int(self.tables.load_iceberg(table).metadata.current_snapshot_id or 0)

    def expected(self, table: str) -> list[Row]:
        """The rows of a table of records, as the model has them."""
        dataset = table.removesuffix("_history")
        rows = self.model.current(dataset) if table == dataset else self.model.history(dataset)
        return [_promoted(row) if dataset == "visits" else row for row in rows.values()]


def file_days(lake: Lake, table: str) -> dict[date, int]:
    """The data files of a table that is partitioned by day: how many each day has."""
    found = lake.tables.load_iceberg(table).inspect.files().to_pylist()
    return Counter(next(iter(file["partition"].values())) for file in found)


class SortedLake(Lake):
    """Four thousand fans in one partition, whose files are parts of their order: a lookup needs one of them."""

    def __init__(self, folder: Path) -> None:
        schemas = folder / "schemas"
        shutil.copytree(SCHEMAS, schemas)
        file = schemas / "fan_profiles.yaml"
        file.write_text(file.read_text().replace("current: {partition: day(updated_at)", "current: {partition: none"))
        super().__init__(folder / "lake", schemas=schemas, settings="tables: {target_file_bytes: 64KiB}\n")

    def fill(self) -> None:
        chance = random.Random(3)
        fans = [f"{chance.getrandbits(128):032x}" for _ in range(4000)]
        record = {"version": 1, "emittedAt": "2026-11-01T05:00:00Z", "updatedAt": "2026-11-01T05:00:00Z"}
        lines = [
            json.dumps(record | {"id": f"p{n}", "roverID": fan, "traits": {"n": n}}).encode()
            for n, fan in enumerate(fans)
        ]
        self.deliver("fan_profiles", lines)
        self.compact()


KEYS.setdefault("visits", ("visit",))


def _promoted(row: Row) -> Row:
    gate = row["extra"].get("gate")
    return row | {
        "loyalty_tier": (row["traits"] or {}).get("loyaltyTier"),
        "gate": None if gate is None else int(gate),
    }


def _visits(chance: random.Random) -> Iterator[bytes]:
    """Records with each odd text and time, and ordinary ones; each visit comes three times, corrected each time."""
    numbers = iter(range(10**6))

    def record(visit: str, at: str, **fields: Any) -> bytes:
        given = {"id": f"v{next(numbers)}", "version": 1, "emittedAt": "2026-11-01T05:00:00Z"}
        given |= {"visit": visit, "visitedAt": at}
        text = json.dumps(given | fields, ensure_ascii=False)
        return text.replace('"=', "").replace('="', "").encode()  # a number that no float holds

    odd = [(text, "2026-11-02T05:00:00Z") for text in ODD_TEXTS] + [("time", at) for at in ODD_TIMES]
    for number, (text, at) in enumerate(odd):
        yield record(
            f"odd-{number}-{text[:20]}",
            at,
            seat=chance.choice([0, -1, 2**63 - 1, -(2**63), 7]),
            share=chance.choice([0.0, 0.1, -1e300, 5e-324, 1 / 3]),
            price=chance.choice([0, "=-99999999999999.9999=", 0.0001, 12.5]),
            member=chance.choice([True, False]),
            born=chance.choice(["0001-01-01", "1969-12-31", "2000-02-29", "9999-12-31"]),
            traits={"loyaltyTier": text, text or "empty": "odd key", "none": None, "list": [1, {"a": text}]},
            gate=number,
            note=text,
        )
    yield record("nulls", "2026-11-02T05:00:00Z")
    yield record("empty", "2026-11-02T05:00:00Z", traits={})
    for turn in range(3):
        for number in range(30):
            yield record(
                f"visit-{number}",
                f"2026-{9 + turn}-{number % 9 + 1:02d}T0{turn}:00:00Z".replace("2026-9", "2026-09"),
                seat=number * 10 + turn,
                share=number / 7,
                price=number + turn / 4,
                member=number % 2 == 0,
                born=f"19{number + 30}-01-0{turn + 1}",
                traits={"loyaltyTier": chance.choice(["gold", "silver", None]), "turn": turn},
                **({"gate": number} if number % 3 else {}),
            )

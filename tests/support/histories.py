"""Random histories of deliveries: what a source can do to a lake, from a seed.

A history is a list of deliveries, each some lines for one object of one dataset. It has what at-least-once delivery
and people bring about, by name in `KINDS`. Two more kinds are deliveries of their own: a snapshot that is run again
(the state of a dataset as it was a while ago, the same ids emitted anew), and a key that is replaced.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.lake import Lake

DATASETS = ("fan_profiles", "fan_identity_graph", "fan_profile_merges", "fan_track_events")
GARBAGE = (b"{", b"[]", b'{"id":"x"}', b"\xff\xfe", b'{"id":"g","version":7}', b"nonsense", b'{"id":1,"version":1}')
SNAPSHOT, REPLACED = "snapshot rerun", "replaced key"

# kind of a line -> how often it comes
KINDS = {
    "new": 43,
    "delete": 10,  # of a dataset that has none: a new one
    "late": 5,  # older than all that came before
    "same order value": 7,  # another record of an entity, at the same time
    "duplicate": 11,
    "duplicate in other words": 5,  # the same record, its fields in another order
    "re-emitted": 5,  # the same id and content, emitted at another time: the earlier stays
    "other content": 5,  # the same id and time: the smaller canonical JSON stays
    "garbage": 6,
    "blank": 3,
}
_ORDER = {
    "fan_profiles": "updatedAt",
    "fan_identity_graph": "updatedAt",
    "fan_profile_merges": "mergedAt",
    "fan_track_events": "occurredAt",
}
_KEY = {
    "fan_profiles": ("roverID",),
    "fan_identity_graph": ("identifierType", "identifierValue"),
    "fan_profile_merges": ("fromRoverID",),
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    """One object: `lines` under a key that `hour` and `part` make. The same key again replaces the object."""

    dataset: str
    hour: str
    part: str
    lines: tuple[bytes, ...]


def size_of(seed: int, least: int = 10, most: int = 2_000) -> int:
    """How many lines a history has: most seeds give few, some give many (uniform in the logarithm)."""
    return round(math.exp(random.Random(seed).uniform(math.log(least), math.log(most))))


class History:
    """Deliveries from a seed. `entities` and `days` are small, so that records meet.

    `replaces` lets a key of an earlier call be replaced: only where each call's objects are surely loaded, because
    what was replaced before anybody read it was not delivered. `kinds` counts what has come so far, by name.
    """

    def __init__(
        self,
        seed: int,
        *,
        datasets: tuple[str, ...] = DATASETS,
        entities: int = 6,
        days: int = 4,
        replaces: bool = True,
    ) -> None:
        self._replaces = replaces
        self._random = random.Random(seed)
        self._datasets = datasets
        self._entities = entities
        self._days = days
        self._sent: dict[str, list[Record]] = {dataset: [] for dataset in datasets}
        self._keys: list[tuple[str, str, str]] = []
        self._parts = 0
        self.kinds: Counter[str] = Counter()

    def deliveries(self, count: int, lines: int) -> Iterator[Delivery]:
        """`count` deliveries of 1 to `lines` lines each."""
        yield from self._deliveries([self._random.randint(1, lines) for _ in range(count)])

    def night(self, lines: int) -> Iterator[Delivery]:
        """A few deliveries of `lines` lines in all."""
        cuts = sorted(self._random.sample(range(1, lines), min(self._random.randrange(6), lines - 1)))
        yield from self._deliveries([stop - start for start, stop in zip([0, *cuts], [*cuts, lines], strict=True)])

    def of_kind(self, kind: str, lines: int) -> Delivery:
        """A delivery of one kind of lines alone; what needs earlier records is new as long as there are none."""
        dataset, hour, part = self._place()
        if kind == SNAPSHOT:
            dataset = self._random.choice([name for name in self._datasets if name in _KEY])
            return Delivery(dataset, hour, part, self._snapshot(dataset, lines) or (self._line(dataset, "new"),))
        return Delivery(dataset, hour, part, tuple(self._line(dataset, kind) for _ in range(lines)))

    def _deliveries(self, sizes: list[int]) -> Iterator[Delivery]:
        known = list(dict.fromkeys(self._keys)) if self._replaces else []
        kinds, weights = list(KINDS), list(KINDS.values())
        for size in sizes:
            place = self._place()
            if known and self._random.random() < 0.15:
                place = known.pop(self._random.randrange(len(known)))
                self.kinds[REPLACED] += 1
            self._keys.append(place)
            dataset = place[0]
            lines = self._snapshot(dataset, size) if dataset in _KEY and self._random.random() < 0.15 else ()
            rest = self._random.choices(kinds, weights, k=size - len(lines))
            yield Delivery(*place, (*lines, *(self._line(dataset, kind) for kind in rest)))

    def _place(self) -> tuple[str, str, str]:
        hour = f"2026-11-{self._random.randint(1, 3):02d}T{self._random.randint(0, 23):02d}"
        self._parts += 1
        return self._random.choice(self._datasets), hour, f"p{self._parts:04d}"

    def _snapshot(self, dataset: str, most: int) -> tuple[bytes, ...]:
        """The rows that the source had a while ago, `most` at most, each with its own id and emitted today."""
        sent = self._sent[dataset]
        state: dict[tuple[str, ...], Record] = {}
        for record in sorted(
            sent[: self._random.randint(0, len(sent))], key=lambda record: _moment_of(dataset, record)
        ):
            state[tuple(record[name] for name in _KEY[dataset])] = record
        rows = [record for record in state.values() if record.get("operation") != "delete"][:most]
        self.kinds[SNAPSHOT] += bool(rows)
        return tuple(_text({**record, "emittedAt": self._today()}) for record in rows)

    def _line(self, dataset: str, kind: str) -> bytes:
        sent = self._sent[dataset]
        if not sent and kind not in ("delete", "garbage", "blank"):
            kind = "new"
        if kind == "delete" and dataset != "fan_identity_graph":
            kind = "new"
        self.kinds[kind] += 1
        if kind == "garbage":
            return self._random.choice(GARBAGE)
        if kind == "blank":
            return self._random.choice((b"", b"  "))
        if kind in ("new", "delete", "late", "same order value"):
            record = self._record(dataset)
            if kind == "delete":
                record["operation"] = "delete"
            elif kind == "late":
                record["emittedAt"] = record[_ORDER[dataset]] = f"2026-09-{self._random.randint(1, 30):02d}T00:00:00Z"
            elif kind == "same order value":
                twin = self._random.choice(sent)
                record |= {name: twin[name] for name in (*_KEY.get(dataset, ()), _ORDER[dataset])}
            sent.append(record)
            return _text(record)
        return self._again(dataset, kind, dict(self._random.choice(sent)))

    def _again(self, dataset: str, kind: str, record: Record) -> bytes:
        if kind == "duplicate in other words":
            names = list(record)
            self._random.shuffle(names)
            return json.dumps({name: record[name] for name in names}, indent=None).encode()
        if kind == "other content":
            record["note"] = self._random.choice(["a", "b", 1, 2.5, None, {"x": [1]}])
        elif kind == "re-emitted":
            record["emittedAt"] = self._moment()
            if self._random.random() < 0.5:  # a source that makes its ids badly
                record[self._random.choice(list(dict.fromkeys(("updatedAt", _ORDER[dataset]))))] = self._time()
        return _text(record)

    def _record(self, dataset: str) -> Record:
        fan = f"fan-{self._random.randrange(self._entities)}"
        record: Record = {
            "id": f"id-{self._random.randrange(10**9)}",
            "version": 1,
            "roverID": fan,
            "emittedAt": self._moment(),
        }
        if dataset == "fan_profiles":
            record |= {"updatedAt": self._time(), "traits": self._object()}
        elif dataset == "fan_identity_graph":
            record |= {
                "identifierType": self._random.choice(["email", "phone"]),
                "identifierValue": f"value-{self._random.randrange(self._entities)}",
                "operation": "upsert",
                "updatedAt": self._time(),
            }
        elif dataset == "fan_profile_merges":
            record |= {"fromRoverID": fan, "toRoverID": f"fan-{self._random.randrange(99)}", "mergedAt": self._time()}
        else:
            record |= {"event": "App Opened", "occurredAt": self._time(), "attributes": self._object(), "device": {}}
        if self._random.random() < 0.1:
            record["unknown"] = self._random.choice([1, "x", None, [1, {"a": 2}]])
        return record

    def _time(self) -> str:
        return self._moment().removesuffix("Z") + self._random.choice(["Z", ".000Z", "+00:00", ".000001Z"])

    def _moment(self) -> str:
        # Few times, so that entities have records at the same one.
        return f"2026-10-{self._random.randint(1, self._days):02d}T{self._random.randint(0, 5):02d}:00:00Z"

    def _today(self) -> str:
        return f"2026-11-{self._random.randint(1, 3):02d}T{self._random.randint(0, 23):02d}:30:00Z"

    def _object(self) -> dict[str, Any]:
        values = ["gold", "ö", 1, 2.5, True, None, "", "5", {"n": [1]}, 10**20]
        return {f"k{n}": self._random.choice(values) for n in range(self._random.randrange(4))}


def nights(seed: int, datasets: tuple[str, ...]) -> Iterator[Iterator[Delivery]]:
    """A history of 10 to 2,000 lines, in two to four nights."""
    history, size = History(seed, datasets=datasets), size_of(seed)
    count = 2 + (seed % 4 == 0) + (seed % 8 == 0)
    for number in range(count):
        yield history.night(size * (number + 1) // count - size * number // count)


def deliver(lake: Lake, delivery: Delivery) -> None:
    lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


def _moment_of(dataset: str, record: Record) -> tuple[str, str]:
    """What a source sorts by: all times are of one form but for their ends."""
    return record[_ORDER[dataset]].removesuffix("Z").removesuffix("+00:00"), record["id"]


def _text(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()

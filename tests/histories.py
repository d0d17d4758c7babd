"""Random histories of deliveries: what a source can do to a lake, from a seed.

A history is a list of deliveries, each some lines for one object of one dataset. It has what at-least-once delivery
and people bring about: records delivered again, in other words, late, out of order; deletes and what comes after
them; records of one id with other content, earlier or at the same time; one entity's records at the same moment;
keys replaced; garbage between good lines.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DATASETS = ("fan_profiles", "fan_identity_graph", "fan_profile_merges", "fan_track_events")
GARBAGE = (b"{", b"[]", b'{"id":"x"}', b"\xff\xfe", b'{"id":"g","version":7}', b"nonsense", b'{"id":1,"version":1}')


@dataclass(frozen=True)
class Delivery:
    """One object: `lines` under a key that `hour` and `part` make. The same key again replaces the object."""

    dataset: str
    hour: str
    part: str
    lines: tuple[bytes, ...]


class History:
    """Deliveries from a seed. `entities` and `days` are small, so that records meet.

    `replaces` lets a key of an earlier call be replaced: only where each call's objects are surely loaded, because
    what was replaced before anybody read it was not delivered.
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
        self._sent: dict[str, list[dict[str, Any]]] = {dataset: [] for dataset in datasets}
        self._keys: list[tuple[str, str, str]] = []
        self._parts = 0

    def deliveries(self, count: int, lines: int) -> Iterator[Delivery]:
        """`count` deliveries of 1 to `lines` lines each."""
        known = list(self._keys) if self._replaces else []
        for _ in range(count):
            dataset = self._random.choice(self._datasets)
            hour = f"2026-11-{self._random.randint(1, 3):02d}T{self._random.randint(0, 23):02d}"
            self._parts += 1
            place = (dataset, hour, f"p{self._parts:04d}")
            if known and self._random.random() < 0.15:
                place = known.pop(self._random.randrange(len(known)))
            self._keys.append(place)
            dataset = place[0]
            yield Delivery(*place, tuple(self._line(dataset) for _ in range(self._random.randint(1, lines))))

    def _line(self, dataset: str) -> bytes:
        chance = self._random.random()
        sent = self._sent[dataset]
        if chance < 0.08:
            return self._random.choice((*GARBAGE, b"", b"  "))
        if sent and chance < 0.35:
            return self._again(dict(self._random.choice(sent)))
        record = self._record(dataset)
        sent.append(record)
        return _text(record)

    def _again(self, record: dict[str, Any]) -> bytes:
        """A record that was sent before: as it was, in other words, or with other content under its id."""
        chance = self._random.random()
        if chance < 0.4:
            return _text(record)
        if chance < 0.6:
            names = list(record)
            self._random.shuffle(names)
            return json.dumps({name: record[name] for name in names}, indent=None).encode()
        if chance < 0.8:  # the same id and time, other content: the smaller canonical JSON stays
            record["note"] = self._random.choice(["a", "b", 1, 2.5, None, {"x": [1]}])
        else:  # the same id, emitted at another time: the earlier stays
            record["emittedAt"] = self._moment()
            record[self._random.choice(["updatedAt", "mergedAt", "occurredAt"])] = self._time()
        return _text(record)

    def _record(self, dataset: str) -> dict[str, Any]:
        fan = f"fan-{self._random.randrange(self._entities)}"
        record: dict[str, Any] = {
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
                "operation": self._random.choice(["upsert", "upsert", "delete"]),
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
        # Few moments, so that entities have records at the same one.
        return f"2026-10-{self._random.randint(1, self._days):02d}T{self._random.randint(0, 5):02d}:00:00Z"

    def _object(self) -> dict[str, Any]:
        values = ["gold", "ö", 1, 2.5, True, None, "", "5", {"n": [1]}, 10**20]
        return {f"k{n}": self._random.choice(values) for n in range(self._random.randrange(4))}


def _text(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()

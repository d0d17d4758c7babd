"""The fans of a sample export, their changes, and the records of these. All of it is invented."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sample_feed import DAY, SECOND, Record, digest, stamp

TEAMS = ("Harbour Otters", "Granite Owls", "Château Hérons", "Paper Tigers FC")
TIERS = ("bronze", "silver", "gold", "platinum")
FIRST_NAMES = ("Pim", "Zoë", "Bramble", "Quill", "Łucja", "Juniper")
EVENTS = ("App Opened", "App Closed", "Experience Viewed", "Message Sent", "Message Opened", "Message Clicked")
DEVICES = (
    {"platform": "iOS", "model": "Samplephone 12", "osVersion": "26.1", "appVersion": "8.4.0", "screenWidth": 390},
    {"platform": "Android", "model": "Pretend P5", "osVersion": "16", "appVersion": "8.4.0", "screenWidth": 412},
    {"platform": "Android", "model": "Pretend Tab", "osVersion": "15", "appVersion": "8.3.2", "rooted": None},
)


@dataclass(slots=True)
class Fan:
    """A fan, as in the newest profile record. `updated`: milliseconds since 1970."""

    number: int
    rover_id: str
    traits: dict[str, Any]
    updated: int
    record_id: str
    identifiers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tie:
    """The newest record of one identifier."""

    kind: str
    value: str
    rover_id: str
    updated: int
    record_id: str
    live: bool = True

    def record(self, emitted: int) -> Record:
        return {
            "id": self.record_id,
            "version": 1,
            "roverID": self.rover_id,
            "emittedAt": stamp(emitted),
            "identifierType": self.kind,
            "identifierValue": self.value,
            "operation": "upsert" if self.live else "delete",
            "updatedAt": stamp(self.updated),
        }


class World:
    """The state of all fans at one time, and the changes to it.

    `active`: the fans that are not merged into another. Memory grows with fans and identifiers, never with events.
    """

    def __init__(self, seed: int) -> None:
        self.active: list[Fan] = []
        self.fans = 0
        self.ties: dict[tuple[str, str], Tie] = {}
        self.merges: list[Record] = []
        self._seed = seed
        self._rng = random.Random(f"{seed}:world")
        self._serial = 0
        self._untied: deque[Tie] = deque(maxlen=100)

    def new_id(self) -> str:
        self._serial += 1
        return digest(self._seed, self._serial)

    def some_fan(self) -> Fan:
        """A random active fan. Some fans are much more active than others."""
        return self.active[int(len(self.active) * self._rng.random() ** 2)]

    def sign_up(self, at: int) -> Fan:
        """Adds a fan with traits and one to three identifiers."""
        rng, number = self._rng, self.fans
        traits: dict[str, Any] = {
            "firstName": rng.choice(FIRST_NAMES),
            "lastName": f"Example-{number}",
            "loyaltyTier": rng.choice(TIERS),
            "favourite team": rng.choice(TEAMS),
            "lifetimeSpend": round(rng.random() * 900, 2),
            "seasonTickets": rng.randint(0, 4),
            "pushOptIn": rng.random() < 0.7,
            "emailOptIn": rng.choice((True, False, None)),
        }
        fan = Fan(number, str(uuid.UUID(digest(self._seed, "fan", number))), traits, at, self.new_id())
        self.active.append(fan)
        self.fans += 1
        self._tie(fan, "email", f"fan{number}@example.com", at)
        if rng.random() < 0.6:
            self._tie(fan, "phone", f"+999{number:09d}", at)  # no country has the code 999
        if rng.random() < 0.4:
            self._tie(fan, "memberNumber", f"M-{number:07d}", at)
        return fan

    def profile(self, fan: Fan, emitted: int) -> Record:
        return {
            "id": fan.record_id,
            "version": 1,
            "roverID": fan.rover_id,
            "emittedAt": stamp(emitted),
            "updatedAt": stamp(fan.updated),
            "traits": dict(fan.traits),  # a copy: the record may be delivered after the fan has changed again
        }

    def ties_of(self, fan: Fan) -> Iterator[Tie]:
        return (self.ties[identifier] for identifier in fan.identifiers)

    def change_traits(self, fan: Fan, at: int) -> None:
        """Sets a trait, sets one to null, or removes one."""
        rng, traits = self._rng, fan.traits
        change = rng.random()
        if change < 0.2 and traits:
            del traits[rng.choice(sorted(traits))]
        elif change < 0.3:
            traits[rng.choice(("loyaltyTier", "emailOptIn"))] = None
        elif change < 0.6:
            traits["loyaltyTier"] = rng.choice(TIERS)
        else:
            traits["lifetimeSpend"] = round((traits.get("lifetimeSpend") or 0) + rng.random() * 80, 2)
        fan.updated, fan.record_id = at, self.new_id()

    def change_identifiers(self, fan: Fan, at: int) -> Tie:
        """Unlinks one of the fan's identifiers, or links another: a new one, or one that was unlinked from somebody."""
        change = self._rng.random()
        if change < 0.5 and fan.identifiers:
            kind, value = fan.identifiers.pop(self._rng.randrange(len(fan.identifiers)))
            tie = Tie(kind, value, fan.rover_id, at, self.new_id(), live=False)
            self._untied.append(tie)
            return self._newest(tie)
        if change < 0.6 and self._untied:
            untied = self._untied.popleft()
            return self._tie(fan, untied.kind, untied.value, at)
        return self._tie(fan, "email", f"fan{fan.number}.{self._serial}@example.com", at)

    def merge(self, at: int) -> tuple[Record, list[Tie]] | None:
        """Merges a fan into another, who gets the identifiers. None if too few fans are left."""
        if len(self.active) <= max(2, self.fans // 2):
            return None
        gone = self.active.pop(self._rng.randrange(len(self.active)))
        into = self.some_fan()
        return self.merged(gone.rover_id, into, at), [self._tie(into, *pair, at) for pair in gone.identifiers]

    def merged(self, from_rover_id: str, into: Fan, at: int) -> Record:
        record = {
            "id": self.new_id(),
            "version": 1,
            "roverID": into.rover_id,
            "emittedAt": stamp(at),
            "fromRoverID": from_rover_id,
            "toRoverID": into.rover_id,
            "mergedAt": stamp(at),
        }
        self.merges.append(record)
        return record

    def event(self, fan: Fan, at: int, *, late: bool, newer_app: bool) -> Record:
        """An event just before `at` or, if `late`, days before. A newer app sends one field more, unannounced."""
        rng = self._rng
        occurred = at - (rng.randint(1 * DAY, 5 * DAY) if late else int(rng.random() * 30 * SECOND))
        name = EVENTS[int(rng.random() * len(EVENTS))]
        attributes: dict[str, Any]
        if name.startswith("Experience"):
            attributes = {"name": "Gate Guide", "screen": {"name": "Start", "index": 0}, "tags": ["match", "été"]}
        elif name.startswith("Message"):
            attributes = {"messageID": f"msg-{self._serial % 40}", "channel": "push", "campaign": None, "test": False}
        else:
            attributes = {"source": "icon", "launchCount": self._serial % 90, "coldStart": rng.random() < 0.3}
        record: Record = {
            "id": self.new_id(),
            "version": 1,
            "roverID": fan.rover_id,
            "emittedAt": stamp(at),
            "event": name,
            "occurredAt": stamp(occurred),
            "attributes": attributes,
            "device": DEVICES[fan.number % len(DEVICES)],
        }
        if newer_app:
            record["sessionID"] = f"s-{fan.number}-{occurred // DAY}"
        return record

    def _tie(self, fan: Fan, kind: str, value: str, at: int) -> Tie:
        fan.identifiers.append((kind, value))
        return self._newest(Tie(kind, value, fan.rover_id, at, self.new_id()))

    def _newest(self, tie: Tie) -> Tie:
        """Keeps the newest record of an identifier: of two in the same millisecond, the one with the greater id."""
        known = self.ties.get((tie.kind, tie.value))
        if known is None or (known.updated, known.record_id) < (tie.updated, tie.record_id):
            self.ties[tie.kind, tie.value] = tie
        return tie

"""Seeded fans who change, merge, tie identifiers and do things; and in plain Python what each view must answer.

Times crowd around midnight UTC, so that a day taken in another zone shows. Merges make chains, cycles and loops.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

Record = dict[str, Any]
Row = dict[str, Any]

MIDNIGHT = datetime(2026, 11, 2, tzinfo=UTC)
AS_OF = date(2026, 11, 2)
CHAIN, CYCLE, LEAD = 16, 8, 8  # what canonical_fans promises


class Fans:
    """The records of four datasets, by dataset, each with an id of its own."""

    def __init__(self, seed: int, fans: int = 40) -> None:
        self._random = random.Random(seed)
        self.ids = [f"fan-{number:03d}" for number in range(fans)]
        self.records: dict[str, list[Record]] = defaultdict(list)
        for fan in self.ids:
            for _ in range(self._random.randint(1, 4)):
                self._put("fan_profiles", fan, "updatedAt", traits=self._traits())
        for _ in range(fans * 3):
            kind, number = self._random.choice(("email", "phone")), self._random.randrange(fans)
            operation = self._random.choice(("upsert", "upsert", "delete", None))
            fields = {"identifierType": kind, "identifierValue": f"{kind}-{number}"}
            if operation:
                fields["operation"] = operation
            self._put("fan_identity_graph", self._fan(), "updatedAt", **fields)
        for _ in range(fans):
            into = self._random.choice([self._fan(), self._fan(), self._fan(), None])
            self._put("fan_profile_merges", self._fan(), "mergedAt", fromRoverID=self._fan(), toRoverID=into)
        for _ in range(fans * 10):
            name = self._random.choice(("App Opened", "Message Sent", "Message Opened", "Message Clicked", None))
            message = {"messageID": f"m{self._random.randrange(5)}", "campaign": self._random.choice((None, "c1"))}
            attributes = self._random.choice((message, message, {}, {"source": "icon"}))
            self._put(
                "fan_track_events", self._fan(), "occurredAt", event=name, attributes=attributes, device={"os": "x"}
            )

    def _fan(self) -> str:
        return self._random.choice(self.ids)

    def _traits(self) -> dict[str, Any]:
        return {
            name: self._random.choice(("a", "é", None))
            for name in ("loyaltyTier", "team")
            if self._random.random() < 0.7
        }

    def _put(self, dataset: str, fan: str, order: str, **fields: Any) -> None:
        # Few times, so that some records of an entity share one.
        moment = MIDNIGHT + timedelta(
            days=self._random.randint(-2, 2), minutes=self._random.choice((-301, -1, 0, 1, 299))
        )
        number = sum(map(len, self.records.values()))
        record = {"id": f"r{self._random.randrange(10**6):06d}-{number}", "version": 1, "roverID": fan}
        at = moment.isoformat().replace("+00:00", "Z")
        self.records[dataset].append(record | {"emittedAt": at, order: at} | fields)

    def lines(self, dataset: str) -> list[bytes]:
        return [json.dumps(record, ensure_ascii=False).encode() for record in self.records[dataset]]


def canonical(edges: Mapping[str, str], fan: str) -> tuple[str, bool]:
    """Whom `fan` stands for by a walk to the end, and whether the view's limits suffice to see it."""
    walk = [fan]
    while walk[-1] in edges and edges[walk[-1]] not in walk:
        walk.append(edges[walk[-1]])
    if walk[-1] not in edges:
        return walk[-1], len(walk) - 1 <= CHAIN
    lead = walk.index(edges[walk[-1]])
    return min(walk[lead:]), len(walk) - lead <= CYCLE and lead <= LEAD


def answers(records: Mapping[str, Sequence[Record]]) -> dict[str, list[Row]]:
    """The rows of each view, but for `loaded_records` and the columns of lineage, which depend on the objects."""
    profiles, ties, merges, events = (
        records[name] for name in ("fan_profiles", "fan_identity_graph", "fan_profile_merges", "fan_track_events")
    )
    merged = _newest(merges, ("fromRoverID",), "mergedAt")
    edges = {each["fromRoverID"]: each["toRoverID"] for each in merged if each["toRoverID"] is not None}
    stands_for = {fan: canonical(edges, fan) for fan in edges}

    def root(fan: str) -> str:
        return stands_for[fan][0] if fan in stands_for else fan

    tied = defaultdict(list)
    for each in _newest(ties, ("identifierType", "identifierValue"), "updatedAt"):
        if each.get("operation") != "delete":
            tied[root(each["roverID"])].append(f"{each['identifierType']}: {each['identifierValue']}")
    done = [
        {
            "id": each["id"],
            "rover_id": each["roverID"],
            "canonical_rover_id": root(each["roverID"]),
            "event": each["event"],
            "occurred_at": _time(each["occurredAt"]),
            "day": _time(each["occurredAt"]).date(),
            "attributes": each["attributes"],
            "device": each["device"],
            "emitted_at": _time(each["emittedAt"]),
        }
        for each in events
    ]
    return {
        "canonical_fans": [
            {"rover_id": fan, "canonical_rover_id": found, "settled": settled}
            for fan, (found, settled) in stands_for.items()
        ],
        "canonical_events": done,
        "current_fans": [
            {
                "rover_id": each["roverID"],
                "traits": each["traits"],
                "updated_at": _time(each["updatedAt"]),
                "identifiers": sorted(tied[each["roverID"]]) or None,
                "identifier_count": len(tied[each["roverID"]]),
            }
            for each in _newest(profiles, ("roverID",), "updatedAt")
            if root(each["roverID"]) == each["roverID"]
        ],
        "daily_active_fans": [
            {
                "day": day,
                "active_fans": len({each["canonical_rover_id"] for each in done if each["day"] == day}),
                "events": sum(each["day"] == day for each in done),
            }
            for day in {each["day"] for each in done}
        ],
        "message_funnel": _funnel(done),
        "fan_story": list(_story(records)),
        "fan_profiles_periods": _periods(
            profiles, ("roverID",), "updatedAt", {"roverID": "rover_id", "traits": "traits"}
        ),
        "fan_identity_graph_periods": _periods(
            ties,
            ("identifierType", "identifierValue"),
            "updatedAt",
            {"identifierType": "identifier_type", "identifierValue": "identifier_value", "roverID": "rover_id"},
        ),
        "fan_profile_merges_periods": _periods(
            merges, ("fromRoverID",), "mergedAt", {"fromRoverID": "from_rover_id", "toRoverID": "to_rover_id"}
        ),
    }


def as_of(records: Sequence[Record], key: tuple[str, ...], order: str, day: date) -> set[str]:
    """The ids of the records that were current at the end of a UTC day."""
    then = [each for each in records if _time(each[order]).date() <= day]
    return {each["id"] for each in _newest(then, key, order) if each.get("operation") != "delete"}


def _newest(records: Iterable[Record], key: tuple[str, ...], order: str) -> list[Record]:
    found: dict[tuple[Any, ...], Record] = {}
    for each in sorted(records, key=lambda each: (_time(each[order]), each["id"])):
        found[tuple(each[name] for name in key)] = each
    return list(found.values())


def _periods(records: Sequence[Record], key: tuple[str, ...], order: str, names: Mapping[str, str]) -> list[Row]:
    by_key = defaultdict(list)
    for each in sorted(records, key=lambda each: (_time(each[order]), each["id"])):
        by_key[tuple(each[name] for name in key)].append(each)
    found = []
    for those in by_key.values():
        for each, after in zip(those, [*those[1:], None], strict=True):
            start, end = _time(each[order]), _time(after[order]) if after else None
            if each.get("operation") != "delete":
                row = {"id": each["id"], "valid_from": start, "valid_to": end, "from_day": start.date()}
                row["until_day"] = end.date() if end else None
                found.append(row | {column: each[name] for name, column in names.items()})
    return found


def _funnel(done: Sequence[Row]) -> list[Row]:
    groups = defaultdict(list)
    for each in done:
        if (each["event"] or "").startswith("Message"):
            groups[each["attributes"].get("messageID"), each["attributes"].get("campaign")].append(each)
    found = []
    for (message, campaign), those in groups.items():
        row: Row = {"message_id": message, "campaign": campaign}
        sent = [each["occurred_at"] for each in those if each["event"] == "Message Sent"]
        row["first_sent_at"] = min(sent, default=None)
        for step in ("Sent", "Opened", "Clicked"):
            fans = {each["canonical_rover_id"] for each in those if each["event"] == f"Message {step}"}
            row[f"fans_{step.lower()}"] = len(fans)
        found.append(row)
    return found


def _story(records: Mapping[str, Sequence[Record]]) -> Iterable[Row]:
    for dataset, those in records.items():
        for each in those:
            order = next(each[name] for name in ("updatedAt", "mergedAt", "occurredAt") if name in each)
            row = {"happened_at": _time(order), "day": _time(order).date(), "dataset": dataset, "record_id": each["id"]}
            if dataset == "fan_profiles":
                yield row | {"rover_id": each["roverID"], "what": "profile", "details": each["traits"]}
            elif dataset == "fan_identity_graph":
                what = f"identifier {each.get('operation') or 'upsert'}"
                details = {"identifier_type": each["identifierType"], "identifier_value": each["identifierValue"]}
                yield row | {"rover_id": each["roverID"], "what": what, "details": details}
            elif dataset == "fan_track_events":
                yield row | {"rover_id": each["roverID"], "what": each["event"], "details": each["attributes"]}
            else:
                details = {"from_rover_id": each["fromRoverID"], "to_rover_id": each["toRoverID"]}
                yield row | {"rover_id": each["fromRoverID"], "what": "merged into another", "details": details}
                if each["toRoverID"] is not None:
                    yield row | {"rover_id": each["toRoverID"], "what": "took another over", "details": details}


def comparable(rows: Iterable[Row]) -> list[str]:
    """Rows in one form and order whatever engine gave them: times in UTC, maps as sorted pairs, lineage apart."""
    plain = [{name: _plain(value) for name, value in row.items() if not name.startswith("source_")} for row in rows]
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], tuple):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

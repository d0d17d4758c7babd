"""Random chains of schema versions: a registry file, records of each version, and a model that knows nothing of SQL.

The model reads a line by the fields of its own version and applies the changes one after the other to plain values.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.model import BadLineError, Row, parse_timestamp

TEXTS = ("gold", "", "7", "-12", "a b", "a b c", "2026-11-01T05:00:00Z", "2026-01-02T03:04:05.5+02:00", "o'k", "ö")
HEAD = """\
dataset: things
kind: state
key: [{key}]
order: {order}
delete: {{column: {operation}, equals: [delete]}}
versions:
  1:
    fields:
      id: {{type: string, required: true}}
      version: {{type: long, required: true}}
      emittedAt: {{type: timestamp, required: true}}
      thing: {{type: string, required: true}}
      at: {{type: timestamp, required: true}}
      operation: string
      words: string
      more: string
      number: long
      moment: timestamp
      notes: map
"""
FIRST = {
    "thing": "string",
    "at": "timestamp",
    "operation": "string",
    "words": "string",
    "more": "string",
    "number": "long",
    "moment": "timestamp",
    "notes": "map",
}
LASTING = ("thing", "at", "operation")


@dataclass(frozen=True)
class Change:
    """One change: its kind, and what it is about, by JSON names."""

    kind: str
    names: tuple[str, ...]
    into: tuple[str, ...] = ()
    to: str = ""
    value: Any = None

    @property
    def yaml(self) -> str:
        one = self.names[0]
        into, names, value = ", ".join(self.into), ", ".join(self.names), json.dumps(self.value)
        return {
            "rename": f"rename: {{from: {one}, to: {into}}}",
            "retype": f"retype: {{field: {one}, to: {self.to}}}",
            "remove": f"remove: {{field: {one}}}",
            "split": f'split: {{field: {one}, into: [{into}], separator: " "}}',
            "merge": f'merge: {{fields: [{names}], into: {into}, separator: "-"}}',
            "add": f"add: {{field: {one}, type: {self.to}{'' if self.value is None else f', default: {value}'}}}",
            "default": f"default: {{field: {one}, value: {value}}}",
        }[self.kind]


@dataclass
class Chain:
    """`shapes[n]` are the fields of version n + 1 beside the envelope, name -> type; `changes[n]` led to it."""

    changes: list[list[Change]]
    shapes: list[dict[str, str]]
    lasting: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, chance: random.Random, versions: int) -> Chain:
        chain = cls([[]], [dict(FIRST)], [LASTING])
        fresh = iter(f"f{n}" for n in range(1000))
        for _ in range(versions - 1):
            shape, lasting, changes = dict(chain.shapes[-1]), chain.lasting[-1], []
            for _ in range(chance.randint(1, 3)):
                change = _change(chance, shape, lasting, fresh)
                shape = _shape_after(shape, change)
                lasting = tuple(
                    change.into[0] if change.kind == "rename" and n == change.names[0] else n for n in lasting
                )
                changes.append(change)
            chain.changes.append(changes)
            chain.shapes.append(shape)
            chain.lasting.append(lasting)
        return chain

    def registry(self, versions: int) -> str:
        """The registry file when the first so many versions are known."""
        key, order, operation = self.lasting[versions - 1]
        text = HEAD.format(key=key, order=order, operation=operation)
        for number, changes in enumerate(self.changes[1:versions], 2):
            text += f"  {number}:\n    changes:\n" + "".join(f"      - {change.yaml}\n" for change in changes)
        return text

    def line(self, chance: random.Random, version: int, number: int) -> bytes:
        """A record of a version: its id is `number`'s."""
        key, order, operation = self.lasting[version - 1]
        record: dict[str, Any] = {"id": f"r{number}", "version": version, "emittedAt": _moment(chance)}
        for name, kind in self.shapes[version - 1].items():
            if name == key:
                record[name] = f"t{chance.randrange(4)}"
            elif name == order:
                record[name] = _moment(chance)
            elif name == operation:
                record[name] = chance.choice(["upsert", "upsert", "delete", None])
            elif chance.random() < 0.7:
                record[name] = _value(chance, kind)
        return json.dumps({name: value for name, value in record.items() if value is not None}).encode()

    def row(self, line: bytes) -> Row:
        """The row of a line in the newest version, maps as dicts. Raises BadLineError."""
        record = json.loads(line)
        version = record["version"]
        values: dict[str, Any] = {}
        for name, kind in self.shapes[version - 1].items():
            values[name] = parse_timestamp(record[name]) if kind == "timestamp" and name in record else record.get(name)
        for changes in self.changes[version:]:
            for change in changes:
                values = _after(values, change)
        row = {"id": record["id"], "version": version, "emitted_at": parse_timestamp(record["emittedAt"]), "extra": {}}
        return row | values

    def history(self, lines: list[bytes]) -> dict[str, Row]:
        found = {}
        for line in lines:
            try:
                row = self.row(line)
            except BadLineError:
                continue
            found[row["id"]] = row
        return found

    def current(self, lines: list[bytes]) -> dict[str, Row]:
        key, order, operation = self.lasting[-1]
        winners: dict[str, Row] = {}
        for row in sorted(self.history(lines).values(), key=lambda row: (row[order], row["id"])):
            winners[row[key]] = row
        return {name: row for name, row in winners.items() if row[operation] != "delete"}


def _moment(chance: random.Random) -> str:
    return f"2026-10-{chance.randint(1, 3):02d}T{chance.randint(0, 3):02d}:00:00Z"


def _value(chance: random.Random, kind: str) -> Any:
    if kind == "map":
        return {"k": chance.choice(TEXTS)}
    if kind == "long":
        return chance.choice([0, 7, -1, 2**40])
    return _moment(chance) if kind == "timestamp" else chance.choice(TEXTS)


def _change(chance: random.Random, shape: dict[str, str], lasting: tuple[str, ...], fresh: Any) -> Change:
    free = [name for name in shape if name not in lasting]
    texts = [name for name in free if shape[name] == "string"]
    kind = chance.choice(["rename", "rename", "retype", "retype", "remove", "split", "merge", "add", "default"])
    if kind == "rename":
        return Change("rename", (chance.choice(list(shape)),), (next(fresh),))
    if kind == "retype" and (typed := [name for name in free if shape[name] != "map"]):
        name = chance.choice(typed)
        return Change(
            "retype", (name,), to=chance.choice(["long", "timestamp"]) if shape[name] == "string" else "string"
        )
    if kind == "remove" and len(free) > 3:
        return Change("remove", (chance.choice(free),))
    if kind == "split" and texts:
        return Change("split", (chance.choice(texts),), (next(fresh), next(fresh)))
    if kind == "merge" and len(texts) > 1:
        return Change("merge", tuple(chance.sample(texts, 2)), (next(fresh),))
    if kind == "default" and texts:
        return Change("default", (chance.choice(texts),), value=chance.choice(["none", "7"]))
    return Change("add", (next(fresh),), to="string", value=chance.choice([None, "new", "8"]))


def _shape_after(shape: dict[str, str], change: Change) -> dict[str, str]:
    if change.kind == "add":
        return {**shape, change.names[0]: change.to}
    if change.kind == "retype":
        return {**shape, change.names[0]: change.to}
    if change.kind == "default":
        return shape
    kept = {name: kind for name, kind in shape.items() if name not in change.names}
    kind = shape[change.names[0]] if change.kind == "rename" else "string"
    return kept | dict.fromkeys(change.into, kind)


def _after(values: dict[str, Any], change: Change) -> dict[str, Any]:
    old = [values.get(name) for name in change.names]
    kept = {name: value for name, value in values.items() if name not in change.names}
    if change.kind == "rename":
        return kept | {change.into[0]: old[0]}
    if change.kind == "retype":
        return kept | {change.names[0]: None if old[0] is None else _converted(old[0], change.to)}
    if change.kind == "split":
        head, space, tail = (old[0] or "").partition(" ")
        return kept | {change.into[0]: None if old[0] is None else head, change.into[1]: tail if space else None}
    if change.kind == "merge":
        given = [value for value in old if value is not None]
        return kept | {change.into[0]: "-".join(given) if given else None}
    if change.kind in ("add", "default"):
        return kept | {change.names[0]: change.value if old[0] is None else old[0]}
    return kept


def _converted(value: Any, to: str) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
    if to == "string":
        return str(value)
    if to == "timestamp":
        return parse_timestamp(value)
    if not re.fullmatch(r"-?[0-9]+", value):
        raise BadLineError("bad_value")
    return int(value)

"""Writes the guess about a dataset as the YAML file of the registry. Pure text.

The text has names of fields, types, counts and shares. The only values in it are words of operations, which come from a
fixed list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from compactor.commands.infer.envelope import Envelope
from compactor.commands.infer.evidence import (
    MAX_FIELDS,
    DatasetEvidence,
    FieldEvidence,
    VersionEvidence,
    field_type,
    share,
)
from compactor.commands.infer.guess import Guess, OrderCandidate, TypedField, guess
from compactor.commands.infer.keys import KeyCandidate
from compactor.registry.fields import column_name, free_column
from compactor.types.field_type import LONG

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_VERSIONS_SHOWN = 3
_FAN = "rover_id"  # in a table of events, those of one fan lie together


@dataclass(frozen=True)
class Draft:
    """The text of a file, and the number of places in it that say `check this`."""

    text: str
    checks: int


def draft(dataset: str, facts: Iterable[str], found: DatasetEvidence) -> Draft:
    """The registry file of a dataset. `facts` are lines about the sample. `found` has at least one record."""
    number = first_version(found)
    version = found.versions[number]
    envelope = found.envelopes.get(number) or next(iter(found.envelopes.values()), Envelope(None, None))
    guessed = guess(dataset, version, envelope, found.version_field)
    outer = {envelope.id: "id", found.version_field: "version", envelope.emitted_at: "emitted_at"}
    typed = [each for each in guessed.fields if each.type]
    columns = _columns(outer, typed, guessed.order)
    lines = [
        *(f"# {fact}" for fact in facts),
        f"dataset: {dataset}",
        *_kind(guessed),
        *_key(guessed, columns),
        *_order(guessed, version, columns, envelope),
        *_delete(guessed, version, columns),
        *_tables(guessed, columns),
        *_other_versions(found, number),
        "versions:",
        f"  {number}:",
        "    fields:",
        *_envelope_doubts(outer),
    ]
    roles = {
        *(guessed.key.names if guessed.key and guessed.kind == "state" else ()),
        guessed.order.name if guessed.order else "",
    }
    lines += [_field(each, version, columns, required=each.name in roles or each.name in outer) for each in typed]
    lines += _undeclared(guessed, version)
    return Draft("\n".join(lines) + "\n", sum("check this:" in line for line in lines))


def _columns(
    outer: Mapping[str | None, str], typed: Iterable[TypedField], order: OrderCandidate | None
) -> dict[str, str]:
    """The column of each field, by its JSON name. No column has the name of the tables' partition field."""
    columns = {name: column for name, column in outer.items() if name is not None}
    if order and order.name not in columns:
        columns[order.name] = free_column(order.name, columns.values(), prefix="field")
    partition = f"{columns[order.name] if order else 'emitted_at'}_day"
    for each in typed:
        if each.name not in columns:
            columns[each.name] = free_column(each.name, {*columns.values(), partition}, prefix="field")
    return columns


def first_version(found: DatasetEvidence) -> int:
    """The smallest version that is in at least 1% of the records; else the smallest."""
    total = sum(version.records for version in found.versions.values())
    usual = [number for number, version in found.versions.items() if number > 0 and version.records >= 0.01 * total]
    return min(usual or found.versions)


def _kind(guessed: Guess) -> Iterator[str]:
    yield f"# kind: {guessed.kind}: {'; '.join(guessed.kind_reasons) or 'no evidence for the other kind'}"
    yield from _doubt(guessed, "kind")
    yield f"kind: {guessed.kind}"


def _key(guessed: Guess, columns: Mapping[str, str]) -> Iterator[str]:
    if guessed.kind == "events":
        yield "key: [id]"
        return
    if guessed.key is None:
        yield from _doubt(guessed, "key")
        yield "key: []"
        return
    yield f"# key: {_key_text(guessed.key)}"
    yield from (f"#   or: {_key_text(each)}" for each in guessed.other_keys)
    yield from _doubt(guessed, "key")
    yield f"key: [{', '.join(columns[name] for name in guessed.key.names)}]"


def _key_text(key: KeyCandidate) -> str:
    repeats = "repeats" if key.values < key.records else "no duplicates"
    clashes = f"; {key.clashes:,} share key and order with another" if key.clashes else ""
    return f"{'+'.join(key.names)}: {key.values:,} values in {key.records:,} distinct records ({repeats}){clashes}"


def _order(guessed: Guess, version: VersionEvidence, columns: Mapping[str, str], envelope: Envelope) -> Iterator[str]:
    if guessed.order is None:
        yield "# check this: no field is a timestamp in every record"
        yield "order: emitted_at"
        return
    yield f"# order: {_order_text(guessed.order, version, envelope)}"
    yield from (f"#   or: {_order_text(each, version, envelope)}" for each in guessed.other_orders)
    yield from _doubt(guessed, "order")
    yield f"order: {columns[guessed.order.name]}"


def _order_text(order: OrderCandidate, version: VersionEvidence, envelope: Envelope) -> str:
    text = f"{order.name}: {order.type} in 100% of {version.records:,} records"
    if order.later is None or envelope.emitted_at in (None, order.name):
        return text
    return f"{text}, later than {envelope.emitted_at} in {share(round(order.later * version.records), version.records)}"


def _delete(guessed: Guess, version: VersionEvidence, columns: Mapping[str, str]) -> Iterator[str]:
    if guessed.operation is None:
        return
    each = version.fields[guessed.operation]
    words = [f"{word} {share(count, each.filled)}" for word, count in sorted(each.words.items())]
    if others := len(each.distinct) - len(words):
        words.append(f"{others} not shown")
    yield f"# delete: {guessed.operation}: {', '.join(words)}"
    yield from _doubt(guessed, "delete")
    if guessed.kind == "events":
        yield "#   check this: no record deletes an event, so there is no rule"
    elif not guessed.deletes:
        yield "#   check this: no delete in the sample; without a rule, no record removes a row"
    else:
        yield f"delete: {{column: {columns[guessed.operation]}, equals: [{', '.join(guessed.deletes)}]}}"


def _tables(guessed: Guess, columns: Mapping[str, str]) -> Iterator[str]:
    """The layout of the tables, which is fixed when they are created."""
    order = columns[guessed.order.name] if guessed.order else "emitted_at"
    partition = f"day({order})"
    if guessed.order and guessed.order.type == LONG:
        yield "# partition: none, because the order is a number; a timestamp field would give day(...) or month(...)"
        partition = "none"
    yield "tables:"
    if guessed.kind == "events":
        fan = [_FAN] if _FAN in columns.values() else []
        yield f"  events: {{partition: {partition}, sort: [{', '.join([*fan, order])}]}}"
        return
    key = [columns[name] for name in guessed.key.names] if guessed.key else []
    yield f"  current: {{partition: {partition}, sort: [{', '.join(key or [order])}]}}"
    yield f"  history: {{partition: {partition}, sort: [{', '.join(dict.fromkeys([*key, order]))}]}}"


def _doubt(guessed: Guess, key: str) -> Iterator[str]:
    if key in guessed.doubts:
        yield f"#   check this: {guessed.doubts[key]}"


def _envelope_doubts(outer: Mapping[str | None, str]) -> Iterator[str]:
    taken = {column: name for name, column in outer.items() if name is not None}
    for column, what in (("id", "a string"), ("version", "a whole number"), ("emitted_at", "a timestamp")):
        name = taken.get(column)
        if name is None:
            yield f"      # check this: the registry needs '{column}', {what} in each record; no field matches"
        elif column_name(name) != column:
            yield f"      # check this: {name} is used as '{column}'"


def _field(
    each: TypedField,
    version: VersionEvidence,
    columns: Mapping[str, str],
    *,
    required: bool,
) -> str:
    column = columns[each.name]
    parts = [f"type: {each.type}"]
    if required or each.required:
        parts.append("required: true")
    if column != column_name(each.name):
        parts.append(f"column: {column}")
    value = str(each.type or "") if len(parts) == 1 else f"{{{', '.join(parts)}}}"
    remarks = [each.remark, _gaps(version.fields[each.name], version)]
    comment = "; ".join(filter(None, remarks))
    return f"      {_yaml_key(each.name)}: {value}{f' # {comment}' if comment else ''}"


def _gaps(each: FieldEvidence, version: VersionEvidence) -> str:
    absent = f"in {share(each.records, version.records)} of the records" if each.records < version.records else ""
    null = f"null in {share(each.nulls, version.records)}" if each.nulls else ""
    return ", ".join(text for text in (absent, null) if text)


def _undeclared(guessed: Guess, version: VersionEvidence) -> Iterator[str]:
    left = [each for each in guessed.fields if not each.type]
    if left or version.hidden or version.beyond:
        yield "      # Not declared, so it is kept in the column `extra` as JSON text:"
    for each in left:
        gaps = _gaps(version.fields[each.name], version) if version.fields[each.name].filled else ""
        yield f"      #   {_yaml_key(each.name)}: {each.remark}{f'; {gaps}' if gaps else ''}"
    if version.hidden:
        hidden = share(version.hidden, version.records)
        yield f"      #   names that may be values (unusual characters, or many and rare), in {hidden} of the records"
    if version.beyond:
        beyond = share(version.beyond, version.records)
        yield f"      #   names after the first {MAX_FIELDS}, in {beyond} of the records"


def _other_versions(found: DatasetEvidence, number: int) -> Iterator[str]:
    own, total = found.versions[number], sum(version.records for version in found.versions.values())
    others = sorted(other for other in found.versions if other != number)
    for other in others[:_VERSIONS_SHOWN]:
        version = found.versions[other]
        name = str(other) if abs(other) < 10_000 else "of more than four digits"
        yield f"# check this: version {name} is in {version.records:,} of {total:,} records. Compared with {number}:"
        yield from (f"#   {line}" for line in _differences(own, version))
    if len(others) > _VERSIONS_SHOWN:
        yield f"# check this: {len(others) - _VERSIONS_SHOWN} more versions"


def _differences(own: VersionEvidence, other: VersionEvidence) -> list[str]:
    lines: list[str] = []
    for name, each in other.fields.items():
        type_, was = _type_text(each), _type_text(own.fields[name]) if name in own.fields else None
        if was is None:
            lines.append(f"added: {_yaml_key(name)}, {type_}, in {share(each.records, other.records)}")
        elif was != type_:
            lines.append(f"changed: {_yaml_key(name)}, {type_} instead of {was}")
    gone = [name for name in own.fields if name not in other.fields]
    lines += [f"removed: {_yaml_key(name)}" for name in gone if own.fields[name].records * 2 > own.records]
    return lines or ["the same fields"]


def _type_text(each: FieldEvidence) -> str:
    type_, remark = field_type(each)
    return str(type_ or remark)


def _yaml_key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name.lower() not in _YAML_WORDS else json.dumps(name)

"""Registry and config files to fuzz with: shipped ones, and more, with their words and lines disturbed."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from compactor.registry.fields import column_name
from tests.support.lake import ROOT, SCHEMAS
from tests.support.odd_json import CHAIN, EVERY_TYPE, ODD_NAMES

_TOKEN = re.compile(r"[A-Za-z_][\w./-]*|\d+|\s+|.", re.DOTALL)
_TYPES = ["string", "long", "double", "boolean", "timestamp", "date", "map", '"decimal(10,2)"', '"decimal(38,38)"']
# Among them those that the code itself uses beside the columns.
_NAMES = """
file_no line_no ok rowid top _file _partition _pos rid line keys types updated_at_day id_bucket s t x r f
e k v n id version emitted_at extra source_file source_line ID Id roverId rover_id EmittedAt emittedAt moment
occurred_at_day select gone key etag size best who rank raw reason detail dataset traits notes state version_2 c.d a-b
""".split()  # noqa: SIM905  a list of them would take a line each
_PLAIN_WORDS = r"""
decimal decimal(10,2) "decimal(39,2)" "decimal(2,9)" state events none day(updated_at) month(id) day(extra)
"bucket(16,id)" "bucket(7,version)" "bucket(999999999,id)" required column type from key order delete equals promote
tables current history sort partition versions fields kind dataset true false yes ~ null "" '' {} [] 0 1 2 -1 1.5 1e9
999999999 1_0 0x1 nan .inf 512MiB 4GB 1KB 1e400GB ${HOME} ${NOT_SET} ${NOT_SET:-x} ${NOT_SET:-} ${ ${A${B}} s3://b/p
s3:// file:///tmp file://x ../.. ?#% *a &a !!int !tag !!binary [ ] { } , | > # % @ ` --- ... << =
"\0" "\ud800" "\ud83d\ude00" "\UFFFFFFFF" "\U00110000" "\x41" "\n" "a\nb" "\q" 'it''s'
"""
_WORDS = [
    *_PLAIN_WORDS.split(),
    *_NAMES,
    *_TYPES,
    *("9" * 30, "9" * 400, "9" * 400 + " GB", "/" + "d" * 5_000, "? ", "- ", ": ", "%YAML 1.1", "\t", "\n", "  "),
    *('"1\u0663"', "\ufeff", "\x85", "\u2028", "\x7f", "\0", "\x1b", "\ud800", "\xe9", "\U0001f600"),
]
_LAYOUTS = """\
dataset: things
kind: state
key: [thing_id, version]
order: updated_at
delete: {column: state, equals: [gone, "it's"]}
tables:
  current: {partition: "bucket(16, thing_id)", sort: [thing_id, updated_at]}
  history: {partition: month(updated_at), sort: []}
promote:
  - {from: notes, key: "loyalty'Tier", column: tier, type: string}
  - {from: extra, key: spend, type: "decimal(12,2)"}
  - {from: extra, key: since, type: timestamp}
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      thingID: {type: string, required: true}
      updatedAt: {type: timestamp, required: true}
      state: string
      notes: map
"""


@cache
def _bases() -> tuple[list[str], list[str]]:
    schemas = [path.read_text(encoding="utf-8") for path in sorted(SCHEMAS.glob("*.yaml"))]
    configs = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "configs").glob("*.yaml"))]
    return [*schemas, EVERY_TYPE, CHAIN, _LAYOUTS, _LAYOUTS], configs


def schema(chance: Random) -> bytes:
    """A file of the registry."""
    return _mutated(chance, _bases()[0])


def config(chance: Random) -> bytes:
    """A config file."""
    return _mutated(chance, _bases()[1])


def _mutated(chance: Random, bases: list[str]) -> bytes:
    text = "".join(line for line in chance.choice(bases).splitlines(keepends=True) if not line.lstrip().startswith("#"))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3, 6])):
        text = _changed(chance, text, bases)
    data = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        place = chance.randint(0, len(data))
        data = (
            data[:place] + chance.choice([b"\xff", b"\0", b"\xc3", b"\xef\xbb\xbf", chance.randbytes(3)]) + data[place:]
        )
    return data


def _changed(chance: Random, text: str, bases: list[str]) -> str:
    draw = chance.random()
    if draw < 0.4 and "    fields:" in text:
        return _with_other_fields(chance, text)
    if draw < 0.8:
        return _with_other_words(chance, text) or chance.choice(bases)
    return _with_other_lines(chance, text, bases)


def _with_other_fields(chance: Random, text: str) -> str:
    """A field more, a field of another name wherever it stands, or another layout: what may well be accepted."""
    lines = text.splitlines(keepends=True)
    fields = [number for number, line in enumerate(lines) if line.startswith("      ")]
    if not fields:
        return text
    place, name, kind = chance.choice(fields), chance.choice(_NAMES), chance.choice(_TYPES)
    json = lines[place].split(":")[0].strip()
    match chance.randrange(6):
        case 0:
            lines.insert(place, f"      {name}: {kind}\n")
        case 1:
            required = chance.choice(["true", "false"])
            key = chance.choice([name, *ODD_NAMES])
            lines.insert(place, f"      {key}: {{type: {kind}, required: {required}, column: {name}}}\n")
        case 2 | 3:
            old = "|".join(re.escape(each) for each in (json, column_name(json)) if each)
            return re.sub(rf"\b({old or 'x'})\b", lambda _: name, text)
        case 4:
            lines[place] = f"      {json}: {{type: {kind}, required: true}}\n"
        case _:
            columns = [column_name(lines[number].split(":")[0].strip()) for number in fields]
            column = chance.choice([*columns, name])
            layout = chance.choice([f"day({column})", f"month({column})", f'"bucket(5, {column})"', "none"])
            table = chance.choice(["current", "history", "events"])
            lines.insert(0, f"tables: {{{table}: {{partition: {layout}, sort: [{chance.choice(columns)}]}}}}\n")
            return re.sub(r"\ntables:\n(  .*\n)*", "\n", "".join(lines))
    return "".join(lines)


def _with_other_words(chance: Random, text: str) -> str:
    tokens = _TOKEN.findall(text)
    words = [number for number, token in enumerate(tokens) if not token.isspace() and token not in "{}[]:,"]
    if not words:
        return ""
    place = chance.choice(words if chance.random() < 0.85 else range(len(tokens)))
    match chance.randrange(6):
        case 0:
            tokens[place] = tokens[chance.choice(words)]
        case 1:
            tokens.insert(place, chance.choice(_WORDS))
        case 2:
            del tokens[place : place + chance.randint(1, 3)]
        case 3:
            tokens[place] = chance.choice(list(ODD_NAMES))  # JSON texts are YAML too
        case 4:
            tokens[place] += chance.choice(["s", "_", "1", "'", '"', "\u0663", "X"])
        case _:
            tokens[place] = chance.choice(_WORDS)
    return "".join(tokens)


def _with_other_lines(chance: Random, text: str, bases: list[str]) -> str:
    lines = text.splitlines(keepends=True) or [""]
    place = chance.randrange(len(lines))
    match chance.randrange(7):
        case 0:
            del lines[place]
        case 1:
            lines.insert(chance.randint(0, len(lines)), lines[place])
        case 2:
            lines[place] = "  " + lines[place]
        case 3:
            lines[place] = lines[place][2:]
        case 4:
            lines.insert(place, chance.choice(chance.choice(bases).splitlines(keepends=True)))
        case 5:
            depth = chance.choice([20, 200, 2_000])
            opening, closing = chance.choice([("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
            lines.insert(place, f"deep: {opening * depth}x{closing * depth}\n")
        case _:
            indent = len(lines[place]) - len(lines[place].lstrip(" "))
            name = chance.choice([*_WORDS, *ODD_NAMES])
            lines.insert(place, f"{' ' * indent}{name}: {chance.choice(_WORDS)}\n")
    return "".join(lines)

"""`infer` on data that is damaged, mixed or meant to mislead."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.infer.draft import draft
from compactor.commands.infer.evidence import gather
from compactor.decode.exact import read_line
from compactor.decode.rejects import Reject
from compactor.errors import ConfigError
from compactor.registry import loader
from tests.support.export import EMAIL, PHONE, TRAIT, Export, moment, plain
from tests.support.lake import SCHEMAS

pytestmark = pytest.mark.usefixtures("logging_restored")


# Hostile data


def test_a_field_has_a_type_only_if_every_value_fits_it(export: Export) -> None:
    def record(number: int) -> dict[str, Any]:
        last = number == 199
        return plain(
            number,
            whole=number,
            fractional=0.5 if last else number,
            wide=2**64 if last else number,
            vast=b"1e999" if last else number,
            moments=("soon" if last else moment(number)),
            days=("2026-02-30" if last else "2026-02-28"),
            day="2026-02-28",
            flag=last,
            mixed=(TRAIT if last else number),
            nested={"deep": {"deeper": [TRAIT]}},
            either=({} if last else "x"),
            row=[TRAIT],
            nothing=None,
            seldom=("x" if last else None),
        )

    lines = [json.dumps({**record(number), "vast": 0}).encode() for number in range(199)]
    lines.append(json.dumps({**record(199), "vast": 7777}).replace("7777", "1e999").encode())
    export.deliver("things", lines)
    text = export.text("things")
    types = {field.json: (field.type.name, field.required) for field in export.inferred()["things"].newest.fields}
    assert types == {
        "id": ("string", True),
        "version": ("long", True),
        "emittedAt": ("timestamp", True),
        "whole": ("long", True),
        "fractional": ("double", True),
        "wide": ("double", True),
        "moments": ("string", True),
        "days": ("string", True),
        "day": ("date", True),
        "flag": ("boolean", True),
        "nested": ("map", True),
        "seldom": ("string", False),
    }
    assert "wide: {type: double, required: true} # beyond 64 bits in 0.5%" in text
    for name, why in {
        "vast": "of mixed kinds: huge 0.5%, long 99.5%",
        "mixed": "of mixed kinds: long 99.5%, string 0.5%",
        "either": "of mixed kinds: object 0.5%, string 99.5%",
        "row": "an array",
        "nothing": "null in every record",
    }.items():
        assert f"      #   {name}: {why}\n" in text


def test_a_version_with_a_fraction_is_left_to_extra_because_a_later_one_may_be_no_number(export: Export) -> None:
    export.deliver("things", [plain(n, osVersion=17.1, appVersion="17.1", rowVersion=n) for n in range(30)])
    types = {field.json: field.type.name for field in export.inferred()["things"].newest.fields}
    assert ("osVersion" in types, types["appVersion"], types["rowVersion"]) == (False, "string", "long")
    assert "      #   osVersion: a version with a fraction, which is no number" in export.text("things")


def test_bad_lines_are_counted_and_do_not_affect_the_rest(export: Export) -> None:
    good = [plain(number, updatedAt=moment(number), name=TRAIT) for number in range(150)]
    bad = [b"{", b"[]", b"\xff", b'{"id":"a"}', b'{"id":"b","version":1,"emittedAt":"soon","updatedAt":5}', b"", b"  "]
    export.deliver("things", [*good[:80], *bad, *good[80:]])
    report = json.loads(export.run("--json").stdout)["datasets"][0]
    assert report["lines"] == 155
    assert report["bad"] == {"bad_value": 1, "invalid_utf8": 1, "missing_field": 1, "not_json": 1, "not_object": 1}
    assert "      updatedAt: {type: timestamp, required: true}\n" in report["yaml"]


def test_objects_that_cannot_be_read_are_named_and_skipped(export: Export) -> None:
    export.deliver("things", [plain(number, updatedAt=moment(number)) for number in range(20)])
    broken = export.deliver("things", [], part="b")
    broken.write_bytes(b"no gzip")
    empty = export.deliver("things", [], part="c")
    empty.write_bytes(b"")
    result = export.run("--json")
    report = json.loads(result.stdout)["datasets"][0]
    assert result.exit_code == 0
    assert [Path(each["key"]).name for each in report["unreadable"]] == [broken.name, empty.name]
    assert all(name in result.stderr for name in (broken.name, empty.name))
    assert "2 of the objects could not be read" in report["yaml"]


def test_a_dataset_without_a_record_is_reported_and_ends_with_1(export: Export) -> None:
    export.deliver("things", [b"garbage"])
    export.deliver("others", [plain(number) for number in range(9)])
    result = export.run()
    assert result.exit_code == 1
    assert "things: nothing inferred: no record in the sample" in result.stderr
    assert "dataset: others" in result.stdout


def test_a_later_version_is_reported_with_its_changes(export: Export) -> None:
    first = [plain(number, name="x", ref=number, updatedAt=moment(number)) for number in range(200)]
    second = [
        {"id": f"s{number}", "version": 2, "emittedAt": moment(number), "ref": "x", "updated": moment(number)}
        for number in range(50)
    ]
    export.deliver("things", first)
    export.deliver("things", second, hour="06")
    text = export.text("things")
    assert text.split("versions:")[0].endswith(
        "# check this: version 2 is in 50 of 250 records. Compared with 1:\n"
        "#   changed: ref, string instead of long\n"
        "#   added: updated, timestamp, in 100%\n"
        "#   removed: name\n"
        "#   removed: updatedAt\n"
    )
    assert list(export.inferred()["things"].versions) == [1]


def test_names_that_may_be_values_are_not_shown(export: Export) -> None:
    keys = [{EMAIL: 1, PHONE: TRAIT, f"k{number}00000000": 1, f"name {number}": 1} for number in range(60)]
    export.deliver("fan_profiles", [plain(number, **each) for number, each in enumerate(keys)])
    text = export.text("fan_profiles")
    assert "names that may be values (unusual characters, or many and rare), in 100% of the records" in text
    checked = Export(export.source.parent, SCHEMAS).run("--check").output
    assert "roverID" in checked
    for value in (EMAIL, PHONE, "00000000", "name 1"):
        assert value not in text
        assert value not in checked


def test_odd_names_and_clashing_columns_still_load(export: Export) -> None:
    odd = {"userId": "a", "user_id": "b", "extra": "c", "null": "d", "a b.c": "e", "$type": "f", "yes": "g", "x:y": "h"}
    odd |= {"__file": "i", "rowid": "j", "ok": "k", "top": "l", "file_no": "m", "line_no": "n", "updated_at_day": "o"}
    export.deliver("things", [plain(number, updatedAt=moment(number), **odd) for number in range(10)])
    columns = {field.json: field.column for field in export.inferred()["things"].newest.fields}
    assert odd.keys() <= columns.keys()
    assert all(columns[name] == name for name in ("ok", "top", "file_no", "line_no"))
    assert len(set(columns.values())) == len(columns)


def test_of_an_operation_field_only_words_of_a_fixed_list_are_shown(export: Export) -> None:
    def op(number: int) -> str:
        return ("deleted", "updated", TRAIT)[number % 3]

    export.deliver("things", [plain(number, state=op(number), updatedAt=moment(number)) for number in range(90)])
    text = export.text("things")
    assert "# delete: state: deleted 33.3%, updated 33.3%, 1 not shown\n#   check this:" in text
    assert "delete: {column: state, equals: [deleted]}" in text
    assert TRAIT not in text


def test_a_kind_with_weak_evidence_is_marked_for_a_check(export: Export) -> None:
    rows = [plain(number, user_id=f"u{number % 9}", ts=moment(number)) for number in range(90)]
    export.deliver("things", rows)
    assert "#   check this: weak evidence" in export.text("things")
    export.deliver("user_profiles", [{**row, "updated_at": row["ts"]} for row in rows])
    assert "check this: weak" not in export.text("user_profiles")


NAMES = (
    *("id", "record_id", "version", "v", "emittedAt", "sent_at", "ts", "user_id", "userId", "op", "updatedAt", "type"),
    *("from_id", "to_id", "value", "traits", "extra", "1x", "ünï", "a.b", "A B", "null", "event", "$t", "__", "ID", ""),
)


VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice(("delete", "upsert")),
    lambda rng: rng.randrange(5),
    lambda rng: f"v{rng.randrange(50)}",
    lambda rng: moment(rng.randrange(80_000)),
    lambda rng: {"a": 1},
    lambda rng: [1],
    lambda rng: rng.random(),
    lambda rng: 2**70,
    lambda rng: "2026-11-01",
    lambda rng: None,
)


def test_whatever_the_lines_are_a_draft_that_loads_rejects_the_bad_ones_alone(tmp_path: Path) -> None:
    """And one that does not load has said what to check."""
    loaded = 0
    for seed in range(200):
        rng = random.Random(seed)
        kinds = {name: rng.choice(VALUES) for name in rng.sample(NAMES, rng.randrange(1, 10))}
        if rng.random() < 0.8:
            kinds |= {"id": lambda rng: f"r{rng.random()}", "version": lambda _: 1, "emittedAt": VALUES[3]}
        lines = [b"{", b"[]", b"\xff", b""]
        for _ in range(rng.choice((1, 3, 60))):
            record = {name: rng.choice((kind, *[kind] * 30, rng.choice(VALUES)))(rng) for name, kind in kinds.items()}
            lines.append(json.dumps(record).encode())
        found = gather(lines)
        if not found.versions:
            continue
        text = draft("things", (), found).text
        (tmp_path / "things.yaml").write_text(text)
        try:
            dataset = loader.load(tmp_path).get("things")
        except ConfigError:
            assert "check this:" in text, text
            continue
        loaded += 1
        rejected = sum(isinstance(read_line(line, dataset), Reject) for line in lines)
        others = sum(each.records for number, each in found.versions.items() if number != dataset.newest.number)
        assert rejected == sum(found.bad.values()) + others, text
    assert loaded > 100

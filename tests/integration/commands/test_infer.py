"""`infer`: a registry drafted from real lines, and a registry checked against them."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compactor.cli.main import program
from compactor.commands.infer import sample
from compactor.commands.infer.draft import draft
from compactor.commands.infer.evidence import gather
from compactor.decode.exact import Reject, read_line
from compactor.errors import ConfigError
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.lake import ROOT, SCHEMAS
from tests.support.s3_server import Bucket, clean_aws_environment, fresh_bucket, moto_server  # noqa: F401  # fixtures

pytestmark = pytest.mark.usefixtures("logging_restored")

EMAIL, TRAIT, PHONE = "planted.person@example.com", "planted-trait-value", "+999000111222"
Record = Mapping[str, Any]


class Export:
    """A source folder, and a config beside it that has no schemas yet."""

    def __init__(self, folder: Path, schemas: Path | None = None) -> None:
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)
        self.drafts = folder / "drafts"
        self.config = folder / "config.yaml"
        self.config.write_text(
            f"source: {{url: {self.source}}}\nwarehouse: {folder / 'warehouse'}\n"
            f"schemas: {schemas or folder / 'schemas'}\n"
        )

    def deliver(self, dataset: str, records: Iterable[Record | bytes], *, hour: str = "05", part: str = "a") -> Path:
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        folder = self.source / f"exports/{dataset}/date=2026-11-01/hour={hour}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{dataset}-20261101T{hour}0000Z-part-{part}.ndjson.gz"
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
        return path

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(program, ["-c", str(self.config), "infer", *words])

    def text(self, dataset: str, *words: str) -> str:
        result = self.run("--dataset", dataset, *words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def inferred(self) -> Mapping[str, Dataset]:
        """The datasets of the files that `infer` wrote."""
        result = self.run("--out", str(self.drafts))
        assert result.exit_code == 0, result.output
        return loader.load(self.drafts).datasets

    def findings(self, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
        """Exit code and (dataset, what, detail) of each misfit of `--check`."""
        result = self.run("--check", "--json", *words)
        found = json.loads(result.stdout)["findings"]
        return result.exit_code, [(each["dataset"], each["what"], each["detail"]) for each in found if not each["fits"]]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


@pytest.fixture(scope="module")
def sample_export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A small sample, not to be changed."""
    folder = tmp_path_factory.mktemp("sample")
    made = Export(folder, SCHEMAS)
    command = [
        sys.executable,
        str(ROOT / "scripts/make_sample.py"),
        str(made.source),
        "--fans",
        "60",
        "--events",
        "2500",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return made


def moment(number: int) -> str:
    return f"2026-11-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"


def plain(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "version": 1, "emittedAt": moment(number), **fields}


# Our own export


def test_the_sample_export_gives_the_registry_that_it_comes_with(sample_export: Export) -> None:
    inferred, ours = sample_export.inferred(), loader.load(SCHEMAS).datasets
    assert inferred.keys() == ours.keys()
    for name, dataset in ours.items():
        found = inferred[name]
        assert (found.kind, found.key, found.order, found.delete) == (
            dataset.kind,
            dataset.key,
            dataset.order,
            dataset.delete,
        )
        columns = {(field.json, field.column, field.type) for field in dataset.newest.fields}
        more = {("sessionID", "session_id", "string")} if name == "fan_track_events" else set()  # sent by a newer app
        assert {(field.json, field.column, field.type) for field in found.newest.fields} == columns | more
        required = {field.json for field in dataset.newest.fields if field.required}
        assert {field.json for field in found.newest.fields if field.required} >= required


def test_every_good_line_of_the_sample_fits_what_was_inferred_from_it(sample_export: Export, tmp_path: Path) -> None:
    sample_export.inferred()
    copy = Export(tmp_path, sample_export.drafts)
    copy.config.write_text(copy.config.read_text().replace(str(copy.source), str(sample_export.source)))
    report = json.loads(copy.run("--check", "--json", "--objects", "2000").stdout)
    assert report["exit_code"] == 0
    assert sum(report["rejected"].values()) == 5  # the bad lines that the sample says it has
    assert sum(report["lines"].values()) > 3000


def test_the_registry_that_comes_with_the_sample_fits_it(sample_export: Export) -> None:
    result = sample_export.run("--check")
    assert result.exit_code == 0
    assert "the registry check passed" in result.stdout
    assert "sessionID: string, in" in result.stdout


def test_no_value_of_the_sample_is_in_any_output(sample_export: Export) -> None:
    runs = [sample_export.run(*words) for words in ((), ("--json",), ("--check",), ("--check", "--json"))]
    output = "".join(result.output for result in runs)
    values = {"example.com", "+999", "Samplephone", "Harbour Otters", "loyaltyTier", "platinum", "App Opened", "icon"}
    for path in sample_export.source.rglob("*.gz"):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            if line.endswith(b"}"):
                record = json.loads(line)
                values |= {str(record[name]) for name in ("id", "roverID", "identifierValue") if name in record}
    assert len(values) > 1000
    assert not [value for value in values if value in output]


# Other names


@pytest.fixture
def renamed(export: Export) -> Export:
    """Fields with other names than in our registry: members that change and leave, their actions and their contacts."""
    rng = random.Random(5)
    members, actions, handles = [], [], []
    for number in range(1200):
        user = f"u{number * 7 % 300}"
        outer = {"record_id": f"x{number}", "schema_version": 3, "sent_at": moment(number + 40)}
        op = "DELETE" if number % 20 == 7 else "UPSERT"
        members.append({**outer, "user_id": user, "ts": moment(number), "op": op, "props": {"mail": EMAIL}})
        did = moment(number + rng.randrange(30))
        actions.append({**outer, "user_id": user, "event_name": TRAIT, "time": did, "amount": rng.choice((1, 2.5))})
        at = moment(number // 3)  # a user has three at the same time, so the user is not the key
        handles.append({**outer, "user_id": f"u{number // 3}", "handle_type": ("mail", "tel")[number % 2],
                        "handle_value": f"{number % 700}@example.com", "changed": at})  # fmt: skip
    export.deliver("members", members[:600])
    export.deliver("members", members[500:], hour="09")
    export.deliver("member_activity", actions)
    export.deliver("handles", handles)
    return export


def test_fields_with_other_names_are_found_by_their_values(renamed: Export) -> None:
    found = renamed.inferred()
    members, actions, handles = found["members"], found["member_activity"], found["handles"]
    assert (members.kind, members.key, members.order) == ("state", ("user_id",), "ts")
    assert members.delete is not None
    assert (members.delete.column, members.delete.values) == ("op", ("DELETE",))
    assert (actions.kind, actions.key, actions.order, actions.delete) == ("events", ("id",), "time", None)
    assert (handles.kind, handles.key, handles.order) == ("state", ("handle_type", "handle_value"), "changed")
    for dataset in found.values():
        columns = {field.json: (field.column, field.type) for field in dataset.newest.fields}
        assert dataset.newest.number == 3
        assert columns["record_id"] == ("id", "string")
        assert columns["schema_version"] == ("version", "long")
        assert columns["sent_at"] == ("emitted_at", "timestamp")
    assert {field.json: field.type for field in actions.newest.fields}["amount"] == "double"


def test_each_guess_shows_its_evidence_and_a_weak_one_is_marked(renamed: Export) -> None:
    text = renamed.text("members")
    assert "# key: user_id: 300 values in 1,200 distinct records (repeats)" in text
    assert "# order: ts: timestamp in 100% of 1,300 records, later than sent_at in 0%" in text
    assert "# delete: op: DELETE 5.0%, UPSERT 95.0%" in text
    assert "# check this: record_id is used as 'id'" in text
    assert "#   or: user_id: 400 values in 1,200 distinct records (repeats); 800 share key and order" in renamed.text(
        "handles"
    )


def test_what_was_inferred_loads_the_renamed_export(renamed: Export) -> None:
    renamed.inferred()
    renamed.drafts.rename(renamed.drafts.with_name("schemas"))
    assert renamed.run("--check").exit_code == 0
    result = CliRunner().invoke(program, ["-c", str(renamed.config), "compact", "--dataset", "members", "--json"])
    assert result.exit_code == 0, result.output
    [report] = json.loads(result.stdout)["datasets"]
    assert (report["new"], report["duplicates"]) == (1200, 100)


def test_an_id_of_an_entity_is_never_taken_for_that_of_a_record(export: Export) -> None:
    export.deliver("users", [{"user_id": f"u{number}", "version": 1, "ts": moment(number)} for number in range(50)])
    text = export.text("users")
    assert "column: id" not in text
    assert "# check this: the registry needs 'id', a string in each record; no field matches" in text


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
    types = {field.json: (field.type, field.required) for field in export.inferred()["things"].newest.fields}
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
    export.deliver("things", [plain(number, **odd) for number in range(10)])
    columns = {field.json: field.column for field in export.inferred()["things"].newest.fields}
    assert odd.keys() <= columns.keys()
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
    """A draft that does not load says what to check."""
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


# What is read, what is written


def test_the_sample_is_bounded_and_reaches_from_the_oldest_to_the_newest_hour(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(24):
        for part in "abc":
            records = [plain(number, updatedAt=moment(number)) for number in range(40)]
            export.deliver("things", records, hour=f"{hour:02d}", part=part)
    text = export.text("things", "--objects", "5")
    assert "# Inferred from 5 of 72 objects, 2026-11-01T00 to 2026-11-01T23, 200 lines." in text
    window = export.text("things", "--from", "2026-11-01T03", "--to", "2026-11-01T04")
    assert "6 of 6 objects, 2026-11-01T03 to 2026-11-01T04, 240 lines" in window
    monkeypatch.setattr(sample, "LINES", 90)
    cut = export.text("things", "--objects", "5")
    assert "5 of 72 objects, 2026-11-01T00 to 2026-11-01T23, 90 lines" in cut
    assert "# Only the first lines of 5 of the objects were read." in cut


def test_each_hour_gives_an_object_before_any_gives_two(export: Export) -> None:
    for part in range(60):
        export.deliver("things", [plain(part)], part=f"{part:02d}")
    export.deliver("things", [plain(1, late=True)], hour="23")
    export.deliver("things", [plain(2, later=True)], hour="22")
    text = export.text("things", "--objects", "4")
    assert "late: boolean" in text
    assert "later: boolean" in text


def test_a_file_that_differs_is_never_overwritten(export: Export) -> None:
    export.deliver("things", [plain(number) for number in range(9)])
    export.deliver("others", [plain(number) for number in range(9)])
    first = export.run("--out", str(export.drafts))
    again = export.run("--out", str(export.drafts))
    assert (first.exit_code, again.exit_code) == (0, 0)
    file = export.drafts / "things.yaml"
    file.write_text(file.read_text() + "# mine\n")
    (export.drafts / "others.yaml").unlink()
    refused = export.run("--out", str(export.drafts))
    assert refused.exit_code == 2
    assert f"error: {file}: exists already" in refused.stderr
    assert file.read_text().endswith("# mine\n")
    assert not (export.drafts / "others.yaml").exists()


def test_several_datasets_are_several_documents(export: Export) -> None:
    export.deliver("things", [plain(number) for number in range(9)])
    assert export.run().stdout.startswith("# Inferred from")
    export.deliver("others", [plain(number) for number in range(9)])
    documents = export.run().stdout.split("---\n")
    assert [document.partition("\n")[0] for document in documents] == ["", "# others.yaml", "# things.yaml"]


def test_wrong_usage_ends_with_2_and_the_nearest_name(export: Export) -> None:
    assert export.run().exit_code == 2
    export.deliver("things", [plain(1)])
    unknown = export.run("--dataset", "thing")
    assert (unknown.exit_code, "did you mean 'things'?" in unknown.stderr) == (2, True)
    assert export.run("--check", "--out", "x").exit_code == 2
    assert export.run("--check").exit_code == 2  # there is no registry


def test_a_folder_that_cannot_be_a_dataset_is_reported(export: Export) -> None:
    export.deliver("Not-Snake", [plain(1)])
    result = export.run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Not-Snake: nothing inferred: the name of a dataset is in lower snake case" in result.stderr


# The registry against the data


def profile(number: int, **fields: Any) -> dict[str, Any]:
    return {**plain(number), "roverID": f"f{number}", "updatedAt": moment(number), "traits": {"a": TRAIT}, **fields}


def checked(tmp_path: Path, dataset: str, records: Iterable[Record | bytes]) -> tuple[int, list[tuple[str, str, str]]]:
    export = Export(tmp_path, SCHEMAS)
    export.deliver(dataset, records)
    return export.findings("--dataset", dataset)


def test_a_registry_that_fits_ends_with_0(tmp_path: Path) -> None:
    assert checked(tmp_path, "fan_profiles", [profile(number) for number in range(20)]) == (0, [])


def test_each_way_in_which_a_registry_does_not_fit_is_found(tmp_path: Path) -> None:
    def record(number: int) -> dict[str, Any]:
        if number < 10:
            return profile(number, updatedAt="soon", traits=5)
        if number < 20:
            return profile(number, roverID=None)
        return profile(number, version=2 if number < 24 else 1)

    code, found = checked(tmp_path, "fan_profiles", map(record, range(100)))
    assert code == 1
    unknown = (
        "unknown_version, version 2 is not in the registry; add it there, then run `compactor migrate apply` and"
        " `compactor replay`"
    )
    but = "in the registry, but not in 10 of 96 records (all values:"
    assert {(what, detail) for _, what, detail in found} == {
        ("lines", "10 of 100 lines would be quarantined: bad_value, field updatedAt: not a timestamp"),
        ("lines", "10 of 100 lines would be quarantined: missing_field, field roverID is missing"),
        ("lines", f"4 of 100 lines would be quarantined: {unknown}"),
        ("key", "roverID: required, but absent or null in 10 of 96 records"),
        ("field", f"traits: map {but} of mixed kinds: long 10.4%, object 89.6%)"),
        ("order", f"updatedAt: timestamp {but} string)"),
    }  # fmt: skip


def test_a_field_that_never_occurs_and_a_delete_that_no_rule_names_are_misfits(tmp_path: Path) -> None:
    tie = {"identifierType": "email", "roverID": "f"}
    records = [
        plain(number, **tie, identifierValue=EMAIL, updatedAt=moment(number), op="delete" if number % 9 else "upsert")
        for number in range(50)
    ]
    code, found = checked(tmp_path, "fan_identity_graph", records)
    assert (code, found) == (
        1,
        [("fan_identity_graph", "field", "operation: in the registry, but in none of 50 records")],
    )
    for each in records:
        each["operation"] = {"delete": "remove", "upsert": "upsert"}[each.pop("op")]
    code, found = checked(tmp_path, "fan_identity_graph", records)
    assert (code, [what for _, what, _ in found]) == (1, ["delete"])
    assert "operation is 'remove' in 88.0%, which no delete rule names" in found[0][2]


def test_a_few_bad_lines_and_new_fields_are_reported_and_do_not_fail_the_check(tmp_path: Path) -> None:
    export = Export(tmp_path, SCHEMAS)
    export.deliver(
        "fan_profiles", [*(profile(number, score=number) for number in range(400)), profile(400, version=9), b"{"]
    )
    result = export.run("--check", "--json", "--dataset", "fan_profiles")
    report = json.loads(result.stdout)
    assert result.exit_code == report["exit_code"] == 0
    assert (report["lines"], report["rejected"]) == ({"fan_profiles": 402}, {"fan_profiles": 2})
    assert "score: long, in 100% of the records; kept in extra" in [each["detail"] for each in report["findings"]]


def test_datasets_of_only_one_side_are_reported_and_data_without_a_registry_fail_the_check(tmp_path: Path) -> None:
    export = Export(tmp_path, SCHEMAS)
    export.deliver("fan_profiles", [profile(number) for number in range(5)])
    report = json.loads(export.run("--check", "--json").stdout)
    assert report["exit_code"] == 0
    assert [each["dataset"] for each in report["findings"]] == [
        "fan_identity_graph",
        "fan_profile_merges",
        "fan_track_events",
    ]
    export.deliver("fan_consents", [plain(1)])
    assert export.findings() == (
        1,
        [("fan_consents", "dataset", "is in the source, but not in the registry, so it is not loaded")],
    )


def test_the_check_predicts_what_compact_quarantines(tmp_path: Path) -> None:
    export = Export(tmp_path, SCHEMAS)
    rejected = [profile(1, version=9), profile(2, traits=5), profile(3, updatedAt=None)]
    bad = [b"{", b"[]", b"\xff", b"  ", b"5"]
    odd = [profile(4, version=1.0), profile(5, updatedAt="2026-11-01t00:00:00+01"), profile(6, more=[1])]
    export.deliver("fan_profiles", [*rejected, *bad, *odd])
    report = json.loads(export.run("--check", "--json", "--dataset", "fan_profiles").stdout)
    command = ["-c", str(export.config), "compact", "--dataset", "fan_profiles", "--json"]
    [loaded] = json.loads(CliRunner().invoke(program, command).stdout)["datasets"]
    assert (report["lines"]["fan_profiles"], report["rejected"]["fan_profiles"]) == (10, 7)
    assert (loaded["lines"], loaded["quarantined"]) == (10, 7)


def test_a_bucket_gives_the_same_draft_as_a_folder(tmp_path: Path, bucket: Bucket) -> None:
    export = Export(tmp_path)
    path = export.deliver("things", [plain(number, updatedAt=moment(number)) for number in range(30)])
    local = export.text("things")
    bucket.put(f"prefix/{path.relative_to(export.source).as_posix()}", path.read_bytes())
    url = f"{{url: s3://{bucket.name}/prefix, endpoint: {bucket.endpoint}}}"
    export.config.write_text(f"source: {url}\nwarehouse: {tmp_path / 'warehouse'}\n")
    assert export.text("things") == local
    assert not (tmp_path / "warehouse").exists()

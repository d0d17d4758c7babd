"""`infer`: a registry drafted from our own export, and from one with other names."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from compactor.cli.main import program
from compactor.registry import loader
from compactor.types.field_type import STRING
from tests.support.export import EMAIL, TRAIT, Export, moment
from tests.support.lake import ROOT, SCHEMAS

pytestmark = pytest.mark.usefixtures("logging_restored")


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
        assert (found.current, found.history) == (dataset.current, dataset.history)
        assert "\ntables:\n" in sample_export.text(name)
        columns = {(field.json, field.column, field.type) for field in dataset.newest.fields}
        more = {("sessionID", "session_id", STRING)} if name == "fan_track_events" else set()  # of a newer app
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
    told = [sample_export.run(*words) for words in ((), ("--json",), ("--check",), ("--check", "--json"))]
    output = "".join(result.output for result in told)
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
    """Nothing is called as in our registry: members that change and go, what they do, and contacts of theirs."""
    rng = random.Random(5)
    members, actions, handles = [], [], []
    for number in range(1200):
        user = f"u{number * 7 % 300}"
        outer = {"record_id": f"x{number}", "schema_version": 3, "sent_at": moment(number + 40)}
        op = "DELETE" if number % 20 == 7 else "UPSERT"
        members.append({**outer, "user_id": user, "ts": moment(number), "op": op, "props": {"mail": EMAIL}})
        did = moment(number + rng.randrange(30))
        actions.append({**outer, "user_id": user, "event_name": TRAIT, "time": did, "amount": rng.choice((1, 2.5))})
        at = moment(number // 3)  # three of one user's at a time: the user is not the key
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
        columns = {field.json: (field.column, field.type.name) for field in dataset.newest.fields}
        assert dataset.newest.number == 3
        assert columns["record_id"] == ("id", "string")
        assert columns["schema_version"] == ("version", "long")
        assert columns["sent_at"] == ("emitted_at", "timestamp")
    assert {field.json: field.type.name for field in actions.newest.fields}["amount"] == "double"


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

"""The sample export keeps the promises of its summary, of the source format and of its own description."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
import zlib
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.model import DATASETS, Model

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_sample.py"
SMALL = ("--fans", "60", "--events", "2500")
STATE = ("fan_profiles", "fan_identity_graph", "fan_profile_merges")
KEY = re.compile(
    r"exports/(?P<dataset>[a-z_]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P=dataset)-(?P<written>\d{8}T\d{6}Z)-part-[0-9a-f]{32}\.ndjson\.gz"
)


def make_sample(out: Path, *arguments: str) -> str:
    """What the script prints to stdout."""
    command = [sys.executable, str(SCRIPT), str(out), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def files(out: Path) -> dict[str, bytes]:
    """Object key -> bytes, in the order of the keys."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.gz"))}


def written(key: str) -> datetime:
    match = KEY.fullmatch(key)
    assert match, key
    return datetime.strptime(match["written"], "%Y%m%dT%H%M%S%z")


def model_of(out: Path) -> Model:
    model = Model()
    for key, data in files(out).items():
        etag = hashlib.sha256(data).hexdigest()
        model.deliver(key.split("/")[1], key, etag, gzip.decompress(data).split(b"\n"))
    return model


def records(out: Path, dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """(object key, record) of each good line."""
    return [
        (key, record)
        for key, data in files(out).items()
        if f"/{dataset}/" in key
        for line in gzip.decompress(data).splitlines()
        if line.endswith(b"}") and (record := json.loads(line)).get("version") == 1 and "id" in record
    ]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sample, not to be changed, with its summary beside it."""
    out = tmp_path_factory.mktemp("sample")
    (out / "summary.json").write_text(make_sample(out, *SMALL, "--json"))
    return out


@pytest.fixture(scope="module")
def model(out: Path) -> Model:
    return model_of(out)


def assert_counts_are_right(summary: dict[str, Any], model: Model) -> None:
    assert set(summary["datasets"]) == set(DATASETS)
    for dataset, counts in summary["datasets"].items():
        ledger = model.ledger(dataset)
        lines, bad = (sum(column) for column in zip(*ledger.values(), strict=True)) if ledger else (0, 0)
        assert counts == {
            "files": len(ledger),
            "lines": lines,
            "distinct": model.new_total(dataset),
            "duplicates": lines - bad - model.new_total(dataset),
            "bad_lines": bad,
            "current_rows": len(model.current(dataset)),
        }


def test_the_printed_counts_are_what_the_model_finds(out: Path, model: Model) -> None:
    assert_counts_are_right(json.loads((out / "summary.json").read_text()), model)


def test_the_counts_hold_without_any_event(tmp_path: Path) -> None:
    summary = make_sample(tmp_path, "--fans", "1", "--events", "0", "--days", "1", "--bad-lines", "9", "--json")
    assert_counts_are_right(json.loads(summary), model_of(tmp_path))


def test_the_table_shows_the_same_counts_as_json(out: Path, tmp_path: Path) -> None:
    printed = make_sample(tmp_path, *SMALL).splitlines()[1:]
    counts = json.loads((out / "summary.json").read_text())["datasets"]
    assert [line.replace(",", "").split() for line in printed] == [
        [dataset, *map(str, row.values())] for dataset, row in counts.items()
    ]


def test_the_same_arguments_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    make_sample(tmp_path, *SMALL)
    assert files(tmp_path) == files(out)


def test_another_seed_gives_other_ids(model: Model, tmp_path: Path) -> None:
    make_sample(tmp_path, "--fans", "10", "--events", "200", "--seed", "8")
    other = model_of(tmp_path)
    for dataset in DATASETS:
        assert not model.history(dataset).keys() & other.history(dataset).keys()


def test_every_key_has_the_hour_in_which_it_was_written(out: Path) -> None:
    for key in files(out):
        match = KEY.fullmatch(key)
        assert match, key
        assert f"{written(key):%Y-%m-%d %H}" == f"{match['date']} {match['hour']}"


def test_no_record_was_emitted_after_its_file_was_written(out: Path) -> None:
    for dataset in DATASETS:
        for key, record in records(out, dataset):
            if record["emittedAt"] != "yesterday evening":
                assert datetime.fromisoformat(record["emittedAt"]) < written(key) + timedelta(seconds=1)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_has_duplicates_in_other_files(out: Path, dataset: str) -> None:
    places = defaultdict(list)
    for key, record in records(out, dataset):
        places[record["id"]].append(key)
    repeated = [keys for keys in places.values() if len(keys) > 1]
    assert repeated
    assert all(len(keys) == len(set(keys)) for keys in repeated)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_has_records_that_are_days_late(out: Path, dataset: str) -> None:
    # Rows of a snapshot are old as well, but they are emitted just then.
    moment = "emittedAt" if dataset in STATE else "occurredAt"
    assert any(
        written(key) - datetime.fromisoformat(record[moment]) > timedelta(days=1)
        for key, record in records(out, dataset)
        if record["emittedAt"] != "yesterday evening"
    )


@pytest.mark.parametrize("dataset", STATE)
def test_the_snapshot_is_rerun_with_the_ids_that_rows_already_have(out: Path, dataset: str) -> None:
    emissions, contents = defaultdict(set), defaultdict(set)
    for _, record in records(out, dataset):
        emissions[record["id"]].add(record.pop("emittedAt"))
        contents[record["id"]].add(json.dumps(record))
    assert {max(moments) for moments in emissions.values() if len(moments) > 1} == {"2026-11-02T12:00:00.000Z"}
    assert all(len(texts) == 1 for texts in contents.values())


def test_traits_are_removed_and_emptied(model: Model) -> None:
    current = model.current("fan_profiles").values()
    assert any("lastName" not in row["traits"] for row in current)
    assert any(None in row["traits"].values() for row in current)


def test_identifiers_are_untied_and_one_old_upsert_comes_after_its_delete(out: Path, model: Model) -> None:
    deletes = [row for row in model.history("fan_identity_graph").values() if row["operation"] == "delete"]
    assert len(deletes) > 1
    (delete_key, delete), (upsert_key, upsert) = [
        (key, record)
        for key, record in records(out, "fan_identity_graph")
        if record["identifierValue"] == "deleted@example.com"
    ]
    assert (delete["operation"], upsert["operation"]) == ("delete", "upsert")
    assert written(delete_key) < written(upsert_key)
    assert delete["updatedAt"] > upsert["updatedAt"]
    assert ("email", "deleted@example.com") not in model.current("fan_identity_graph")


def test_the_bad_lines_are_of_every_kind(model: Model) -> None:
    reasons = [reason for dataset in DATASETS for _, _, reason in model.quarantine(dataset)]
    assert sorted(reasons) == ["bad_value", "missing_field", "not_json", "not_object", "unknown_version"]


def test_some_files_have_many_members_and_some_lack_the_last_newline(out: Path) -> None:
    def members(data: bytes) -> int:
        count = 0
        while data:
            member = zlib.decompressobj(31)
            member.decompress(data)
            count, data = count + 1, member.unused_data
        return count

    data = list(files(out).values())
    assert {members(item) for item in data} == {1, 2}
    assert {gzip.decompress(item).endswith(b"\n") for item in data} == {True, False}


def test_a_busy_hour_makes_full_size_files_and_a_quiet_one_tiny_files(tmp_path: Path) -> None:
    make_sample(tmp_path, "--fans", "10", "--events", "8000", "--days", "1")
    sizes = [lines for lines, _ in model_of(tmp_path).ledger("fan_track_events").values()]
    assert max(sizes) > 2000
    assert sorted(sizes)[len(sizes) // 2] <= 60


def test_a_replaced_key_holds_the_same_records_and_one_more(tmp_path: Path) -> None:
    make_sample(tmp_path, "--fans", "10", "--events", "500")
    before, old = files(tmp_path), model_of(tmp_path)
    result = json.loads(make_sample(tmp_path, "--replace", "--json"))
    after, new = files(tmp_path), model_of(tmp_path)
    assert [key for key in after if after[key] != before.get(key)] == [result["replaced"]]
    assert result["lines"] == result["lines_before"] + 1
    assert new.history("fan_track_events").items() > old.history("fan_track_events").items()
    assert new.new_total("fan_track_events") == old.new_total("fan_track_events") + 1


def test_an_existing_export_is_left_alone_unless_forced(tmp_path: Path) -> None:
    make_sample(tmp_path, "--fans", "10", "--events", "50")
    before = files(tmp_path)
    assert make_sample(tmp_path, "--fans", "11", "--events", "50") == ""
    assert files(tmp_path) == before
    make_sample(tmp_path, "--fans", "11", "--events", "50", "--force")
    assert files(tmp_path) != before


@pytest.mark.parametrize("arguments", [("--days", "0"), ("--fans", "few"), ("--start", "today"), ("--replace",)])
def test_wrong_usage_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        make_sample(tmp_path, *arguments)
    assert error.value.returncode == 2

"""`infer --check`: the registry against the data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compactor.cli.main import program
from compactor.errors import SourceError
from compactor.source.folder import LocalSource
from tests.support.export import EMAIL, TRAIT, Export, Record, moment, plain
from tests.support.lake import SCHEMAS

pytestmark = pytest.mark.usefixtures("logging_restored")


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


def test_a_dataset_that_cannot_be_listed_is_a_finding_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = Export(tmp_path, SCHEMAS)
    for dataset in ("fan_profiles", "fan_track_events"):
        export.deliver(dataset, [profile(number) for number in range(20)])
    original = LocalSource.list

    def refused(self: LocalSource, dataset: str, *arguments: Any, **options: Any) -> Any:
        if dataset == "fan_track_events":
            raise SourceError("cannot list it: permission denied; make it readable, then run again")
        return original(self, dataset, *arguments, **options)

    monkeypatch.setattr(LocalSource, "list", refused)

    assert export.findings() == (
        1,
        [("fan_track_events", "dataset", "cannot list it: permission denied; make it readable, then run again")],
    )

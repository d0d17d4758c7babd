"""The comparison with other tools: its nights, its plain model, and the catalog through which DuckDB writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyiceberg.table import CommitTableRequest

import bench_peers
import plain_model
from bench_figures import SCRIPTS, run
from bench_nights import lines, write_nights
from bench_peers import WITH, Result
from peer_tables import DATASETS, NAMESPACE, create, current_tables, open_catalog
from rest_catalog import Catalog, respond
from tests.support.model import Model

PART = 200


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [night for night, _ in write_nights(tmp_path_factory.mktemp("nights"), PART)]


def test_the_plain_model_agrees_with_the_model_of_the_tests(nights: list[Path]) -> None:
    model = Model()
    for dataset in DATASETS:
        for number, night in enumerate(nights):
            model.deliver(dataset.name, f"night {number}", "", list(lines(night, dataset.name)))
        records, current = plain_model.expected(dataset, nights)
        digest = plain_model.digester(dataset)
        assert records == {(id_,): digest(row) for id_, row in model.history(dataset.name).items()}
        assert current == {key: digest(row) for key, row in model.current(dataset.name).items()}


def test_the_second_night_brings_late_records_deletes_and_lines_again(nights: list[Path]) -> None:
    by_name = {dataset.name: dataset for dataset in DATASETS}
    for name, what in (("fan_profiles", "late"), ("fan_identity_graph", "deleted")):
        stored, stored_current = plain_model.expected(by_name[name], nights[:1])
        both, current = plain_model.expected(by_name[name], nights)
        second, second_current = plain_model.expected(by_name[name], nights[1:])
        assert set(stored) & set(second), "no line comes again"
        assert all(both[id_] == digest for id_, digest in stored.items()), "the copy that was emitted first stays"
        lost = set(stored_current) - set(current)
        kept = {key for key in set(stored_current) & set(second_current) if current.get(key) == stored_current[key]}
        assert lost if what == "deleted" else kept


def test_each_kind_of_fault_is_counted() -> None:
    dataset = next(each for each in DATASETS if each.name == "fan_profile_merges")
    row = dict.fromkeys(dataset.columns, "x") | {
        "version": 1,
        "emitted_at": "2026-11-01T00:00:00Z",
        "merged_at": "2026-11-01T00:00:00Z",
    }
    digest = plain_model.digester(dataset)
    rows = [row | {"id": name} for name in ("right", "right", "wrong", "surplus")]
    must: plain_model.Rows = {(name,): digest(row | {"id": name}) for name in ("right", "missing")}
    must["wrong",] = b""
    found = plain_model.faults(iter(rows), must, ("id",), dataset)
    assert found == {"missing": 1, "surplus": 1, "duplicates": 1, "wrong": 1}


def test_a_value_is_the_same_as_json_as_a_map_and_as_text() -> None:
    dataset = next(each for each in DATASETS if each.name == "fan_profiles")
    digest = plain_model.digester(dataset)
    row = dict.fromkeys(dataset.columns, "x") | {"version": 1}
    row |= {"emitted_at": "2026-11-01T00:00:00.5Z", "updated_at": "2026-11-01T00:00:00Z"}
    as_json = row | {"traits": {"spend": 12.5, "name": "Zoë", "none": None, "deep": {"a": [1]}}}
    as_text = row | {"traits": '{"name":"Zoë","spend":12.50,"none":null,"deep":{"a":[1]}}'}
    as_map = row | {"traits": [("deep", '{"a": [1]}'), ("none", None), ("spend", "12.50"), ("name", "Zoë")]}
    assert digest(as_json) == digest(as_text) == digest(as_map)
    assert digest(as_json) != digest(as_map | {"traits": [("spend", "12.51")]})


@pytest.mark.parametrize(
    "name", ["rival-lean", *(pytest.param(each, marks=pytest.mark.soak) for each in ("rival-ours", "append"))]
)
def test_duckdb_loads_both_nights_and_only_blind_appends_are_at_fault(
    name: str, nights: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB and its extensions are those of the project: the environment of the peers is not needed."""
    monkeypatch.setattr(bench_peers, "PYTHON", Path(sys.executable))
    for number in (1, 2):
        bench_peers.plain_model("expect", tmp_path / f"expected-{number}", *nights[:number])
    result = Result(name)
    bench_peers.one_round(name, WITH[name], tmp_path, nights, result)
    assert not any(result.faults[1].values())
    assert any(result.faults[2].values()) == (name == "append")
    (row, _) = bench_peers.rows_of([result], [1000, 300])
    assert row[:4] == [WITH[name].title, str(len(WITH[name].tables)), "1", "1,000"]


def test_a_commit_on_an_older_state_is_answered_as_a_conflict(tmp_path: Path) -> None:
    tables = open_catalog(tmp_path)
    create(tables, current_tables(), our_layout=True)
    catalog, path = Catalog(tables), ["namespaces", NAMESPACE, "tables", "fan_profiles"]
    status, loaded = respond(catalog, "GET", path, None)
    assert (status, loaded["metadata"]["format-version"]) == (200, 2)
    request = CommitTableRequest.model_validate(
        {
            "identifier": {"namespace": [NAMESPACE], "name": "fan_profiles"},
            "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}],
            "updates": [{"action": "set-properties", "updates": {"a": "b"}}],
        }
    )
    status, error = respond(catalog, "POST", path, request.model_dump(mode="json", by_alias=True))
    assert (status, error["error"]["type"]) == (409, "CommitFailedException")
    assert respond(catalog, "GET", [*path[:-1], "none"], None)[0] == 404
    assert respond(catalog, "PUT", ["nothing"], None)[0] == 404


def test_the_peers_and_the_parts_are_listed_by_the_help() -> None:
    for script, names in (("bench_peers.py", WITH), ("bench.py", ("loads", "memory", "hostile"))):
        printed, _ = run([sys.executable, str(SCRIPTS / script), "--help"])
        assert all(name in printed.decode() for name in names if name != "compactor")

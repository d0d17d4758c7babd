"""What a registry file may say, what it means, and how the mistakes of a whole folder are reported."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from compactor.errors import ConfigError, UsageError
from compactor.registry import loader
from compactor.registry.dataset import Dataset, DeleteRule, Partition, Promotion, TableLayout
from compactor.registry.fields import Field, column_name
from compactor.types.field_type import LONG, MAP, STRING, TIMESTAMP, decimal

SCHEMAS = Path(__file__).parents[3] / "configs" / "schemas"

STATE = """\
dataset: things
kind: state
key: [thing_id]
order: updated_at
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      thingID: {type: string, required: true}
      updatedAt: {type: timestamp, required: true}
      state: string
      score: double
      rank: {type: long, required: true}
      notes: map
"""
EVENTS = STATE.replace("kind: state", "kind: events").replace("key: [thing_id]\n", "")


def write(folder: Path, text: str, name: str = "things") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def one(folder: Path, text: str) -> Dataset:
    return loader.load(write(folder, text)).get("things")


def problems(folder: Path) -> list[str]:
    """The problems of a folder, as `file:line: sentence` with the file's bare name."""
    with pytest.raises(ConfigError) as caught:
        loader.load(folder)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_the_shipped_registry_has_the_contracts_tables() -> None:
    found = loader.load(SCHEMAS)
    tables = {name: (dataset.current_table, dataset.history_table) for name, dataset in found.datasets.items()}
    assert tables == {
        "fan_identity_graph": ("fan_identity_graph", "fan_identity_graph_history"),
        "fan_profile_merges": ("fan_profile_merges", "fan_profile_merges_history"),
        "fan_profiles": ("fan_profiles", "fan_profiles_history"),
        "fan_track_events": (None, "fan_track_events"),
    }


def test_every_shipped_table_is_partitioned_by_the_day_of_its_order_column() -> None:
    for dataset in loader.load(SCHEMAS).datasets.values():
        for layout in filter(None, (dataset.current, dataset.history)):
            assert layout.partition == Partition("day", dataset.order, None)
            assert layout.sort


def test_the_shipped_datasets_say_what_the_source_describes() -> None:
    found = loader.load(SCHEMAS)
    profiles, graph, merges, events = (
        found.get(name) for name in ("fan_profiles", "fan_identity_graph", "fan_profile_merges", "fan_track_events")
    )
    assert (profiles.key, profiles.order, profiles.delete) == (("rover_id",), "updated_at", None)
    assert graph.key == ("identifier_type", "identifier_value")
    assert graph.delete == DeleteRule("operation", ("delete",))
    assert (merges.key, merges.order) == (("from_rover_id",), "merged_at")
    assert (events.key, events.order, events.current) == (("id",), "occurred_at", None)
    assert events.history.sort == ("rover_id", "occurred_at")
    for dataset in found.datasets.values():
        assert dataset.promoted == ()
        assert [field.column for field in dataset.newest.fields][:4] == ["id", "version", "rover_id", "emitted_at"]
        required = {column for column, _, required in dataset.columns if required}
        assert required >= {"id", "version", "rover_id", "emitted_at", *dataset.key, dataset.order}
        assert dataset.version_field == Field("version", "version", LONG, True)
    assert profiles.columns[-2:] == (("updated_at", TIMESTAMP, True), ("traits", MAP, False))
    assert events.columns[-2:] == (("attributes", MAP, False), ("device", MAP, False))


@pytest.mark.parametrize(
    ("json", "column"),
    [
        ("id", "id"),
        ("roverID", "rover_id"),
        ("emittedAt", "emitted_at"),
        ("fromRoverID", "from_rover_id"),
        ("HTMLTitle", "html_title"),
        ("line2Text", "line2_text"),
        ("already_snake", "already_snake"),
        ("utm-source", "utm_source"),
        ("URL", "url"),
    ],
)
def test_a_column_is_the_lower_snake_case_of_its_json_name(json: str, column: str) -> None:
    assert column_name(json) == column


def test_a_fifth_dataset_is_one_more_file(tmp_path: Path) -> None:
    for path in SCHEMAS.glob("*.yaml"):
        write(tmp_path, path.read_text(encoding="utf-8"), path.stem)
    found = loader.load(write(tmp_path, STATE))
    assert sorted(set(found.datasets) - {path.stem for path in SCHEMAS.glob("*.yaml")}) == ["things"]
    assert found.get("things").file == str(tmp_path / "things.yaml")


def test_what_a_state_dataset_leaves_out_has_a_default(tmp_path: Path) -> None:
    dataset = one(tmp_path, STATE)
    by_day = Partition("day", "updated_at", None)
    assert dataset.current == TableLayout(by_day, ("thing_id",))
    assert dataset.history == TableLayout(by_day, ("thing_id", "updated_at"))
    assert (dataset.delete, dataset.promoted) == (None, ())
    assert dataset.newest.fields[5] == Field("state", "state", STRING, False)


def test_what_an_events_dataset_leaves_out_has_a_default(tmp_path: Path) -> None:
    dataset = one(tmp_path, EVENTS)
    assert (dataset.key, dataset.current, dataset.current_table) == (("id",), None, None)
    assert dataset.history == TableLayout(Partition("day", "updated_at", None), ("id", "updated_at"))


def test_partition_and_sort_are_set_for_each_table(tmp_path: Path) -> None:
    tables = """\
tables:
  current:
    partition: bucket(16, thing_id)
  history: {partition: month(emitted_at), sort: [emitted_at, rank]}
"""
    dataset = one(tmp_path, STATE + tables)
    assert dataset.current == TableLayout(Partition("bucket", "thing_id", 16), ("thing_id",))
    assert dataset.history == TableLayout(Partition("month", "emitted_at", None), ("emitted_at", "rank"))
    none = one(tmp_path, STATE + "tables: {current: {partition: none}}\n")
    assert none.current == TableLayout(Partition("none", None, None), ("thing_id",))


def test_promoted_columns_come_after_the_fields_and_are_never_required(tmp_path: Path) -> None:
    promote = """\
promote:
  - {from: notes, key: loyaltyTier, type: string}
  - {from: extra, key: spend, column: spent, type: "decimal(10, 2)"}
"""
    dataset = one(tmp_path, STATE + promote)
    assert dataset.promoted == (
        Promotion("notes", "loyaltyTier", "loyalty_tier", STRING),
        Promotion("extra", "spend", "spent", decimal(10, 2)),
    )
    assert dataset.columns[-2:] == (("loyalty_tier", STRING, False), ("spent", decimal(10, 2), False))


def test_a_word_that_yaml_may_take_for_a_boolean_stays_a_word(tmp_path: Path) -> None:
    dataset = one(tmp_path, STATE + "      on: string\ndelete: {column: on, equals: [no, 1]}\n")
    assert dataset.delete == DeleteRule("on", ("no", "1"))


def test_a_registry_can_be_sent_to_another_process() -> None:
    found = loader.load(SCHEMAS)
    assert pickle.loads(pickle.dumps(found)) == found


def test_an_unknown_dataset_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"^unknown dataset 'fan_profile'; did you mean 'fan_profiles'\?$"):
        loader.load(SCHEMAS).get("fan_profile")


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such folder; set 'schemas'"):
        loader.load(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no \*\.yaml file in it"):
        loader.load(tmp_path)


def test_all_mistakes_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    first = """\
dataset: accounts
kind: stat
key: [acount_id]
order: updated_at
tables:
  current: {partition: day(plan), sort: [accountID]}
versions:
  1:
    fields:
      id: {type: string, required: true}
      version: {type: string, required: true}
      emittedAt: {type: timestamp, requird: true}
      accountID: {type: string, required: true}
      plan: strng
      updatedAt: timestamp
      source_file: string
"""
    second = """\
dataset: visit
kind: events
ordr: occurred_at
delete: {column: operation, equals: [delete]}
promote:
  - {from: atributes, key: page, type: map}
versions:
  1:
    fields:
      id: {type: string, required: true}
      id: {type: long, required: true}
      version: {type: long, required: true}
      emittedAt: {type: timestamp, required: true}
      occurredAt: {type: timestamp, required: true}
      attributes: map
"""
    write(tmp_path, first, "accounts")
    write(tmp_path, second, "visits")
    (tmp_path / "zones.yaml").write_text("dataset: [zones\n")
    assert problems(tmp_path) == [
        "zones.yaml:2: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        "accounts.yaml:2: unknown kind 'stat'; did you mean 'state'?",
        "accounts.yaml:3: no column 'acount_id' in the newest version; did you mean 'account_id'?",
        "accounts.yaml:11: column 'version' is a string; it should be a long",
        "accounts.yaml:12: unknown key 'requird'; did you mean 'required'?",
        "accounts.yaml:14: field 'plan' has the unknown type 'strng'; did you mean 'string'?",
        "accounts.yaml:15: column 'updated_at' should be required: it is in 'order'",
        (
            "accounts.yaml:16: field 'source_file': column 'source_file' is in each table already; "
            "give it another `column`"
        ),
        "visits.yaml:1: dataset 'visit' should be in a file named visit.yaml",
        "visits.yaml:3: unknown key 'ordr'; did you mean 'order'?",
        "visits.yaml:4: events are never deleted by a record; remove 'delete'",
        (
            "visits.yaml:4: no column 'operation' in the newest version; known here: id, version, emitted_at, "
            "occurred_at, attributes"
        ),
        "visits.yaml:6: 'atributes' is not a map column of the newest version; did you mean 'attributes'?",
        (
            "visits.yaml:6: promotion of 'page' has the unknown type 'map'; known here: string, long, double, "
            "boolean, timestamp, date, decimal(P,S)"
        ),
        "visits.yaml:11: key 'id' is already set on line 10; keep one of the two",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("dataset: things\n", ""), "1: missing key 'dataset', or it is empty"),
        (("dataset: things", "dataset: Things"), "1: 'Things' should be lower snake case, such as 'fan_profiles'"),
        (("dataset: things", "dataset: compactor_x"), "1: 'compactor_x' should not begin with 'compactor_'"),
        (("kind: state\n", ""), "1: missing key 'kind'"),
        (("key: [thing_id]", "key: []"), "3: missing key 'key', or it is empty"),
        (("key: [thing_id]", "key: thing_id"), "3: 'key' should be a list"),
        (("key: [thing_id]", "key:\n- thing_id\n- thing_id"), "5: column 'thing_id' is named twice"),
        (
            ("key: [thing_id]", "key: [thingID]"),
            "3: no column 'thingID' in the newest version; did you mean 'thing_id'?",
        ),
        (("key: [thing_id]", "key: [updated_at]"), "3: key column 'updated_at' is a timestamp; it should be one of"),
        (("key: [thing_id]", "key: [state]"), "13: column 'state' should be required: it is in 'key'"),
        (
            ("order: updated_at", "order: thing_id\ntables: {current: {partition: none}, history: {partition: none}}"),
            "4: order column 'thing_id' is a string; it should be one of timestamp, long, date",
        ),
        (("kind: state", "kind: events"), "3: events are identified by 'id' alone; remove 'key'"),
        (("  1:\n", "  0:\n"), "6: version '0' should be a positive whole number"),
        (("  1:\n", "  v1:\n"), "6: version 'v1' should be a positive whole number"),
        (("      id: {type: string, required: true}\n", ""), "7: version 1 has no field for column 'id'; add"),
        (
            ("id: {type: string, required: true}", "id: string"),
            "8: column 'id' should be required: every record has it",
        ),
        (("state: string", "state:"), "13: field 'state' has no type; give it one of string, long"),
        (("state: string", "state: {type: [string]}"), "13: 'versions.1.fields.state.type' should be a text"),
        (("state: string", "state: decimal(39,2)"), "13: field 'state' should be a decimal(P,S), S <= P <= 38"),
        (("state: string", "state: decimal(3,4)"), "13: field 'state' should be a decimal(P,S), S <= P <= 38"),
        (("state: string", "état: string"), "13: field 'état': column 'état' should be a-z, 0-9 and _"),
        (("state: string", f"{'x' * 256}: string"), "13: field 'xxx"),
        (
            ("state: string", "thingId: {type: string, required: true}"),
            "13: fields 'thingID' and 'thingId' share the column 'thing_id'",
        ),
        (
            ("state: string", "state: {type: string, column: extra}"),
            "13: field 'state': column 'extra' is in each table already",
        ),
        (("state: string", "__ok: string"), "13: field '__ok': column '__ok' begins with '__', as only the program's"),
        (("state: string", "_pos: string"), "13: field '_pos': column '_pos' has a name that query engines keep"),
        (
            ("state: string", "rowID: {type: string, column: rowid}"),
            "13: field 'rowID': column 'rowid' has a",
        ),
        (
            ("state: string", "updatedAtDay: string"),
            "4: partition day(updated_at) is named updated_at_day, as a",
        ),
        (
            ("order: up", "promote: [{from: extra, key: updated_at_day, type: long}]\norder: up"),
            "5: partition day(updated_at) is named updated_at_day, as a column",
        ),
        (("state: string", '"a\\0": {type: string, column: a}'), "13: the escape of character 0000 (hex) is not text"),
        (("order: up", 'delete: {column: state, equals: ["\\udfff"]}\norder: up'), "4: the escape of character dfff"),
        (("  1:\n", '  "1\u0663":\n'), "6: version '1\u0663' should be a positive whole number"),
        (("order: updated_at", "order: rank"), "4: partition day(rank) is by time, but 'rank' is a long; use"),
        (("order: up", "tables: {events: {}}\norder: up"), "4: a dataset of kind state has no table 'events'"),
        (("order: up", "tables: {current: {sort: [notes]}}\norder: up"), "4: sort column 'notes' is a map"),
        (("order: up", "tables: {current: {sort: [stat]}}\norder: up"), "4: no column 'stat' in the newest version"),
        (("order: up", "tables: {current: {partition: day(upd)}}\norder: up"), "4: no column 'upd' in the newest"),
        (("order: up", "tables: {current: {partition: week(x)}}\norder: up"), "4: 'week(x)' should be day(column)"),
        (("order: up", "tables: {current: {partition: 'bucket(0, rank)'}}\norder: up"), "4: 'bucket(0, rank)' should"),
        (
            ("order: up", "tables: {current: {partition: 'bucket(10001, rank)'}}\norder: up"),
            "4: partition bucket(10001, rank) should have from 1 to 10,000 buckets",
        ),
        (
            ("order: up", "tables: {current: {partition: 'bucket(4, score)'}}\norder: up"),
            "4: partition bucket(4, score) cannot be: 'score' is a double",
        ),
        (("order: up", "delete: {column: state}\norder: up"), "4: missing key 'equals' in 'delete', or it is empty"),
        (
            ("order: up", "delete: {column: rank, equals: [1]}\norder: up"),
            "4: delete column 'rank' is a long; it should",
        ),
        (("order: up", "promote: [{from: notes, type: long, column: x}]\norder: up"), "4: missing key 'key' in this"),
        (("order: up", "promote: [{from: state, key: x, type: long}]\norder: up"), "4: 'state' is not a map column of"),
        (("order: up", "promote:\n- {from: notes, key: rank, type: long}\norder: up"), "5: column 'rank' is taken"),
        (
            ("order: up", "promote:\n- {from: notes, key: x, column: extra, type: long}\norder: up"),
            "5: promotion of 'x'",
        ),
    ],
)
def test_a_mistake_is_refused_alone_at_its_line(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    assert change[0] in STATE
    text = STATE.replace(*change, 1)
    named = re.match(r"dataset: ([a-z_]+)$", text, re.MULTILINE)
    name = named[1] if named else "things"
    found = problems(write(tmp_path, text, name))
    assert len(found) == 1
    assert found[0].startswith(f"{name}.yaml:{problem}")


def test_a_decimal_or_bucket_cut_by_a_flow_mappings_comma_is_to_be_quoted(tmp_path: Path) -> None:
    text = STATE.replace("score: double", "score: {type: decimal(10,2)}")
    text += "tables:\n  current: {partition: bucket(4, rank)}\n"
    found = problems(write(tmp_path, text))
    assert (
        "things.yaml:14: field 'score' should be a decimal(P,S), S <= P <= 38; in {…}, put it in \"quotes\"" in found[1]
    )
    assert (
        "things.yaml:18: 'bucket(4' should be day(column), month(column), bucket(16, column) or none (in {…}"
        in found[3]
    )


def test_a_file_that_would_not_be_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path, STATE)
    (tmp_path / "more.yml").touch()
    assert problems(tmp_path) == ["more.yml:1: only *.yaml is read here; name it more.yaml"]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, reason in (("none", "no such folder"), ("file", "no such folder"), ("x" * 5_000, "cannot be read: ")):
        with pytest.raises(ConfigError, match=reason):
            loader.load(tmp_path / folder)


def test_two_datasets_cannot_share_a_table(tmp_path: Path) -> None:
    write(tmp_path, STATE)
    write(tmp_path, EVENTS.replace("dataset: things", "dataset: things_history"), "things_history")
    assert problems(tmp_path) == [
        "things_history.yaml:1: its table 'things_history' already belongs to things.yaml; rename the dataset"
    ]


def test_two_files_cannot_hold_one_dataset(tmp_path: Path) -> None:
    write(write(tmp_path, STATE), STATE, "copy")
    assert problems(tmp_path) == [
        "copy.yaml:1: dataset 'things' should be in a file named things.yaml",
        "things.yaml:1: its table 'things' already belongs to copy.yaml; rename the dataset",
    ]

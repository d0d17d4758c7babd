"""Names of columns: which the registry accepts, and what is suggested instead of another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactor.registry import loader
from compactor.registry.dataset import Dataset
from compactor.registry.fields import RESERVED_COLUMNS, column_mistake, column_name, free_column

# What the program has called columns of its own, and what its statements call tables and parts of values.
WORDS = (
    *("ok", "top", "file_no", "line_no", "moment", "rid", "ids", "file", "partition", "place", "replaces", "surplus"),
    *(
        "gone",
        "best",
        "who",
        "rank",
        "text",
        "fresh",
        "key",
        "order",
        "select",
        "row_id",
        "_id",
        "_n",
        "_sure",
        "r",
        "f",
    ),
)
REFUSED = ("__file", "__partition", "__rid", "__", "rowid", "_file", "_pos", "_partition", "_spec_id", "_deleted")
HEAD = """\
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
"""


def loaded(folder: Path, *columns: str) -> Dataset:
    (folder / "things.yaml").write_text(HEAD + "".join(f"      {column}: string\n" for column in columns))
    return loader.load(folder).get("things")


def test_a_record_can_have_columns_of_names_that_the_program_might_want(tmp_path: Path) -> None:
    found = loaded(tmp_path, *WORDS)
    assert [field.column for field in found.newest.fields][5:] == list(WORDS)


@pytest.mark.parametrize("column", [*REFUSED, *RESERVED_COLUMNS])
def test_a_name_of_the_program_or_of_an_engine_is_refused(column: str) -> None:
    assert column_mistake(column)
    assert column_mistake(f"a{column}") is None


@pytest.mark.parametrize(
    ("json", "column"),
    [
        ("roverID", "rover_id"),
        ("ok", "ok"),
        ("file_no", "file_no"),
        ("a__b", "a__b"),
        ("_id", "_id"),
        ("extra", "map_extra"),
        ("__file", "file"),
        ("rowid", "map_rowid"),
        ("_pos", "pos"),
        ("2fa", "key_2fa"),
        ("日本", "key"),
        ("", "key"),
        ("taken", "map_taken"),
        ("twice", "twice_2"),
    ],
)
def test_a_column_for_a_key_follows_the_rule_as_far_as_that_goes(json: str, column: str) -> None:
    assert free_column(json, {"taken", "twice", "map_twice"}, prefix="map") == column


@given(st.one_of(st.text(max_size=400), st.sampled_from([*WORDS, *REFUSED])), st.sets(st.sampled_from([*WORDS, "key"])))
def test_a_suggested_column_is_never_refused_or_taken(json: str, taken: set[str]) -> None:
    for prefix in ("field", "extra", "x" * 250):
        found = free_column(json, taken, prefix=prefix)
        assert column_mistake(found) is None
        assert found not in taken
        name = column_name(json)
        assert found == name or name in taken or column_mistake(name)

"""Promoted columns of decoded lines: the bulk path, the exact path and the model agree on each value."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.decode.decoder import Decoder
from compactor.decode.lines import Block
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.support.any_record import STEADY, VALUE
from tests.support.decoding import LIMIT, PROFILES, decoded, modelled, written
from tests.support.lake import SCHEMAS
from tests.support.model import Row
from tests.support.odd_json import NUMBERS, ODD_SCALARS, STRINGS, TIMESTAMPS
from tests.support.outcomes import by_exact_path, shown
from tests.support.promoted import Promoted, of_each_kind, with_promoted

KEY = 'it\'s {x} "$"'
PROMOTED = (*of_each_kind("traits", KEY, "t"), *of_each_kind("extra", "v", "x"))
ODD = [*ODD_SCALARS, *NUMBERS, *STRINGS, *(json.dumps(text) for text in TIMESTAMPS)]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return promoting(tmp_path_factory.mktemp("schemas"), PROMOTED)


def promoting(folder: Path, promoted: tuple[Promoted, ...]) -> Dataset:
    """fan_profiles with these promotions."""
    text = (SCHEMAS / "fan_profiles.yaml").read_text(encoding="utf-8")
    text += "promote:\n" + "".join(each.yaml for each in promoted)
    (folder / "fan_profiles.yaml").write_text(text, encoding="utf-8")
    return loader.load(folder).get("fan_profiles")


def line(text: str) -> bytes:
    """A profile with this value as a trait and as an unknown field."""
    return written(('"v"', text), traits=f"{{{json.dumps(KEY)}:{text}}}")


def expected(text: str) -> Row:
    row = modelled(PROFILES.name, line(text))
    assert isinstance(row, dict)
    return with_promoted(row, PROMOTED)


def test_an_odd_value_is_the_same_in_its_columns_by_each_path(
    con: duckdb.DuckDBPyConnection, profiles: Dataset
) -> None:
    found = decoded(con, profiles, [line(text) for text in ODD])
    for text, bulk in zip(ODD, found, strict=True):
        assert shown(by_exact_path(profiles, line(text))) == shown(expected(text)), text
        assert shown(bulk) == shown(expected(text)), text


@pytest.mark.parametrize("examples", [10, pytest.param(400, marks=pytest.mark.soak)])
def test_any_value_is_the_same_in_its_columns_by_each_path(
    con: duckdb.DuckDBPyConnection, profiles: Dataset, examples: int
) -> None:
    @settings(STEADY, max_examples=examples)
    @given(texts=st.lists(st.one_of(VALUE, st.sampled_from(ODD)), min_size=1, max_size=8))
    def agree(texts: list[str]) -> None:
        for text, bulk in zip(texts, decoded(con, profiles, [line(text) for text in texts]), strict=True):
            assert shown(bulk) == shown(by_exact_path(profiles, line(text))) == shown(expected(text)), text

    agree()


def test_a_declared_field_and_a_promoted_one_of_the_same_type_hold_the_same(
    con: duckdb.DuckDBPyConnection, profiles: Dataset, tmp_path: Path
) -> None:
    columns = {each.kind: each.column for each in PROMOTED if each.source == "extra" and each.kind != "string"}
    (tmp_path / "fan_profiles.yaml").write_text(
        (SCHEMAS / "fan_profiles.yaml").read_text(encoding="utf-8")
        + "".join(f'      v{n}: "{kind}"\n' for n, kind in enumerate(columns)),
        encoding="utf-8",
    )
    declaring = loader.load(tmp_path).get("fan_profiles")
    pairs = [(text, n, column) for text in ODD_SCALARS for n, column in enumerate(columns.values())]
    promoted = dict(zip(ODD_SCALARS, decoded(con, profiles, [line(text) for text in ODD_SCALARS]), strict=True))
    declared = decoded(con, declaring, [written((f'"v{n}"', text)) for text, n, _ in pairs])
    for (text, n, column), row in zip(pairs, declared, strict=True):
        held, other = row[f"v{n}"] if isinstance(row, dict) else None, promoted[text]
        assert isinstance(other, dict)
        assert shown({"v": held}) == shown({"v": other[column]}), (column, text)


def test_what_does_not_fit_is_counted_by_column_and_null_is_not(
    con: duckdb.DuckDBPyConnection, profiles: Dataset
) -> None:
    texts = ["7", "1.5", '"gold"', "null", '"2026-11-01"']
    lines = b"\n".join([*map(line, texts), written(), b""])
    chunk = Decoder(con, profiles, ["a-key"], line_limit=LIMIT).decode([Block.of(0, 1, lines)])
    unfit: Counter[str] = Counter()
    for records in chunk.records:
        unfit += Counter({name: int(flags.sum()) for name, flags in records.unfit.items()})
    model = {each.column: sum(each.is_unfit(expected(text)) for text in texts) for each in PROMOTED}
    assert unfit == {column: count for column, count in model.items() if count}
    assert (model["t_0"], model["t_1"], model["x_1"], model["x_5"]) == (0, 3, 3, 3)

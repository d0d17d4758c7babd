"""docs/design/0006-relations.md has a table of what each stage of a night reads and makes: the code does just that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from compactor.duck.relations import Relation, Relations
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.merge.columns import record_columns
from compactor.merge.rows import key_columns
from compactor.publish import upsert
from tests.support.histories import History
from tests.support.lake import ROOT, Lake

PAGE = ROOT / "docs" / "design" / "0006-relations.md"
DATASET = "fan_identity_graph"  # it has deletes


def documented() -> dict[tuple[str, str], tuple[str, frozenset[str]]]:
    """(stage, relation) -> its columns, and the relations that it is made of."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            stage, reads, makes, columns = cells
            rows[stage, makes] = (columns, frozenset(filter(None, (word.strip() for word in reads.split(",")))))
    return rows


class Recorder:
    """Notes each relation that is made: where, of which others, with which columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
        self.made: dict[tuple[str, str], tuple[str, set[str]]] = {}
        self._lists = short_lists(lake)
        self._wrap(monkeypatch, "table")
        self._wrap(monkeypatch, "view")
        self._wrap(monkeypatch, "empty")
        original = Relations.arrow

        def arrow(relations: Relations, word: str, data: Any) -> AbstractContextManager[Relation]:
            @contextmanager
            def recorded() -> Iterator[Relation]:
                with original(relations, word, data) as relation:
                    self._note(word, relation, "")
                    yield relation

            return recorded()

        monkeypatch.setattr(Relations, "arrow", arrow)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(Relations, name)

        def recording(relations: Relations, word: str, select: Any, *more: Any) -> Relation:
            relation: Relation = original(relations, word, select, *more)
            self._note(word, relation, select if isinstance(select, str) else "")
            return relation

        monkeypatch.setattr(Relations, name, recording)

    def _note(self, word: str, relation: Relation, statement: str) -> None:
        place = inspect.currentframe()
        assert place is not None
        while not (
            place.f_globals["__name__"].startswith("compactor.") and ".duck." not in place.f_globals["__name__"]
        ):
            assert place.f_back is not None
            place = place.f_back
        reads = {found.group(1) for found in re.finditer(r"\b([a-z_]+)_\d+\b", statement)}
        stage, columns = place.f_globals["__name__"].removeprefix("compactor."), self._listed(relation)
        if word == "more":  # rows on their way into a relation that is noted already
            return
        if stage == "engines.sorted_rows":  # the history and the current table are sorted by other columns
            columns = "columns of the layout"
        known = self.made.setdefault((stage, word), (columns, set()))
        assert known[0] == columns, f"{stage} makes two relations of the name {word}"
        known[1].update(reads - {word})

    def _listed(self, relation: Relation) -> str:
        listed = ", ".join(relation.columns)
        for names, short in self._lists.items():
            listed = listed.replace(", ".join(names), short)
        return listed


def short_lists(lake: Lake) -> dict[tuple[str, ...], str]:
    """What the page calls columns that depend on the dataset or on the table; longer lists first."""
    dataset = lake.registry.get(DATASET)
    lake.tables.ensure_own()
    records = tuple(record_columns(dataset))
    assert dataset.delete is not None
    return {
        **{tuple(lake.tables.table(name).schema.names): "the table's columns" for name in (FILES, QUARANTINE, RUNS)},
        records: "record columns",
        tuple(key_columns(dataset)): "deciding columns",
        (*dataset.key, dataset.order, "id"): "key columns, order column, id",
        (dataset.delete.column,): "delete column",
        dataset.key: "key columns",
        **dict.fromkeys((upsert.OBJECT, upsert.LINES_OF_OBJECT, upsert.RUN), "the table's key"),
    }


def test_the_stages_of_a_night_read_and_make_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    history = History(3, datasets=(DATASET,), entities=6)
    recorder = Recorder(monkeypatch, lake)
    for _ in range(4):  # enough for deletes, ties and records that give way to an earlier delivery
        for delivery in history.night(60):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
        lake.compact(datasets=(DATASET,), full_scan=True)
    lake.assert_equals_model((DATASET,))
    found = {key: (columns, frozenset(reads)) for key, (columns, reads) in recorder.made.items()}
    assert found == documented()

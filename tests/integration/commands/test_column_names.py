"""Columns may have any name that the registry accepts: the program's own names in a session never meet them."""

from __future__ import annotations

import json
from pathlib import Path

from compactor.commands.verify.verify import verify
from tests.support.lake import Lake

NAMES = (
    *("ok", "top", "key", "rank", "place", "best", "who", "n", "moment", "gone", "rid", "fresh", "kept", "records"),
    *(
        "file_no",
        "line_no",
        "etag",
        "size",
        "lines",
        "reason",
        "_id",
        "_n",
        "e",
        "r",
        "f",
        "s",
        "t",
        "x",
        "select",
        "order",
    ),
)
KEY = ("top", "file_no")
REGISTRY = """\
dataset: things
kind: state
key: [top, file_no]
order: moment
delete: {{column: gone, equals: ["yes"]}}
promote:
  - {{from: extra, key: hidden, column: line, type: string}}
  - {{from: extra, key: hidden, column: plain, type: long}}
versions:
  1:
    fields:
      id: {{type: string, required: true}}
      version: {{type: long, required: true}}
      emittedAt: {{type: timestamp, required: true}}
      moment: {{type: timestamp, required: true}}
{fields}
"""


def line(number: int, day: int, *, gone: str = "no", **more: str) -> bytes:
    """A record of one of three entities; the greater `day` is the newer record."""
    values = {name: f"{name} {number}" for name in NAMES if name != "moment"}
    record = {
        "id": f"t{number}",
        "version": 1,
        "emittedAt": "2026-11-01T00:00:00Z",
        **values,
        "top": f"top {number % 3}",
        "file_no": "one",
        "gone": gone,
        "moment": f"2026-10-{day:02d}T00:00:00Z",
        **more,
    }
    return json.dumps(record).encode()


def test_columns_with_the_words_of_the_program_are_loaded_merged_and_verified(tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    fields = "\n".join(
        f'      "{name}": {{type: string, required: {str(name in KEY).lower()}}}' for name in NAMES if name != "moment"
    )
    (schemas / "things.yaml").write_text(REGISTRY.format(fields=fields))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    lake.deliver_unmodelled("things", [line(n, 1 + n) for n in range(6)], part="a")
    report = lake.compact()
    assert (report.exit_code, report.datasets[0].new) == (0, 6)

    # Duplicates, an older record, a newer one, a delete, and a field that the registry does not declare.
    again = [line(3, 4), line(6, 1), line(7, 20, unknown="x", hidden="seven"), line(8, 21, gone="yes")]
    lake.deliver_unmodelled("things", again, part="b")
    second = lake.compact().datasets[0]

    assert (second.new, second.duplicates, second.unknown_fields) == (3, 1, 1)
    assert sorted(row["id"] for row in lake.rows("things_history")) == [f"t{n}" for n in range(9)]
    current = {row["top"]: row for row in lake.rows("things")}
    assert {top: row["id"] for top, row in current.items()} == {"top 0": "t3", "top 1": "t7"}
    assert {name: current["top 1"][name] for name in ("ok", "key", "line_no", "_id", "select")} == {
        name: f"{name} 7" for name in ("ok", "key", "line_no", "_id", "select")
    }
    assert (current["top 1"]["line"], current["top 1"]["plain"], second.unfit) == ("seven", None, {"plain": 1})
    assert [check for check in verify(lake.config, lake.registry, rebuild=True).checks if not check.ok] == []

"""The worked example of docs/schema-versions.md, run as it is written."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compactor.cli.main import program
from tests.support.lake import ROOT, Lake
from tests.support.model import Row, parse_timestamp

pytestmark = pytest.mark.usefixtures("logging_restored")

PAGE = (ROOT / "docs" / "schema-versions.md").read_text(encoding="utf-8")
EXAMPLE = PAGE[PAGE.index("## A worked example") : PAGE.index("## What `apply` does")]


def written(name: str) -> str:
    return EXAMPLE.split(f"<!-- example: {name} -->\n```yaml\n")[1].split("```")[0]


def record_of(chance: random.Random, number: int, version: int) -> tuple[bytes, Row]:
    """A record of the example, and the row that it comes to."""
    moment, name = (
        f"2026-11-{chance.randint(1, 6):02d}T{number % 24:02d}:00:00Z",
        chance.choice(["Ada", "Ada Lovelace", "A b c"]),
    )
    head = {
        "id": f"r{number:03d}",
        "version": version,
        "roverID": f"fan-{number % 7}",
        "emittedAt": moment,
        "updatedAt": moment,
    }
    first, space, last = name.partition(" ")
    if version == 1:
        body: dict[str, Any] = {"fanTier": "gold", "joinedAt": moment, "legacyScore": number, "fullName": name}
    else:
        body = {"loyaltyTier": "gold", "joinedAt": moment, "firstName": first, "lastName": last if space else None}
    at = parse_timestamp(moment)
    row = {
        "id": head["id"],
        "version": version,
        "rover_id": head["roverID"],
        "emitted_at": at,
        "updated_at": at,
        "extra": {},
    }
    row |= {"loyalty_tier": "gold", "joined_at": at, "first_name": first, "last_name": last if space else None}
    return json.dumps(head | body).encode(), row


def test_the_worked_example_of_the_documentation_holds(tmp_path: Path) -> None:
    chance = random.Random(1)
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "fans.yaml").write_text(written("version 1"))
    lake = Lake(tmp_path / "lake", schemas=schemas)
    expected: dict[str, Row] = {}
    commands = [line.strip().partition("#") for line in EXAMPLE.splitlines() if line.startswith("    compactor ")]
    assert len(commands) == 14
    for number, (command, _, comment) in enumerate(commands):
        if night := re.search(r"night (\d)", comment):
            versions = {1: [1], 2: [1], 3: [1], 4: [1, 2], 5: [1, 2], 6: [2]}[int(night[1])]
            records = [record_of(chance, int(night[1]) * 100 + n, chance.choice(versions)) for n in range(12)]
            expected |= {row["id"]: row for _, row in records}
            lines = [line for line, _ in records]
            lake.deliver_unmodelled("fans", [*lines, lines[0]], hour=f"2026-11-0{night[1]}T23", part=f"n{night[1]}")
        run = CliRunner().invoke(program, ["-c", str(lake.file), *command.split()[1:]])
        code = 3 if "exit code 3" in comment else 0
        assert run.exit_code == code, f"{command}: {run.stderr}"
        if command.strip() == "compactor migrate plan":
            shown = re.sub(r"\d+ rows, \d+ files, [\d.]+ MB|plan \w+|--plan \w+|compactor -c \S+", "…", run.stdout)
            shown_there = re.sub(r"\d+ rows, \d+ files, [\d.]+ MB|plan \w+|--plan \w+", "…", EXAMPLE.split("```\n")[-2])
            assert shown.startswith(shown_there.split("…\nplan")[0].split("\n…\n")[0])
        if number == 3:
            (schemas / "fans.yaml").write_text(written("version 1") + written("version 2"))
    found = {row["id"]: row for row in lake.rows("fans_history")}
    assert found == expected
    winners: dict[str, Row] = {}
    for row in sorted(expected.values(), key=lambda row: (row["updated_at"], row["id"])):
        winners[row["rover_id"]] = row
    assert {row["rover_id"]: row for row in lake.rows("fans")} == winners
    assert len(lake.rows("fans")) == len(winners)
    assert not lake.quarantine()

"""A migration that is killed, or that meets a run: no row is lost, none is half converted."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.assertions import assert_failed
from tests.support.overtaking import STEPS, overtaken
from tests.support.processes import start
from tests.support.versioned_fans import FANS, IN_PLACE, RETYPE, Fans, fan


def seen(fans: Fans, table: str) -> str:
    """What a reader sees of a table: all of it old or all of it new."""
    rows = {row["id"]: row for row in fans.lake.rows(table)}
    if "fan_tier" in fans.columns(table):
        assert all(isinstance(row["joined_at"], str) for row in rows.values())
        assert sorted(rows) == ([f"r{n}" for n in range(9)] if table == "things_history" else ["r6", "r7", "r8"])
        return "old"
    assert all(row["joined_at"].year == 2026 for row in rows.values())
    assert sorted(rows) == ([f"r{n}" for n in range(8)] if table == "things_history" else ["r5", "r6", "r7"])
    return "new"


@pytest.mark.parametrize("first", [1, pytest.param(0, marks=pytest.mark.soak)])
def test_killed_in_the_middle_of_apply_running_it_again_completes(tmp_path: Path, first: int) -> None:
    """At every thirtieth of its writes, under soak at each; readers see the old or the new table at any time."""
    fans = Fans(tmp_path)
    fans.write(FANS + IN_PLACE + RETYPE)
    warehouse, before = fans.lake.folder / "warehouse", tmp_path / "before"
    warehouse.rename(before)
    killed, states = 0, set()
    for point in range(4 * first + 1, 10_000, 30 if first else 1):
        subprocess.run(["rm", "-rf", str(warehouse)], check=True)
        subprocess.run(["cp", "-a", str(before), str(warehouse)], check=True)
        run = start(fans.lake, "migrate", "apply", kill_at=point)
        _, errors = run.communicate(timeout=120)
        states.add((seen(fans, "things_history"), seen(fans, "things")))
        if run.returncode != -signal.SIGKILL:
            assert run.returncode == 3, errors
            break
        killed += 1
        if (seen(fans, "things_history"), seen(fans, "things")) == ("new", "old"):
            assert_failed(fans.lake.compact(), "a migration was stopped; run `compactor migrate apply`")
        fans.apply()
        assert (seen(fans, "things_history"), seen(fans, "things")) == ("new", "new")
        assert len(fans.lake.quarantine()) == 1
        fans.assert_sound()
    assert killed >= (30 if not first else 3), f"only {killed} writes: the test shows too little"
    assert ("old", "new") not in states


@pytest.mark.parametrize(
    "step",
    [step if step in ("plan", "commit", "settling") else pytest.param(step, marks=pytest.mark.soak) for step in STEPS],
)
def test_a_run_overtaken_by_a_migration_starts_again_with_the_new_table_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fans = Fans(tmp_path)
    fans.write(FANS + IN_PLACE + RETYPE)
    fans.lake.deliver_unmodelled("things", [fan(9), fan(10, joined="later"), fan(3)], part="c")

    def migrate_now() -> None:
        fans.apply()

    with overtaken(monkeypatch, step, 1, migrate_now):
        fans.lake.compact()
    fans.apply()
    fans.lake.compact()
    assert fans.ids("things_history") == sorted(f"r{n}" for n in (*range(8), 9))
    assert sorted(row["source_line"] for row in fans.lake.quarantine()) == [2, 6]
    fans.assert_sound()

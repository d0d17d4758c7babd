"""docs/scale.md has the table that the cost model prints."""

from __future__ import annotations

import subprocess
import sys

from tests.support.lake import ROOT


def test_the_page_on_scale_has_the_table_of_the_model() -> None:
    script = str(ROOT / "scripts" / "cost_model.py")
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"cost_model.py prints -->\n{printed}<!-- model: end -->" in page

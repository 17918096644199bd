"""What the page on performance says is what was measured last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "performance.md").read_text()
LATEST: Final = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())


@pytest.mark.parametrize("goal", LATEST["goals"], ids=lambda goal: goal["name"])
def test_a_goal_stands_as_it_was_measured(goal: dict[str, Any]) -> None:
    met = "yes" if goal["met"] else "no"

    assert f"| {goal['name']} | {goal['goal']} | {goal['value']:,.3g} | {met} |" in PAGE

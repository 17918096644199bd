"""docs/operations/pictures.md: its picture is what is drawn, and its table names every state."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from amends.coordinator.draw import marks
from amends.coordinator.draw.mermaid import mermaid
from amends.coordinator.draw.outline import outline
from examples.order.saga import place_order

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations" / "pictures.md").read_text("utf-8")


def test_the_picture_is_the_one_that_is_drawn() -> None:
    (shown,) = re.findall(r"```mermaid\n(.*?)```", PAGE, re.S)

    assert shown == mermaid(outline(place_order.definition.plan.root), "place-order v1")


def test_the_table_names_the_state_of_whatever_was_answered() -> None:
    told = set(re.findall(r"`([a-z ]+)`", PAGE))
    known = {mark.text for mark in marks._KNOWN.values()} | {marks.AHEAD.text}

    assert known - told == {"refused, in doubt"}  # It is a refusal.

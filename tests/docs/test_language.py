"""The page on the language shows what can be declared, and names its defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from amends.coordinator import Saga, step
from amends.coordinator.saga.reading import Reader
from amends.coordinator.saga.reading_nodes import NodeReader

PAGE: Final = (Path(__file__).parents[2] / "docs" / "language.md").read_text()


def test_what_the_page_declares_is_valid() -> None:
    names: dict[str, Any] = {}

    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)

    definition = names["book_trip"].definition
    assert set(definition.participants) == {"airline", "hotels", "insurance", "mail", "payments"}
    declared = [name for name, value in names.items() if isinstance(value, Saga)]
    assert declared == [
        "book_trip",
        "ship_parcel",
        "stock_up",
        "settle",
        "approve",
        "approve_if_asked",
        "publish",
        "book_both",
        "tcc",
    ]


def test_every_word_of_the_language_is_on_the_page() -> None:
    for word in NodeReader(Reader()).kinds:
        assert f"`{word}(" in PAGE, word


def test_the_defaults_are_those_of_the_page() -> None:
    stored = Saga("s", step("a", to="p", undo="b"), version=1).definition.to_json()

    assert stored["deadline"] == 24 * 3_600_000
    node = stored["root"]["nodes"][0]
    assert (node["timeout"], node["undo_timeout"]) == (30_000, 30_000)
    assert node["retry"] == {"first": 1_000, "factor": 2, "longest": 60_000, "limit": None, "within": None}
    assert node["undo_retry"]["within"] == 24 * 3_600_000

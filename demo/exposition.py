"""Prometheus's text format, read back: just enough to compare metrics with the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SAMPLE: Final = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one scrape: (name, labels, value)."""

    rows: tuple[tuple[str, Mapping[str, str], float], ...]

    def total(self, name: str, **labels: str) -> float:
        """The sum over every sample of this name with at least these labels; 0 if there is none."""
        return sum(value for its, has, value in self.rows if its == name and labels.items() <= has.items())


def read_samples(text: str) -> Samples:
    """The samples of an exposition; comments are skipped."""
    matches = (SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
    return Samples(
        tuple(
            (match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"]))
            for match in matches
            if match
        )
    )

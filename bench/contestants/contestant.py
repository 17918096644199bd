"""What the sections ask of whoever takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Contestant(Protocol):
    """Ready to run sagas. One thread drives it."""

    name: str

    @property
    def parts(self) -> Mapping[str, int]:
        """The process ids of its parts, but for the one that drives it."""

    def place(self, numbers: Sequence[str]) -> None:
        """Start a saga for each order, durably where the contestant has a durable start."""

    def turn(self) -> None:
        """Do what is to be done now and then by whoever places orders."""

    def ended(self) -> int:
        """How many sagas have ended since the beginning."""

    def findings(self) -> list[str]:
        """What is wrong after everything ended; nothing if all is right."""


class Doored(Contestant, Protocol):
    """One that also starts sagas through its door, and is asked for single ones: for latencies."""

    def start(self, number: str) -> None:
        """Start one saga; returns when its start is durable. May be called from several threads."""

    def ended_of(self, numbers: Sequence[str]) -> set[str]:
        """Which of these orders' sagas have ended. Called from one thread."""

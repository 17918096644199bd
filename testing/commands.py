"""The commands a saga sends, as a test speaks of them: `undo("reserve")`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amends.coordinator.saga.effects import Send


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that was sent. Equal if op, path and what a fence closes are; the rest is there to be looked at."""

    op: str
    path: str
    closes: str | None = None
    participant: str = field(default="", compare=False)
    command: str = field(default="", compare=False)
    args: Any = field(default=None, compare=False)
    attempt: int = field(default=1, compare=False)

    def __repr__(self) -> str:
        closing = f", closes={self.closes!r}" if self.closes else ""
        return f"{self.op}({self.path!r}{closing})"


def do(path: str) -> Asked:
    """The step is to be done. In an `each` the item's number follows: `reserve/0`."""
    return Asked("do", path)


def undo(path: str) -> Asked:
    """It is to be undone."""
    return Asked("undo", path)


def confirm(path: str) -> Asked:
    """What it tried is to last."""
    return Asked("confirm", path)


def fence(path: str, closes: str | None = None) -> Asked:
    """It is to be made sure that it never runs, or told that it did (B3)."""
    return Asked("fence", path, closes)


def asked(send: Send) -> Asked:
    """What the machine wants sent."""
    return Asked(
        send.op.value,
        send.path,
        send.closes.value if send.closes else None,
        send.participant,
        send.command,
        send.args,
        send.attempt,
    )

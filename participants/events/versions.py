"""Which versions of an event's data a handler takes: `">=1"`, `"2"`, `">=1,<3"`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from amends.participants.errors import InvalidHandler

VERSION_MAX: Final = 2**31 - 1  # CloudEvents' Integer has 32 bits.

# What becomes of an event whose version is above all that its handler takes.
Newer: TypeAlias = Literal["retry", "dead-letter", "refuse", "handle"]
NEWER: Final = ("retry", "dead-letter", "refuse", "handle")

_ONE: Final = re.compile(r"\s*(>=|<=|==|>|<|)\s*([0-9]{1,10})\s*")


class Fit(Enum):
    """How an event's version stands to what a handler takes."""

    TAKEN = "taken"
    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class Versions:
    """From `lowest` to `highest`, both taken; None: however new."""

    lowest: int = 0
    highest: int | None = None

    def fit(self, version: int) -> Fit:
        """How this version stands to them."""
        if version < self.lowest:
            return Fit.OLDER
        return Fit.NEWER if self.highest is not None and version > self.highest else Fit.TAKEN

    def __str__(self) -> str:
        if self.highest is None:
            return f">={self.lowest}"
        return f"{self.lowest}" if self.lowest == self.highest else f">={self.lowest},<={self.highest}"


def read_versions(text: str | int | None) -> Versions:
    """What `version=` says; None takes all. Raises: InvalidHandler for what says nothing, or takes nothing."""
    if text is None:
        return Versions()
    lowest, highest = 0, VERSION_MAX + 1
    for part in str(text).split(","):
        match = _ONE.fullmatch(part)
        if match is None:
            raise InvalidHandler(f'version={text!r}: {part!r} is no comparison; write ">=1", "2" or ">=1,<3"')
        sign, number = match[1] or "==", int(match[2])
        if sign in (">=", "==", ">"):
            lowest = max(lowest, number + (sign == ">"))
        if sign in ("<=", "==", "<"):
            highest = min(highest, number - (sign == "<"))
    if lowest > min(highest, VERSION_MAX):
        raise InvalidHandler(f"version={text!r} takes no version; they are whole numbers from 0")
    return Versions(lowest, None if highest > VERSION_MAX else highest)

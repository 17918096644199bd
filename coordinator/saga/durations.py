"""Durations: `"200ms"`, `"20s"`, `"15m"`, `"24h"`, `"7d"`; in the stored form whole milliseconds."""

from __future__ import annotations

import re
from typing import Final

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_UNITS: Final = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_TEXT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)")

MEND: Final = 'write "200ms", "20s", "15m", "24h" or "7d"'


def milliseconds(text: str) -> int | None:
    """The length of a duration that is written with its unit, in ms; None if this is no such text."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    return round(float(match[1]) * _UNITS[match[2]])


def written(length: int) -> str:
    """A length in ms as a person writes it: `1500` is `"1.5s"`."""
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if length >= size and length % (size // 10) == 0:
            return f"{length / size:g}{unit}"
    return f"{length}ms"

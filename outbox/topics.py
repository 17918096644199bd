"""Event types and the patterns that topic exchanges match them with: words with dots between, `*` one word, `#` any."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

TYPE_CHARS_MAX: Final = 255  # A routing key is one of AMQP's short strings.

_WORD: Final = "[A-Za-z0-9_:/@+-]+"
_TYPE: Final = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN_WORD: Final = re.compile(rf"{_WORD}|\*|#")


def type_problem(type_: str) -> str | None:
    """What keeps a text from being an event's type; None if nothing does."""
    if len(type_) <= TYPE_CHARS_MAX and _TYPE.fullmatch(type_):
        return None
    return (
        f"an event's type is words with dots between, such as user.created: up to {TYPE_CHARS_MAX} letters, digits "
        f"and any of _ - : / @ +"
    )


def pattern_problem(pattern: str) -> str | None:
    """What keeps a text from being a pattern for event types; None if nothing does."""
    words = pattern.split(".")
    if len(pattern) <= TYPE_CHARS_MAX and all(_PATTERN_WORD.fullmatch(word) for word in words):
        return None
    return (
        "a pattern is an event's type, in which a whole word may be * (any one word) or # (any number of words): "
        "user.*, #"
    )


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic exchange routes this key by this pattern."""
    return _matches(tuple(pattern.split(".")), tuple(routing_key.split(".")))


@lru_cache(maxsize=4_096)
def _matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Fills a table from the end, so that many `#` cost no more than their number times the words."""
    row = [False] * len(words) + [True]
    for wanted in reversed(pattern):
        before, row = row, [False] * (len(words) + 1)
        for at in range(len(words), -1, -1):
            if wanted == "#":
                row[at] = before[at] or (at < len(words) and row[at + 1])
            elif at < len(words):
                row[at] = before[at + 1] and wanted in ("*", words[at])
    return row[0]

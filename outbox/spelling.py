"""What may be said in texts and payloads, checked alike where it is put and where it is read.

A sender that checks before its transaction commits is told at once; what only the coordinator checks is lost without a
word to whoever sent it.
"""

from __future__ import annotations

import math
import re
from typing import Final

from amends.outbox.wire import NAME_CHARS_MAX, PATH_CHARS_MAX, SIGNAL_ID_CHARS_MAX

PAYLOAD_DEPTH_MAX: Final = 60
PAYLOAD_VALUES_MAX: Final = 50_000
INPUT_DEPTH_MAX: Final = 64
INTEGER_MAX: Final = 2**63 - 1

_SIGNAL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(/[0-9]+)*")
# Names of participants become parts of queue names.
_PARTICIPANT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SIGNAL_ID: Final = re.compile(r"[ -~]+")
# Version 00 ends there; what a later version adds follows a dash.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,200})?")
_TEXT_BAD: Final = re.compile("[\x00\ud800-\udfff]")


def signal_name_problem(name: str) -> str | None:
    """What keeps a text from being a signal's name; None if nothing does."""
    if len(name) <= PATH_CHARS_MAX and _SIGNAL_NAME.fullmatch(name):
        return None
    return "a name has letters, digits, '_', '-', '.'; in an each the numbers of the items follow: approved/3"


def signal_id_problem(id_: str) -> str | None:
    """What keeps a text from being a signal's id; None if nothing does."""
    if len(id_) <= SIGNAL_ID_CHARS_MAX and _SIGNAL_ID.fullmatch(id_):
        return None
    return f"an id has 1 to {SIGNAL_ID_CHARS_MAX} printable ASCII characters"


def is_participant(name: str) -> bool:
    """Whether a participant may have this name."""
    return len(name) <= NAME_CHARS_MAX and _PARTICIPANT.fullmatch(name) is not None


def is_traceparent(text: str) -> bool:
    """Whether a text is a W3C trace context, of this version or one to come."""
    return _TRACEPARENT.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Whether a key or a label has no control characters of ASCII, so that it stays on its line."""
    return all(ord(character) >= 32 for character in text)


def payload_problem(value: object) -> str | None:
    """What keeps decoded JSON from being a signal's payload; None if nothing does."""
    values = 0
    todo: list[tuple[object, int]] = [(value, 1)]
    while todo:
        one, depth = todo.pop()
        values += 1
        if depth > PAYLOAD_DEPTH_MAX:
            return f"nested more than {PAYLOAD_DEPTH_MAX} deep"
        inner = _inner(one)
        if values + len(todo) + len(inner) > PAYLOAD_VALUES_MAX:
            return f"more than {PAYLOAD_VALUES_MAX:,} values"
        problem = _scalar_problem(one)
        if problem is not None:
            return problem
        todo.extend((item, depth + 1) for item in inner)
    return None


def input_problem(value: object) -> str | None:
    """What keeps decoded JSON from being a saga's input, whatever its definition; None if nothing does."""
    depth, layer = 0, [value]
    while layer:
        depth += 1
        if depth > INPUT_DEPTH_MAX:
            return f"nested deeper than {INPUT_DEPTH_MAX}"
        layer = [item for one in layer for item in _inner(one)]
    return None


def _inner(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _scalar_problem(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > INTEGER_MAX:
        return "an integer of more than 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return f"the number {value}, which JSON does not have"
    texts = value if isinstance(value, dict) else [value]
    if any(isinstance(text, str) and _TEXT_BAD.search(text) for text in texts):
        return "text with a zero byte or half a surrogate pair"
    return None

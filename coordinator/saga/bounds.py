"""Bounds on what is read: how deep, how many, how long. Checked before anything else looks at a definition."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, TypeGuard

from amends.coordinator.saga.json import Json

JSON_DEPTH_MAX: Final = 60
JSON_VALUES_MAX: Final = 50_000
JSON_CHARS_MAX: Final = 262_144
INTEGER_MAX: Final = 2**63 - 1

NODES_MAX: Final = 1_000
NODES_DEPTH_MAX: Final = 20
NAME_CHARS_MAX: Final = 100
AT_MOST_MAX: Final = 1_000
CHUNK_MAX: Final = 10_000
ITEMS_MAX: Final = 100_000
NESTED_EACH_MAX: Final = 3
SIGNALS_MAX: Final = 1_000
LABELS_MAX: Final = 20
VERSION_MAX: Final = 2**31 - 1

_TEXT_BAD: Final = re.compile("[\x00\ud800-\udfff]")


def json_problem(value: object) -> str | None:
    """What keeps a value from being JSON that can be stored; None if nothing does. Cycles are too deep."""
    values = chars = 0
    todo: list[tuple[object, int]] = [(value, 1)]
    while todo:
        one, depth = todo.pop()
        values += 1
        if depth > JSON_DEPTH_MAX:
            return f"nested more than {JSON_DEPTH_MAX} deep"
        if values + len(todo) > JSON_VALUES_MAX:
            return f"more than {JSON_VALUES_MAX:,} values"
        problem = _scalar_problem(one)
        if problem is not None:
            return problem
        if isinstance(one, str):
            chars += len(one)
        elif isinstance(one, dict):
            chars += sum(len(key) for key in one)
            todo.extend((item, depth + 1) for item in one.values())
        elif isinstance(one, list):
            todo.extend((item, depth + 1) for item in one)
        if chars > JSON_CHARS_MAX:
            return f"more than {JSON_CHARS_MAX:,} characters of text"
    return None


def is_json(value: object) -> TypeGuard[Json]:
    """Whether `json_problem` finds none."""
    return json_problem(value) is None


def _scalar_problem(value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) <= INTEGER_MAX else "an integer of more than 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"the number {value}, which JSON does not have"
    for text in _texts(value):
        if not isinstance(text, str):
            return f"a key that is no string: {type(text).__name__}"
        if _TEXT_BAD.search(text):
            return "text with a zero byte or half a surrogate pair"
    return (
        None
        if isinstance(value, str | dict | list)
        else f"a {type(value).__name__}, which JSON does not have"
    )


def _texts(value: object) -> Iterator[object]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value

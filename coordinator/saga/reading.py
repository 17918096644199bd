"""Reads the fields of a definition's JSON and fills in defaults. Gathers every problem instead of stopping at one.

What cannot be read is replaced by something harmless, so that the rest is still checked; the definition is refused
all the same. Durations are whole milliseconds, or text such as "20s". Absent fields take their defaults (M5);
unknown ones are refused. Nodes are read in `reading_nodes.py`, expressions in `reading_expressions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from json import dumps
from typing import Final, TypeAlias

from amends.coordinator.saga import durations
from amends.coordinator.saga.bounds import NAME_CHARS_MAX, VERSION_MAX
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.policies import WITHIN, Retry

DURATION_MAX: Final = 366 * DAY
FACTOR_MAX: Final = 100
LIMIT_MAX: Final = 1_000_000

# Queue names are made of participants, and paths of steps: neither holds a dot or a slash.
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DOTTED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

Fields: TypeAlias = dict[str, Json]

_RETRY_FIELDS: Final = ("first", "factor", "longest", "limit", "within")
_DEFAULTS: Final = Retry()
UNNAMED: Final = "?"  # in place of a name that is none


class Reader:
    """One reading: `problems` grows as `place: what is wrong; mend`."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def problem(self, place: str, text: str) -> None:
        """Note what is wrong, where, and the mend."""
        self.problems.append(f"{place}: {text}")

    def fields(self, json: Json, place: str, known: Collection[str]) -> Fields:
        """The fields of an object; what else it holds is a problem."""
        if not isinstance(json, dict):
            self.problem(place, f"{shown(json)} is no object; write one with {', '.join(known)}")
            return {}
        for key in json:
            if key not in known:
                self.problem(place, f"unknown field {shown(key)}; known: {', '.join(known)}")
        return json

    def name(self, fields: Fields, key: str, place: str, *, dotted: bool = False) -> str:
        """A name, or `?` in place of what is none."""
        value = fields.get(key)
        if value is None:
            self.problem(place, f"`{key}` is missing; say it")
            return UNNAMED
        shape = _DOTTED if dotted else _WORD
        if not isinstance(value, str) or not shape.fullmatch(value) or len(value) > NAME_CHARS_MAX:
            dots = ", '.'" if dotted else ""
            self.problem(
                place,
                f"`{key}` is {shown(value)}; a name begins with a letter or '_', goes on with letters, digits, "
                f"'_', '-'{dots}, and has at most {NAME_CHARS_MAX} characters",
            )
            return UNNAMED
        return value

    def version(self, fields: Fields, place: str) -> int:
        """A definition's version."""
        value = fields.get("version")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= VERSION_MAX:
            self.problem(place, f"`version` is {shown(value)}; it is a whole number from 1")
            return 1
        return value

    def count(self, fields: Fields, key: str, place: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            self.problem(place, f"`{key}` is {shown(value)}; it is a whole number from 1 to {most:,}")
            return default
        return value

    def flag(self, fields: Fields, key: str, place: str) -> bool:
        """True or False; False if it is absent."""
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.problem(place, f"`{key}` is {shown(value)}; write true or false")
            return False
        return value

    def duration(self, fields: Fields, key: str, place: str, default: int, most: int = DURATION_MAX) -> int:
        """A length of at least 1 ms and at most `most`."""
        if key not in fields:
            return default
        value = fields[key]
        length = durations.milliseconds(value) if isinstance(value, str) else value
        if isinstance(length, bool) or not isinstance(length, int):
            self.problem(place, f"`{key}` is {shown(value)}, which is no duration; {durations.MEND}")
            return default
        if not 1 <= length <= most:
            self.problem(
                place, f"`{key}` is {shown(value)}; it is at least 1ms and at most {durations.written(most)}"
            )
            return default
        return length

    def retry(self, fields: Fields, key: str, place: str, within: int | None) -> Retry:
        """A retry policy; `within` is for how long it tries unless it says so itself."""
        if fields.get(key) is None:
            return Retry(within=within)
        place = f"{place}: {key}"
        policy = self.fields(fields[key], place, _RETRY_FIELDS)
        first = self.duration(policy, "first", place, _DEFAULTS.first, DAY)
        longest = self.duration(policy, "longest", place, max(_DEFAULTS.longest, first), DAY)
        if longest < first:
            self.problem(
                place, f"`longest` is shorter than `first`, {durations.written(first)}; make it as long"
            )
        return Retry(
            first=first,
            factor=self._factor(policy, place),
            longest=longest,
            limit=self._limit(policy, place),
            within=within if policy.get("within") is None else self.duration(policy, "within", place, WITHIN),
        )

    def _factor(self, policy: Fields, place: str) -> float:
        value = policy.get("factor", _DEFAULTS.factor)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= FACTOR_MAX:
            self.problem(place, f"`factor` is {shown(value)}; it is a number from 1 to {FACTOR_MAX}")
            return _DEFAULTS.factor
        # 2 and 2.0 are one number and must have one hash.
        return int(value) if value == int(value) else value

    def _limit(self, policy: Fields, place: str) -> int | None:
        value = policy.get("limit")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LIMIT_MAX:
            self.problem(
                place, f"`limit` is {shown(value)}; it is how often to try again, from 0 to {LIMIT_MAX:,}"
            )
            return None
        return value


def shown(value: Json) -> str:
    """A value as an error shows it, as it is written in JSON, texts in single quotes; not too long."""
    text = repr(value) if isinstance(value, str) else dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."

"""Reads a definition's JSON into its tree and fills in the defaults. Gathers every problem instead of stopping at one.

What cannot be read is replaced by something harmless, so that the rest is still checked; the definition is refused
all the same. Durations are whole milliseconds, or text such as "20s". Absent fields take their defaults (M5);
unknown ones are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, TypeAlias, TypeVar

from amends.coordinator.saga import durations
from amends.coordinator.saga.bounds import NAME_CHARS_MAX, NODES_DEPTH_MAX, NODES_MAX, VERSION_MAX
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.expressions import (
    COMPARISONS,
    At,
    Both,
    Compare,
    Either,
    Expression,
    Input,
    Literal,
    Not,
    Result,
)
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.policies import TIMEOUT, WITHIN, Retry
from amends.coordinator.saga.references import list_of, object_of
from amends.coordinator.saga.tree import ChainNode, GroupNode, Node, PivotNode, StepNode
from amends.coordinator.saga.walk import Zone

TIMEOUT_MAX: Final = 30 * DAY
DURATION_MAX: Final = 366 * DAY
FACTOR_MAX: Final = 100
LIMIT_MAX: Final = 1_000_000

# Queue names are made of participants, and paths of steps: neither holds a dot or a slash.
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DOTTED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

Fields: TypeAlias = dict[str, Json]
T = TypeVar("T")

_STEP_FIELDS: Final = (
    "kind", "name", "to", "do", "undo", "reads", "args", "timeout", "retry", "undo_timeout", "undo_retry",
)  # fmt: skip
_RETRY_FIELDS: Final = ("first", "factor", "longest", "limit", "within")
_TAGS: Final = {
    "literal": ("literal",),
    "arg": ("arg",),
    "result": ("result", "at"),
    "object": ("object",),
    "list": ("list",),
    "compare": ("compare", "left", "right"),
    "and": ("and",),
    "or": ("or",),
    "not": ("not",),
}
_DEFAULTS: Final = Retry()
_NOTHING: Final = Literal(None)
_NO_STEP: Final = "?"


class Reader:
    """One reading: `problems` grows as `place: what is wrong; mend`."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._nodes = 0

    def problem(self, place: str, text: str) -> None:
        """Note what is wrong, where, and the mend."""
        self.problems.append(f"{place}: {text}")

    def fields(self, json: Json, place: str, known: Collection[str]) -> Fields:
        """The fields of an object; what else it holds is a problem."""
        if not isinstance(json, dict):
            self.problem(place, f"{_shown(json)} is no object; write one with {', '.join(known)}")
            return {}
        for key in json:
            if key not in known:
                self.problem(place, f"unknown field {_shown(key)}; known: {', '.join(known)}")
        return json

    def name(self, fields: Fields, key: str, place: str, *, dotted: bool = False) -> str:
        """A name, or `?` in place of what is none."""
        value = fields.get(key)
        if value is None:
            self.problem(place, f"`{key}` is missing; say it")
            return _NO_STEP
        shape = _DOTTED if dotted else _WORD
        if not isinstance(value, str) or not shape.fullmatch(value) or len(value) > NAME_CHARS_MAX:
            dots = ", '.'" if dotted else ""
            self.problem(
                place,
                f"`{key}` is {_shown(value)}; a name begins with a letter or '_', goes on with letters, digits, "
                f"'_', '-'{dots}, and has at most {NAME_CHARS_MAX} characters",
            )
            return _NO_STEP
        return value

    def version(self, fields: Fields, place: str) -> int:
        """A definition's version."""
        value = fields.get("version")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= VERSION_MAX:
            self.problem(place, f"`version` is {_shown(value)}; it is a whole number from 1")
            return 1
        return value

    def flag(self, fields: Fields, key: str, place: str) -> bool:
        """True or False; False if it is absent."""
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.problem(place, f"`{key}` is {_shown(value)}; write true or false")
            return False
        return value

    def duration(self, fields: Fields, key: str, place: str, default: int, most: int = DURATION_MAX) -> int:
        """A length of at least 1 ms and at most `most`."""
        if key not in fields:
            return default
        value = fields[key]
        length = durations.milliseconds(value) if isinstance(value, str) else value
        if isinstance(length, bool) or not isinstance(length, int):
            self.problem(place, f"`{key}` is {_shown(value)}, which is no duration; {durations.MEND}")
            return default
        if not 1 <= length <= most:
            self.problem(
                place, f"`{key}` is {_shown(value)}; it is at least 1ms and at most {durations.written(most)}"
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
            self.problem(place, f"`factor` is {_shown(value)}; it is a number from 1 to {FACTOR_MAX}")
            return _DEFAULTS.factor
        # 2 and 2.0 are one number and must have one hash.
        return int(value) if value == int(value) else value

    def _limit(self, policy: Fields, place: str) -> int | None:
        value = policy.get("limit")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LIMIT_MAX:
            self.problem(
                place, f"`limit` is {_shown(value)}; it is how often to try again, from 0 to {LIMIT_MAX:,}"
            )
            return None
        return value

    def node(
        self, json: Json, slot: str, zone: Zone = Zone.BEFORE, *, outermost: bool = False, depth: int = 1
    ) -> Node:
        """A node and what is below it, in its place."""
        self._nodes += 1
        if self._nodes == NODES_MAX + 1:
            self.problem(slot, f"the saga has more than {NODES_MAX:,} nodes; split it")
        kind = json.get("kind") if isinstance(json, dict) else None
        if depth > NODES_DEPTH_MAX:
            self.problem(slot, f"nodes stand more than {NODES_DEPTH_MAX} deep; flatten the saga")
        elif kind == "step":
            return self._step(json, slot, zone)
        elif kind in ("chain", "group"):
            return self._row(json, f"{slot}.{kind}".lstrip("."), zone, outermost, depth)
        elif kind == "pivot":
            place = f"{slot}.pivot".lstrip(".")
            inner = self.fields(json, place, ("kind", "node")).get("node")
            return PivotNode(self.node(inner, place, Zone.PIVOT, depth=depth + 1))
        else:
            self.problem(slot, f"{_shown(kind)} is no kind of node; known: step, chain, group, pivot")
        return ChainNode(())

    def _row(self, json: Json, place: str, zone: Zone, outermost: bool, depth: int) -> ChainNode | GroupNode:
        fields = self.fields(json, place, ("kind", "nodes"))
        nodes = fields.get("nodes")
        if not isinstance(nodes, list) or not nodes:
            self.problem(place, "`nodes` is to be a list of one node or more")
            nodes = []
        children = []
        for index, child in enumerate(nodes):
            if self._nodes > NODES_MAX:
                break
            children.append(self.node(child, f"{place}[{index}]", zone, depth=depth + 1))
            if outermost and isinstance(children[-1], PivotNode):
                zone = Zone.AFTER
        return (ChainNode if fields.get("kind") == "chain" else GroupNode)(tuple(children))

    def _step(self, json: Json, slot: str, zone: Zone) -> StepNode:
        name = json.get("name") if isinstance(json, dict) else None
        place = f"{slot} step {_shown(name)}".strip()
        fields = self.fields(json, place, _STEP_FIELDS)
        known_name = self.name(fields, "name", place)
        undo, reads = self._reversal(fields, place, zone)
        return StepNode(
            name=known_name,
            to=self.name(fields, "to", place),
            do=self.name(fields, "do", place, dotted=True) if fields.get("do") is not None else known_name,
            undo=undo,
            final="undo" in fields and undo is None,
            reads=reads,
            args=self.expression(fields["args"], f"{place}: args") if "args" in fields else Input(()),
            timeout=self.duration(fields, "timeout", place, TIMEOUT, TIMEOUT_MAX),
            retry=self.retry(fields, "retry", place, WITHIN if zone is Zone.AFTER else None),
            undo_timeout=self.duration(fields, "undo_timeout", place, TIMEOUT, TIMEOUT_MAX),
            undo_retry=self.retry(fields, "undo_retry", place, WITHIN),
        )

    def _reversal(self, fields: Fields, place: str, zone: Zone) -> tuple[str | None, bool]:
        undo = self.name(fields, "undo", place, dotted=True) if fields.get("undo") is not None else None
        reads = self.flag(fields, "reads", place)
        if zone is not Zone.BEFORE and undo is not None:
            self.problem(
                place, "nothing is undone at the pivot or after it; drop `undo`, or move the step before it"
            )
        elif "undo" in fields and reads:
            self.problem(
                place, "it says `undo` and `reads`; a step that only reads has nothing to undo: say one"
            )
        elif zone is Zone.BEFORE and "undo" not in fields and not reads:
            self.problem(
                place,
                'how is it undone? Say undo="command", or undo=None (nothing can), or reads=True (there is nothing to)',
            )
        return undo, reads

    def expression(self, json: Json, place: str) -> Expression:
        """An expression in its stored form."""
        tag = next((key for key in json if key in _TAGS), None) if isinstance(json, dict) else None
        if tag is None or not isinstance(json, dict):
            self.problem(place, f"{_shown(json)} is no expression; one has a field of {', '.join(_TAGS)}")
            return _NOTHING
        fields = self.fields(json, place, _TAGS[tag])
        value = fields[tag]
        match tag:
            case "literal":
                return Literal(value)
            case "arg":
                return Input(self._at(value, place))
            case "result":
                return Result(self.name(fields, "result", place), self._at(fields.get("at", []), place))
            case "object" if isinstance(value, dict):
                return object_of(
                    (key, self.expression(item, f"{place}.{key}")) for key, item in value.items()
                )
            case "list" if isinstance(value, list):
                return list_of(self.expression(item, f"{place}[{index}]") for index, item in enumerate(value))
            case "compare" if value in COMPARISONS:
                return Compare(str(value), *self._two([fields.get("left"), fields.get("right")], place))
            case "and" if isinstance(value, list) and len(value) == 2:
                return Both(*self._two(value, place))
            case "or" if isinstance(value, list) and len(value) == 2:
                return Either(*self._two(value, place))
            case "not":
                return Not(self.expression(value, place))
            case _:
                self.problem(place, f"{_shown(value)} does not fit `{tag}`")
                return _NOTHING

    def _two(self, operands: list[Json], place: str) -> tuple[Expression, Expression]:
        return self.expression(operands[0], place), self.expression(operands[1], place)

    def _at(self, json: Json, place: str) -> At:
        keys = json if isinstance(json, list) else [None]
        at = tuple(key for key in keys if isinstance(key, str | int) and not isinstance(key, bool))
        if len(at) != len(keys):
            self.problem(
                place, f"{_shown(json)} is no way to a part; write a list of field names and item numbers"
            )
        return at


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."

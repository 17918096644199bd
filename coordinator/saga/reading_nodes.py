"""Reads nodes, and what is below them, each in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from amends.coordinator.saga.bounds import (
    AT_MOST_MAX,
    CHUNK_MAX,
    NAME_CHARS_MAX,
    NODES_DEPTH_MAX,
    NODES_MAX,
    VERSION_MAX,
)
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.expressions import Expression, Input
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.policies import TIMEOUT, WITHIN
from amends.coordinator.saga.reading import DURATION_MAX, Fields, Reader, shown
from amends.coordinator.saga.reading_expressions import NOTHING, read_expression
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, Node, PivotNode
from amends.coordinator.saga.walk import Zone

TIMEOUT_MAX: Final = 30 * DAY
AT_MOST: Final = 100  # how many items of an `each` are in flight unless it says so itself

_STEP_FIELDS: Final = (
    "kind", "name", "to", "do", "undo", "reads", "confirm", "args",
    "timeout", "retry", "undo_timeout", "undo_retry",
)  # fmt: skip
_HOW_UNDONE: Final = (
    'how is it undone? Say undo="command", or undo=None, in JSON null (nothing can), or reads=True, in JSON true '
    "(there is nothing to)"
)


class NodeReader:
    """One reading of one tree."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._nodes = 0
        self._kinds: dict[str, Callable[[Json, str, Zone, int], Node]] = {
            "step": self._step,
            "wait": self._wait,
            "sleep": self._sleep,
            "emit": self._emit,
            "call": self._call,
            "chain": self._chain,
            "group": self._group,
            "each": self._each,
            "choose": self._choose,
            "pivot": self._pivot,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of node there is."""
        return tuple(self._kinds)

    def root(self, json: Json) -> Node:
        """The outermost node."""
        return self._node(json, "", Zone.BEFORE, 0)

    def _node(self, json: Json, slot: str, zone: Zone, depth: int) -> Node:
        self._nodes += 1
        if self._nodes == NODES_MAX + 1:
            self._reader.problem("saga", f"the saga has more than {NODES_MAX:,} nodes; split it")
        where = slot or "saga: root"
        kind = json.get("kind") if isinstance(json, dict) else None
        read = self._kinds.get(kind) if isinstance(kind, str) else None
        if depth >= NODES_DEPTH_MAX:
            self._reader.problem(where, f"nodes stand more than {NODES_DEPTH_MAX} deep; flatten the saga")
        elif read is not None:
            return read(json, slot, zone, depth)
        else:
            known = ", ".join(self._kinds)
            self._reader.problem(where, f"{shown(kind)} is no kind of node; known: {known}")
        return ChainNode(())

    # What holds others

    def _chain(self, json: Json, slot: str, zone: Zone, depth: int) -> Node:
        return ChainNode(self._row(json, f"{slot}.chain".lstrip("."), zone, depth))

    def _group(self, json: Json, slot: str, zone: Zone, depth: int) -> Node:
        return GroupNode(self._row(json, f"{slot}.group".lstrip("."), zone, depth))

    def _row(self, json: Json, place: str, zone: Zone, depth: int) -> tuple[Node, ...]:
        nodes = self._several(self._reader.fields(json, place, ("kind", "nodes")), "nodes", place)
        children: list[Node] = []
        for index, child in enumerate(nodes):
            if self._nodes > NODES_MAX:
                break
            children.append(self._node(child, f"{place}[{index}]", zone, depth + 1))
            if depth == 0 and isinstance(children[-1], PivotNode):
                zone = Zone.AFTER
        return tuple(children)

    def _each(self, json: Json, slot: str, zone: Zone, depth: int) -> Node:
        place = f"{slot}.each".lstrip(".")
        fields = self._reader.fields(json, place, ("kind", "over", "at_most", "chunk", "node"))
        chunk = None
        if fields.get("chunk") is not None:
            chunk = self._reader.count(fields, "chunk", place, 1, CHUNK_MAX)
        return EachNode(
            over=self._expression(fields, "over", place, f"{place}: over"),
            child=self._node(fields.get("node"), place, zone, depth + 1),
            at_most=self._reader.count(fields, "at_most", place, AT_MOST, AT_MOST_MAX),
            chunk=chunk,
        )

    def _choose(self, json: Json, slot: str, zone: Zone, depth: int) -> Node:
        place = f"{slot}.choose".lstrip(".")
        fields = self._reader.fields(json, place, ("kind", "when", "otherwise"))
        conditions, branches = [], []
        for index, one in enumerate(self._several(fields, "when", place)):
            if self._nodes > NODES_MAX:
                break
            here = f"{place}[{index}]"
            branch = self._reader.fields(one, here, ("if", "node"))
            conditions.append(self._expression(branch, "if", here, f"{here}: if"))
            branches.append(self._node(branch.get("node"), here, zone, depth + 1))
        otherwise = None
        if fields.get("otherwise") is not None:
            otherwise = self._node(fields["otherwise"], f"{place}.otherwise", zone, depth + 1)
        return ChooseNode(tuple(conditions), tuple(branches), otherwise)

    def _pivot(self, json: Json, slot: str, _: Zone, depth: int) -> Node:
        place = f"{slot}.pivot".lstrip(".")
        inner = self._reader.fields(json, place, ("kind", "node")).get("node")
        return PivotNode(self._node(inner, place, Zone.PIVOT, depth + 1))

    def _several(self, fields: Fields, key: str, place: str) -> list[Json]:
        found = fields.get(key)
        if not isinstance(found, list) or not found:
            self._reader.problem(place, f"`{key}` is to be a list of one node or more")
            return []
        return found

    # What does something

    def _step(self, json: Json, slot: str, zone: Zone, _: int) -> Node:
        place, fields = self._leaf(json, slot, "step", _STEP_FIELDS)
        known_name = self._reader.name(fields, "name", place)
        undo, final = self._undo(fields, place, zone)
        reads = self._reader.flag(fields, "reads", place)
        if "undo" in fields and reads:
            self._reader.problem(
                place, "it says `undo` and `reads`; a step that only reads has nothing to undo: say one"
            )
        elif zone is Zone.BEFORE and not (undo or final or reads):
            self._reader.problem(place, _HOW_UNDONE)
        return StepNode(
            name=known_name,
            to=self._reader.name(fields, "to", place),
            do=self._command(fields, "do", place) or known_name,
            undo=undo,
            final=final,
            reads=reads,
            confirm=self._confirm(fields, place, zone, reads=reads),
            args=self._args(fields, place),
            timeout=self._reader.duration(fields, "timeout", place, TIMEOUT, TIMEOUT_MAX),
            retry=self._reader.retry(fields, "retry", place, WITHIN if zone is Zone.AFTER else None),
            undo_timeout=self._reader.duration(fields, "undo_timeout", place, TIMEOUT, TIMEOUT_MAX),
            undo_retry=self._reader.retry(fields, "undo_retry", place, WITHIN),
        )

    def _confirm(self, fields: Fields, place: str, zone: Zone, *, reads: bool) -> str | None:
        confirm = self._command(fields, "confirm", place)
        if confirm is not None and zone is not Zone.BEFORE:
            self._reader.problem(
                place, "what runs at the pivot or after it is not tried first; drop `confirm` (P1, P2)"
            )
        elif confirm is not None and reads:
            self._reader.problem(place, "a step that only reads has nothing to confirm; drop `confirm`")
        return confirm

    def _wait(self, json: Json, slot: str, zone: Zone, _: int) -> Node:
        place, fields = self._leaf(json, slot, "wait", ("kind", "name", "signal", "timeout", "on_timeout"))
        on_timeout = fields.get("on_timeout", "fail")
        if on_timeout not in ("fail", "continue"):
            self._reader.problem(place, f"`on_timeout` is {shown(on_timeout)}; write 'fail' or 'continue'")
        timeout = None if zone is Zone.BEFORE else WITHIN
        if fields.get("timeout") is not None:
            timeout = self._reader.duration(fields, "timeout", place, WITHIN, DURATION_MAX)
        elif on_timeout == "continue" and zone is Zone.BEFORE:
            self._reader.problem(place, "`on_timeout` needs a timeout; say how long to wait")
        name = self._reader.name(fields, "name", place, dotted=True)
        return WaitNode(
            name=name,
            signal=self._command(fields, "signal", place) or name,
            timeout=timeout,
            lenient=on_timeout == "continue",
        )

    def _sleep(self, json: Json, slot: str, _: Zone, __: int) -> Node:
        place, fields = self._leaf(json, slot, "sleep", ("kind", "name", "duration"))
        fields = {"name": "sleep", **fields}
        if fields.get("duration") is None:
            self._reader.problem(place, "`duration` is missing; say how long")
        return SleepNode(
            name=self._reader.name(fields, "name", place, dotted=True),
            duration=self._reader.duration(fields, "duration", place, DAY)
            if fields.get("duration") is not None
            else DAY,
        )

    def _emit(self, json: Json, slot: str, zone: Zone, _: int) -> Node:
        place, fields = self._leaf(json, slot, "emit", ("kind", "name", "type", "data", "undo"), "type")
        undo, final = self._undo(fields, place, zone)
        if zone is Zone.BEFORE and not (undo or final):
            self._reader.problem(
                place,
                'what does its undo emit? Say undo="type", or undo=None, in JSON null (nothing is emitted)',
            )
        return EmitNode(
            name=self._reader.name(fields, "name", place, dotted=True),
            type=self._reader.name(fields, "type", place, dotted=True),
            data=self._args(fields, place, "data"),
            undo=undo,
            final=final,
        )

    def _call(self, json: Json, slot: str, _: Zone, __: int) -> Node:
        place, fields = self._leaf(json, slot, "call", ("kind", "name", "saga", "version", "args"), "saga")
        version = None
        if fields.get("version") is not None:
            version = self._reader.count(fields, "version", place, 1, VERSION_MAX)
        return CallNode(
            name=self._reader.name(fields, "name", place, dotted=True),
            saga=self._reader.name(fields, "saga", place, dotted=True),
            version=version,
            args=self._args(fields, place),
        )

    def _leaf(
        self, json: Json, slot: str, kind: str, known: tuple[str, ...], named_by: str = "name"
    ) -> tuple[str, Fields]:
        """Where it stands, and its fields; without a name it has that of another field."""
        fields = json if isinstance(json, dict) else {}
        name = fields.get("name", fields.get(named_by))
        place = f"{slot} {kind} {shown(name)}".strip()[: len(slot) + NAME_CHARS_MAX]
        read = self._reader.fields(json, place, known)
        return place, {"name": name, **read} if name is not None else read

    def _undo(self, fields: Fields, place: str, zone: Zone) -> tuple[str | None, bool]:
        undo = self._command(fields, "undo", place)
        if zone is not Zone.BEFORE and undo is not None:
            self._reader.problem(
                place, "nothing is undone at the pivot or after it; drop `undo`, or move it before the pivot"
            )
        return undo, "undo" in fields and undo is None

    def _command(self, fields: Fields, key: str, place: str) -> str | None:
        return self._reader.name(fields, key, place, dotted=True) if fields.get(key) is not None else None

    def _args(self, fields: Fields, place: str, key: str = "args") -> Expression:
        if key not in fields:
            return Input(())
        return read_expression(self._reader, fields[key], f"{place}: {key}")

    def _expression(self, fields: Fields, key: str, place: str, where: str) -> Expression:
        if key not in fields:
            self._reader.problem(place, f"`{key}` is missing; say it")
            return NOTHING
        return read_expression(self._reader, fields[key], where)

"""A definition's nodes, complete: every default is filled in. A closed union; each kind knows its stored form.

A kind that is added joins `Node`, gets a reader in `reading_nodes.py`, its steps forwards and backwards in `walk.py`,
`forward.py`, `backward.py` and `confirming.py`, and its picture in `draw/outline.py`: mypy points at every
`assert_never` that misses it. `checking/abstracting.py` reads the stored form, and fails on a kind it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from amends.coordinator.saga.expressions import Expression, to_json
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import (
    LEAVES,
    CallNode,
    EmitNode,
    Leaf,
    SleepNode,
    StepNode,
    WaitNode,
)


@dataclass(frozen=True, slots=True)
class ChainNode:
    """One after another."""

    children: tuple[Node, ...]

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {"kind": "chain", "nodes": [child.to_json() for child in self.children]}


@dataclass(frozen=True, slots=True)
class GroupNode:
    """Side by side; it is through when all are."""

    children: tuple[Node, ...]

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {"kind": "group", "nodes": [child.to_json() for child in self.children]}


@dataclass(frozen=True, slots=True)
class EachNode:
    """The same for every item of a list, at most `at_most` items at a time; `chunk` makes lists of so many of them."""

    over: Expression
    child: Node
    at_most: int
    chunk: int | None

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {
            "kind": "each",
            "over": to_json(self.over),
            "at_most": self.at_most,
            "chunk": self.chunk,
            "node": self.child.to_json(),
        }


@dataclass(frozen=True, slots=True)
class ChooseNode:
    """The first branch whose condition holds, else `otherwise`, else nothing."""

    conditions: tuple[Expression, ...]
    branches: tuple[Node, ...]
    otherwise: Node | None

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        when: list[Json] = [
            {"if": to_json(condition), "node": branch.to_json()}
            for condition, branch in zip(self.conditions, self.branches, strict=True)
        ]
        otherwise = self.otherwise.to_json() if self.otherwise is not None else None
        return {"kind": "choose", "when": when, "otherwise": otherwise}


@dataclass(frozen=True, slots=True)
class PivotNode:
    """The point of no return: once it is done, nothing is compensated any more (P1, P2)."""

    child: Node

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {"kind": "pivot", "node": self.child.to_json()}


Node: TypeAlias = Leaf | ChainNode | GroupNode | EachNode | ChooseNode | PivotNode


def children_of(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
            return ()
        case ChainNode() | GroupNode():
            return node.children
        case ChooseNode():
            return (*node.branches, *((node.otherwise,) if node.otherwise is not None else ()))
        case PivotNode() | EachNode():
            return (node.child,)
        case _:
            assert_never(node)


def places(node: Node, place: str) -> Iterator[tuple[str, Node]]:
    """Every node with where it stands, parents first: `chain[1].group[0] step 'charge'`."""
    here = placed(place, node)
    yield here, node
    for slot, child in zip(slots(node, here), children_of(node), strict=True):
        yield from places(child, slot)


def slots(node: Node, here: str) -> Iterator[str]:
    """The slots of a node's children, in their order, given where the node stands."""
    match node:
        case ChainNode() | GroupNode():
            yield from (f"{here}[{index}]" for index in range(len(node.children)))
        case ChooseNode():
            yield from (f"{here}[{index}]" for index in range(len(node.branches)))
            if node.otherwise is not None:
                yield f"{here}.otherwise"
        case PivotNode() | EachNode():
            yield here
        case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
            pass
        case _:
            assert_never(node)


def placed(place: str, node: Node) -> str:
    """Where a node stands, given the slot that it fills."""
    kind = kind_of(node)
    return (
        f"{place} {kind} {node.name!r}".strip() if isinstance(node, LEAVES) else f"{place}.{kind}".lstrip(".")
    )


def kind_of(node: Node) -> str:
    """The word of the language that makes such a node."""
    return _KINDS[type(node)]


_KINDS: dict[type[Node], str] = {
    StepNode: "step",
    WaitNode: "wait",
    SleepNode: "sleep",
    EmitNode: "emit",
    CallNode: "call",
    ChainNode: "chain",
    GroupNode: "group",
    EachNode: "each",
    ChooseNode: "choose",
    PivotNode: "pivot",
}

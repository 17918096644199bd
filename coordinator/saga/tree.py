"""A definition's nodes, complete: every default is filled in. A closed union; each kind knows its stored form.

A kind that is added joins `Node`, gets a reader in `reading.py`, and its steps forwards and backwards in `walk.py`,
`forward.py` and `backward.py`: mypy points at every `assert_never` that misses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from amends.coordinator.saga.expressions import Expression, to_json
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.policies import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode:
    """One command to one participant, and how it is undone. Durations in ms.

    Before the pivot exactly one is said: `undo` is a command; `undo` is None and `final` (nothing can undo it);
    `reads` (there is nothing to undo). `retry` is for `do`; `undo_retry` for undo and fences.
    """

    name: str
    to: str
    do: str
    undo: str | None = None
    final: bool = False
    reads: bool = False
    args: Expression
    timeout: int
    retry: Retry
    undo_timeout: int
    undo_retry: Retry

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        reversal: dict[str, Json] = {}
        if self.undo is not None or self.final:
            reversal["undo"] = self.undo
        if self.reads:
            reversal["reads"] = True
        return {
            "kind": "step",
            "name": self.name,
            "to": self.to,
            "do": self.do,
            **reversal,
            "args": to_json(self.args),
            "timeout": self.timeout,
            "retry": self.retry.to_json(),
            "undo_timeout": self.undo_timeout,
            "undo_retry": self.undo_retry.to_json(),
        }


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
class PivotNode:
    """The point of no return: once it is done, nothing is compensated any more (P1, P2)."""

    child: Node

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {"kind": "pivot", "node": self.child.to_json()}


Node: TypeAlias = StepNode | ChainNode | GroupNode | PivotNode


def children_of(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case StepNode():
            return ()
        case ChainNode() | GroupNode():
            return node.children
        case PivotNode():
            return (node.child,)
        case _:
            assert_never(node)


def places(node: Node, place: str) -> Iterator[tuple[str, Node]]:
    """Every node with where it stands, parents first: `chain[1].group[0] step 'charge'`."""
    here = placed(place, node)
    yield here, node
    for index, child in enumerate(children_of(node)):
        yield from places(child, here if isinstance(node, PivotNode) else f"{here}[{index}]")


def placed(place: str, node: Node) -> str:
    """Where a node stands, given the slot that it fills."""
    match node:
        case StepNode():
            return f"{place} step {node.name!r}".strip()
        case ChainNode():
            return f"{place}.chain".lstrip(".")
        case GroupNode():
            return f"{place}.group".lstrip(".")
        case PivotNode():
            return f"{place}.pivot".lstrip(".")
        case _:
            assert_never(node)

"""What a definition's picture says, before it has a form: leaves, what follows what, what stands in a frame.

A kind of node that is added to the language gets its case in `_part`; layout and Mermaid know nothing of kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

from amends.coordinator.saga.tree import ChainNode, GroupNode, PivotNode, StepNode
from amends.coordinator.saga.walk import Place


class Look(StrEnum):
    """How a frame is drawn."""

    SIDE_BY_SIDE = "side"
    PIVOT = "pivot"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One thing that is done. `id` is its place's, as step rows have it in `node`."""

    id: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One after another."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands together, side by side, under a label."""

    id: str
    label: str
    look: Look
    parts: tuple[Part, ...]


Part: TypeAlias = Leaf | Row | Frame


def outline(root: Place) -> Part:
    """The outline of a definition, or of a part of it."""
    node = root.node
    match node:
        case StepNode():
            return Leaf(root.id, node.name, _step(node))
        case ChainNode():
            return Row(_below(root))
        case GroupNode():
            return Frame(root.id, "side by side", Look.SIDE_BY_SIDE, _below(root))
        case PivotNode():
            return Frame(root.id, "point of no return", Look.PIVOT, _below(root))
        case _:
            assert_never(node)


def leaves(part: Part) -> tuple[Leaf, ...]:
    """Every leaf, in the order of the definition."""
    if isinstance(part, Leaf):
        return (part,)
    return tuple(leaf for inner in part.parts for leaf in leaves(inner))


def _below(place: Place) -> tuple[Part, ...]:
    return tuple(outline(child) for child in place.children)


def _step(node: StepNode) -> tuple[str, ...]:
    asks = f"{node.to}: {node.do}"
    if node.undo is not None:
        return asks, f"undo: {node.undo}"
    if node.reads:
        return asks, "only reads"
    return (asks, "nothing undoes it") if node.final else (asks,)

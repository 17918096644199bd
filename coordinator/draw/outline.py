"""What a definition's picture says, before it has a form: leaves, what follows what, what stands in a frame.

A kind of node that is added to the language gets its case in `outline`; layout and Mermaid know nothing of kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

from amends.coordinator.saga.durations import written
from amends.coordinator.saga.expressions import Expression
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.references import Described
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.coordinator.saga.walk import Place


class Look(StrEnum):
    """How a frame is drawn."""

    SIDE_BY_SIDE = "side"
    EACH = "each"
    CHOICE = "choice"
    BRANCH = "branch"
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
        case WaitNode():
            return Leaf(root.id, node.name, _wait(node))
        case SleepNode():
            return Leaf(root.id, node.name, (f"sleeps {written(node.duration)}",))
        case EmitNode():
            undo = f"undo: emits {node.undo}" if node.undo is not None else "nothing takes it back"
            return Leaf(root.id, node.name, (f"emits {node.type}", undo))
        case CallNode():
            version = f" v{node.version}" if node.version is not None else ""
            return Leaf(root.id, node.name, (f"calls the saga {node.saga}{version}",))
        case ChainNode():
            return Row(_below(root))
        case GroupNode():
            return Frame(root.id, "side by side", Look.SIDE_BY_SIDE, _below(root))
        case EachNode():
            chunks = f" in lists of {node.chunk}" if node.chunk is not None else ""
            label = f"each of {_said(node.over)}{chunks}, at most {node.at_most} at a time"
            return Frame(root.id, label, Look.EACH, _below(root))
        case ChooseNode():
            return Frame(root.id, "the first that holds", Look.CHOICE, _branches(root, node))
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


def _branches(place: Place, node: ChooseNode) -> tuple[Part, ...]:
    labels = [f"{number}: if {_said(condition)}" for number, condition in enumerate(node.conditions, 1)]
    labels += ["otherwise"] if node.otherwise is not None else []
    return tuple(
        Frame(f"{child.id}if", label, Look.BRANCH, (outline(child),))
        for label, child in zip(labels, place.children, strict=True)
    )


def _said(expression: Expression) -> str:
    """As it is written in a definition."""
    return repr(Described(expression))


def _wait(node: WaitNode) -> tuple[str, ...]:
    signal = f"waits for the signal {node.signal}"
    if node.timeout is None:
        return (signal,)
    return signal, f"{written(node.timeout)}, then {'goes on' if node.lenient else 'turns back'}"


def _step(node: StepNode) -> tuple[str, ...]:
    lines = [f"{node.to}: {node.do}"]
    if node.undo is not None:
        lines.append(f"undo: {node.undo}")
    elif node.reads:
        lines.append("only reads")
    elif node.final:
        lines.append("nothing undoes it")
    if node.confirm is not None:
        lines.append(f"confirm: {node.confirm}")
    return tuple(lines)

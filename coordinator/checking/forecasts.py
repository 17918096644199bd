"""What can be told of a saga without running it: how long it may take, and what can never succeed in its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.policies import WITHIN
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.coordinator.saga.walk import Place, Zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """The longest that a saga may take by itself, in ms, before it is over or needs an operator.

    `per_items` are the `each` nodes whose share is counted once for `at_most` items: more items take longer.
    """

    until_pivot: int
    after_pivot: int
    compensating: int
    per_items: tuple[str, ...]


def durations(definition: Definition) -> Durations:
    """Bounds from the deadline and the retry policies. What children take is in their own definitions."""
    root = definition.plan.root
    after = sum(_longest(child, _forward) for child in root.children if child.zone is Zone.AFTER)
    before = [child for child in root.children if child.zone is Zone.BEFORE]
    pivot = definition.plan.pivot
    fenced = (
        pivot.step.undo_retry.within or WITHIN
        if pivot is not None and isinstance(pivot.node, StepNode)
        else 0
    )
    return Durations(
        until_pivot=definition.deadline + fenced,
        after_pivot=after,
        compensating=sum(_longest(child, _backward) for child in before),
        per_items=tuple(
            place.name for place in definition.plan.by_id.values() if isinstance(place.node, EachNode)
        ),
    )


def warnings(definition: Definition) -> Iterator[str]:
    """What can never succeed, or hardly, in the time there is."""
    deadline = definition.deadline
    for place in definition.plan.by_id.values():
        match place.node:
            case StepNode() as node if place.zone is not Zone.AFTER:
                if node.timeout >= deadline:
                    yield (
                        f"step {node.name!r}: its timeout, {written(node.timeout)}, is not shorter than the saga's "
                        f"deadline, {written(deadline)}: one silence and the saga turns back; shorten it"
                    )
                elif node.retry.first >= deadline:
                    yield (
                        f"step {node.name!r}: its first retry comes after {written(node.retry.first)}, when the "
                        f"deadline, {written(deadline)}, has passed: it is never tried again; shorten `first`"
                    )
            case WaitNode() as node if place.zone is not Zone.AFTER and (node.timeout or 0) >= deadline:
                yield (
                    f"wait {node.name!r}: its timeout, {written(node.timeout or 0)}, is not shorter than the saga's "
                    f"deadline, {written(deadline)}: it never comes to it; shorten it, or lengthen the deadline"
                )
            case _:
                pass
    slept = sum(
        _longest(child, _sleep) for child in definition.plan.root.children if child.zone is not Zone.AFTER
    )
    if slept >= deadline:
        yield (
            f"saga: it sleeps for {written(slept)} before its point of no return, and has {written(deadline)}: "
            f"it can never succeed; lengthen the deadline"
        )


def _longest(place: Place, of_leaf: Callable[[Place], int]) -> int:
    """Over a node and what is below, if one after another adds up and side by side is as long as the longest."""
    match place.node:
        case ChainNode():
            return sum(_longest(child, of_leaf) for child in place.children)
        case GroupNode() | ChooseNode() | EachNode() | PivotNode():
            return max((_longest(child, of_leaf) for child in place.children), default=0)
        case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
            return of_leaf(place)
        case _:
            assert_never(place.node)


def _forward(place: Place) -> int:
    match place.leaf:
        case StepNode() as node:
            return (node.retry.within or WITHIN) + node.timeout
        case WaitNode() as node:
            return node.timeout or WITHIN
        case SleepNode() as node:
            return node.duration
        case EmitNode() | CallNode():
            return 0
        case _:
            assert_never(place.leaf)


def _backward(place: Place) -> int:
    if not isinstance(place.node, StepNode) or place.node.reads:
        return 0
    return (place.node.undo_retry.within or WITHIN) + place.node.undo_timeout


def _sleep(place: Place) -> int:
    return place.node.duration if isinstance(place.node, SleepNode) else 0

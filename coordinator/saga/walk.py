"""A definition as the machine walks it: each node knows its parent, its place in it, and where the pivot stands."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from amends.coordinator.saga.leaves import LEAVES, CallNode, EmitNode, Leaf, StepNode, WaitNode
from amends.coordinator.saga.tree import EachNode, Node, PivotNode, children_of


class Zone(Enum):
    """Where a node stands as to the point of no return."""

    BEFORE = "before"  # also everything in a saga without a pivot
    PIVOT = "pivot"
    AFTER = "after"


class Place:
    """One node in its place. `id` is its number in preorder, as text: with a scope the key of `Saga.positions`.

    `leaf` is the node itself where that is one, `step` where it is a step; elsewhere they are not set. `name` is what
    the path of an instance begins with. `eaches` are the `each` nodes around it, outermost first: a scope has one item
    number for each of them. `settles` tells whether something in it is confirmed or settled once the saga has decided,
    `undoes` whether something in it that is done may have to be undone, `calls` whether it holds a call.
    """

    __slots__ = (
        "calls",
        "children",
        "eaches",
        "id",
        "index",
        "leaf",
        "name",
        "node",
        "parent",
        "settles",
        "step",
        "undoes",
        "zone",
    )
    leaf: Leaf
    step: StepNode

    def __init__(self, id_: str, node: Node, parent: Place | None, index: int, zone: Zone) -> None:
        self.id = id_
        self.node = node
        self.parent = parent
        self.index = index
        self.zone = zone
        self.children: tuple[Place, ...] = ()
        self.eaches: tuple[Place, ...] = () if parent is None else parent.eaches
        if parent is not None and isinstance(parent.node, EachNode):
            self.eaches = (*parent.eaches, parent)
        self.name = f"{type(node).__name__.removesuffix('Node').lower()}@{id_}"
        self.settles = False
        self.undoes = False
        self.calls = isinstance(node, CallNode)
        if isinstance(node, LEAVES):
            self.leaf = node
            self.name = node.name
            self.settles = zone is Zone.BEFORE and (
                self.calls or (isinstance(node, StepNode) and node.confirm is not None)
            )
            self.undoes = zone is Zone.BEFORE and (
                self.calls or (isinstance(node, StepNode | EmitNode) and node.undo is not None)
            )
        if isinstance(node, StepNode):
            self.step = node

    def leaves(self, eaches: int) -> Iterator[Place]:
        """The leaves in it that have so many `each` nodes around them."""
        return (place for place in self.below() if not place.children and len(place.eaches) == eaches)

    def below(self) -> Iterator[Place]:
        """The place itself and everything below, parents first."""
        yield self
        for child in self.children:
            yield from child.below()


class Plan:
    """All places of a definition. `pivot` is the place of the step or call that the pivot wraps.

    `fans_out` tells whether there is an `each`: then a saga may have many steps, and not all are at hand at once.
    """

    __slots__ = ("by_id", "by_name", "by_signal", "fans_out", "pivot", "root")

    def __init__(self, root: Node) -> None:
        self.by_id: dict[str, Place] = {}
        self.by_name: dict[str, Place] = {}
        self.by_signal: dict[str, list[Place]] = {}
        self.pivot: Place | None = None
        self.fans_out = False
        self.root = self._place(root, None, 0, Zone.BEFORE)

    def _place(self, node: Node, parent: Place | None, index: int, zone: Zone) -> Place:
        place = Place(str(len(self.by_id)), node, parent, index, zone)
        self.by_id[place.id] = place
        self.fans_out |= isinstance(node, EachNode)
        if isinstance(node, LEAVES):
            self.by_name[node.name] = place
            if zone is Zone.PIVOT:
                self.pivot = place
        if isinstance(node, WaitNode):
            self.by_signal.setdefault(node.signal, []).append(place)
        children = []
        for position, child in enumerate(children_of(node)):
            here = Zone.PIVOT if isinstance(child, PivotNode) else zone
            children.append(self._place(child, place, position, here))
            if isinstance(child, PivotNode):
                zone = Zone.AFTER
        place.children = tuple(children)
        place.settles |= any(child.settles for child in children)
        place.undoes |= any(child.undoes for child in children)
        place.calls |= any(child.calls for child in children)
        return place


def scope_of(path: str) -> str:
    """The item numbers in a path: `/3` of `reserve/3`."""
    _, slash, numbers = path.partition("/")
    return slash + numbers


def numbers(scope: str) -> tuple[int, ...]:
    """The item numbers of a scope, outermost first."""
    return tuple(int(number) for number in scope.split("/")[1:])


def outer_scope(scope: str, depth: int) -> str:
    """The outermost `depth` numbers of a scope."""
    return "/".join(scope.split("/")[: depth + 1])

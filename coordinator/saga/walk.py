"""A definition as the machine walks it: each node knows its parent, its place in it, and where the pivot stands."""

from __future__ import annotations

from enum import Enum

from amends.coordinator.saga.tree import Node, PivotNode, StepNode, children_of


class Zone(Enum):
    """Where a node stands as to the point of no return."""

    BEFORE = "before"  # also everything in a saga without a pivot
    PIVOT = "pivot"
    AFTER = "after"


class Place:
    """One node in its place. `id` is its number in preorder, as text: the key of `Saga.positions` and `Step.node`.

    `step` is the node itself where that is a step, and not set elsewhere.
    """

    __slots__ = ("children", "id", "index", "node", "parent", "step", "zone")
    step: StepNode

    def __init__(self, id_: str, node: Node, parent: Place | None, index: int, zone: Zone) -> None:
        self.id = id_
        self.node = node
        self.parent = parent
        self.index = index
        self.zone = zone
        self.children: tuple[Place, ...] = ()
        if isinstance(node, StepNode):
            self.step = node


class Plan:
    """All places of a definition. `pivot` is the place of the step that the pivot wraps."""

    __slots__ = ("by_id", "by_name", "pivot", "root")

    def __init__(self, root: Node) -> None:
        self.by_id: dict[str, Place] = {}
        self.by_name: dict[str, Place] = {}
        self.pivot: Place | None = None
        self.root = self._place(root, None, 0, Zone.BEFORE)

    def _place(self, node: Node, parent: Place | None, index: int, zone: Zone) -> Place:
        place = Place(str(len(self.by_id)), node, parent, index, zone)
        self.by_id[place.id] = place
        if isinstance(node, StepNode):
            self.by_name[node.name] = place
            if zone is Zone.PIVOT:
                self.pivot = place
        children = []
        for position, child in enumerate(children_of(node)):
            here = Zone.PIVOT if isinstance(child, PivotNode) else zone
            children.append(self._place(child, place, position, here))
            if isinstance(child, PivotNode):
                zone = Zone.AFTER
        place.children = tuple(children)
        return place

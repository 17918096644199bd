"""No node of the language and no act of an operator is without a test on the whole."""

from __future__ import annotations

import typing
from types import UnionType
from typing import Any

from amends.coordinator.saga.events import Act
from amends.coordinator.saga.tree import Node
from tests.whole import test_acts, test_nodes
from tests.whole.covering import COVERED

OPTIONS = {
    "chunk", "at_most", "nested", "confirm", "schedule", "event by outbox.put",
    "signal by HTTP", "signal by command", "signal by client",
}  # fmt: skip


def members(union: Any) -> set[type]:
    """The classes of a closed union, also of one that is made of others."""
    inner = [one for one in typing.get_args(union) if isinstance(one, UnionType) or typing.get_args(one)]
    flat = {one for one in typing.get_args(union) if isinstance(one, type)}
    return flat.union(*(members(one) for one in inner))


def test_every_node_and_every_act_has_a_test() -> None:
    """A new one fails here until it has. Guard: any `@covers` that alone names something."""
    wanted = members(Node) | members(Act) | OPTIONS

    assert len(members(Node)) >= 10
    assert len(members(Act)) >= 8
    assert wanted - COVERED.keys() == set()
    assert COVERED.keys() - wanted == set(), "nothing is covered that is not there"
    there = vars(test_acts) | vars(test_nodes)
    assert [name for names in COVERED.values() for name in names if name not in there] == []

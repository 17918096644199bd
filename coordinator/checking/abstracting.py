"""A definition without its data. What a saga does depends on values only where it counts items or chooses.

So for exploring, args are empty, lists have two items, and each way through its `choose` nodes is a definition of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any, Final

from amends.coordinator.saga.definition import Definition

ITEMS: Final = 2
_NULL: Final = {"literal": None}


def ways(definition: Definition, ways_max: int) -> tuple[list[Definition], int]:
    """The definition once for each way through its `choose` nodes, up to so many; and how many ways there are."""
    stored = definition.to_json()
    branches = list(_branches(stored["root"]))
    total = 1
    for number in branches:
        total *= number
    taken = islice(product(*(range(number) for number in branches)), ways_max)
    return [_without_data(stored, list(way)) for way in taken], total


def _branches(node: Any) -> Iterator[int]:
    """How many ways each `choose` has, in preorder; one of them is to take no branch."""
    if node["kind"] == "choose":
        yield len(node["when"]) + 1
    for child in _children(node):
        yield from _branches(child)


def _without_data(stored: dict[str, Any], way: list[int]) -> Definition:
    bare = {**stored, "input": None, "key": None, "labels": {}, "result": None, "on_stuck": None}
    return Definition.from_json({**bare, "root": _bare(stored["root"], way)})


def _bare(node: dict[str, Any], way: list[int]) -> dict[str, Any]:
    """The node without data; takes what it needs of `way` from the front, in preorder."""
    match node["kind"]:
        case "step" | "call":
            return {**node, "args": _NULL}
        case "emit":
            return {**node, "data": _NULL}
        case "chain" | "group":
            return {**node, "nodes": [_bare(child, way) for child in node["nodes"]]}
        case "each":
            over = {"literal": list(range(ITEMS))}
            return {**node, "over": over, "chunk": None, "node": _bare(node["node"], way)}
        case "choose":
            taken = way.pop(0)
            when = [
                {"if": {"literal": index == taken}, "node": _bare(branch["node"], way)}
                for index, branch in enumerate(node["when"])
            ]
            otherwise = node["otherwise"]
            return {**node, "when": when, "otherwise": None if otherwise is None else _bare(otherwise, way)}
        case "pivot":
            return {**node, "node": _bare(node["node"], way)}
        case _:
            return node


def _children(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from node.get("nodes", ())
    if "node" in node:
        yield node["node"]
    for branch in node.get("when", ()):
        yield branch["node"]
    if node.get("otherwise") is not None:
        yield node["otherwise"]

"""A definition without its data. What a saga does depends on values only where it counts items or chooses.

So for exploring, args are empty, lists have two items, and each way through its `choose` nodes is a definition of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Any, Final

from amends.coordinator.saga.definition import Definition

ITEMS: Final = 2
_NULL: Final = {"literal": None}


def ways(definition: Definition, ways_max: int) -> tuple[list[Definition], int]:
    """The definition once for each way through its `choose` nodes, up to so many; and how many ways there are.

    All items of an `each` take the same way: those on which they differ are counted, and not among the definitions.
    """
    stored = definition.to_json()
    root: Any = stored["root"]
    taken = islice(_ways(root), ways_max)
    return [_without_data(stored, list(way)) for way in taken], _count(root)


def _ways(root: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Which branch each `choose` takes, in preorder, without those in branches that are not taken."""
    begun: list[tuple[tuple[int, ...], list[dict[str, Any]]]] = [((), [root])]
    while begun:
        way, nodes = begun.pop()
        while nodes and nodes[0]["kind"] != "choose":
            nodes[:1] = _children(nodes[0])
        if not nodes:
            yield way
            continue
        branches = _branches(nodes[0])
        for taken in reversed(range(len(branches))):
            begun.append(((*way, taken), [*branches[taken], *nodes[1:]]))


def _count(node: dict[str, Any]) -> int:
    """How many ways through a node there are."""
    if node["kind"] == "choose":
        return sum(prod(map(_count, branch)) for branch in _branches(node))
    through = prod(map(_count, _children(node)))
    return through**ITEMS if node["kind"] == "each" else through


def _branches(choose: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """What a `choose` may go on with, in order; the last is what stands under `otherwise`, or nothing."""
    otherwise = choose["otherwise"]
    return [*([branch["node"]] for branch in choose["when"]), [] if otherwise is None else [otherwise]]


def _without_data(stored: dict[str, Any], way: list[int]) -> Definition:
    bare = {**stored, "input": None, "key": None, "labels": {}, "result": None, "on_stuck": None}
    return Definition.from_json({**bare, "root": _bare(stored["root"], way)})


def _bare(node: dict[str, Any], way: list[int] | None) -> dict[str, Any]:
    """The node without data; takes what it needs of `way` from the front, in preorder. None: it is not reached."""
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
            taken = way.pop(0) if way is not None else None
            when = [
                {
                    "if": {"literal": index == taken},
                    "node": _bare(branch["node"], way if index == taken else None),
                }
                for index, branch in enumerate(node["when"])
            ]
            last = way if taken == len(when) else None
            otherwise = node["otherwise"]
            return {**node, "when": when, "otherwise": None if otherwise is None else _bare(otherwise, last)}
        case "pivot":
            return {**node, "node": _bare(node["node"], way)}
        case "wait" | "sleep":
            return node
        case kind:
            raise AssertionError(f"a {kind} has no form without data")


def _children(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands in a node that is no `choose`."""
    yield from node.get("nodes", ())
    if "node" in node:
        yield node["node"]

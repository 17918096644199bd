"""What is known of the values in a definition: what is written, what the input's schema and what contracts say.

Known is a JSON Schema; `true` where nobody says anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.expressions import (
    At,
    Expression,
    Input,
    Item,
    Literal,
    Result,
    parts,
    written,
)
from amends.coordinator.saga.guards import NOTHING, There, of_child
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.tree import EachNode, Node, children_of, places
from amends.outbox.contracts.fitting import Side, type_of
from amends.outbox.contracts.format import CommandContract, Contract

Contracts: TypeAlias = Mapping[str, Contract]

_UNKNOWN: Final = Side.of(True)


class Known:
    """The values of one definition, as its nodes see them."""

    def __init__(self, definition: Definition, contracts: Contracts) -> None:
        self._definition = definition
        self._contracts = contracts
        self._around = dict(_around(definition.root, ()))
        self._there = dict(_there(definition.root, NOTHING))
        self._steps = {
            node.name: node for _, node in places(definition.root, "") if isinstance(node, StepNode)
        }

    def of(self, value: Expression, node: Node) -> Side:
        """What is known of a value that stands in this node. Where a `choose` asked for it, it is not null."""
        side, at = self._source(value, node)
        if not isinstance(value, Input | Result | Item):
            return _part(side, at)
        there = self._there[id(node)]
        for depth in range(len(at) + 1):
            side = _part(side, at[depth - 1 : depth]) if depth else side
            if replace(value, at=at[:depth]) in there:
                side = _not_null(side)
        return side

    def lost(self, value: Expression, node: Node) -> Iterator[str]:
        """The references in a value to what the contracts say is not there, each with what there is."""
        for one in parts(value):
            if isinstance(one, Result | Item):
                missing = _missing(*self._source(one, node))
                if missing is not None:
                    field, known = missing
                    whole = f"the result of {one.step!r}" if isinstance(one, Result) else "what it goes over"
                    yield (
                        f"{word(one)}: {whole} has no field {field!r} there; it has: {known}; "
                        f"correct the name, or export the contract anew"
                    )

    def _source(self, value: Expression, node: Node) -> tuple[Side, At]:
        """A schema, and the part of it that the value is."""
        match value:
            case Literal():
                return Side.of(_schema_of(value.value)), ()
            case Input():
                return Side.of(self._definition.input_schema or True), value.at
            case Result():
                return self._result(value, node), value.at
            case Item():
                each = self._around[id(node)][-1 - value.level]
                item = _item(self.of(each.over, each))
                return (_list(item) if each.chunk is not None else item), value.at
            case _:
                return _UNKNOWN, ()

    def _result(self, value: Result, node: Node) -> Side:
        """The step's result; seen from outside an `each` that it stands in, the list of all (and lists of lists)."""
        command = self._command(value.step)
        if command is None:
            return _UNKNOWN
        result = Side.of(command.result)
        here = self._around[id(node)]
        for depth, each in enumerate(self._around[id(self._steps[value.step])]):
            if depth >= len(here) or here[depth] is not each:
                result = _list(result)
        return result

    def _command(self, name: str) -> CommandContract | None:
        step = self._steps.get(name)
        contract = self._contracts.get(step.to) if step is not None else None
        return contract.commands.get(step.do) if contract is not None and step is not None else None


def word(value: Expression) -> str:
    """A reference as it is written; empty for what is none."""
    match value:
        case Input():
            return f"arg{written(value.at)}"
        case Result():
            return f"result({value.step!r}){written(value.at)}"
        case Item():
            return f"{'outer' if value.level else 'item'}{written(value.at)}"
        case _:
            return ""


def _around(node: Node, eaches: tuple[EachNode, ...]) -> Iterator[tuple[int, tuple[EachNode, ...]]]:
    """Every node's `each` nodes around it, outermost first, by the node's identity."""
    yield id(node), eaches
    inside = (*eaches, node) if isinstance(node, EachNode) else eaches
    for child in children_of(node):
        yield from _around(child, inside)


def _there(node: Node, there: There) -> Iterator[tuple[int, There]]:
    """What is certain to be there in every node, by the node's identity."""
    yield id(node), there
    for number, child in enumerate(children_of(node)):
        yield from _there(child, of_child(node, number, there))


def _not_null(side: Side) -> Side:
    """The same values without null."""
    side = side.inner(side.schema)
    says = dict(side.says)
    if not says:
        return side
    for key in ("anyOf", "oneOf"):
        if isinstance(says.get(key), list):
            says[key] = [one for one in says[key] if side.inner(one).types != {"null"}]
    if isinstance(says.get("enum"), list):
        says["enum"] = [one for one in says["enum"] if one is not None]
    if isinstance(says.get("type"), list):
        says["type"] = [one for one in says["type"] if one != "null"]
    return Side(says, side.whole)


def _list(item: Side) -> Side:
    return Side({"type": "array", "items": item.schema}, item.whole)


def _item(side: Side) -> Side:
    """Any item of a list."""
    side = side.inner(side.schema)
    first: list[Any] = side.says.get("prefixItems", [])
    others = side.says.get("items", True)
    if not first:
        return side.inner(others)
    return side.inner({"anyOf": first if others is False else [*first, others]})


def _part(side: Side, at: At) -> Side:
    """A part of what a schema describes; `true` where it does not say."""
    for key in at:
        side = side.inner(side.schema)
        if isinstance(key, str):
            properties: Any = side.says.get("properties", {})
            side = side.inner(properties.get(key, True))
        else:
            first: Any = side.says.get("prefixItems", [])
            inside = 0 <= key < len(first)
            side = side.inner(first[key] if inside else side.says.get("items", True))
    return side


def _missing(side: Side, at: At) -> tuple[str, str] | None:
    """The first field on the way that cannot be there, and what is; None if all can, or nobody can tell."""
    for depth, key in enumerate(at):
        here = _part(side, at[:depth])
        here = here.inner(here.schema)
        known: Any = here.says.get("properties")
        open_ = {"anyOf", "oneOf", "allOf", "if", "patternProperties"} & here.says.keys()
        if isinstance(key, str) and isinstance(known, dict) and key not in known:
            if not open_ and not here.says.get("additionalProperties"):
                return key, ", ".join(sorted(known)) or "none"
            return None
    return None


def _schema_of(value: Json) -> dict[str, Any]:
    """The schema of one value that is known."""
    if isinstance(value, dict):
        fields = {name: _schema_of(inner) for name, inner in value.items()}
        return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    if isinstance(value, list):
        return {"type": "array", "prefixItems": [_schema_of(one) for one in value], "items": False}
    return {"type": type_of(value), "const": value}

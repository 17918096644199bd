"""Does a definition fit the contracts of the participants it commands? Asked by `amends apply --contracts`.

Known of an argument is what is written in the definition, what the input's schema says, and what the contract says of
an earlier step's result. What nobody says is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.expressions import (
    At,
    Expression,
    Input,
    Item,
    List,
    Literal,
    Object,
    Result,
    written,
)
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.tree import EachNode, Node, children_of, places
from amends.outbox.contracts.fitting import Misfit, Side, misfits, type_of
from amends.outbox.contracts.format import CommandContract, Contract

Contracts: TypeAlias = Mapping[str, Contract]

_UNKNOWN: Final = Side.of(True)


def check_contracts(definition: Definition, contracts: Contracts) -> None:
    """Raises: InvalidDefinition, with every command, undo, confirm and argument that the contracts do not know."""
    found = list(_Fitting(definition, contracts).problems())
    if found:
        raise InvalidDefinition(definition.name, found)


class _Fitting:
    """One definition against some contracts."""

    def __init__(self, definition: Definition, contracts: Contracts) -> None:
        self._definition = definition
        self._contracts = contracts
        self._around = dict(_around(definition.root, ()))
        self._steps = {
            node.name: node for _, node in places(definition.root, "") if isinstance(node, StepNode)
        }

    def problems(self) -> Iterator[str]:
        """In the order of the definition: place, what is wrong, mend."""
        for place, node in places(self._definition.root, ""):
            if not isinstance(node, StepNode):
                continue
            contract = self._contracts.get(node.to)
            if contract is None:
                known = ", ".join(sorted(self._contracts))
                yield f"{place}: no contract of {node.to!r} is given (given: {known}); add --contracts FILE"
                continue
            command = contract.commands.get(node.do)
            if command is None:
                yield f"{place}: {node.to!r} has no command {node.do!r}; {_known(contract.commands)}"
                continue
            yield from self._beside(place, node, command)
            for misfit in self._misfits(node.args, Side.of(command.args), node, ""):
                yield (
                    f"{place}: args{misfit.at}: {misfit.text}; send what the command {node.do!r} of {node.to!r} takes"
                )

    def _beside(self, place: str, node: StepNode, command: CommandContract) -> Iterator[str]:
        for word, name, handlers in (
            ("undo", node.undo, command.undo),
            ("confirm", node.confirm, command.confirm),
        ):
            if name is not None and name not in handlers:
                yield (
                    f"{place}: {name!r} is no {word} of the command {node.do!r} of {node.to!r}; {_known(handlers)}"
                )
            elif name is not None:
                for misfit in self._misfits(node.args, Side.of(handlers[name].args), node, ""):
                    yield f"{place}: args{misfit.at}: {misfit.text}; send what its {word} {name!r} takes too"

    def _misfits(self, value: Expression, wanted: Side, node: Node, at: str) -> Iterator[Misfit]:
        wanted = wanted.inner(wanted.schema)
        if isinstance(value, Object | List) and wanted.branches is not None:
            tried = [list(self._misfits(value, wanted.inner(branch), node, at)) for branch in wanted.branches]
            if all(tried):
                yield from min(tried, key=len)
            return
        match value:
            case Object():
                fields = dict(value.fields)
                given = {"type": "object", "properties": dict.fromkeys(fields, True), "required": [*fields]}
                yield from misfits(Side.of(given), wanted, strict=False, at=at)
                properties = wanted.says.get("properties", {})
                for name, inner in fields.items():
                    part = wanted.inner(properties.get(name, wanted.says.get("additionalProperties", True)))
                    if part.schema is not False:  # That it is not taken at all is told already.
                        yield from self._misfits(inner, part, node, at + written((name,)))
            case List():
                yield from misfits(Side.of({"type": "array"}), wanted, strict=False, at=at)
                items = wanted.inner(wanted.says.get("items", True))
                for index, one in enumerate(value.items):
                    yield from self._misfits(one, items, node, f"{at}[{index}]")
            case _:
                told = _written(value)
                for misfit in misfits(self._known_of(value, node), wanted, strict=False, at=at):
                    yield Misfit(misfit.at, f"{told}{misfit.text}")

    def _known_of(self, value: Expression, node: Node) -> Side:
        """What is known of a value; `true` if nothing is."""
        match value:
            case Literal():
                return Side.of(_schema_of(value.value))
            case Input():
                return _part(Side.of(self._definition.input_schema or True), value.at)
            case Result():
                step = self._steps.get(value.step)
                contract = self._contracts.get(step.to) if step is not None else None
                command = (
                    contract.commands.get(step.do) if contract is not None and step is not None else None
                )
                # From outside an `each` it is the list of all results; that is left alone.
                if step is None or command is None or self._around[id(step)]:
                    return _UNKNOWN
                return _part(Side.of(command.result), value.at)
            case Item():
                around = self._around[id(node)]
                if value.level >= len(around) or around[-1 - value.level].chunk is not None:
                    return _UNKNOWN
                each = around[-1 - value.level]
                return _part(self._known_of(each.over, each), (0, *value.at))
            case _:
                return _UNKNOWN


def _around(node: Node, eaches: tuple[EachNode, ...]) -> Iterator[tuple[int, tuple[EachNode, ...]]]:
    """Every node's `each` nodes around it, outermost first, by the node's identity."""
    yield id(node), eaches
    inside = (*eaches, node) if isinstance(node, EachNode) else eaches
    for child in children_of(node):
        yield from _around(child, inside)


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


def _schema_of(value: Json) -> dict[str, Any]:
    """The schema of one value that is known."""
    if isinstance(value, dict):
        fields = {name: _schema_of(inner) for name, inner in value.items()}
        return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    if isinstance(value, list):
        return {"type": "array", "prefixItems": [_schema_of(one) for one in value], "items": False}
    return {"type": type_of(value), "const": value}


def _written(value: Expression) -> str:
    match value:
        case Input():
            return f"arg{written(value.at)} "
        case Result():
            return f"result({value.step!r}){written(value.at)} "
        case Item():
            return f"item{written(value.at)} "
        case _:
            return ""


def _known(names: Mapping[str, object]) -> str:
    return f"it has: {', '.join(sorted(names)) or 'none'}; correct the name, or export the contract anew"

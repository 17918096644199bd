"""Does a definition fit the contracts of the participants it commands? Asked by `amends apply --contracts`.

Known of an argument is what is written in the definition, what the input's schema says, and what the contract says of
an earlier step's result (`known_values.py`). What nobody says is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, assert_never

from amends.coordinator.known_values import Contracts, Known, word
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.expressions import Expression, List, Object, written
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.tree import (
    ChainNode,
    ChooseNode,
    EachNode,
    GroupNode,
    Node,
    PivotNode,
    places,
    slots,
)
from amends.outbox.contracts.fitting import Misfit, Side, misfits
from amends.outbox.contracts.format import CommandContract

# The definition that a call leads to, by name and version (None: the active one); None if it is not known.
FindChild: TypeAlias = Callable[[str, int | None], Definition | None]


def _no_child(_: str, __: int | None) -> None:
    """Nothing is known of any child."""


def check_contracts(definition: Definition, contracts: Contracts, children: FindChild = _no_child) -> None:
    """Hold a definition against the contracts of its participants and the inputs of the sagas it calls.

    Raises: InvalidDefinition, with every command, undo, confirm, argument and reference that does not fit.
    """
    found = list(_Fitting(definition, contracts, children).problems())
    if found:
        raise InvalidDefinition(definition.name, found)


class _Fitting:
    """One definition against some contracts."""

    def __init__(self, definition: Definition, contracts: Contracts, children: FindChild) -> None:
        self._definition = definition
        self._contracts = contracts
        self._children = children
        self._known = Known(definition, contracts)

    def problems(self) -> Iterator[str]:
        """In the order of the definition: place, what is wrong, mend."""
        for place, node in places(self._definition.root, ""):
            match node:
                case StepNode():
                    yield from self._lost(f"{place}: args", node.args, node)
                    yield from self._step(place, node)
                case CallNode():
                    yield from self._lost(f"{place}: args", node.args, node)
                    yield from self._call(place, node)
                case EmitNode():
                    yield from self._lost(f"{place}: data", node.data, node)
                case EachNode():
                    yield from self._lost(f"{place}: over", node.over, node)
                    for misfit in self._misfits(node.over, Side.of({"type": "array"}), node, ""):
                        yield f"{place}: over{misfit.at}: {misfit.text}; go over a list"
                case ChooseNode():
                    for condition, slot in zip(node.conditions, slots(node, place), strict=False):
                        yield from self._lost(f"{slot}: if", condition, node)
                case ChainNode() | GroupNode() | PivotNode() | WaitNode() | SleepNode():
                    pass
                case _:
                    assert_never(node)
        yield from self._lost("saga: result", self._definition.result, self._definition.root)

    def _lost(self, place: str, value: Expression, node: Node) -> Iterator[str]:
        return (f"{place}: {problem}" for problem in self._known.lost(value, node))

    def _step(self, place: str, node: StepNode) -> Iterator[str]:
        contract = self._contracts.get(node.to)
        if contract is None:
            known = ", ".join(sorted(self._contracts))
            yield f"{place}: no contract of {node.to!r} is given (given: {known}); add --contracts FILE"
            return
        command = contract.commands.get(node.do)
        if command is None:
            yield f"{place}: {node.to!r} has no command {node.do!r}; {_known(contract.commands)}"
            return
        found = list(self._misfits(node.args, Side.of(command.args), node, ""))
        for misfit in found:
            yield (
                f"{place}: args{misfit.at}: {misfit.text}; send what the command {node.do!r} of {node.to!r} takes"
            )
        yield from self._beside(place, node, command, found)

    def _call(self, place: str, node: CallNode) -> Iterator[str]:
        child = self._children(node.saga, node.version)
        if child is None or child.input_schema is None:
            return
        for misfit in self._misfits(node.args, Side.of(child.input_schema), node, ""):
            yield (
                f"{place}: args{misfit.at}: {misfit.text}; send what saga {node.saga!r} version {child.version} takes"
            )

    def _beside(
        self, place: str, node: StepNode, command: CommandContract, told: list[Misfit]
    ) -> Iterator[str]:
        """Undo and confirm: they get the same args, so what does not fit the command is not told again."""
        for what, name, handlers in (
            ("undo", node.undo, command.undo),
            ("confirm", node.confirm, command.confirm),
        ):
            if name is not None and name not in handlers:
                yield (
                    f"{place}: {name!r} is no {what} of the command {node.do!r} of {node.to!r}; {_known(handlers)}"
                )
            elif name is not None:
                found = self._misfits(node.args, Side.of(handlers[name].args), node, "")
                for misfit in (one for one in found if one not in told):
                    yield f"{place}: args{misfit.at}: {misfit.text}; send what its {what} {name!r} takes too"

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
                told = word(value)
                for misfit in misfits(self._known.of(value, node), wanted, strict=False, at=at):
                    yield Misfit(misfit.at, f"{told} {misfit.text}".lstrip())


def _known(names: Mapping[str, object]) -> str:
    return f"it has: {', '.join(sorted(names)) or 'none'}; correct the name, or export the contract anew"

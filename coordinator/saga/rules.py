"""The static rules: what a definition must keep to beyond its form. Each problem names the place and the mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from amends.coordinator.saga.bounds import NESTED_EACH_MAX
from amends.coordinator.saga.evaluating import ITEM_NAMES
from amends.coordinator.saga.expressions import (
    At,
    Both,
    Compare,
    Either,
    Exists,
    Expression,
    Input,
    Item,
    List,
    Literal,
    Not,
    Object,
    Result,
    parts,
    written,
)
from amends.coordinator.saga.guards import NOTHING, There, of_child
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import LEAVES, CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.tree import (
    ChainNode,
    ChooseNode,
    EachNode,
    GroupNode,
    Node,
    PivotNode,
    children_of,
    placed,
    places,
    slots,
)

# `<prefix>.<name>` is a queue of amends itself, or the beginning of one.
RESERVED_PARTICIPANTS: Final = frozenset({"coordinator", "receipts", "dead", "events"})

# How many `$ref` hops to follow in an input schema; a schema may refer to itself.
_HOPS_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSaga:
    """The expressions of the saga as a whole."""

    result: Expression
    key: Expression | None
    labels: tuple[tuple[str, Expression], ...]


def problems(root: Node, input_schema: dict[str, Json] | None, of_saga: OfSaga) -> Iterator[str]:
    """Everything that breaks a static rule, in the order of the definition."""
    if not isinstance(root, ChainNode):
        yield 'saga: the outermost node is to be a chain; wrap it: chain(...), {"kind": "chain", "nodes": [...]}'
    yield from _names(root)
    yield from _pivots(root)
    references = _References(input_schema, root)
    yield from references.of_node(root, "", _View())
    yield from references.of_values(of_saga.result, "saga: result", _View(ran=frozenset(certain(root))))
    if of_saga.key is not None:
        yield from references.of_values(of_saga.key, "saga: key", _View())
        yield from _fixed_key(of_saga.key)
    for name, label in of_saga.labels:
        yield from references.of_values(label, f"saga: labels.{name}", _View())


def _fixed_key(key: Expression) -> Iterator[str]:
    if not any(isinstance(part, Input) for part in parts(key)):
        said = key.value if isinstance(key, Literal) else None
        field = said if isinstance(said, str) and said.isidentifier() else "order"
        yield (
            f"saga: key: it refers to nothing, so every saga would have the same key, and only one could start; "
            f'write arg.{field}, in JSON {{"arg": ["{field}"]}}'
        )


def _names(root: Node) -> Iterator[str]:
    first: dict[str, str] = {}
    for place, node in places(root, ""):
        if not isinstance(node, LEAVES):
            continue
        if node.name in first:
            yield f"{place}: {first[node.name]} has that name already; name one of them otherwise"
        first.setdefault(node.name, place)
        if isinstance(node, StepNode) and node.to in RESERVED_PARTICIPANTS:
            yield f"{place}: `to` is {node.to!r}, a queue of amends itself; name the participant otherwise"


def _pivots(root: Node) -> Iterator[str]:
    outermost = root.children if isinstance(root, ChainNode) else ()
    first = ""
    for place, node in places(root, ""):
        if not isinstance(node, PivotNode):
            continue
        if first:
            yield f"{place}: {first} is a pivot already; a saga has one point of no return, so drop one of them"
        first = first or place
        if not any(node is child for child in outermost):
            yield f"{place}: a pivot stands in the outermost chain; move it there"
        if not isinstance(node.child, StepNode | CallNode):
            yield f"{place}: a pivot wraps exactly one step or call; move the others before or after it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What is seen from a place: steps certain to have run before, the `each` nodes around it, what is there."""

    ran: frozenset[str] = frozenset()
    eaches: tuple[EachNode, ...] = ()
    there: There = NOTHING


class _References:
    """What expressions refer to: the input, steps that are certain to have run, items of an `each` around."""

    def __init__(self, schema: dict[str, Json] | None, root: Node) -> None:
        self._schema = schema
        self._everywhere = frozenset(_names_of(root))
        self._lenient = dict(_lenient_waits(root, ()))

    def of_node(self, node: Node, place: str, view: _View) -> Iterator[str]:
        """Problems in `node` and below."""
        here = placed(place, node)
        match node:
            case StepNode() | CallNode():
                yield from self.of_values(node.args, here, view)
            case EmitNode():
                yield from self.of_values(node.data, here, view)
            case WaitNode() | SleepNode():
                pass
            case EachNode():
                yield from self._of_each(node, here, view)
            case ChooseNode():
                for condition, slot in zip(node.conditions, slots(node, here), strict=False):
                    yield from _undecided(condition, f"{slot}: if")
                    yield from self.of_condition(condition, f"{slot}: if", view)
            case ChainNode() | GroupNode() | PivotNode():
                pass
            case _:
                assert_never(node)
        eaches = (*view.eaches, node) if isinstance(node, EachNode) else view.eaches
        ran = view.ran
        for number, (child, slot) in enumerate(zip(children_of(node), slots(node, here), strict=True)):
            there = of_child(node, number, view.there)
            yield from self.of_node(child, slot, _View(ran=ran, eaches=eaches, there=there))
            if isinstance(node, ChainNode):
                ran |= frozenset(certain(child))

    def _of_each(self, each: EachNode, here: str, view: _View) -> Iterator[str]:
        if len(view.eaches) == NESTED_EACH_MAX:
            yield f"{here}: `each` stands more than {NESTED_EACH_MAX} deep in others; call a child saga instead"
        if isinstance(each.over, Literal) and not isinstance(each.over.value, list):
            yield f"{here}: it goes over no list; write a list or refer to one"
        yield from self.of_values(each.over, f"{here}: over", view)

    def of_values(self, value: Expression, place: str, view: _View) -> Iterator[str]:
        """Problems in what a value is made of."""
        for part in parts(value):
            if isinstance(part, Compare | Both | Either | Not | Exists):
                yield f"{place}: args hold a comparison; args take values and plain references"
            elif isinstance(part, Result) and self._may_be_null(part, view):
                yield (
                    f"{place}: result({part.step!r}){written(part.at)}: that wait goes on without a result when its "
                    f"time is over; put this into a branch of choose((result({part.step!r}).exists(), ...)), or "
                    f"refer to result({part.step!r}) as a whole, which is null then"
                )
        yield from self.of_condition(value, place, view)

    def _may_be_null(self, part: Result, view: _View) -> bool:
        """Whether it is a part of what is null if a wait with `on_timeout="continue"` timed out."""
        its = self._lenient.get(part.step)
        if its is None:
            return False
        common = 0
        while common < min(len(its), len(view.eaches)) and its[common] is view.eaches[common]:
            common += 1
        # From outside of its `each` nodes it is a list of all, one list in another for each of them.
        whole = part.at[: len(its) - common]
        return len(part.at) > len(whole) and Result(part.step, whole) not in view.there

    def of_condition(self, value: Expression, place: str, view: _View) -> Iterator[str]:
        """Problems with the references in an expression."""
        for part in parts(value):
            match part:
                case Result() if part.step not in self._everywhere:
                    known = ", ".join(sorted(view.ran)) or "none"
                    yield f"{place}: result({part.step!r}): there is no step of that name; earlier steps: {known}"
                case Result() if part.step not in view.ran:
                    yield (
                        f"{place}: result({part.step!r}): that step is not certain to have run by then; "
                        f"put it earlier in a chain with this one"
                    )
                case Item() if part.level >= len(view.eaches):
                    word = "outer" if part.level else "item"
                    yield f"{place}: {word}{written(part.at)}: no `each` is around that has such an item; use arg"
                case Input() | Item():
                    at = _in_input(part, view.eaches)
                    lost = "" if at is None else _not_in_input(at, self._schema)
                    if lost:
                        word = ITEM_NAMES[part.level] if isinstance(part, Item) else "arg"
                        yield f"{place}: {word}{written(part.at)}: {lost}"
                case _:
                    pass


def _lenient_waits(node: Node, eaches: tuple[EachNode, ...]) -> Iterator[tuple[str, tuple[EachNode, ...]]]:
    """The waits that go on without a signal, and the `each` nodes around them."""
    if isinstance(node, WaitNode) and node.lenient:
        yield node.name, eaches
    inside = (*eaches, node) if isinstance(node, EachNode) else eaches
    for child in children_of(node):
        yield from _lenient_waits(child, inside)


def _undecided(condition: Expression, place: str) -> Iterator[str]:
    """What can never hold: only `true` does, by itself, a comparison, and a reference to what is true."""
    if isinstance(condition, Object | List) or (
        isinstance(condition, Literal) and not isinstance(condition.value, bool)
    ):
        yield f"{place}: it is no condition, and never holds; compare a reference with it"


def certain(node: Node) -> Iterator[str]:
    """The steps that have run once this node is through: none of those in a `choose`."""
    if isinstance(node, LEAVES):
        yield node.name
    elif not isinstance(node, ChooseNode):
        for child in children_of(node):
            yield from certain(child)


def _in_input(part: Expression, eaches: tuple[EachNode, ...]) -> At | None:
    """Where in the input this is: itself, or any item of a list that is there; None if it is elsewhere."""
    if isinstance(part, Input):
        return part.at
    if not isinstance(part, Item) or part.level >= len(eaches):
        return None
    depth = len(eaches) - 1 - part.level
    each = eaches[depth]
    items = _in_input(each.over, eaches[:depth])
    if items is None or (each.chunk is not None and not part.at):
        return items
    return (*items, *part.at) if each.chunk is not None else (*items, 0, *part.at)


def _not_in_input(at: At, schema: dict[str, Json] | None) -> str:
    """Why the input, as its schema describes it, cannot hold this part; empty if it can, or nobody can tell."""
    here: Json = schema
    for key in at:
        shape = _followed(here, schema)
        if shape is None:
            return ""
        known = shape.get("properties")
        if isinstance(key, int):
            here = shape.get("items")
        elif isinstance(known, dict) and key in known:
            here = known[key]
        elif (
            isinstance(known, dict)
            and not shape.get("additionalProperties")
            and not shape.get("patternProperties")
        ):
            return f"the input has no field {key!r} there; it has: {', '.join(sorted(known)) or 'none'}"
        else:
            return ""
    return ""


def _followed(shape: Json, schema: dict[str, Json] | None) -> dict[str, Json] | None:
    """What a schema says by itself or by `$ref`; None if it is more complicated than that."""
    for _ in range(_HOPS_MAX):
        if not isinstance(shape, dict):
            return None
        ref = shape.get("$ref")
        if ref is None:
            return shape if not {"anyOf", "oneOf", "allOf", "if"} & shape.keys() else None
        if not isinstance(ref, str) or not ref.startswith("#/"):
            return None
        shape = schema
        for part in ref[2:].split("/"):
            shape = shape.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(shape, dict) else None
    return None


def _names_of(node: Node) -> Iterator[str]:
    return (one.name for _, one in places(node, "") if isinstance(one, LEAVES))

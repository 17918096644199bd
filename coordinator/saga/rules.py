"""The static rules: what a definition must keep to beyond its form. Each problem names the place and the mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from amends.coordinator.saga.bounds import NESTED_EACH_MAX
from amends.coordinator.saga.expressions import (
    At,
    Both,
    Compare,
    Either,
    Exists,
    Expression,
    Input,
    Item,
    Literal,
    Not,
    Result,
    parts,
    written,
)
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
        yield "saga: the outermost node is to be a chain; wrap it: chain(...)"
    yield from _names(root)
    yield from _pivots(root)
    references = _References(input_schema, frozenset(_names_of(root)))
    yield from references.of_node(root, "", frozenset(), 0)
    yield from references.of_values(of_saga.result, "saga: result", frozenset(certain(root)), 0)
    if of_saga.key is not None:
        yield from references.of_values(of_saga.key, "saga: key", frozenset(), 0)
    for name, label in of_saga.labels:
        yield from references.of_values(label, f"saga: labels.{name}", frozenset(), 0)


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


class _References:
    """What expressions refer to: the input, steps that are certain to have run, items of an `each` around."""

    def __init__(self, schema: dict[str, Json] | None, everywhere: frozenset[str]) -> None:
        self._schema = schema
        self._everywhere = everywhere

    def of_node(self, node: Node, place: str, ran: frozenset[str], eaches: int) -> Iterator[str]:
        """Problems in `node` and below. `ran` are steps certain to have run before, `eaches` how many are around."""
        here = placed(place, node)
        match node:
            case StepNode() | CallNode():
                yield from self.of_values(node.args, here, ran, eaches)
            case EmitNode():
                yield from self.of_values(node.data, here, ran, eaches)
            case WaitNode() | SleepNode():
                pass
            case EachNode():
                yield from self._of_each(node, here, ran, eaches)
            case ChooseNode():
                for condition, slot in zip(node.conditions, slots(node, here), strict=False):
                    yield from self.of_condition(condition, f"{slot}: if", ran, eaches)
            case ChainNode() | GroupNode() | PivotNode():
                pass
            case _:
                assert_never(node)
        around = eaches + 1 if isinstance(node, EachNode) else eaches
        for child, slot in zip(children_of(node), slots(node, here), strict=True):
            yield from self.of_node(child, slot, ran, around)
            if isinstance(node, ChainNode):
                ran |= frozenset(certain(child))

    def _of_each(self, each: EachNode, here: str, ran: frozenset[str], eaches: int) -> Iterator[str]:
        if eaches == NESTED_EACH_MAX:
            yield f"{here}: `each` stands more than {NESTED_EACH_MAX} deep in others; call a child saga instead"
        if isinstance(each.over, Literal) and not isinstance(each.over.value, list):
            yield f"{here}: it goes over no list; write a list or refer to one"
        yield from self.of_values(each.over, f"{here}: over", ran, eaches)

    def of_values(self, value: Expression, place: str, ran: frozenset[str], eaches: int) -> Iterator[str]:
        """Problems in what a value is made of."""
        for part in parts(value):
            if isinstance(part, Compare | Both | Either | Not | Exists):
                yield f"{place}: args hold a comparison; args take values and plain references"
        yield from self.of_condition(value, place, ran, eaches)

    def of_condition(self, value: Expression, place: str, ran: frozenset[str], eaches: int) -> Iterator[str]:
        """Problems with the references in an expression."""
        for part in parts(value):
            match part:
                case Result() if part.step not in self._everywhere:
                    known = ", ".join(sorted(ran)) or "none"
                    yield f"{place}: result({part.step!r}): there is no step of that name; earlier steps: {known}"
                case Result() if part.step not in ran:
                    yield (
                        f"{place}: result({part.step!r}): that step is not certain to have run by then; "
                        f"put it earlier in a chain with this one"
                    )
                case Item() if part.level >= eaches:
                    word = "outer" if part.level else "item"
                    yield f"{place}: {word}{written(part.at)}: no `each` is around that has such an item; use arg"
                case Input():
                    lost = _not_in_input(part.at, self._schema)
                    if lost:
                        yield f"{place}: arg{written(part.at)}: {lost}"
                case _:
                    pass


def certain(node: Node) -> Iterator[str]:
    """The steps that have run once this node is through: none of those in a `choose`."""
    if isinstance(node, LEAVES):
        yield node.name
    elif not isinstance(node, ChooseNode):
        for child in children_of(node):
            yield from certain(child)


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

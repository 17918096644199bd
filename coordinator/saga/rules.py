"""The static rules: what a definition must keep to beyond its form. Each problem names the place and the mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from amends.coordinator.saga.expressions import At, Both, Compare, Either, Input, Not, Result, parts, written
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.tree import ChainNode, GroupNode, Node, PivotNode, StepNode, places

# `<prefix>.<name>` is a queue of amends itself, or the beginning of one.
RESERVED_PARTICIPANTS: Final = frozenset({"coordinator", "receipts", "dead", "events"})

# How many `$ref` hops to follow in an input schema; a schema may refer to itself.
_HOPS_MAX: Final = 10


def problems(root: Node, input_schema: dict[str, Json] | None) -> Iterator[str]:
    """Everything that breaks a static rule, in the order of the definition."""
    if not isinstance(root, ChainNode):
        yield "saga: the outermost node is to be a chain; wrap it: chain(...)"
    yield from _names(root)
    yield from _pivots(root)
    yield from _references(root, "", input_schema, frozenset(), frozenset(_step_names(root)))


def _names(root: Node) -> Iterator[str]:
    first: dict[str, str] = {}
    for place, node in places(root, ""):
        if not isinstance(node, StepNode):
            continue
        if node.name in first:
            yield f"{place}: {first[node.name]} has that name already; name one of them otherwise"
        first.setdefault(node.name, place)
        if node.to in RESERVED_PARTICIPANTS:
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
        if not isinstance(node.child, StepNode):
            yield f"{place}: a pivot wraps exactly one step; move the others before or after it"


def _references(
    node: Node, place: str, schema: dict[str, Json] | None, ran: frozenset[str], everywhere: frozenset[str]
) -> Iterator[str]:
    """Problems with the references of `node` and below; `ran` are the steps that are certain to have run before."""
    match node:
        case StepNode():
            yield from _of_step(node, f"{place} step {node.name!r}".strip(), schema, ran, everywhere)
        case ChainNode():
            here = f"{place}.chain".lstrip(".")
            for index, child in enumerate(node.children):
                yield from _references(child, f"{here}[{index}]", schema, ran, everywhere)
                ran |= frozenset(_step_names(child))
        case GroupNode():
            here = f"{place}.group".lstrip(".")
            for index, child in enumerate(node.children):
                yield from _references(child, f"{here}[{index}]", schema, ran, everywhere)
        case PivotNode():
            yield from _references(node.child, f"{place}.pivot".lstrip("."), schema, ran, everywhere)
        case _:
            assert_never(node)


def _of_step(
    step: StepNode,
    place: str,
    schema: dict[str, Json] | None,
    ran: frozenset[str],
    everywhere: frozenset[str],
) -> Iterator[str]:
    for part in parts(step.args):
        match part:
            case Compare() | Both() | Either() | Not():
                yield f"{place}: args hold a comparison; args take values and plain references"
            case Result() if part.step not in everywhere:
                known = ", ".join(sorted(ran)) or "none"
                yield f"{place}: result({part.step!r}): there is no step of that name; earlier steps: {known}"
            case Result() if part.step not in ran:
                yield (
                    f"{place}: result({part.step!r}): that step is not certain to have run by then; "
                    f"put it earlier in a chain with this one"
                )
            case Input():
                lost = _not_in_input(part.at, schema)
                if lost:
                    yield f"{place}: arg{written(part.at)}: {lost}"
            case _:
                pass


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


def _step_names(node: Node) -> Iterator[str]:
    return (one.name for _, one in places(node, "") if isinstance(one, StepNode))

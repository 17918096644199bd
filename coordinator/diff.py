"""What one definition changes of another, place by place: structure, commands, policies, args, input.

Leaves (steps and what else has a name) are the same if their names are; containers (chains, groups ...) if they are of
one kind, stand in the same container and share leaves. Says nothing of the versions: they differ by intent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final, Literal, TypeAlias, get_args

from amends.coordinator.saga import durations
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.expressions import Expression, Object, to_json, written
from amends.coordinator.saga.expressions import Literal as Said
from amends.coordinator.saga.json import Json, canonical
from amends.coordinator.saga.reading import Reader
from amends.coordinator.saga.reading_expressions import read_expression
from amends.coordinator.saga.references import Described
from amends.coordinator.saga.tree import Node, children_of, places

What: TypeAlias = Literal["added", "removed", "moved", "changed"]

_EXPRESSIONS: Final[tuple[type, ...]] = get_args(Expression)

# Where a node's stored form holds other nodes: they are places of their own.
_SLOTS: Final = frozenset({"nodes", "node", "otherwise"})
# Fields that are lengths in ms.
_LENGTHS: Final = frozenset({"timeout", "undo_timeout", "duration", "deadline", "first", "longest", "within"})
# What every two versions differ in, or what is compared by itself.
_NOT_COMPARED: Final = frozenset({"language", "version", "input", "root"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` and `after` are as people write them; None: it was not there, or is not any more."""

    place: str
    what: What
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        if self.what == "changed":
            return f"{self.place}: {self.before or 'not said'} -> {self.after or 'not said'}"
        if self.what == "moved":
            return f"{self.after}: moved from {self.before}"
        return f"{self.place}: {self.what}"


@dataclass(eq=False, slots=True)
class _Spot:
    """A node in its place; `leaves` are the names in and below it."""

    place: str
    node: Node
    children: list[_Spot]
    leaves: set[str] = field(default_factory=set)

    @property
    def name(self) -> str | None:
        """A leaf's name; None of a container."""
        return getattr(self.node, "name", None)


def differences(old: Definition, new: Definition) -> list[Change]:
    """Every difference, in the order of `new`; what is gone comes last. None if both do the same."""
    changes = list(_fields("saga", _saga_fields(old), _saga_fields(new)))
    before, after = _tree(old.root), _tree(new.root)
    same = _matched(before, after)
    moved = _moved(before, after, same)
    for spot in _walk(after):
        was = same.get(spot)
        if was is None:
            changes.append(Change(spot.place, "added", after=spot.place))
            continue
        if spot in moved:
            changes.append(Change(spot.place, "moved", was.place, spot.place))
        changes.extend(_fields(spot.place, _said(was.node), _said(spot.node)))
    kept = set(same.values())
    changes.extend(Change(spot.place, "removed", spot.place) for spot in _walk(before) if spot not in kept)
    return changes


def _tree(root: Node) -> _Spot:
    placed = places(root, "")

    def take() -> _Spot:
        place, node = next(placed)
        spot = _Spot(place, node, [take() for _ in children_of(node)])
        spot.leaves = {spot.name} if spot.name is not None else set()
        spot.leaves |= {name for child in spot.children for name in child.leaves}
        return spot

    return take()


def _walk(spot: _Spot) -> Iterator[_Spot]:
    yield spot
    for child in spot.children:
        yield from _walk(child)


def _matched(before: _Spot, after: _Spot) -> dict[_Spot, _Spot]:
    """What each spot of `after` was before: leaves wherever they stand, containers from the outermost inwards."""
    was = {spot.name: spot for spot in _walk(before) if spot.name is not None}
    same = {spot: was[spot.name] for spot in _walk(after) if spot.name in was}
    todo = [(before, after)] if before.name is None and after.name is None else []
    while todo:
        old, new = todo.pop()
        same[new] = old
        left = [child for child in old.children if child.name is None]
        for child in new.children:
            alike = [one for one in left if type(one.node) is type(child.node) and one.leaves & child.leaves]
            if child.name is not None or not alike:
                continue
            best = max(alike, key=lambda one: len(one.leaves & child.leaves))
            left.remove(best)
            todo.append((best, child))
    return same


def _moved(before: _Spot, after: _Spot, same: Mapping[_Spot, _Spot]) -> set[_Spot]:
    """Spots that stand in another container than before, or elsewhere among those they stand with."""
    home = {child: spot for spot in _walk(before) for child in spot.children}
    moved: set[_Spot] = set()
    for spot in _walk(after):
        here = [child for child in spot.children if child in same]
        stayed = [child for child in here if spot in same and home.get(same[child]) is same[spot]]
        moved.update(child for child in here if child not in stayed)
        if stayed:
            now = [same[child] for child in stayed]
            was = [child for child in same[spot].children if child in now]
            blocks = SequenceMatcher(None, was, now, autojunk=False).get_matching_blocks()
            in_order = {index for block in blocks for index in range(block.b, block.b + block.size)}
            moved.update(child for index, child in enumerate(stayed) if index not in in_order)
    return moved


def _fields(place: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in [*after, *(name for name in before if name not in after)]:
        if before.get(name) != after.get(name):
            yield Change(f"{place}: {name}", "changed", before.get(name), after.get(name))


def _saga_fields(definition: Definition) -> dict[str, str]:
    stored = definition.to_json()
    fields = {name: value for name, value in stored.items() if name not in _NOT_COMPARED}
    return {**_flat(fields), **_flat({"input": stored["input"]})}


def _said(node: Node) -> dict[str, str]:
    """What a node says itself, by field, as people write it."""
    said = {"kind": type(node).__name__.removesuffix("Node").lower()}
    for name, value in node.to_json().items():
        whole = getattr(node, name, None)
        if name == "when":
            for index, condition in enumerate(getattr(node, "conditions", ())):
                said |= _parts(f"when[{index}]", _in_order(to_json(condition)))
        elif isinstance(whole, _EXPRESSIONS):
            said |= _parts(name, _in_order(value))
        elif name != "kind" and name not in _SLOTS:
            said |= _flat({name: value})
    return said


def _in_order(stored: Json) -> Expression:
    """An expression whose literals have their keys in one order, in whichever they were written."""
    return read_expression(Reader(), json.loads(canonical(stored)), "")


def _parts(name: str, expression: Expression) -> dict[str, str]:
    """An object of expressions field by field, anything else as it is written in a definition."""
    match expression:
        case Object():
            fields = dict(expression.fields)
        case Said() if isinstance(expression.value, dict):
            fields = {key: Said(value) for key, value in expression.value.items()}
        case _:
            fields = {}
    if not fields:
        return {name: repr(Described(expression))}
    return {
        path: text
        for key, inner in fields.items()
        for path, text in _parts(name + written((key,)), inner).items()
    }


def _flat(fields: Mapping[str, Json], before: str = "") -> dict[str, str]:
    """Objects field by field, everything else as JSON text."""
    flat: dict[str, str] = {}
    for name, value in fields.items():
        here = (before + written((name,))).lstrip(".")
        if isinstance(value, dict) and value:
            flat |= _flat(value, here)
        elif isinstance(value, int) and not isinstance(value, bool) and name in _LENGTHS:
            flat[here] = durations.written(value)
        else:
            flat[here] = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return flat

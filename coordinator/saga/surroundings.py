"""What references point at, seen from one place of one saga: input, results of steps, items."""

from __future__ import annotations

from amends.coordinator.saga.bounds import ITEMS_MAX
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.errors import NotLoaded
from amends.coordinator.saga.evaluating import Unresolved, resolve
from amends.coordinator.saga.expressions import Result
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Did
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place, numbers, outer_scope


class Around:
    """The surroundings of a place, in the scope of an instance of it."""

    __slots__ = ("_draft", "_place", "_scope")

    def __init__(self, draft: Draft, place: Place, scope: str) -> None:
        self._draft = draft
        self._place = place
        self._scope = scope

    @property
    def input(self) -> Json:
        """The saga's input."""
        return self._draft.input

    def item(self, level: int) -> Json:
        """The item that an `each` around is at. Raises: Unresolved."""
        depth = len(self._place.eaches) - 1 - level
        if depth < 0:
            raise Unresolved("there is no item: no `each` is around")
        each = self._place.eaches[depth]
        scope = outer_scope(self._scope, depth)
        number = numbers(self._scope)[depth]
        if number >= count_of(self._draft, each, scope):
            raise Unresolved(f"item {number} is not there any more")
        assert isinstance(each.node, EachNode)
        chunk = each.node.chunk
        if chunk is None:
            return _part(self._draft, each, scope, number, number + 1)[0]
        return _part(self._draft, each, scope, number * chunk, (number + 1) * chunk)

    def result_of(self, name: str) -> Json:
        """The result of a step; of one in an `each` that is not around here, the list of all its results.

        Raises: Unresolved.
        """
        place = self._draft.plan.by_name[name]
        common = 0
        for ours, its in zip(self._place.eaches, place.eaches, strict=False):
            if ours is not its:
                break
            common += 1
        scope = outer_scope(self._scope, common)
        if common < len(place.eaches):
            return self._results(place, scope, common)
        step = self._draft.result_of(name + scope)
        if step is None or step.did not in (Did.DONE, Did.FORCED):
            why = (
                "an operator skipped that step"
                if step is not None and step.did is Did.SKIPPED
                else "it did not run"
            )
            raise Unresolved(f"result({name!r}) is not there: {why}")
        return step.result

    def _results(self, place: Place, scope: str, depth: int) -> Json:
        """Results in the order of the items; null for a step that an operator skipped."""
        total = _total(self._draft, place.eaches[depth], scope)
        if depth + 1 < len(place.eaches):
            return self._nested(place, [f"{scope}/{number}" for number in range(total)], depth + 1)
        return _results(self._draft, place, scope, range(total))

    def _nested(self, place: Place, scopes: list[str], depth: int) -> Json:
        """Results of the items of several inner `each`: what is needed for all of them is asked for at once."""
        found: list[Json] = []
        needed: frozenset[str] = frozenset()
        for scope in scopes:
            try:
                found.append(self._results(place, scope, depth))
            except NotLoaded as more:
                needed |= more.paths
        if needed:
            raise NotLoaded(needed)
        return found


def count_of(draft: Draft, each: Place, scope: str) -> int:
    """How many items an `each` makes of what it goes over: chunks, if it has them. Raises: Unresolved, NotLoaded."""
    assert isinstance(each.node, EachNode)
    length, chunk = _length(draft, each, scope), each.node.chunk
    return length if chunk is None else -(-length // chunk)


def _length(draft: Draft, each: Place, scope: str) -> int:
    source = _source(draft, each, scope)
    if source is None:
        return len(_items(draft, each, scope))
    return _total(draft, source[0].eaches[-1], source[1])


def _part(draft: Draft, each: Place, scope: str, begin: int, end: int) -> list[Json]:
    """Some of what an `each` goes over: of results only those are asked for."""
    source = _source(draft, each, scope)
    if source is None:
        return _items(draft, each, scope)[begin:end]
    return _results(draft, *source, range(begin, min(end, _length(draft, each, scope))))


def _source(draft: Draft, each: Place, scope: str) -> tuple[Place, str] | None:
    """The step, and the scope of the `each` around it, all of whose results this one goes over; None for other lists.

    They are as many as that one had items, so none need be read to know how many there are.
    """
    assert isinstance(each.node, EachNode)
    over = each.node.over
    if not isinstance(over, Result) or over.at:
        return None
    place = draft.plan.by_name[over.step]
    common = sum(ours is its for ours, its in zip(each.eaches, place.eaches, strict=False))
    return (place, outer_scope(scope, common)) if len(place.eaches) == common + 1 else None


def _total(draft: Draft, each: Place, scope: str) -> int:
    """How many items an `each` that has begun has, or had."""
    fan = draft.fans.get(each.id + scope)
    return fan.total if fan is not None else count_of(draft, each, scope)


def _results(draft: Draft, place: Place, scope: str, items: range) -> list[Json]:
    """The results of a step in these items, all asked for at once."""
    paths = [f"{place.name}{scope}/{number}" for number in items]
    draft.require(paths)
    steps = [draft.result_of(path) for path in paths]
    return [step.result if step is not None else None for step in steps]


def _items(draft: Draft, each: Place, scope: str) -> list[Json]:
    """What an `each` goes over. Raises: Unresolved if that is no list, or too long a one."""
    key = each.id + scope
    found = draft.lists.get(key)
    if found is None:
        assert isinstance(each.node, EachNode)
        value = resolve(each.node.over, Around(draft, each, scope))
        if not isinstance(value, list):
            raise Unresolved("what `each` goes over is no list")
        if len(value) > ITEMS_MAX:
            raise Unresolved(f"`each` goes over {len(value):,} items; {ITEMS_MAX:,} are the most")
        found = draft.lists[key] = value
    return found

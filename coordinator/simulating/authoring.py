"""Random definitions over the whole language: a parent, the sagas it calls, and an input that fits them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from amends.coordinator.language import Saga as Declared
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.nodes import (
    UNSAID,
    Sketch,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    pivot,
    result,
    retry,
    sleep,
    step,
    wait,
)

NODES_MAX = 14


class Family(NamedTuple):
    """A saga, those that it may call, by name, and its input, which is theirs too."""

    root: Definition
    called: dict[str, Definition]
    input: Json


class Ran(NamedTuple):
    """A step that is certain to have run, and the `each` nodes around it, by number.

    `may_be_null`: its result is used as a whole only, as that of a wait that goes on without.
    """

    name: str
    eaches: tuple[int, ...]
    may_be_null: bool = False


def random_family(rng: Random) -> Family:
    """A parent that calls `child` before its pivot and `other` at it or after it; `child` calls `kid`."""
    kid = Author(rng, "kid", nodes=2).saga(pivots=False)
    child = Author(rng, "child", nodes=5, before=("kid",)).saga(pivots=False)
    other = Author(rng, "other", nodes=4).saga(pivots=rng.random() < 0.5)
    root = Author(rng, "root", nodes=rng.choice([4, 8, NODES_MAX]), before=("child",), after=("other",))
    definitions = {one.name: one for one in (kid, child, other)}
    return Family(root.saga(pivots=rng.random() < 0.5), definitions, random_input(rng))


def random_definition(rng: Random) -> Definition:
    """A saga that calls none."""
    return Author(rng, "explored", nodes=NODES_MAX).saga(pivots=rng.random() < 0.5)


def random_input(rng: Random) -> Json:
    """What the definitions refer to: a number, and a list of items that hold lists."""
    items: list[Json] = [
        {"k": number, "sub": [{"k": inner, "sub": []} for inner in range(rng.randint(0, 3))]}
        for number in range(rng.randint(0, 4))
    ]
    return {"x": 1, "n": rng.randint(0, 2), "list": items}


class Author:
    """Writes one definition. `before` and `after` are sagas that may be called before the pivot, and from it on."""

    def __init__(
        self, rng: Random, name: str, *, nodes: int, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
    ) -> None:
        self._rng = rng
        self._name = name
        self._left = nodes
        self._named = 0
        self._eaches = 0
        self._calls = {"before": before, "pivot": after, "after": after}

    def saga(self, *, pivots: bool) -> Definition:
        """The whole of it."""
        rng = self._rng
        around_a_pivot = pivots and rng.random() < 0.5
        nodes: list[Sketch] = []
        ran: list[Ran] = []
        for _ in range(1 if around_a_pivot else rng.randint(1, 3)):
            nodes.append(self._some("before", 0 if around_a_pivot else 3, (), ran))
        if pivots:
            nodes.append(pivot(self._step_or_call("pivot", (), ran)))
            nodes += [self._some("after", 2, (), ran) for _ in range(rng.randint(0, 2))]
        value = result(rng.choice(ran).name) if ran and rng.random() < 0.4 else None
        return Declared(
            self._name, chain(*nodes), version=1, deadline=rng.choice(["1m", "24h"]), result=value
        ).definition

    def _some(self, zone: str, depth: int, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        """A node; what is certain to have run after it joins `ran`."""
        luck = self._rng.random()
        if depth == 0 or self._left <= 1 or luck < 0.35:
            return self._leaf(zone, eaches, ran)
        if luck < 0.5:
            return chain(*(self._some(zone, depth - 1, eaches, ran) for _ in range(self._rng.randint(1, 3))))
        if luck < 0.7:
            return self._group(zone, depth, eaches, ran)
        if luck < 0.82 or len(eaches) == 2:
            return self._choose(zone, depth, eaches, ran)
        return self._each(zone, depth, eaches, ran)

    def _group(self, zone: str, depth: int, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        branches, after = [], list(ran)
        for _ in range(self._rng.randint(1, 3)):
            own = list(ran)
            branches.append(self._some(zone, depth - 1, eaches, own))
            after += own[len(ran) :]
        ran[:] = after
        return group(*branches)

    def _choose(self, zone: str, depth: int, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        rng = self._rng
        conditions: list[Callable[[], Any]] = [
            lambda: arg.n > rng.randint(0, 2),
            lambda: arg.n == rng.randint(0, 2),
        ]
        if eaches:
            conditions += [lambda: item.k > rng.randint(0, 2), lambda: item.k == rng.randint(0, 2)]
        branches = [
            (rng.choice(conditions)(), self._some(zone, depth - 1, eaches, list(ran)))
            for _ in range(rng.randint(1, 2))
        ]
        otherwise = self._some(zone, depth - 1, eaches, list(ran)) if rng.random() < 0.5 else None
        return choose(*branches, otherwise=otherwise)

    def _each(self, zone: str, depth: int, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        rng = self._rng
        self._eaches += 1
        over: Any = item.sub if eaches and rng.random() < 0.7 else arg.list
        inside = list(ran)
        node = self._some(zone, depth - 1, (*eaches, self._eaches), inside)
        ran += inside[len(ran) :]
        chunk = rng.choice([None, None, 2]) if not eaches else None
        return each(over, node, at_most=rng.randint(1, 3), chunk=chunk)

    def _leaf(self, zone: str, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        rng = self._rng
        luck = rng.random()
        if luck < 0.7:
            return self._step_or_call(zone, eaches, ran)
        self._left -= 1
        name = self._next()
        ran.append(Ran(name, eaches))
        if luck < 0.8:
            undo = rng.choice(["taken.back", None]) if zone == "before" else UNSAID
            return emit(f"event.{name}", undo=undo, name=name)
        if luck < 0.88:
            return sleep("10m", name=name)
        lenient = rng.random() < 0.3
        ran[-1] = Ran(name, eaches, may_be_null=lenient)
        timeout = "1h" if lenient or rng.random() < 0.5 else None
        signal = rng.choice([None, "shared"])
        return wait(name, signal=signal, timeout=timeout, on_timeout="continue" if lenient else "fail")

    def _step_or_call(self, zone: str, eaches: tuple[int, ...], ran: list[Ran]) -> Sketch:
        rng = self._rng
        self._left -= 1
        name = self._next()
        near = [one for one in ran if rng.random() < 0.2]
        ran.append(Ran(name, eaches))
        if self._calls[zone] and rng.random() < 0.3:
            return call(rng.choice(self._calls[zone]), name=name)
        more: dict[str, Any] = {
            "timeout": rng.choice(["5s", "30s", "2m"]),
            "undo_timeout": rng.choice(["5s", "2m"]),
        }
        if zone == "before":
            more |= rng.choice([{"undo": "u"}, {"undo": "u"}, {"undo": "u"}, {"undo": None}, {"reads": True}])
            if "reads" not in more and rng.random() < 0.3:
                more["confirm"] = "c"
        if rng.random() < 0.5:
            more["retry"] = retry(limit=rng.randrange(3), first=1)
        if rng.random() < 0.3:
            more["undo_retry"] = retry(limit=rng.randrange(3), first=1)
        if near:
            of = near[0]
            part = of.eaches == eaches and rng.random() < 0.5 and not of.may_be_null
            more["args"] = result(of.name).x if part else result(of.name)
        return step(name, to=rng.choice(["x", "y"]), **more)

    def _next(self) -> str:
        self._named += 1
        return f"s{self._named}"

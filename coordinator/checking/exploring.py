"""Explores every order in which things can happen to a saga, within stated bounds, breadth first.

Breadth first, so the run that first comes to a finding is a shortest one. Worlds that are the same but for times are
one. A world in which only a saga's last messages are still under way is not followed further than they reach.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from amends.coordinator.checking.abstracting import ways
from amends.coordinator.checking.moves import moves
from amends.coordinator.checking.promises import LEFT, STUCK, Finding, findings, findings_at_the_end
from amends.coordinator.checking.worlds import World, first, happens, identity
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.events import Started

WAYS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far to look: mishaps and operators' acts in one run; states and seconds over all ways of the saga."""

    mishaps: int = 2
    acts: int = 1
    states_max: int = 1_000_000
    seconds_max: float = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """A finding, and a shortest run that comes to it."""

    finding: Finding
    run: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Explored:
    """What was found: `broken` promises first of all. `complete` tells that nothing within the bounds is left out."""

    bounds: Bounds
    states: int = 0
    ways: int = 0
    ways_total: int = 0
    complete: bool = True
    endings: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, str], Counterexample] = field(default_factory=dict)

    @property
    def broken(self) -> list[Counterexample]:
        """Promises that do not hold, shortest run first."""
        return self._of(lambda kind: kind not in (LEFT, STUCK))

    @property
    def left(self) -> list[Counterexample]:
        """What stays when the saga compensates."""
        return self._of(lambda kind: kind == LEFT)

    @property
    def stuck(self) -> list[Counterexample]:
        """Steps that can need an operator."""
        return self._of(lambda kind: kind == STUCK)

    def _of(self, wanted: Callable[[str], bool]) -> list[Counterexample]:
        chosen = [one for (kind, _), one in self.found.items() if wanted(kind)]
        return sorted(chosen, key=lambda one: len(one.run))


def _untold(_: int) -> None:
    """Nobody listens."""


def explore(definition: Definition, bounds: Bounds, told: Callable[[int], None] = _untold) -> Explored:
    """Explore a saga. `told` hears how many states were seen, now and then."""
    definitions, total = ways(definition, WAYS_MAX)
    explored = Explored(bounds=bounds, ways=len(definitions), ways_total=total)
    explored.complete = len(definitions) == total
    ends_at = time.monotonic() + bounds.seconds_max
    for number, one in enumerate(definitions):
        # What one way leaves of the time the others have.
        until = time.monotonic() + (ends_at - time.monotonic()) / (len(definitions) - number)
        _Way(one, explored, until, told).explore()
    return explored


class _Way:
    """One way through a saga's `choose` nodes."""

    def __init__(
        self, definition: Definition, explored: Explored, ends_at: float, told: Callable[[int], None]
    ) -> None:
        self._definition = definition
        self._explored = explored
        self._ends_at = ends_at
        self._told = told
        self._came: list[tuple[int, str]] = []  # by number of a world: the one before it, and the move
        self._seen: set[object] = set()

    def explore(self) -> None:
        start = first(
            self._definition, mishaps=self._explored.bounds.mishaps, acts=self._explored.bounds.acts
        )
        world, _ = happens(self._definition, start, Started())
        self._came.append((-1, "the saga starts"))
        self._seen.add(identity(world))
        frontier = deque([(0, world)])
        while frontier:
            if self._exhausted():
                self._explored.complete = False
                return
            number, world = frontier.popleft()
            frontier.extend(self._next(number, world))

    def _exhausted(self) -> bool:
        return self._explored.states >= self._explored.bounds.states_max or time.monotonic() > self._ends_at

    def _next(self, number: int, world: World) -> Iterator[tuple[int, World]]:
        moved = False
        for move in moves(self._definition, world):
            moved = moved or move.world.mishaps == world.mishaps
            for finding in findings(self._definition, world, move):
                self._find(finding, number, move.text)
            key = identity(move.world)
            if key in self._seen:
                continue
            self._seen.add(key)
            self._explored.states += 1
            if self._explored.states % 1_000 == 0:
                self._told(self._explored.states)
            self._came.append((number, move.text))
            if self._exhausted():
                return
            yield len(self._came) - 1, move.world
        if not moved:
            ending = world.saga.status.value
            self._explored.endings[ending] = self._explored.endings.get(ending, 0) + 1
            for finding in findings_at_the_end(self._definition, world):
                self._find(finding, number, "")

    def _find(self, finding: Finding, number: int, last: str) -> None:
        run = [last] if last else []
        while number >= 0:
            number, text = self._came[number]
            run.append(text)
        known = self._explored.found.get(finding[:2])
        if known is None or len(run) < len(known.run):
            self._explored.found[finding[:2]] = Counterexample(finding=finding, run=tuple(reversed(run)))

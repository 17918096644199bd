"""Explores every order in which things can happen to a saga, budget by budget: first with no mishap and no operator's
act, then with one mishap, then with one act, and so on up to the bounds.

A budget is gone through whole before the next is begun, so what a large saga does when nothing goes wrong is never
crowded out by what can go wrong at its beginning. Within a budget the search is breadth first: the run that is shown
for a finding is a shortest one of the smallest budget that has any. Worlds that are the same but for times are one;
what is left of the budget tells worlds apart, so no world is gone through twice. A world in which only a saga's last
messages are still under way is not followed further than they reach.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from amends.coordinator.checking.abstracting import ways
from amends.coordinator.checking.moves import Move, moves
from amends.coordinator.checking.promises import LEFT, STUCK, Finding, findings, findings_at_the_end
from amends.coordinator.checking.worlds import World, first, happens, identity
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.events import Started

WAYS_MAX: Final = 32


class Budget(NamedTuple):
    """How many mishaps and operators' acts there are in one run."""

    mishaps: int
    acts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far to look: mishaps and operators' acts in one run; states and seconds over all ways of the saga."""

    mishaps: int = 2
    acts: int = 1
    states_max: int = 1_000_000
    seconds_max: float = 50.0

    def budgets(self) -> tuple[Budget, ...]:
        """Every budget within the bounds, in the order in which they are gone through: 0/0, 1/0, 0/1, 1/1, 2/0 ..."""
        every = [
            Budget(mishaps, acts) for mishaps in range(self.mishaps + 1) for acts in range(self.acts + 1)
        ]
        return tuple(sorted(every, key=lambda one: (max(one), sum(one), one.acts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """A finding, a shortest run that comes to it, and what that takes."""

    finding: Finding
    run: tuple[str, ...]
    budget: Budget


@dataclass(slots=True, kw_only=True)
class Explored:
    """What was found: `broken` promises first of all. `complete` tells that nothing within the bounds is left out.

    `whole` are the budgets that were gone through to their end, in every way.
    """

    bounds: Bounds
    states: int = 0
    ways: int = 0
    ways_total: int = 0
    whole: list[Budget] = field(default_factory=list)
    endings: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, str], Counterexample] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing within the bounds is left out."""
        return self.ways == self.ways_total and len(self.whole) == len(self.bounds.budgets())

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
    ends_at = time.monotonic() + bounds.seconds_max
    every = [_Way(one, explored, told) for one in definitions]
    for budget in bounds.budgets():
        if not _through(every, budget, explored, ends_at):
            break
        explored.whole.append(budget)
    return explored


def _through(every: list[_Way], budget: Budget, explored: Explored, ends_at: float) -> bool:
    """Go through one budget in every way; False if time or states end before. What one way leaves the others have."""
    pending = every
    while pending:
        unfinished = []
        for number, way in enumerate(pending):
            others = len(pending) - number
            seconds = ends_at - time.monotonic()
            states = explored.bounds.states_max - explored.states
            if seconds <= 0 or states <= 0:
                return False
            until = ends_at - seconds + seconds / others
            if not way.through(budget, until, explored.states + -(-states // others)):
                unfinished.append(way)
        pending = unfinished
    return True


class _Seen(NamedTuple):
    """A world that is still to be gone on from: its number, what makes it the same as another, and itself."""

    number: int
    key: object
    world: World


class _Way:
    """One way through a saga's `choose` nodes."""

    def __init__(self, definition: Definition, explored: Explored, told: Callable[[int], None]) -> None:
        self._definition = definition
        self._explored = explored
        self._told = told
        self._came: list[tuple[int, str]] = []  # by number of a world: the one before it, and the move
        self._steps: dict[object, int] = {}  # by what makes a world: the fewest moves that lead there
        # By what was spent on the way there: the worlds to go on from, by the number of moves that lead there. What
        # the budgets before brought about waits here, so each is still gone through shortest runs first.
        self._open: dict[Budget, defaultdict[int, deque[_Seen]]] = {
            budget: defaultdict(deque) for budget in explored.bounds.budgets()
        }
        self._rank = {budget: rank for rank, budget in enumerate(explored.bounds.budgets())}
        start = first(definition, mishaps=explored.bounds.mishaps, acts=explored.bounds.acts)
        world, _ = happens(definition, start, Started())
        self._reach(-1, Move("the saga starts", world), 0)

    def through(self, budget: Budget, until: float, states_max: int) -> bool:
        """Go through what there is with exactly this budget spent; False if time or states end before."""
        waiting = self._open[budget]
        while waiting:
            steps = min(waiting)
            level = waiting[steps]
            while level:
                if self._explored.states >= states_max or time.monotonic() > until:
                    return False
                seen = level.popleft()
                # Else a shorter run leads there, and was gone on from.
                if self._steps[seen.key] == steps and not self._go_on(seen, steps, until):
                    level.appendleft(seen)
                    return False
            del waiting[steps]
        return True

    def _go_on(self, seen: _Seen, steps: int, until: float) -> bool:
        """Every move of a world; False if the time ends in between: a wide one has thousands, each a look at it all."""
        world = seen.world
        moved = False
        for move in moves(self._definition, world):
            moved = moved or (move.world.mishaps, move.world.acts) == (world.mishaps, world.acts)
            for finding in findings(self._definition, world, move):
                self._find(finding, seen.number, move.text, self._spent(move.world))
            self._reach(seen.number, move, steps + 1)
            if time.monotonic() > until:
                return False
        if not moved:
            ending = world.saga.status.value
            self._explored.endings[ending] = self._explored.endings.get(ending, 0) + 1
            for finding in findings_at_the_end(self._definition, world):
                self._find(finding, seen.number, "", self._spent(world))
        return True

    def _reach(self, number: int, move: Move, steps: int) -> None:
        """Go on from the world that a move leads to, unless a run as short leads there."""
        key = identity(move.world)
        known = self._steps.get(key)
        if known is not None and known <= steps:
            return
        self._steps[key] = steps
        if known is None and number >= 0:
            self._explored.states += 1
            if self._explored.states % 1_000 == 0:
                self._told(self._explored.states)
        self._came.append((number, move.text))
        self._open[self._spent(move.world)][steps].append(_Seen(len(self._came) - 1, key, move.world))

    def _spent(self, world: World) -> Budget:
        bounds = self._explored.bounds
        return Budget(bounds.mishaps - world.mishaps, bounds.acts - world.acts)

    def _find(self, finding: Finding, number: int, last: str, budget: Budget) -> None:
        known = self._explored.found.get(finding[:2])
        if known is not None and self._rank[known.budget] < self._rank[budget]:
            return
        run = [last] if last else []
        while number >= 0:
            number, text = self._came[number]
            run.append(text)
        if known is None or budget != known.budget or len(run) < len(known.run):
            self._explored.found[finding[:2]] = Counterexample(
                finding=finding, run=tuple(reversed(run)), budget=budget
            )

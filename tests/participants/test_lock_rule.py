"""L2 by exploring: whatever the order in which some sagas ask for their locks, all of them can always come to an end.

Each saga wants its locks one after another, or some side by side; each lock is in a participant of its own, which
knows of the saga's other locks only what the coordinator has heard by then, which may be nothing for long. A saga that
has all of its locks ends; one that is refused is compensated. Places in the queues may lapse at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from amends.participants.locks.rule import Claimant, Verdict, decide

Program = tuple[tuple[str, ...], ...]  # what a saga wants: stages, one after another, of locks side by side


@dataclass(frozen=True)
class State:
    """`held` and `known` (to the coordinator) by saga; `queues` by lock, in the order of arrival; `over` have ended."""

    held: tuple[frozenset[str], ...]
    known: frozenset[int]
    queues: tuple[tuple[str, tuple[int, ...]], ...]
    over: frozenset[int]


class Town:
    """Some sagas; the first is the oldest."""

    def __init__(self, programs: tuple[Program, ...], *, gives_way: bool = True) -> None:
        self.programs = programs
        self.gives_way = gives_way
        self.locks = sorted({lock for program in programs for stage in program for lock in stage})
        self.claimants = [Claimant(UUID(int=number + 1), 1000 + number) for number in range(len(programs))]

    def beginning(self) -> State:
        none: frozenset[str] = frozenset()
        return State(
            (none,) * len(self.programs), frozenset(), tuple((one, ()) for one in self.locks), frozenset()
        )

    def moves(self, state: State) -> Iterator[State]:
        """Every state that one step of anybody leads to, waiting in vain left out."""
        queues = dict(state.queues)
        for saga in range(len(self.programs)):
            for lock, waiting in state.queues:
                if saga in waiting:
                    yield self._queued(
                        state, lock, tuple(one for one in waiting if one != saga)
                    )  # It lapses.
            if saga in state.over:
                continue
            if state.held[saga] and saga not in state.known:
                yield replace(state, known=state.known | {saga})
            wanted = self._wanted(saga, state)
            if not wanted:
                yield self._ended(state, saga)
            for lock in wanted:
                yield from self._asks(state, saga, lock, queues[lock])

    def _wanted(self, saga: int, state: State) -> tuple[str, ...]:
        for stage in self.programs[saga]:
            missing = tuple(lock for lock in stage if lock not in state.held[saga])
            if missing:
                return missing
        return ()

    def _asks(self, state: State, saga: int, lock: str, waiting: tuple[int, ...]) -> Iterator[State]:
        holder = next((one for one, held in enumerate(state.held) if lock in held), None)
        ahead = waiting[: waiting.index(saga)] if saga in waiting else waiting
        verdict = decide(
            self.claimants[saga],
            None if holder is None else self.claimants[holder],
            [self.claimants[one] for one in ahead],
            holds=self.gives_way and saga in state.known,
            wait=True,
        )
        match verdict:
            case Verdict.TAKE:
                held = tuple(one | {lock} if of == saga else one for of, one in enumerate(state.held))
                yield self._queued(
                    replace(state, held=held), lock, tuple(one for one in waiting if one != saga)
                )
            case Verdict.GIVE_WAY:
                yield self._ended(state, saga)
            case Verdict.WAIT if saga not in waiting:
                yield self._queued(state, lock, (*waiting, saga))
            case _:
                pass

    def _ended(self, state: State, saga: int) -> State:
        held = tuple(frozenset[str]() if of == saga else one for of, one in enumerate(state.held))
        return replace(state, held=held, over=state.over | {saga})

    @staticmethod
    def _queued(state: State, lock: str, waiting: tuple[int, ...]) -> State:
        queues = tuple((one, waiting if one == lock else queue) for one, queue in state.queues)
        return replace(state, queues=queues)


def hopeless(town: Town) -> tuple[int, list[State]]:
    """How many states there are, and from which of them not all sagas can come to an end any more."""
    after: dict[State, list[State]] = {}
    todo = [town.beginning()]
    while todo:
        state = todo.pop()
        if state not in after:
            after[state] = list(town.moves(state))
            todo += after[state]
    before: dict[State, list[State]] = {}
    for state, nexts in after.items():
        for one in nexts:
            before.setdefault(one, []).append(state)
    good = {state for state in after if len(state.over) == len(town.programs)}
    todo = list(good)
    while todo:
        for state in before.get(todo.pop(), ()):
            if state not in good:
                good.add(state)
                todo.append(state)
    return len(after), [state for state in after if state not in good]


A, B, C = ("a",), ("b",), ("c",)
TOWNS = {
    "two, crosswise": ((A, B), (B, A)),
    "two, side by side": ((("a", "b"),), (("a", "b"),)),
    "three in a circle": ((A, B), (B, C), (C, A)),
    "three in a circle, the other way round": ((C, A), (B, C), (A, B)),
    "three over two locks": ((A, B), (B, A), (("a", "b"),)),
    "one in the way of both": ((A, B), (B,), (B, A)),
}


@pytest.mark.parametrize("programs", TOWNS.values(), ids=TOWNS.keys())
def test_sagas_that_want_each_others_locks_always_come_to_an_end(programs: tuple[Program, ...]) -> None:
    """L2. Guard: the rule GIVE_WAY; without it every one of these towns has states that nothing leads out of."""
    states, left = hopeless(Town(programs))

    assert states > 20
    assert left == []
    assert hopeless(Town(programs, gives_way=False))[1]


OLD, YOUNG, THIRD = (Claimant(UUID(int=number), 1000 + number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("holder", "ahead", "holds", "wait", "verdict"),
    [
        (None, [], False, True, Verdict.TAKE),
        (None, [], True, False, Verdict.TAKE),
        (YOUNG, [OLD], True, False, Verdict.OURS),
        (OLD, [], False, True, Verdict.WAIT),
        (OLD, [], True, True, Verdict.GIVE_WAY),
        (OLD, [], False, False, Verdict.REFUSE),
        (THIRD, [], True, True, Verdict.WAIT),
        (None, [OLD], True, True, Verdict.WAIT),
        (None, [OLD], False, False, Verdict.REFUSE),
    ],
)
def test_who_gets_it(
    holder: Claimant | None, ahead: list[Claimant], holds: bool, wait: bool, verdict: Verdict
) -> None:
    """Of the second oldest of three."""
    assert decide(YOUNG, holder, ahead, holds=holds, wait=wait) is verdict


def test_sagas_of_one_millisecond_are_told_apart() -> None:
    one, other = Claimant(UUID(int=1), 5), Claimant(UUID(int=2), 5)

    assert (one.older_than(other), other.older_than(one), one.older_than(one)) == (True, False, False)

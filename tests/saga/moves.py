"""Every move that steps and sagas make in the explorer's runs, and the tables of `docs/machine.md` made of them.

`python -m tests.saga.moves` writes the tables anew; a test holds the page to them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from amends.coordinator.saga import events
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.leaves import CallNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.state import Pivot, Saga, Status, Step
from tests.saga.exploring import Run
from tests.saga.lives import Life

PAGE = Path(__file__).parents[2] / "docs" / "machine.md"
RUNS_FOR_THE_PAGE = 4_000

Moves = dict[tuple[str, str, str], set[str]]
"""What comes of it, by kind of thing, where it stands, and what happens to it."""

NOT_THERE = "not begun"


class Watched(Run):
    """A run whose moves are noted in `moves`."""

    def __init__(self, seed: int, moves: Moves) -> None:
        super().__init__(seed)
        self.moves = moves

    def happens(self, life: Life, event: Event) -> None:
        """One event; where a repetition follows in the same breath it changes nothing."""
        self._event = event
        super().happens(life, event)

    def saw(self, was: Saga, saga: Saga) -> None:
        """Note what one event did to the saga and to its steps."""
        event = self._event
        if (was.status, was.backwards) != (saga.status, saga.backwards) and was.seq:
            self._note("saga", was.status.value, _saga_event(event), saga.status.value)
        definition = self.lives[saga.id].definition
        for path, step in saga.steps.items():
            before = was.steps.get(path)
            if before is None or (before.phase, before.op, before.did) != (step.phase, step.op, step.did):
                kind = _kind(definition.plan.by_id[step.node].node)
                if kind:
                    there = _stands(before) if before is not None else NOT_THERE
                    self._note(kind, there, _step_event(event, path, was, saga), _stands(step))

    def _note(self, kind: str, there: str, event: str, then: str) -> None:
        self.moves[kind, there, event].add(then)


def watch(seeds: range) -> Moves:
    """The moves of these runs."""
    moves: Moves = defaultdict(set)
    for seed in seeds:
        Watched(seed, moves).explore()
    return moves


def _kind(node: object) -> str:
    match node:
        case StepNode():
            return "step"
        case CallNode():
            return "call"
        case WaitNode() | SleepNode():
            return "wait or sleep"
        case _:
            return (
                ""  # An event is published at once; an `each` stands there only when its items cannot be had.
            )


def _stands(step: Step) -> str:
    asked = step.op.value if step.closes is None else f"fence of {step.closes.value}"
    return f"{asked}, {step.phase.value}"


def _step_event(event: Event, path: str, was: Saga, saga: Saga) -> str:
    if getattr(event, "path", None) == path:
        match event:
            case events.Replied():
                asked = event.op.value if event.closes is None else f"fence of {event.closes.value}"
                return f"`{event.outcome.value}` to {asked}"
            case events.Reported():
                return f"report `{event.outcome.value}`"
            case _:
                return f"`{type(event).__name__}`"
    if path not in was.steps:
        return "*its turn comes*"
    if saga.backwards and not was.backwards:
        return "*the saga turns back*"
    if was.status is Status.STUCK and saga.status is not Status.STUCK:
        return "*the saga leaves stuck*"
    if saga.pivot is Pivot.PASSED and was.pivot is not Pivot.PASSED:
        return "*the saga decides*"
    if isinstance(event, events.Act | events.Signalled):
        return f"`{type(event).__name__}`"
    return "*its turn comes*"


def _saga_event(event: Event) -> str:
    match event:
        case events.Replied() | events.Reported() | events.Told():
            outcome = event.order if isinstance(event, events.Told) else event.outcome
            return f"`{type(event).__name__}` {outcome.value}"
        case _:
            return f"`{type(event).__name__}`"


def table(moves: Moves, kind: str) -> str:
    """One kind's moves, a row for each place and what happens there."""
    rows = sorted(
        (there, event, "; ".join(sorted(then))) for (of, there, event), then in moves.items() if of == kind
    )
    lines, last = ["| it is | what happens | then it is |", "|---|---|---|"], ""
    for there, event, then in rows:
        lines.append(f"| {'' if there == last else there} | {event} | {then} |")
        last = there
    return "\n".join(lines)


def rows_of(page: str, kind: str) -> list[str]:
    """The rows of one of the page's tables."""
    return page.split(mark_of(kind))[1].strip().splitlines()[2:]


def read(page: str, kind: str) -> Moves:
    """The moves that the page tells of."""
    moves: Moves = defaultdict(set)
    there = ""
    for line in rows_of(page, kind):
        first, event, then = (cell.strip() for cell in line.strip("|").split("|"))
        there = first or there
        moves[kind, there, event] |= set(then.split("; "))
    return moves


def mark_of(kind: str) -> str:
    """What stands before and after a table."""
    return f"<!-- moves of a {kind} -->"


KINDS = ("saga", "step", "call", "wait or sleep")


def write() -> None:
    """Write the page's tables anew."""
    moves = watch(range(RUNS_FOR_THE_PAGE))
    page = PAGE.read_text(encoding="utf-8")
    for kind in KINDS:
        mark = mark_of(kind)
        before, _, after = page.split(mark)
        page = f"{before}{mark}\n{table(moves, kind)}\n{mark}{after}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())

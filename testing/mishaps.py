"""What goes wrong in a run of `crash_everywhere`: one thing at one turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# Between two of these no code of the author's runs: a crash at any other point comes to the same as at one of them.
CRASHES: Final = (
    "participant.barrier.after",
    "participant.intent.after",
    "participant.handler.after",
    "participant.commit.after",
)
_WORDS: Final = {
    "participant.barrier.after": "before the handler",
    "participant.intent.after": "before the call outside",
    "participant.handler.after": "after the handler, before the commit",
    "participant.commit.after": "after the commit, before anything is acknowledged",
}


@dataclass(frozen=True, slots=True)
class TurnBack:
    """Before this turn an operator turns the saga back. With `overtaking` undo, confirm and fence overtake `do`."""

    turn: int
    overtaking: bool = False


@dataclass(frozen=True, slots=True)
class Mishap:
    """What befalls the message of one turn.

    crash: its process dies at `point`, its memory lost, and the message comes again. copy: it comes twice. late_copy:
    it comes again when all is over. lost: it never comes. late: it comes when all is over. overtaken: the next first.
    """

    turn: int
    kind: str
    point: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {_WORDS.get(self.point, '')}".strip()


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: what an operator does, what goes wrong, and whether each command meets a process of its own."""

    back: TurnBack | None = None
    mishap: Mishap | None = None
    replicas: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of a run was, for the plans that follow from it: the crash points that it passed."""

    command: bool
    passed: tuple[str, ...] = ()
    waiting: int = 0
    forward: bool = True


def crash_words(point: str) -> str:
    """Where that is, for people."""
    return _WORDS[point]


def scenarios(turns: Sequence[Turn]) -> Iterator[Plan]:
    """Those that follow from the run in which nothing goes wrong: each moment to turn back, and other processes."""
    yield Plan(replicas=True)
    for number, turn in enumerate(turns):
        if not turn.forward:
            break
        yield Plan(back=TurnBack(number))
        if turn.command:
            yield Plan(back=TurnBack(number, overtaking=True))


def mishaps(plan: Plan, turns: Sequence[Turn]) -> Iterator[Plan]:
    """Everything that can go wrong once in a run like this one."""
    for number, turn in enumerate(turns):
        if plan.back is not None and number < plan.back.turn:
            continue  # Until then it is a run that is not turned back.
        if turn.command:
            for point in CRASHES:
                if point in turn.passed:
                    yield _with(plan, Mishap(number, "crash", point))
        for kind in ("copy", "late_copy", "lost", "late"):
            yield _with(plan, Mishap(number, kind))
        if turn.waiting:
            yield _with(plan, Mishap(number, "overtaken"))


def _with(plan: Plan, mishap: Mishap) -> Plan:
    return Plan(plan.back, mishap, plan.replicas)

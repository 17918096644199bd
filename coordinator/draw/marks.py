"""How far each place of a saga is: a word and a colour, never a colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from amends.coordinator.records import StateCount
from amends.coordinator.saga.state import Did, Op, Phase


class Shade(StrEnum):
    """What a mark's colour stands for, the more urgent first: of many instances the first shade wins."""

    STUCK = "stuck"
    WAITING = "waiting"
    ASKED = "asked"
    UNDOING = "undoing"
    REFUSED = "refused"
    SKIPPED = "skipped"
    UNDONE = "undone"
    DONE = "done"
    AHEAD = "ahead"


_URGENCY: Final = tuple(Shade)
SHADES: Final[Mapping[Shade, tuple[str, str, str]]] = {  # fill, line, sign
    Shade.STUCK: ("#ffd6d6", "#b00020", "!"),
    Shade.WAITING: ("#fff3cd", "#8a6100", "…"),
    Shade.ASKED: ("#dbe9fb", "#1557a0", ">"),
    Shade.UNDOING: ("#f3e1f7", "#7b2a8b", "<"),
    Shade.REFUSED: ("#fbe3da", "#a63a10", "-"),
    Shade.SKIPPED: ("#e9e9e9", "#444444", "~"),
    Shade.UNDONE: ("#ebe4f6", "#59429a", "<"),
    Shade.DONE: ("#daf1de", "#22692b", "✓"),
    Shade.AHEAD: ("#ffffff", "#8a8a8a", "·"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place's state in words, and its shade."""

    text: str
    shade: Shade


AHEAD: Final = Mark("not begun", Shade.AHEAD)
LEFT_OUT: Final = Mark("left out", Shade.AHEAD)


def marks(states: Iterable[StateCount], left_out: Iterable[str] = ()) -> dict[str, Mark]:
    """The mark of each place that was begun; of a saga that has ended, `left_out` are all it might have begun."""
    found: dict[str, list[tuple[Mark, StateCount]]] = {}
    for state in states:
        found.setdefault(state.node, []).append((_mark(state), state))
    begun = {node: _together(several) for node, several in found.items()}
    return {**dict.fromkeys(left_out, LEFT_OUT), **begun}


def _together(several: list[tuple[Mark, StateCount]]) -> Mark:
    if len(several) == 1 and several[0][1].count == 1:
        mark, state = several[0]
        tries = f", attempt {state.attempt}" if state.attempt > 1 and mark.shade is not Shade.AHEAD else ""
        return Mark(mark.text + tries, mark.shade)
    counts: dict[Mark, int] = {}
    for mark, state in several:
        counts[mark] = counts.get(mark, 0) + state.count
    ordered = sorted(counts.items(), key=lambda one: _URGENCY.index(one[0].shade))
    return Mark(", ".join(f"{count:,} {mark.text}" for mark, count in ordered), ordered[0][0].shade)


def _mark(state: StateCount) -> Mark:
    back = state.op == Op.UNDO or state.closes == Op.UNDO
    match phase := Phase(state.phase):
        case Phase.STUCK:
            return Mark("stuck", Shade.STUCK)
        case Phase.PARKED:
            return Mark("undo not sent yet" if back else "not sent yet", Shade.WAITING)
        case Phase.BACKOFF:
            return Mark("undo tried again" if back else "tried again", Shade.WAITING)
        case Phase.WAITING:
            return Mark("being taken back", Shade.UNDOING) if back else Mark("waiting", Shade.ASKED)
        case Phase.AWAITING:
            return _ASKED[Op(state.op)]
        case Phase.SETTLED:
            return _settled(state, back)
        case _:
            assert_never(phase)


def _settled(state: StateCount, back: bool) -> Mark:
    if back:
        return Mark("undo skipped", Shade.SKIPPED) if state.overridden else Mark("undone", Shade.UNDONE)
    if state.op == Op.CONFIRM:
        return Mark("confirmed", Shade.DONE)
    return _KNOWN[Did(state.did)]


_ASKED: Final[Mapping[Op, Mark]] = {
    Op.DO: Mark("asked", Shade.ASKED),
    Op.UNDO: Mark("undoing", Shade.UNDOING),
    Op.CONFIRM: Mark("confirming", Shade.ASKED),
    Op.FENCE: Mark("asked whether it happened", Shade.ASKED),
}
_KNOWN: Final[Mapping[Did, Mark]] = {
    Did.UNSENT: Mark("never sent", Shade.AHEAD),
    Did.UNKNOWN: Mark("let be", Shade.SKIPPED),
    Did.DONE: Mark("done", Shade.DONE),
    Did.REFUSED: Mark("refused", Shade.REFUSED),
    Did.IN_DOUBT: Mark("refused, in doubt", Shade.REFUSED),
    Did.NEVER: Mark("never happened", Shade.REFUSED),
    Did.SKIPPED: Mark("skipped", Shade.SKIPPED),
    Did.FORCED: Mark("forced", Shade.SKIPPED),
}

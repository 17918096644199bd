"""A saga of which only a part is at hand: what an event asks for, and that it asks for little (`NotLoaded`)."""

from __future__ import annotations

import pytest

from amends.coordinator import arg, call, chain, choose, each, emit, item, result, step
from amends.coordinator.language import Saga as Declared
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Event, Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.machine import begin
from amends.coordinator.saga.nodes import Sketch
from amends.coordinator.saga.state import Op, Phase, Saga, Status
from tests.saga.partly import Partly, advance_partly
from tests.saga.story import NOON

ITEMS = 1_000
AT_MOST = 10


class Asking:
    """One saga that is decided with parts alone; `asked` is what each event asked for."""

    def __init__(self, *nodes: Sketch) -> None:
        given: Json = {"lines": list(range(ITEMS))}
        self.definition: Definition = Declared("parts", chain(*nodes), version=1).definition
        self.saga: Saga = begin(self.definition, id="s", input=given, labels={}, now=NOON)
        self.asked: list[Partly] = []
        self.sent: list[Send] = []
        self.happens(events.Started())

    def happens(self, event: Event) -> None:
        self.saga, effects, asked = advance_partly(self.definition, self.saga, event, NOON)
        self.asked.append(asked)
        self.sent += [effect for effect in effects if isinstance(effect, Send)]

    def answer_all(self, *, until: str = "") -> None:
        """Every command is answered with `done`, the oldest first, up to the one to this path."""
        while self.sent and (not until or self.sent[0].path != until):
            self.answer(Outcome.DONE)

    def answer(self, outcome: Outcome) -> None:
        send = self.sent.pop(0)
        self.happens(
            Replied(
                path=send.path,
                op=send.op,
                round=send.round,
                attempt=send.attempt,
                outcome=outcome,
                closes=send.closes,
                reason="r",
            )
        )

    @property
    def most(self) -> tuple[int, int]:
        """The most steps that one event asked for, and the most often that one asked."""
        return max(len(one.asked) for one in self.asked), max(one.rounds for one in self.asked)


def test_an_event_of_a_thousand_items_asks_for_few_steps_forwards():
    saga = Asking(each(arg.lines, step("a", to="x", undo="u", args=item), at_most=AT_MOST))

    saga.answer_all()

    assert saga.saga.status is Status.COMPLETED
    assert saga.most <= (1, 1)


def test_an_event_of_a_thousand_items_asks_for_few_steps_when_it_turns_back():
    """Guard: `window.ask(...)` in fans.retreat, which asks for so many as may be under way."""
    saga = Asking(
        each(arg.lines, step("a", to="x", undo="u", args=item), at_most=AT_MOST), step("b", to="x", undo="u")
    )
    saga.answer_all(until="b")

    saga.answer(Outcome.REFUSED)
    assert len(saga.sent) == AT_MOST
    saga.answer_all()

    assert saga.saga.status is Status.COMPENSATED
    steps, rounds = saga.most
    assert steps <= 2 * AT_MOST + 2
    assert rounds <= 4


def test_an_event_of_a_thousand_items_asks_for_few_steps_when_it_confirms():
    saga = Asking(
        each(arg.lines, step("a", to="x", undo="u", confirm="c", args=item), at_most=AT_MOST),
    )

    saga.answer_all()

    assert saga.saga.status is Status.COMPLETED
    assert sum(send.op is Op.CONFIRM for send in saga.sent) == 0
    steps, rounds = saga.most
    assert steps <= 2 * AT_MOST + 2
    assert rounds <= 4


def test_items_that_have_nothing_to_undo_are_not_asked_for():
    """Guard: `if not each.undoes` in fans.retreat."""
    saga = Asking(
        each(arg.lines, step("a", to="x", reads=True), at_most=AT_MOST), step("b", to="x", undo="u")
    )
    saga.answer_all(until="b")
    saga.asked.clear()

    saga.answer(Outcome.REFUSED)

    assert saga.saga.status is Status.COMPENSATED
    assert saga.most[0] <= 2


def test_where_a_thousand_items_have_to_be_looked_at_an_event_asks_seldom():
    """Guard: `self.room *= 2` in fans.py: without it it asks a hundred times, and begins anew each time."""
    saga = Asking(
        each(
            arg.lines,
            choose((item > ITEMS - 3, step("a", to="x", undo="u")), otherwise=emit("e", undo=None)),
            at_most=AT_MOST,
        ),
        step("b", to="x", undo="u"),
    )
    saga.answer_all(until="b")
    saga.asked.clear()

    saga.answer(Outcome.REFUSED)
    saga.answer_all()

    assert saga.saga.status is Status.COMPENSATED
    assert saga.most[1] <= 12


def test_all_results_are_asked_for_at_once():
    """Guard: `self._draft.require(...)` in surroundings._results."""
    saga = Asking(
        each(arg.lines, step("a", to="x", undo="u", args=item), at_most=AT_MOST),
        step("b", to="x", undo="u", args=result("a")),
    )

    saga.answer_all(until="b")

    assert saga.sent[0].args == [None] * ITEMS
    assert saga.most == (ITEMS, 2)


def test_the_results_of_nested_items_are_asked_for_at_once():
    """Guard: `needed |= more.paths` in surroundings._nested."""
    saga = Asking(
        each(arg.lines, each([1, 2], step("a", to="x", undo="u", args=item)), at_most=AT_MOST),
        step("b", to="x", undo="u", args=result("a")),
    )

    saga.answer_all(until="b")

    assert saga.most == (2 * ITEMS, 2)


def test_a_finish_asks_for_all_calls_at_once():
    """Guard: `draft.require(paths)` in settling.py."""
    saga = Asking(each(arg.lines, call("child", item), at_most=AT_MOST), step("b", to="x", undo="u"))
    saga.happens(events.InternalError(reason="boom"))
    saga.asked.clear()

    saga.happens(events.Finish(actor="ann", reason="r"))

    assert saga.saga.status is Status.COMPLETED
    assert saga.most[1] <= 3


@pytest.mark.parametrize("phase", [Phase.STUCK, Phase.AWAITING])
def test_a_stuck_saga_asks_for_what_is_open(phase: Phase):
    saga = Asking(each(arg.lines, step("a", to="x", undo="u"), at_most=2))
    outcome = Outcome.EXPIRED if phase is Phase.STUCK else Outcome.FAILED
    saga.asked.clear()

    saga.answer(outcome)

    assert saga.asked[-1].all_open is (phase is Phase.STUCK)

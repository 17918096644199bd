"""What a saga's log is told as, line by line: by the log alone, and by running it through the machine."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from amends.coordinator import Saga, call, chain, emit, group, pivot, retry, sleep, step, wait
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.events import Event, Outcome, Replied
from amends.coordinator.saga.identity import CHILD_IDS
from amends.coordinator.saga.machine import begin
from amends.coordinator.saga.nodes import Sketch
from amends.coordinator.saga.state import Decision, Op, Parent
from amends.coordinator.timeline import Entry, Happened, beginning, entries, replay

NOON = 1_000_000_000_000
HELD = Parent(saga="p-1", path="packing", round=1, holds=True)
WHO: dict[str, Any] = {"actor": "mia", "reason": "because"}


def defined(*nodes: Sketch) -> Definition:
    return Saga("s", chain(*nodes), version=1, deadline="1h").definition


def told(definition: Definition, *log: Event, parent: Parent | None = None) -> list[Entry]:
    """The lines of a log whose events are a second apart; without those of its beginning."""
    first = begin(definition, id="s-1", input=None, labels={}, now=NOON, parent=parent)
    all_ = (events.Started(parent=parent), *log)
    course = replay(definition, first, [(NOON + 1_000 * number, event) for number, event in enumerate(all_)])
    return entries(list(course))[1:]


def short(lines: list[Entry]) -> list[tuple[object, ...]]:
    return [(one.what, one.path, one.outcome) for one in lines]


def answer(path: str = "a", outcome: str = "done", attempt: int = 1, **more: Any) -> Replied:
    op = more.pop("op", Op.DO)
    return Replied(path=path, op=op, round=1, attempt=attempt, outcome=Outcome(outcome), **more)


A = step("a", to="x", undo="u", timeout="30s", retry=retry(first="1s"))


def test_a_command_without_an_answer_is_a_line_until_it_is_answered():
    """Guard: `unanswered` in timeline."""
    (sent,) = told(defined(A))
    assert (sent.what, sent.path, sent.op, sent.attempt) == ("sent", "a", "do", 1)

    both = told(defined(group(A, step("b", to="x", undo="v"))), answer("b"))
    assert short(both) == [("sent", "a", None), ("step", "b", "done")], "in the order of their times"

    lines = told(defined(A), answer())
    assert short(lines) == [("step", "a", "done"), ("saga", None, "completed")]
    assert (lines[0].duration, lines[1].duration) == (1_000, 1_000)


def test_an_attempt_in_vain_tells_why_and_when_the_next_is_due():
    """Guards: `next_at` in `_moved`, and the case of timeouts."""
    failed, *_ = told(defined(A), answer(outcome="failed", reason="closed"))
    assert (failed.outcome, failed.error) == ("failed", "closed")
    assert NOON + 1_000 < (failed.next_at or 0) <= NOON + 2_000

    timeout, *_ = told(defined(A), events.TimerFired(path="a", attempt=1))
    assert (timeout.what, timeout.outcome, timeout.attempt) == ("step", "timeout", 1)
    assert timeout.next_at is not None


def test_what_turns_a_saga_back_is_told_with_it():
    """Guard: `turned_back` in `_status`."""
    lines = told(defined(A, step("b", to="x", undo="v")), answer(), answer("b", "refused", reason="no"))

    (back,) = [one for one in lines if one.what == "saga"]
    assert (back.outcome, back.error, back.duration) == ("compensating", "step 'b' was refused: no", None)


def test_a_refusal_in_doubt_says_so():
    (line, *_) = told(defined(A), answer(outcome="refused", reason="no", certain=False))

    assert line.error == "no (in doubt: an earlier external call may have happened)"


def test_what_is_not_sent_says_why():
    """Guards: the cases of PARKED and Unsendable."""
    definition = defined(A)
    first = begin(definition, id="s-1", input=None, labels={}, now=NOON)
    held = entries(list(replay(definition, first, [(NOON, events.Started(held=frozenset({"x.do"})))])))
    large, *_ = told(definition, events.Unsendable(path="a", attempt=1, reason="6 MB"))
    own, *_ = told(definition, answer(), events.Unsendable(path="", attempt=0, reason="6 MB"), parent=HELD)[
        2:
    ]

    assert [(one.what, one.path, one.op) for one in held][1:] == [("held back", "a", "do")]
    assert large.what != "sent", "it never left"
    assert (large.what, large.path, large.attempt, large.error) == ("unsendable", "a", 1, "6 MB")
    assert (own.what, own.path, own.attempt, own.error) == ("unsendable", "its result", None, "6 MB")


def test_waits_sleeps_signals_and_events_are_lines():
    lines = told(
        defined(emit("listed", undo=None), sleep("1m", name="nap"), wait("go", timeout="5m")),
        events.TimerFired(path="nap", attempt=1),
        events.Signalled(name="go", message_id="m-1"),
    )

    assert short(lines) == [
        ("event", "listed", "listed"),
        ("waits", "nap", None),
        ("time is up", "nap", None),
        ("waits", "go", None),
        ("signal", "go", None),
        ("saga", None, "completed"),
    ]
    assert lines[1].next_at == NOON + 60_000


def test_a_parents_side_of_a_call_is_told():
    child = str(uuid5(CHILD_IDS, "s-1\npacking\n0"))
    report = events.Reported(path="packing", child=child, round=1, outcome=ReportOutcome.DONE, reason="")

    lines = told(defined(call("pack", name="packing")), report)

    assert ("call", "packing", f"saga {child}") in short(lines)
    assert ("child", "packing", "done") in short(lines)
    assert ("told its child", "packing", "settle") in short(lines)


def test_a_childs_side_of_a_call_is_told():
    lines = told(
        defined(A), answer(), events.Called(round=2), events.Told(order=Order.SETTLE, round=2), parent=HELD
    )

    assert short(lines) == [
        ("step", "a", "done"),
        ("told its parent", None, "done"),
        ("called again", None, "round 2"),
        ("told its parent", None, "done"),
        ("its parent decides", None, "settle"),
        ("saga", None, "completed"),
    ]


def test_an_operators_acts_are_told_with_who_and_why():
    """Guard: `override`, the moment it took effect, in `tell`."""
    refused = answer("b", "refused", reason="no")
    steps = defined(pivot(step("a", to="x")), step("b", to="x"), step("c", to="x"))
    fenced = answer("b", "never", attempt=2, op=Op.FENCE, closes=Op.DO)

    lines = told(steps, answer(), refused, events.Skip(path="b", **WHO), fenced, answer("c"))

    skip, override = (one for one in lines if one.what in ("skip", "override"))
    assert (skip.path, skip.actor, skip.error) == ("b", "mia", "because")
    assert override.error == "skip b by mia: because (found: never)"
    assert override.at > skip.at
    assert [one.path for one in lines if one.what == "stuck"] == ["b"]


def test_timers_that_are_moved_and_put_off_are_told():
    moved = events.MoveTimer(due=NOON + 3_600_000, **WHO)
    lines = told(defined(wait("go", timeout="5m")), moved, events.CancelTimer(path="go", **WHO))

    moves = [one for one in lines if one.what.startswith("timer")]
    assert [(one.what, one.path, one.actor) for one in moves] == [
        ("timer moved", "the deadline", "mia"),
        ("timer cancelled", "go", "mia"),
    ]
    assert [one.next_at for one in moves] == [NOON + 3_600_000, None]


def test_compensating_the_deadline_and_internal_errors_are_told():
    def whats(event: Event) -> list[str]:
        return [one.what for one in told(defined(A, wait("go")), answer(), event)]

    assert "compensate" in whats(events.Compensate(**WHO))
    assert "internal error" in whats(events.InternalError(reason="boom"))
    assert "deadline" in whats(events.DeadlineReached())


def test_without_its_definition_the_log_alone_is_told():
    """Of an event that this release does not know, its name."""
    log = [Happened(NOON, events.Started()), Happened(NOON + 5, answer()), Happened(NOON + 6, "Novelty")]

    assert short(entries(log)) == [("saga", None, "started"), ("step", "a", "done"), ("Novelty", None, None)]


def test_a_replay_begins_with_what_was_known_at_the_start():
    """A decision that came before the start is its own. Guard: `beginning`."""
    definition = defined(A)
    child = begin(
        definition, id="s", input=1, labels={"a": "b"}, now=NOON, parent=HELD, decision=Decision.COMPENSATE
    )

    assert beginning(definition, child) == child

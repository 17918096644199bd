"""External calls that never told their outcome, between a real coordinator and a real worker (M2, B5, P1)."""

from __future__ import annotations

from amends.coordinator import Saga, chain, pivot, retry, step
from amends.outbox.wire import Op
from amends.participants import Ctx
from amends.participants.context import idempotency_key
from tests.interleavings.services import Act, Outside, Pause, break_off
from tests.interleavings.town import Town, Trip, carrier

BRISK = retry(first="50ms", factor=1)
NEVER = retry(first="1h", longest="1h")

SHIP = Saga(
    "ship",
    chain(
        step("reserve", to="inventory", undo="release"),
        step("dispatch", to="shipping", undo="recall", timeout="60s", retry=BRISK, undo_retry=BRISK),
    ),
    version=1,
)
SHIP_FOR_GOOD = Saga(
    "ship-for-good",
    chain(
        step("reserve", to="inventory", undo="release"),
        pivot(step("dispatch", to="shipping", timeout="60s", retry=NEVER, undo_retry=BRISK)),
        step("notify", to="payments"),
    ),
    version=1,
)


def key(trip: Trip) -> str:
    """What the carrier knows this saga's call by."""
    return idempotency_key(trip.id, "dispatch", Op.DO)


def break_off_and_decline_later(outside: Outside) -> Act:
    """It happened, which nobody hears of; asked again, the other side says no."""

    def act(ctx: Ctx) -> object:
        outside.declines.add(ctx.idempotency_key)
        raise ConnectionError("the line broke")

    return act


def test_a_refusal_after_a_call_that_never_told_is_undone_by_key(town: Town) -> None:
    """M2, B5, invariant 9: the first call had happened.

    Guards: `run.certain` in barrier.py: _refusal; IN_DOUBT in giving_up.py: refused; `do.in_doubt` in judge.py:
    judge_undo.
    """
    trip, outside = town.trip(SHIP), carrier(town)
    trip.on("shipping", "dispatch", break_off_and_decline_later(outside))

    trip.start()

    trip.becomes("compensated")
    assert [(one.outcome, one.certain) for one in trip.sent("reply", path="dispatch", op=Op.DO)] == [
        ("failed", True),
        ("refused", False),
    ]
    [recall] = trip.calls("shipping", "recall")
    assert (recall.certain, recall.result) == (False, None)
    assert key(trip) in outside.voided
    assert trip.effects("inventory") == ["reserve", "release"]
    trip.repeat("command", path="dispatch", op=Op.DO)
    assert {one.outcome for one in trip.replies(4, path="dispatch", op=Op.DO)[2:]} == {"refused"}
    assert key(trip) not in outside.done
    assert trip.replays()


def test_a_pivot_in_doubt_at_the_deadline_is_tried_on_until_it_tells(town: Town) -> None:
    """P1: a fence cannot know what an external call did, so it answers `unknown`, and only the same call tells.

    Guards: UNKNOWN in judge.py: judge_fence; `step.op = Op.DO` in replies.py: _pivot_fence.
    """
    trip, outside = town.trip(SHIP_FOR_GOOD), carrier(town)
    trip.on("shipping", "dispatch", break_off)
    trip.start()
    trip.replies(1, path="dispatch", outcome="failed")

    trip.deadline_passes()

    trip.becomes("completed")
    assert [one.outcome for one in trip.sent("reply", op=Op.FENCE)] == ["unknown"]
    assert key(trip) in outside.done
    assert trip.effects("inventory") == ["reserve"]
    assert trip.effects("payments") == ["notify"]


def test_a_pivot_still_under_way_at_the_deadline_is_waited_for(town: Town) -> None:
    """P1, M1: `done` is accepted from the first attempt, after a fence and a second attempt that met its lease.

    Guard: UNKNOWN in judge.py: judge_fence, also while the call is leased.
    """
    trip, calling = town.trip(SHIP_FOR_GOOD), Pause()
    trip.on("shipping", "dispatch", calling)
    trip.start()
    calling.wait()

    trip.deadline_passes()
    second = trip.replies(1, path="dispatch", op=Op.DO, outcome="failed")[0]
    calling.go_on()

    trip.becomes("completed")
    assert (second.attempt > 1, second.spent) == (True, False)
    assert len(trip.calls("shipping", "dispatch")) == 1
    assert trip.effects("inventory") == ["reserve"]


def test_a_pivot_refused_in_doubt_is_an_operators_and_goes_on_when_retried(town: Town) -> None:
    """P1: nothing is compensated on a refusal that may not be true. Guard: `Zone.PIVOT if certain` in giving_up.py."""
    trip, outside = town.trip(SHIP_FOR_GOOD), carrier(town)
    trip.on("shipping", "dispatch", break_off_and_decline_later(outside))
    trip.start()
    trip.replies(1, path="dispatch", outcome="failed")
    trip.deadline_passes()
    assert "may have happened: declined" in trip.stuck_at()["dispatch"]
    assert trip.effects("inventory") == ["reserve"]

    outside.declines.clear()
    trip.retry()

    trip.becomes("completed")
    assert trip.calls("shipping", "dispatch")[-1].round == 2
    assert trip.effects("inventory") == ["reserve"]

"""Timers: claims are leases, timeouts run from the confirm, silence is unknown (M4, E3)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from sqlalchemy import text

from amends.coordinator import Saga, chain, retry, step, wait
from amends.coordinator.engine.intake import ReplyItem, TimerItem
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.state import Op
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually

ONE = Saga(
    "one",
    step("charge", to="payments", undo="refund", timeout="200ms", retry=retry(first="50ms", limit=2)),
    version=1,
)


def test_silence_is_unknown_so_the_step_is_undone(world: World) -> None:
    """M4, invariant 9."""
    world.register(ONE)
    payments = world.participant(
        "payments", lambda command: None if command.op == "do" else reply(command, "payments")
    )

    answer = world.start_saga("one", {})

    world.wait_for(answer.saga_id, "compensated")
    assert len(payments.commands("do")) == 1 + 2  # the first and as many retries as allowed
    assert len(payments.commands("undo")) == 1


def test_a_timer_claimed_and_paused_beyond_its_lease_fires_once(make_world: Callable[..., World]) -> None:
    """E3: a claim that is gone has nothing to say. Guard: the token in HELD_TIMERS."""
    world = make_world(timer_poll_s=3_600.0).start()
    world.register(ONE)
    payments = world.participant("payments", lambda command: None)
    answer = world.start_saga("one", {})
    payments.wait_for("do", "charge")
    eventually(
        lambda: world.value("SELECT count(*) FROM amends.timer WHERE path = 'charge' AND due_at < now()") == 1
    )
    paused = world.coordinator._ticking.claim()
    assert [one.saga_id for one in paused] == [answer.saga_id]

    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE amends.timer SET leased_until = now() - interval '1 s' WHERE token IS NOT NULL")
        )
    second = world.coordinator._ticking.claim()
    world.coordinator._intake.put(second)
    eventually(
        lambda: world.state(answer.saga_id).steps["charge"].phase == "backoff",
        what="the second claim to fire",
    )
    before = world.state(answer.saga_id)
    world.coordinator._intake.put(paused)
    eventually(lambda: len(world.coordinator._intake) == 0)
    world.start_saga("one", {}, key="a batch later")

    assert world.state(answer.saga_id) == before


def test_a_forged_token_changes_nothing(world: World) -> None:
    # Its own timer must not come meanwhile.
    patient = step("charge", to="payments", undo="refund", timeout="1h")
    world.register(Saga("one", patient, version=1))
    payments = world.participant("payments", lambda command: None)
    answer = world.start_saga("one", {})
    payments.wait_for("do", "charge")
    before = world.state(answer.saga_id)

    world.coordinator._intake.put([TimerItem(saga_id=answer.saga_id, path="charge", token=uuid4())])
    world.start_saga("one", {}, key="a batch later")

    assert world.state(answer.saga_id).steps["charge"].attempt == before.steps["charge"].attempt


def test_a_timeout_does_not_count_while_the_command_is_in_the_outbox(
    make_world: Callable[..., World],
) -> None:
    """M4: nobody has seen it yet. Guard: `timer.unsent` in timing.fire.

    The step may fail once only; its queue's messages stay in the outbox, since nobody is consuming in-process.
    """
    world = make_world().start()
    world.register(
        Saga(
            "once",
            step("charge", to="payments", undo="refund", timeout="100ms", retry=retry(limit=1)),
            version=1,
        )
    )
    answer = world.start_saga("once", {})
    eventually(
        lambda: world.value("SELECT held_since IS NOT NULL FROM amends.timer WHERE path = 'charge'"),
        what="the timer to be held",
    )
    assert world.state(answer.saga_id).steps["charge"].spent == 0
    assert world.status(answer.saga_id) == "running"


def test_a_deadline_claimed_by_a_clock_that_was_ahead_is_held_until_its_time(world: World) -> None:
    """Guard: `now_ms < live.now.deadline` in timing.fire; without it the deadline is deleted and never comes."""
    world.register(
        Saga("short", step("charge", to="payments", undo="refund", timeout="1m"), version=1, deadline="2s")
    )
    world.participant("payments", lambda command: None if command.op == "do" else reply(command, "payments"))
    answer = world.start_saga("short", {})

    with world.database.begin() as connection:
        connection.execute(text("UPDATE amends.timer SET due_at = now() - interval '1 h' WHERE path = ''"))

    world.wait_for(answer.saga_id, "compensated")
    assert "deadline" in world.value("SELECT error FROM amends.saga")


def test_a_deadline_that_comes_while_a_saga_is_stuck_within_one_batch_comes_again(
    make_world: Callable[..., World],
) -> None:
    """Invariant 1: what is stored was running before and is running after, and only its deadline ends it.

    Guard: `unheard` in timing. Without it the timer is gone, and the saga waits for its signal for ever.
    """
    world = make_world(timer_poll_s=3_600.0).start()
    charge = step("charge", to="payments", undo="refund", timeout="5m")
    world.register(Saga("one", chain(charge, wait("go", timeout="1h")), version=1, deadline="1s"))
    world.participant("payments", lambda command: None if command.op == "do" else reply(command, "payments"))
    saga = world.start_saga("one", {}).saga_id
    coordinator = world.coordinator
    due = eventually(coordinator._ticking.claim, what="the deadline")
    expired, done = (
        ReplyItem(
            saga_id=saga,
            queue="payments.do",
            event=Replied(path="charge", op=Op.DO, round=1, attempt=1, outcome=outcome),
        )
        for outcome in (Outcome.EXPIRED, Outcome.DONE)
    )

    coordinator._intake.put([expired, *due, done])
    eventually(lambda: world.state(saga).steps.get("go"), what="the wait")
    coordinator._intake.put(eventually(coordinator._ticking.claim, 5.0, what="the deadline, once more"))

    world.wait_for(saga, "compensated")
    assert world.replayed(saga) == world.state(saga)

"""Operators move timers on the real engine: what is moved comes then, and the command's own state stays known."""

from __future__ import annotations

import time
from collections.abc import Callable

from amends.coordinator import Saga, step
from amends.coordinator.engine.contract import ActVerdict
from amends.coordinator.saga.events import CancelTimer, MoveTimer
from amends.outbox import wire
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually

SLOW = Saga("slow", step("charge", to="payments", undo="refund", timeout="10m"), version=1)


def in_ms(length: int) -> int:
    return int(time.time() * 1000) + length


def moved(path: str | None, due: int) -> MoveTimer:
    return MoveTimer(actor="ann", reason="because", path=path, due=due)


def test_a_retry_that_is_moved_comes_at_once(world: World) -> None:
    world.register(SLOW)
    payments = world.participant(
        "payments",
        lambda command: reply(
            command, "payments", "failed" if command.attempt == 1 else "done", retry_after_s=600.0
        ),
    )
    saga_id = world.start_saga("slow", {}).saga_id
    eventually(lambda: world.state(saga_id).steps["charge"].phase == "backoff")

    answer = world.act(saga_id, moved("charge", in_ms(0)))

    assert answer.verdict is ActVerdict.APPLIED
    world.wait_for(saga_id, "completed")
    assert len(payments.commands("do")) == 2
    assert world.replayed(saga_id) == world.state(saga_id)
    assert world.row("SELECT actor, act, path, reason FROM amends.audit WHERE act = 'movetimer'") == (
        "ann", "movetimer", "charge", "because",
    )  # fmt: skip


def test_a_timeout_that_is_moved_comes_at_once(world: World) -> None:
    world.register(SLOW)
    payments = world.participant(
        "payments", lambda command: reply(command, "payments") if command.attempt > 1 else None
    )
    saga_id = world.start_saga("slow", {}).saga_id
    payments.wait_for("do", "charge")
    eventually(lambda: world.drained(), what="the broker's confirm")

    world.act(saga_id, moved("charge", in_ms(0)))

    world.wait_for(saga_id, "completed")
    assert len(payments.commands("do")) == 2
    assert world.replayed(saga_id) == world.state(saga_id)


def test_a_moved_timeout_does_not_count_while_its_command_is_unsent(world: World) -> None:
    """M4. In the process a command stays in the outbox until its participant has dealt with it.

    Guard: `_same_attempt` in writing._time: armed anew, the timer forgets its command and the timeout counts.
    """
    world.register(SLOW)
    saga_id = world.start_saga("slow", {}).saga_id

    world.act(saga_id, moved("charge", in_ms(0)))

    held = "SELECT held_since IS NOT NULL FROM amends.timer WHERE path = 'charge'"
    eventually(lambda: world.value(held), what="the timer to be held")
    assert world.state(saga_id).steps["charge"].attempt == 1
    world.participant("payments")
    world.wait_for(saga_id, "completed")


def test_a_claim_on_a_moved_timer_is_gone(make_world: Callable[..., World]) -> None:
    """E3: a coordinator that had claimed it finds nothing to say. Guard: `token = NULL` in MOVE_TIMERS."""
    world = make_world(timer_poll_s=30.0).start()
    world.register(SLOW)
    payments = world.participant("payments", lambda command: None)
    saga_id = world.start_saga("slow", {}).saga_id
    payments.wait_for("do", "charge")
    with world.database.begin() as connection:
        connection.exec_driver_sql("UPDATE amends.timer SET due_at = now() WHERE path = 'charge'")
    claimed = world.coordinator._ticking.claim()
    assert [one.saga_id for one in claimed] == [saga_id]

    world.act(saga_id, moved("charge", in_ms(3_600_000)))
    world.coordinator._intake.put(claimed)
    # What is decided after the claimed timer shows that it was.
    world.act(saga_id, CancelTimer(actor="ann", reason="because"))

    step_now = world.state(saga_id).steps["charge"]
    assert (step_now.phase.value, step_now.attempt) == ("awaiting", 1)
    assert world.value(
        "SELECT due_at > now() + interval '50 minutes' FROM amends.timer WHERE path = 'charge'"
    )


def test_a_deadline_that_is_moved_comes_then(world: World) -> None:
    world.register(SLOW)

    def script(command: wire.Command) -> wire.Reply | None:
        return None if command.op == "do" else reply(command, "payments")

    world.participant("payments", script)
    saga_id = world.start_saga("slow", {}).saga_id

    world.act(saga_id, moved(None, in_ms(300)))

    world.wait_for(saga_id, "compensated")


def test_what_does_not_fit_is_refused_and_not_audited(world: World) -> None:
    world.register(SLOW)
    world.participant("payments", lambda command: None)
    saga_id = world.start_saga("slow", {}).saga_id

    answer = world.act(saga_id, CancelTimer(actor="ann", reason="because", path="charge"))

    assert answer.verdict is ActVerdict.REFUSED
    assert "would wait for ever" in answer.reason
    assert world.value("SELECT count(*) FROM amends.audit WHERE act LIKE '%timer'") == 0

"""Starts of a suspended saga wait, whichever way they come, and none is lost or doubled (rules S2, O1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from amends.coordinator import Saga, arg, rollout, step
from amends.coordinator.engine.settings import EngineSettings
from tests.engine.receipts import Receipts
from tests.engine.world import World, seen_two_hours_ago, start
from tests.waiting import eventually

SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


def pay(version: int = 1) -> Saga:
    return Saga(
        "pay",
        step("charge", to="payments", undo="refund", args={"amount": arg.amount}),
        version=version,
        input=SCHEMA,
    )


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A running coordinator that knows `pay`, and to which what waits comes again soon."""
    made = make_world(again_s=0.2).start()
    made.participant("payments")
    made.register(pay())
    return made


def suspend(world: World, reason: str = "") -> None:
    rollout.suspend(world.database, "pay", actor="ann", reason=reason)


def resume(world: World) -> None:
    rollout.resume(world.database, "pay", actor="ann", reason="")


def sagas(world: World) -> int:
    return int(world.value("SELECT count(*) FROM amends.saga"))


def dealt_with(world: World) -> None:
    """Wait until every message so far was decided: a start of another saga, sent after them, has begun."""
    other = Saga("marker", step("charge", to="payments", undo="refund", args={}), version=1)
    world.register(other)
    body = start("marker", {})
    world.send_start(body)
    world.wait_for(body.saga, "completed")
    with world.database.begin() as connection:
        connection.execute(text("DELETE FROM amends.saga WHERE id = :id"), {"id": body.saga})


def test_a_message_that_starts_a_suspended_saga_gets_no_receipt_and_begins_once_resumed(world: World) -> None:
    """O1: its sender sends it again. Guards: SUSPENDED in starts.examine; `waits` in births.settle."""
    receipts = Receipts(world)
    suspend(world)
    body = start("pay", {"amount": 3}, key="o-1")
    message = world.send_start(body, receipts=receipts.queue)
    dealt_with(world)
    assert sagas(world) == 0

    resume(world)
    world.publish(message)
    world.publish(message)

    assert [one.note for one in receipts.wait(2)] == ["accepted", "duplicate"]
    assert sagas(world) == 1


def test_a_start_that_nobody_would_send_again_waits_with_the_coordinator(world: World) -> None:
    """It wants no receipt. Guard: `outcome.again` in births.settle; without it the start is acknowledged and lost."""
    suspend(world)
    body = start("pay", {"amount": 3})
    world.send_start(body)
    eventually(lambda: not world.drained(), what="the start to wait in the outbox")

    resume(world)

    world.wait_for(body.saga, "completed")
    eventually(world.drained, what="nothing to wait any more")
    assert sagas(world) == 1


def test_a_door_is_told_at_once_who_holds_it_and_what_mends_it(world: World) -> None:
    suspend(world, reason="prices are wrong")

    answer = world.start_saga("pay", {"amount": 3}, key="o-1")

    assert answer.verdict == "suspended"
    for told in ("by ann", "prices are wrong", "amends definitions resume pay"):
        assert told in answer.reason
    assert sagas(world) == 0
    assert world.drained()


def test_a_start_that_was_accepted_before_is_receipted_and_answered_as_ever(world: World) -> None:
    """S2, O1: the key has its saga; a copy is no new start. Guard: `standing` of births.insert is loaded for it."""
    receipts = Receipts(world)
    body = start("pay", {"amount": 3}, key="o-1")
    message = world.send_start(body, receipts=receipts.queue)
    receipts.wait(1)
    suspend(world)

    world.publish(message)

    assert [one.note for one in receipts.wait(2)] == ["accepted", "duplicate"]
    assert world.start_saga("pay", {"amount": 3}, key="o-1").verdict == "duplicate"
    assert world.start_saga("pay", {"amount": 4}, key="o-1").verdict == "conflict"


def test_a_good_start_for_an_id_that_was_rejected_waits_and_is_not_rejected_too(world: World) -> None:
    """S2: a rejected start owns no key. Guard: `return None` in births._replace."""
    receipts = Receipts(world)
    refused = world.send_start(start("pay", {"amount": "three"}, key="o-1"), receipts=receipts.queue)
    receipts.wait(1)
    suspend(world)
    good = start("pay", {"amount": 3}, key="o-1")
    message = world.send_start(good, receipts=receipts.queue)
    dealt_with(world)
    world.publish(refused)
    assert [one.note for one in receipts.wait(2)] == ["rejected", "rejected"]

    resume(world)
    world.publish(message)

    assert [one.note for one in receipts.wait(3)][2:] == ["accepted"]
    world.wait_for(good.saga, "completed")


def test_the_hour_of_an_unknown_version_runs_anew_once_its_saga_is_resumed(world: World) -> None:
    """S2: while it was suspended nobody could see whether the version is known.

    Guard: `resumed_ms` in starts._unknown.
    """
    receipts = Receipts(world)
    message = world.send_start(start("pay", {"amount": 3}, version=2), receipts=receipts.queue)
    seen_two_hours_ago(world)
    suspend(world)
    resume(world)
    world.publish(message)
    dealt_with(world)

    world.register(pay(version=2))
    world.publish(message)

    assert [one.note for one in receipts.wait(1)] == ["accepted"]


def test_running_sagas_go_on(world: World) -> None:
    payments = world.participant("slow", lambda command: None)
    world.register(Saga("pay", step("charge", to="slow", undo="refund", args={}), version=2))
    running = world.start_saga("pay", {})
    asked = payments.wait_for("do", "charge")

    suspend(world)
    payments.answer(asked)

    world.wait_for(running.saga_id, "completed")


def test_other_sagas_in_the_same_batch_begin(world: World) -> None:
    world.register(Saga("other", step("charge", to="payments", undo="refund", args={}), version=1))
    suspend(world)
    bodies = [start("pay" if number % 2 else "other", {"amount": 3}) for number in range(20)]

    for body in bodies:
        world.send_start(body)

    for body in bodies[0::2]:
        world.wait_for(body.saga, "completed")
    assert sagas(world) == 10
    resume(world)
    for body in bodies[1::2]:
        world.wait_for(body.saga, "completed")
    assert sagas(world) == 20


def test_what_waits_with_the_coordinator_comes_again_when_it_is_time_and_not_before(
    make_world: Callable[..., World],
) -> None:
    """Guard: `delay_s` in posting.start_again; without it the start goes round and round, as fast as it can."""
    world = make_world(again_s=3_600).start()
    world.participant("payments")
    world.register(pay())
    suspend(world)
    world.send_start(start("pay", {"amount": 3}))
    ids = "SELECT id FROM amends.outbox WHERE due_at > now() + interval '50 minutes' AND owner IS NULL"
    first = eventually(lambda: world.value(ids), what="the start to wait in the outbox")

    dealt_with(world)

    assert world.value(ids) == first
    assert world.value("SELECT count(*) FROM amends.outbox WHERE type = 'amends.start'") == 1


@pytest.mark.parametrize("name", ["pa\x00y", "", "p" * 121])
def test_a_start_whose_name_is_none_is_rejected_and_hinders_no_other(world: World, name: str) -> None:
    """Guards: the NUL check in starts.look; the name's in starts._malformed."""
    receipts = Receipts(world)
    good = start("pay", {"amount": 3})

    world.send_start(start(name, {}), receipts=receipts.queue)
    world.send_start(good)

    world.wait_for(good.saga, "completed")
    assert [one.note for one in receipts.wait(1)] == ["rejected"]
    assert "name: must have" in world.value("SELECT error FROM amends.saga WHERE status = 'rejected'")


def test_what_waits_comes_again_after_half_a_minute_by_default() -> None:
    assert EngineSettings().again_s == 30


def test_the_key_that_a_definition_makes_is_looked_at_while_it_is_suspended(world: World) -> None:
    """S2: the same start again means the saga that stands, whoever made the key. Other input is told as ever.

    Guards: `_wanted` without a look at the suspension; `_settled_now`, without which a message that waits is given an
    id of its own, and a placeholder is left behind.
    """
    world.register(Saga("keyed", step("charge", to="payments", undo="refund"), version=1, key=arg.order))
    first = world.start_saga("keyed", {"order": 100, "n": 1})
    rollout.suspend(world.database, "keyed", actor="ann", reason="")
    receipts = Receipts(world)
    rows = sagas(world)

    same = world.start_saga("keyed", {"order": 100, "n": 1})
    other = world.start_saga("keyed", {"order": 100, "n": 2})
    new = world.start_saga("keyed", {"order": 200, "n": 1})
    waits = start("keyed", {"order": 200, "n": 1})
    world.send_start(waits, row=1, receipts=receipts.queue)
    world.send_start(start("keyed", {"order": 100, "n": 1}), row=2, receipts=receipts.queue)

    assert [one.verdict.value for one in (same, other, new)] == ["duplicate", "conflict", "suspended"]
    assert (same.saga_id, same.key) == (first.saga_id, "100")
    assert [(one.row, one.note) for one in receipts.wait(1)] == [(2, "duplicate")]
    assert sagas(world) == rows + 1, "what the second message's id stands for; nothing of the first"

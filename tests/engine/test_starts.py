"""Starts on the real engine: keys, rejections, receipts, pruned ids (rules S, O1)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from amends.coordinator import Saga, arg, step
from tests.engine.receipts import Receipts
from tests.engine.world import World, seen_two_hours_ago, start
from tests.waiting import DEADLINE_S, eventually


class Input(msgspec.Struct):
    amount: int


PAY = Saga(
    "pay", step("charge", to="payments", undo="refund", args={"amount": arg.amount}), version=1, input=Input
)


LAX = Saga("pay", step("charge", to="payments", undo="refund", args={}), version=2)


def test_a_start_is_receipted_each_time_it_comes_and_is_one_saga(world: World) -> None:
    """O1: a lost receipt is asked for again. Guard: `_outcome.receipts.append` in births.settle."""
    world.participant("payments")
    world.register(PAY)
    receipts = Receipts(world)
    body = start("pay", {"amount": 3}, key="o-1")

    first = world.send_start(body, row=11, receipts=receipts.queue)
    receipts.wait(1)
    world.send_start(body, row=11, receipts=receipts.queue)
    notes = receipts.wait(2)

    assert [(one.row, one.note) for one in notes] == [(11, "accepted"), (11, "duplicate")]
    assert notes[0].message_id == first.message_id
    assert world.value("SELECT count(*) FROM amends.saga") == 1


def test_a_key_started_twice_at_once_is_one_saga(make_world: Callable[..., World]) -> None:
    """S2: whoever loses the insert is told. Guard: ON CONFLICT in INSERT_SAGAS."""
    one = make_world().start()
    other = make_world(one.broker, one.prefix).start()
    one.participant("payments")
    one.register(PAY)

    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda number: (one, other)[number % 2].start_saga("pay", {"amount": number % 4}, key="same"),
                range(64),
            )
        )

    verdicts = [answer.verdict.value for answer in answers]
    winner = one.value("SELECT input->>'amount' FROM amends.saga")
    same = [answer.verdict.value for number, answer in enumerate(answers) if str(number % 4) == winner]
    assert verdicts.count("accepted") == 1
    assert set(same) == {"accepted", "duplicate"}
    assert verdicts.count("conflict") == 48
    assert one.value("SELECT count(*) FROM amends.saga") == 1


def test_a_start_whose_input_does_not_fit_is_kept_as_rejected_and_receipted(world: World) -> None:
    world.register(PAY)
    receipts = Receipts(world)

    world.send_start(start("pay", {"amount": "three"}, key="o-2"), receipts=receipts.queue)

    assert receipts.wait(1)[0].note == "rejected"
    status, error = world.row("SELECT status, error FROM amends.saga")
    assert status == "rejected"
    assert "amount" in error


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "pay\0"},
        {"name": ""},
        {"name": "p" * 121},
        {"version": 0},
        {"version": 2**31},
        {"version": 2**70},
        {"labels": {"a": "\0"}},
        {"labels": {str(n): "" for n in range(100)}},
    ],
    ids=lambda changed: repr(changed)[:20],
)
def test_a_start_that_no_saga_can_be_is_rejected_and_delays_nothing(
    world: World, changed: dict[str, Any]
) -> None:
    """Invariant 1: told, not quarantined. Guard: `_malformed`, for what the database cannot store."""
    world.participant("payments")
    world.register(PAY)
    receipts = Receipts(world)

    bad = start(**{"name": "pay", "input_": {"amount": 3}, **changed})
    world.send_start(bad, row=7, receipts=receipts.queue)
    other = world.start_saga("pay", {"amount": 3})

    assert [(one.row, one.note) for one in receipts.wait(1)] == [(7, "rejected")]
    world.wait_for(other.saga_id, "completed")
    assert next(iter(changed)) in world.value("SELECT error FROM amends.saga WHERE id = :i", i=bad.saga)


def test_a_rejected_start_owns_no_key(world: World) -> None:
    """S2: another message takes the key; a late copy of the refused one changes nothing.

    Guard: REFUSED_BEFORE in births._replace.
    """
    world.participant("payments")
    world.register(PAY)
    receipts = Receipts(world)
    bad = start("pay", {"amount": "three"}, key="o-3")
    refused = world.send_start(bad, receipts=receipts.queue)
    receipts.wait(1)

    world.send_start(start("pay", {"amount": 3}, key="o-3"), receipts=receipts.queue)
    receipts.wait(2)
    world.wait_for(bad.saga, "completed")
    world.publish(refused)
    world.publish(refused)

    assert [one.note for one in receipts.wait(4)] == ["rejected", "accepted", "conflict", "conflict"]
    assert world.status(bad.saga) == "completed"


def test_a_rejected_start_that_was_pruned_owns_no_key(world: World) -> None:
    """S2: the key is free, the refused message stays refused, also when it meets a placeholder, or comes first.

    Guards: `owned` in PRUNE; refused_start in GONE_IDS; `_vacant` in births.settle; `_refused_before` in births._grow.
    """
    world.participant("payments")
    world.register(PAY)
    receipts = Receipts(world)
    bad = start("pay", {"amount": "three"}, key="o-3")
    refused = world.send_start(bad, receipts=receipts.queue)
    world.wait_for(bad.saga, "rejected")
    with world.database.begin() as connection:
        connection.execute(text("UPDATE amends.saga SET ended_at = ended_at - interval '90 days'"))
    assert world.coordinator._keeping.prune() == 1
    world.register(LAX)  # It would take what was refused.

    world.publish(refused)
    receipts.wait(2)
    world.coordinator.submit_signal(bad.saga, "paid", b"null", message_id="m").result(DEADLINE_S)
    world.publish(refused)
    notes = [one.note for one in receipts.wait(3)]
    with world.database.begin() as connection:
        connection.execute(text("DELETE FROM amends.saga"))
    with world.database.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE amends.refused_start IN ACCESS EXCLUSIVE MODE")
        world.send_start(start("pay", {"amount": 1}))
        eventually(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1)
        world.publish(refused)
        world.send_start(start("pay", {"amount": 3}, key="o-3"), receipts=receipts.queue)
        eventually(lambda: len(world.coordinator._intake) == 2, what="both to be of one batch")

    assert notes == ["rejected", "rejected", "rejected"]
    world.wait_for(bad.saga, "completed")
    assert [one.note for one in receipts.wait(5)][3:] == ["rejected", "accepted"]


def test_a_start_of_an_unknown_version_comes_again_until_it_is_known(world: World) -> None:
    """S2: no receipt for an hour, so the sender comes again."""
    world.participant("payments")
    receipts = Receipts(world)
    body = start("pay", {"amount": 3}, version=1)
    world.send_start(body, receipts=receipts.queue)
    eventually(lambda: world.value("SELECT count(*) FROM amends.unknown_start") == 1)

    world.register(PAY)
    world.send_start(body, receipts=receipts.queue)

    assert [one.note for one in receipts.wait(1)] == ["accepted"]


def test_a_start_of_an_unknown_version_is_rejected_after_an_hour(world: World) -> None:
    receipts = Receipts(world)
    message = world.send_start(start("nobody-knows", {}, sent_at=2**52), receipts=receipts.queue)

    seen_two_hours_ago(world)
    world.publish(message)

    assert receipts.wait(1)[0].note == "rejected"
    assert "amends apply" in world.value("SELECT error FROM amends.saga")


def test_the_hour_of_an_unknown_version_is_not_by_its_senders_clock(world: World) -> None:
    """S2: it may have been in an outbox for long. Guard: FIRST_SEEN, in place of `sent_at`, in starts._unknown."""
    world.participant("payments")
    receipts = Receipts(world)
    message = world.send_start(start("pay", {"amount": 3}, sent_at=1_000), receipts=receipts.queue)
    eventually(lambda: world.value("SELECT count(*) FROM amends.unknown_start") == 1)

    world.register(PAY)
    world.publish(message)

    assert [one.note for one in receipts.wait(1)] == ["accepted"]
    world.coordinator._keeping.prune()
    assert world.value("SELECT count(*) FROM amends.unknown_start") == 1
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE amends.unknown_start SET first_seen = first_seen - interval '26 hours'")
        )
    world.coordinator._keeping.prune()
    assert world.value("SELECT count(*) FROM amends.unknown_start") == 0


def test_a_door_is_told_of_an_unknown_definition_at_once(world: World) -> None:
    answer = world.start_saga("nobody-knows", {})

    assert answer.verdict == "unknown_definition"
    assert "amends apply" in answer.reason
    assert world.value("SELECT count(*) FROM amends.saga") == 0


@pytest.mark.parametrize("key", ["o-9", None])
def test_a_pruned_saga_leaves_its_id(make_world: Callable[..., World], key: str | None) -> None:
    """S3: no start makes a row for it. Guard: SPENT_IDS in births._write."""
    world = make_world(retention_s=0.01).start()
    world.participant("payments")
    world.register(PAY)
    receipts = Receipts(world)
    body = start("pay", {"amount": 3}, key=key)
    world.send_start(body, receipts=receipts.queue)
    world.wait_for(body.saga, "completed")

    eventually(lambda: world.coordinator._keeping.prune() == 1, what="the saga to be pruned")
    world.send_start(body, receipts=receipts.queue)

    assert [one.note for one in receipts.wait(2)] == ["accepted", "spent"]
    assert world.value("SELECT count(*) FROM amends.saga") == 0


def test_a_start_that_races_its_pruning_makes_no_second_saga(make_world: Callable[..., World]) -> None:
    """S3: the insert waits for the pruner, and only then asks whether the id is spent."""
    world = make_world().start()
    world.participant("payments")
    world.register(PAY)
    first = world.start_saga("pay", {"amount": 3}, key="o-10")
    world.wait_for(first.saga_id, "completed")

    with world.database.connect() as pruner, pruner.begin():
        pruner.execute(
            text("INSERT INTO amends.spent_id (id, input_hash) SELECT id, input_hash FROM amends.saga")
        )
        pruner.execute(text("DELETE FROM amends.saga"))
        answer = world.coordinator.submit_start(start("pay", {"amount": 3}, key="o-10"), actor="test")
        eventually(
            lambda: world.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1,
            what="the start to wait for the pruner",
        )

    assert answer.result(DEADLINE_S).verdict == "spent"
    assert world.value("SELECT count(*) FROM amends.saga") == 0


def test_everything_that_does_not_fit_the_input_is_told_at_once(world: World) -> None:
    """Without all of `problems` in inputs a caller mends one field, and hears of the next."""
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "card": {"type": "string"}},
        "required": ["amount", "card", "order"],
    }
    world.register(Saga("strict", step("charge", to="payments", undo="refund"), version=1, input=schema))

    told = world.start_saga("strict", {"amount": "3", "card": 5})

    assert told.verdict.value == "rejected"
    assert told.field in ("amount", "card", "order")
    for field in ("amount: ", "card: ", "order: "):
        assert field in told.reason

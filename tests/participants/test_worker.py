"""The worker on real RabbitMQ and PostgreSQL: what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, select

from amends.db.tables.participant import barrier, outbox
from amends.outbox.message import Message
from amends.outbox.wire import Op, Outcome
from amends.participants import CircuitBreaker, Ctx, Failed, Participant, Refused
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.shop import Charge, Charged, Effect, count, record
from tests.waiting import eventually


def payments() -> Participant:
    """Charges cards; a blocked card is refused, and the bank of a broken one cannot be reached."""
    participant = Participant("payments")

    @participant.command
    def charge(cmd: Charge, ctx: Ctx) -> Charged:
        record(ctx.connection, "charge", ctx.saga, cmd.amount)
        if cmd.card == "blocked":
            raise Refused("card blocked")
        if cmd.card == "broken":
            raise ConnectionError("the bank's line is down")
        return Charged(number=f"{cmd.card}-{cmd.amount}")

    @charge.undo
    def refund(cmd: Charge, charged: Charged, ctx: Ctx) -> None:
        if cmd.card == "final":
            raise Refused("no refunds")
        record(ctx.connection, f"refund {charged.number}", ctx.saga, cmd.amount)

    @charge.confirm
    def capture(cmd: Charge, charged: Charged, ctx: Ctx) -> None:
        record(ctx.connection, f"capture {charged.number}", ctx.saga, cmd.amount)

    return participant


def one_handler(handler: Any, **options: Any) -> Participant:
    """A participant `one` whose only command is `work`."""
    participant = Participant("one")
    participant.command(name="work", **options)(handler)
    return participant


def test_a_command_is_done_once_and_undone_once(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    charge = command("charge", {"card": "visa", "amount": 7})

    first = coordinator.ask(charge)
    second = coordinator.ask(again(charge, attempt=2))
    undone = coordinator.ask(again(charge, op=Op.UNDO, command="refund", attempt=3))
    undone_again = coordinator.ask(again(charge, op=Op.UNDO, command="refund", attempt=4))

    assert (first.outcome, bytes(first.result)) == (Outcome.DONE, b'{"number":"visa-7"}')
    assert (second.outcome, bytes(second.result)) == (Outcome.DONE, b'{"number":"visa-7"}')
    assert undone.outcome is undone_again.outcome is Outcome.DONE
    assert count(module_postgresql, "charge", charge.saga) == 1
    assert count(module_postgresql, "refund visa-7", charge.saga) == 1


def test_a_reply_repeats_what_its_command_said(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    charge = command("charge", {"card": "visa", "amount": 7}, path="pay/3", round=2, attempt=9)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    coordinator.send(charge, headers={"traceparent": trace})
    reply = coordinator.await_reply(lambda one: one.saga == charge.saga)

    assert (reply.path, reply.op, reply.round, reply.attempt) == ("pay/3", Op.DO, 2, 9)
    assert reply.participant == "payments"
    delivery = coordinator.reply_deliveries[-1]
    assert (delivery.correlation_id, delivery.headers["traceparent"]) == (charge.saga, trace)


def test_a_refusal_leaves_no_effect_and_is_told_again(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    charge = command("charge", {"card": "blocked", "amount": 7})

    first = coordinator.ask(charge)
    second = coordinator.ask(again(charge, attempt=2))

    assert (first.outcome, first.reason, first.certain) == (Outcome.REFUSED, "card blocked", True)
    assert (second.outcome, second.reason) == (Outcome.REFUSED, "card blocked")
    assert count(module_postgresql, "charge", charge.saga) == 0


def test_what_a_handler_raises_is_a_spent_failure_that_leaves_nothing(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())

    reply = coordinator.ask(charge := command("charge", {"card": "broken", "amount": 7}))

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, True)
    assert reply.reason == "ConnectionError: the bank's line is down"
    assert count(module_postgresql, "charge", charge.saga) == 0
    assert barrier_ops(module_postgresql, charge.saga) == []


@pytest.mark.parametrize("leaves", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_handler_that_tries_to_end_its_thread_does_not(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, leaves: BaseException
) -> None:
    coordinator = coordinator_of("one")

    def work(cmd: int) -> int:
        if cmd == 0:
            raise leaves
        return cmd

    start_worker(one_handler(work), threads=1)

    assert coordinator.ask(command("work", 0)).outcome is Outcome.FAILED
    assert coordinator.ask(command("work", 1)).outcome is Outcome.DONE


def test_a_handler_says_when_to_come_again_and_that_it_does_not_count(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")

    def work(cmd: dict[str, Any]) -> None:
        raise Failed("maintenance until noon", retry_after_s=90, spent=False)

    start_worker(one_handler(work))

    reply = coordinator.ask(command("work", {}))

    assert (reply.outcome, reply.reason) == (Outcome.FAILED, "maintenance until noon")
    assert (reply.retry_after_s, reply.spent) == (90, False)


def test_an_open_breaker_in_a_handler_is_an_unspent_failure_that_says_when(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """M3. Seen to fail without the BreakerOpen branch of `transient`."""
    coordinator = coordinator_of("one")
    breaker = CircuitBreaker("bank", failures=1, open_s=60)

    @breaker
    def call_the_bank() -> None:
        raise ConnectionError("down")

    def work(cmd: dict[str, Any]) -> None:
        call_the_bank()

    start_worker(one_handler(work))
    tried = coordinator.ask(command("work", {}))
    turned_away = coordinator.ask(command("work", {}))

    assert (tried.outcome, tried.spent) == (Outcome.FAILED, True)
    assert (turned_away.outcome, turned_away.spent) == (Outcome.FAILED, False)
    assert turned_away.retry_after_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize("op", [Op.DO, Op.UNDO, Op.CONFIRM])
def test_an_unknown_command_is_told_to_come_again_without_counting(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, op: Op
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())

    reply = coordinator.ask(command("chargeback", {}, op=op))

    assert (reply.outcome, reply.spent, reply.retry_after_s) == (Outcome.FAILED, False, 10)
    assert reply.reason.startswith("unknown_command: payments has no")


def test_args_of_the_wrong_type_are_refused_with_their_place_and_stored(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())

    reply = coordinator.ask(charge := command("charge", {"card": "visa", "amount": "much"}))

    assert (reply.outcome, reply.certain) == (Outcome.REFUSED, True)
    assert reply.reason.startswith("invalid_args: amount: ")
    assert barrier_ops(module_postgresql, charge.saga) == ["do"]


def test_a_confirm_runs_with_what_was_done_and_a_fence_tells_of_it(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    charge = command("charge", {"card": "visa", "amount": 7})
    coordinator.ask(charge)

    confirmed = coordinator.ask(again(charge, op=Op.CONFIRM, command="capture", attempt=2))
    fenced = coordinator.ask(again(charge, op=Op.FENCE, attempt=3))
    closed = coordinator.ask(again(charge, op=Op.FENCE, closes=Op.CONFIRM, attempt=4))

    assert confirmed.outcome is Outcome.DONE
    assert count(module_postgresql, "capture visa-7", charge.saga) == 1
    assert (fenced.outcome, bytes(fenced.result)) == (Outcome.DONE, b'{"number":"visa-7"}')
    assert (closed.outcome, closed.closes) == (Outcome.DONE, Op.CONFIRM)


def test_a_refused_undo_is_told_and_may_be_tried_again(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    charge = command("charge", {"card": "final", "amount": 7})
    coordinator.ask(charge)

    reply = coordinator.ask(again(charge, op=Op.UNDO, command="refund", attempt=2))

    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, "no refunds")
    assert barrier_ops(module_postgresql, charge.saga) == ["do"]


def test_an_old_command_without_a_row_is_expired(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())

    reply = coordinator.ask(command("charge", {"card": "visa", "amount": 7}, started_at=0))

    assert reply.outcome is Outcome.EXPIRED


def test_a_result_too_large_for_a_reply_takes_the_effect_back_and_is_refused(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """O5. Seen to fail without the check of RESULT_BYTES_MAX: the reply could not be stored, for ever."""
    coordinator = coordinator_of("one")

    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        record(ctx.connection, "large", ctx.saga)
        return "x" * 2_000_000

    start_worker(one_handler(work))

    reply = coordinator.ask(sent := command("work", {}))

    assert reply.outcome is Outcome.REFUSED
    assert reply.reason.startswith("result_too_large: ")
    assert count(module_postgresql, "large", sent.saga) == 0


def test_a_result_that_is_no_json_is_a_failure_that_names_it(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")

    def work(cmd: dict[str, Any]) -> object:
        return object()

    start_worker(one_handler(work))

    reply = coordinator.ask(command("work", {}))

    assert reply.outcome is Outcome.FAILED
    assert "cannot be written as JSON" in reply.reason


def test_what_a_handler_adds_to_its_session_is_written(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")

    def work(cmd: dict[str, Any], ctx: Ctx) -> bool:
        ctx.session.add(Effect(kind="orm", saga=ctx.saga, amount=1))
        return ctx.session is ctx.session

    start_worker(one_handler(work))

    reply = coordinator.ask(sent := command("work", {}))

    assert bytes(reply.result) == b"true"
    assert count(module_postgresql, "orm", sent.saga) == 1


def test_a_message_put_by_a_handler_leaves_only_if_its_transaction_commits(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, prefix: str
) -> None:
    coordinator = coordinator_of("one")

    def work(cmd: str, ctx: Ctx) -> None:
        # Its own queue is the one place this test listens to.
        ctx.put(Message(routing_key=f"{prefix}.dead", type="news", body=cmd.encode()))
        if cmd == "refused":
            raise Refused("no")

    start_worker(one_handler(work))

    coordinator.ask(command("work", "refused"))
    coordinator.ask(command("work", "kept"))

    assert coordinator.await_dead().body == b"kept"
    assert coordinator.dead == []


def test_an_async_handler_is_awaited_in_its_threads_own_loop(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")

    async def work(cmd: int, ctx: Ctx) -> int:
        import asyncio

        await asyncio.sleep(0)
        return id(asyncio.get_running_loop()) * 0 + cmd

    start_worker(one_handler(work), threads=1)

    assert [bytes(coordinator.ask(command("work", number)).result) for number in (1, 2)] == [b"1", b"2"]


def test_an_async_handler_over_its_time_limit_is_cancelled(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")

    async def work(cmd: int) -> None:
        import asyncio

        await asyncio.Event().wait()

    start_worker(one_handler(work), time_limit_s=0.2)

    reply = coordinator.ask(command("work", 1))

    assert (reply.outcome, reply.reason) == (Outcome.FAILED, "TimeoutError")


def test_two_workers_at_once_on_the_same_commands_do_each_once(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    start_worker(payments())
    charges = [command("charge", {"card": "visa", "amount": number}) for number in range(40)]

    for attempt in (1, 2, 3):
        for charge in charges:
            coordinator.send(again(charge, attempt=attempt))
    answers = [coordinator.await_reply(lambda reply: reply.outcome is Outcome.DONE) for _ in range(120)]

    assert {answer.saga for answer in answers} == {charge.saga for charge in charges}
    assert [count(module_postgresql, "charge", charge.saga) for charge in charges] == [1] * 40


def test_confirmed_replies_leave_no_row_behind(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("payments")
    start_worker(payments())
    for number in range(10):
        coordinator.ask(command("charge", {"card": "visa", "amount": number}))

    def left() -> int:
        with module_postgresql.connect() as connection:
            return len(connection.execute(select(outbox.c.id)).all())

    eventually(lambda: left() == 0, what="the outbox to be empty")


def barrier_ops(engine: Engine, saga: str) -> list[str]:
    """The ops that have a row."""
    with engine.connect() as connection:
        return sorted(connection.scalars(select(barrier.c.op).where(barrier.c.saga_id == saga)))

"""The worker on real RabbitMQ and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from amends.outbox.wire import Op, Outcome
from amends.participants import Ctx, Participant, Refused
from tests.participants.conftest import StartWorker
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.participants.shop import Charge, Charged, count, metadata, record

CoordinatorOf = Callable[[str], FakeCoordinator]


def payments() -> Participant:
    """Charges cards; a blocked card is refused."""
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
        record(ctx.connection, f"refund {charged.number}", ctx.saga, cmd.amount)

    return participant


def test_a_command_is_done_once_and_undone_once(
    participant_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    metadata.create_all(participant_database)
    coordinator = coordinator_of("payments")
    start_worker(payments())

    charge = command("charge", {"card": "visa", "amount": 7})
    first = coordinator.ask(charge)
    second = coordinator.ask(again(charge, attempt=2))
    refund = command("refund", op=Op.UNDO, saga=charge.saga, path="charge", attempt=3)
    undone = coordinator.ask(refund)

    assert (first.outcome, bytes(first.result)) == (Outcome.DONE, b'{"number":"visa-7"}')
    assert (second.outcome, bytes(second.result)) == (Outcome.DONE, b'{"number":"visa-7"}')
    assert undone.outcome is Outcome.DONE
    assert count(participant_database, "charge") == 1
    assert count(participant_database, "refund visa-7") == 1


def test_a_refusal_leaves_no_effect_and_is_told_again(
    participant_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    metadata.create_all(participant_database)
    coordinator = coordinator_of("payments")
    start_worker(payments())

    charge = command("charge", {"card": "blocked", "amount": 7})
    first = coordinator.ask(charge)
    second = coordinator.ask(again(charge, attempt=2))

    assert (first.outcome, first.reason, first.certain) == (Outcome.REFUSED, "card blocked", True)
    assert (second.outcome, second.reason) == (Outcome.REFUSED, "card blocked")
    assert count(participant_database, "charge") == 0

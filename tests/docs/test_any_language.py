"""docs/protocol.md is enough to write a participant: one that knows nothing else keeps the promises of ours.

The section "To check yours" by its numbers, held against a participant written from the page and against the SDK's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import amqp
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from amends.coordinator import Saga, arg, chain, step
from amends.outbox import wire
from amends.outbox.ports import Broker, Topology, receipts_queue
from amends.outbox.wire import Command, Op, Outcome, Reply
from amends.participants import Ctx, Participant, Refused
from tests.docs.foreign import LEDGER, ForeignPayments
from tests.engine.world import World
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.servers.rabbit import RabbitServer

CARD: Final = {"card": "4111"}
DECLINED: Final = {"card": "declined"}


@dataclass
class Payments:
    """A running participant named payments, and whoever sends it commands."""

    database: Engine
    coordinator: FakeCoordinator

    def ask(self, sent: Command) -> Reply:
        return self.coordinator.ask(sent)

    def entries(self, sent: Command) -> list[str]:
        with self.database.connect() as connection:
            found = connection.execute(
                text("SELECT entry FROM ledger WHERE saga = :saga ORDER BY no"), {"saga": sent.saga}
            )
            return list(found.scalars())


def foreign(rabbit: RabbitServer, database: Engine, _: Broker, prefix: str, running: ExitStack) -> None:
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    participant = ForeignPayments(rabbit.url, url, prefix)
    participant.start()
    running.callback(participant.stop)


def ours(_: RabbitServer, database: Engine, broker: Broker, prefix: str, running: ExitStack) -> None:
    payments = Participant("payments")

    @payments.command
    def charge(cmd: dict[str, Any], ctx: Ctx) -> dict[str, Any]:
        enter(ctx, "charge")
        if cmd["card"] == "declined":
            raise Refused("card declined")
        if cmd["card"] == "broken":
            raise ZeroDivisionError("the till is broken")
        return {"charged": cmd["card"]}

    @charge.undo
    def refund(cmd: dict[str, Any], ctx: Ctx) -> None:
        enter(ctx, "refund")

    worker = payments.worker(database=database, broker=broker, prefix=prefix)
    worker.start()
    running.callback(worker.stop)


def enter(ctx: Ctx, entry: str) -> None:
    ctx.connection.execute(
        text("INSERT INTO ledger (saga, path, entry) VALUES (:saga, :path, :entry)"),
        {"saga": ctx.saga, "path": ctx.path, "entry": entry},
    )


@pytest.fixture(params=[foreign, ours], ids=["from the page", "the SDK's"])
def payments(
    request: pytest.FixtureRequest,
    rabbit: RabbitServer,
    participant_database: Engine,
    broker: Broker,
    prefix: str,
) -> Iterator[Payments]:
    with participant_database.begin() as connection:
        connection.execute(text(LEDGER))
    with ExitStack() as running:
        request.param(rabbit, participant_database, broker, prefix, running)
        coordinator = FakeCoordinator(broker, prefix, "payments")
        running.callback(coordinator.close)
        yield Payments(participant_database, coordinator)


def charge(args: object = CARD) -> Command:
    return command("charge", args)


def refund(of: Command, **changes: Any) -> Command:
    return again(of, op=Op.UNDO, command="refund", attempt=of.attempt + 1, **changes)


def fence(of: Command, **changes: Any) -> Command:
    return again(of, op=Op.FENCE, attempt=of.attempt + 1, **changes)


def test_1_do_twice_is_one_effect_and_two_equal_answers(payments):
    sent = charge()

    first, second = payments.ask(sent), payments.ask(again(sent, attempt=2))

    assert (first.outcome, bytes(first.result)) == (Outcome.DONE, bytes(second.result))
    assert second.outcome is Outcome.DONE
    assert payments.entries(sent) == ["charge"]


def test_2_an_undo_that_comes_first_keeps_its_do_out(payments):
    sent = charge()

    assert payments.ask(refund(sent)).outcome is Outcome.NOTHING
    assert payments.ask(sent).outcome is Outcome.REFUSED
    assert payments.entries(sent) == []


def test_3_do_and_undo_at_the_same_moment_are_both_or_neither(payments):
    for _ in range(10):
        sent = charge()
        undo = refund(sent)
        payments.coordinator.send(sent)
        payments.coordinator.send(undo)

        done = payments.coordinator.await_reply(
            lambda reply, one=sent: (reply.saga, reply.op) == (one.saga, Op.DO)
        )
        undone = payments.ask(again(undo, attempt=3))

        assert (done.outcome, undone.outcome) in {
            (Outcome.DONE, Outcome.DONE),
            (Outcome.REFUSED, Outcome.NOTHING),
        }
        assert payments.entries(sent) == (["charge", "refund"] if done.outcome is Outcome.DONE else [])


def test_4_after_a_refusal_there_is_nothing_to_undo_and_no_later_round(payments):
    sent = charge(DECLINED)

    assert payments.ask(sent).outcome is Outcome.REFUSED
    assert payments.ask(refund(sent)).outcome is Outcome.NOTHING
    assert payments.ask(again(sent, args=charge().args, round=2)).outcome is Outcome.REFUSED
    assert payments.entries(sent) == []


def test_a_refusal_may_be_asked_again_in_a_higher_round(payments):
    sent = charge(DECLINED)

    assert payments.ask(sent).outcome is Outcome.REFUSED
    assert payments.ask(again(sent, args=charge().args, attempt=2)).outcome is Outcome.REFUSED
    assert payments.ask(again(sent, args=charge().args, round=2)).outcome is Outcome.DONE


def test_5_a_fence_finds_what_stands(payments):
    never, done = charge(), charge()

    assert payments.ask(fence(never)).outcome is Outcome.NEVER
    assert payments.ask(never).outcome is Outcome.REFUSED
    assert payments.ask(done).outcome is Outcome.DONE
    assert payments.ask(fence(done)).outcome is Outcome.DONE
    assert (payments.entries(never), payments.entries(done)) == ([], ["charge"])


def test_6_a_fenced_refusal_is_final(payments):
    sent = charge(DECLINED)

    assert payments.ask(sent).outcome is Outcome.REFUSED
    assert payments.ask(fence(sent)).outcome is Outcome.REFUSED
    assert payments.ask(again(sent, args=charge().args, round=2)).outcome is Outcome.REFUSED
    assert payments.entries(sent) == []


def test_a_closing_fence_of_an_undo_keeps_it_out(payments):
    sent = charge()

    assert payments.ask(sent).outcome is Outcome.DONE
    closed = payments.ask(fence(sent, closes=Op.UNDO))
    assert (closed.outcome, closed.in_doubt, closed.closes) == (Outcome.NEVER, False, Op.UNDO)
    assert payments.ask(refund(sent, round=2)).outcome is Outcome.NEVER
    assert payments.entries(sent) == ["charge"]


def test_a_failure_leaves_nothing_behind_and_an_unknown_command_is_not_spent(payments):
    sent = charge({"card": "broken"})

    failed = payments.ask(sent)
    unknown = payments.ask(command("no-such-command", CARD))

    assert (failed.outcome, failed.spent) == (Outcome.FAILED, True)
    assert (unknown.outcome, unknown.spent, unknown.retry_after_s) == (Outcome.FAILED, False, 10)
    assert payments.ask(again(sent, args=charge().args, attempt=2)).outcome is Outcome.DONE
    assert payments.entries(sent) == ["charge"]


def test_what_is_older_than_the_barriers_memory_is_expired(payments):
    sent = again(charge(), started_at=0)

    assert payments.ask(sent).outcome is Outcome.EXPIRED
    assert payments.ask(refund(sent)).outcome is Outcome.EXPIRED
    assert payments.entries(sent) == []


@pytest.fixture
def world(coordinator_database: Engine, broker: Broker, prefix: str) -> Iterator[World]:
    world = World(coordinator_database, broker, prefix).start()
    yield world
    world.close()


def test_sagas_started_and_served_from_outside_amends_end_as_they_should(
    world, rabbit, participant_database, broker, prefix
):
    """A start by bare AMQP, its receipt, and a participant from the page: through a real coordinator."""
    with participant_database.begin() as connection:
        connection.execute(text(LEDGER))
    world.register(
        Saga(
            "pay-twice",
            chain(
                step("first", to="payments", do="charge", undo="refund", args={"card": arg.first}),
                step("second", to="payments", do="charge", undo="refund", args={"card": arg.second}),
            ),
            version=1,
        )
    )
    receipts = receipts_queue(prefix, "till")
    broker.declare(Topology(queues=frozenset({receipts})))
    inbox = broker.consumer([receipts], prefetch=10)

    with ExitStack() as running:
        foreign(rabbit, participant_database, broker, prefix, running)
        good = start(rabbit, prefix, receipts, {"first": "4111", "second": "4222"}, row=1)
        bad = start(rabbit, prefix, receipts, {"first": "4111", "second": "declined"}, row=2)
        world.wait_for(good, "completed")
        world.wait_for(bad, "compensated")

    notes: dict[int, str] = {}
    while len(notes) < 2:
        for delivery in inbox.receive(1):
            inbox.ack([delivery.tag])
            receipt = wire.decode(delivery.type, delivery.body)
            assert isinstance(receipt, wire.Receipt)
            notes[receipt.row] = receipt.note
    inbox.close()
    assert set(notes.values()) == {"accepted"}
    with participant_database.connect() as connection:
        entries = connection.execute(
            text("SELECT path, entry FROM ledger WHERE saga = :bad ORDER BY no"), {"bad": bad}
        )
        assert [tuple(row) for row in entries] == [("first", "charge"), ("first", "refund")]


def start(rabbit: RabbitServer, prefix: str, receipts: str, input_: object, *, row: int) -> str:
    """Start a saga as the page says, with a client of AMQP and nothing else."""
    url = make_url(rabbit.url)
    saga = str(uuid4())
    body = {"saga": saga, "name": "pay-twice", "input": input_, "sent_at": int(time.time() * 1000)}
    with amqp.Connection(
        host=f"{url.host}:{url.port}", userid=url.username, password=url.password, confirm_publish=True
    ) as connection:
        connection.channel().basic_publish(
            amqp.Message(
                json.dumps(body),
                content_type="application/json",
                delivery_mode=2,
                type="amends.start",
                message_id=str(uuid4()),
                correlation_id=saga,
                application_headers={"amends-row": str(row), "amends-receipt-to": receipts},
            ),
            exchange="",
            routing_key=f"{prefix}.coordinator",
            mandatory=True,
        )
    return saga

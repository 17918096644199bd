"""The worker while its database or its broker is away, or breaks off in the middle of a COMMIT (B8, O3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select

from amends.db.engines import open_engine
from amends.db.participant import create
from amends.db.private_postgres import PrivatePostgres
from amends.db.tables.participant import outbox, owner
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker, command_queue
from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import FakeCoordinator, command
from tests.participants.shop import count, metadata, record
from tests.servers.proxy import COMMIT, proxy_to
from tests.servers.rabbit import PrivateRabbit
from tests.waiting import eventually


def one() -> Participant:
    """Its only command leaves one effect."""
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        record(ctx.connection, "work", ctx.saga)

    return participant


@pytest.fixture
def private_engine(private_postgres: PrivatePostgres) -> Iterator[Engine]:
    """A database whose server this test may kill."""
    engine = open_engine(private_postgres.url())
    create(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_while_the_database_is_away_messages_go_back_and_afterwards_all_are_done_once(
    private_postgres: PrivatePostgres,
    private_engine: Engine,
    broker: Broker,
    prefix: str,
    start_worker: StartWorker,
    coordinator_of: CoordinatorOf,
) -> None:
    """B8. Seen to fail without the gate's check in `Lane._consume`: the worker keeps what it cannot obey."""
    coordinator = coordinator_of("one")
    start_worker(one(), database=private_engine)
    assert coordinator.ask(command("work", {})).outcome is Outcome.DONE

    private_postgres.kill()
    sent = [coordinator.send(command("work", {})) for _ in range(20)]
    assert len(taken_by_another(broker, command_queue(prefix, "one", undo=False), len(sent))) == len(sent)
    private_postgres.start()
    replies = [coordinator.await_reply(lambda reply: reply.outcome is Outcome.DONE) for _ in sent]

    assert {reply.saga for reply in replies} == {one.saga for one in sent}
    assert [count(private_engine, "work", one.saga) for one in sent] == [1] * len(sent)


def taken_by_another(broker: Broker, queue: str, wanted: int) -> set[str]:
    """The sagas whose commands another consumer of the queue gets; it hands them back."""
    consumer = broker.consumer([queue], prefetch=100)
    seen: dict[str, int] = {}

    def receive() -> bool:
        seen.update({delivery.correlation_id: delivery.tag for delivery in consumer.receive(0.2)})
        return len(seen) >= wanted

    try:
        eventually(receive, what=f"{wanted} messages to go back")
        return set(seen)
    finally:
        consumer.close()


def test_a_worker_starts_while_its_database_is_away(
    private_postgres: PrivatePostgres,
    private_engine: Engine,
    start_worker: StartWorker,
    coordinator_of: CoordinatorOf,
) -> None:
    coordinator = coordinator_of("one")
    private_postgres.stop()

    start_worker(one(), database=private_engine)
    sent = coordinator.send(command("work", {}))
    private_postgres.start()

    assert coordinator.await_reply(lambda reply: reply.saga == sent.saga).outcome is Outcome.DONE


@pytest.mark.parametrize("happened", [True, False])
def test_a_commit_of_unknown_outcome_is_neither_acknowledged_nor_answered(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf, happened: bool
) -> None:
    """O2, O3: redelivery decides. Seen to fail with CommitUnknown taken for an answer in `Execution._settled`, and
    without `renew_owner`: the row of a transaction that happened would have a living owner, and never be swept.
    """
    coordinator = coordinator_of("one")
    participant = Participant("one")
    runs: list[str] = []

    with proxy_to(module_postgresql.url.render_as_string(hide_password=False)) as (proxy, url):

        @participant.command
        def work(cmd: dict[str, Any], ctx: Ctx) -> None:
            record(ctx.connection, "work", ctx.saga)
            runs.append(ctx.saga)
            if len(runs) == 1:
                proxy.cut(COMMIT, forward=happened)

        worker = start_worker(participant, database=url, relay=False)
        sent = coordinator.send(command("work", {}))
        reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
        again = replies_left(coordinator)
        left = owners_of_rows(module_postgresql, sent.saga)
        worker.stop()

    assert reply.outcome is Outcome.DONE
    assert again == []
    assert count(module_postgresql, "work", sent.saga) == 1
    assert len(runs) == (1 if happened else 2)
    assert left == ({"dead"} if happened else set())


def replies_left(coordinator: FakeCoordinator) -> list[object]:
    """Replies beyond those that were awaited."""
    coordinator.receive(0.3)
    return list(coordinator.replies)


def owners_of_rows(engine: Engine, saga: str) -> set[str]:
    """Whether the owners of a saga's outbox rows are alive."""

    def owners() -> set[str]:
        living = select(owner.c.id)
        query = select(outbox.c.owner.in_(living)).where(outbox.c.correlation_id == saga)
        with engine.connect() as connection:
            return {"alive" if alive else "dead" for alive in connection.scalars(query)}

    # What was confirmed is deleted within moments.
    eventually(lambda: "alive" not in owners(), what="no row to have a living owner")
    return owners()


def test_a_worker_outlives_its_broker(
    private_rabbit: PrivateRabbit, module_postgresql: Engine, start_worker: StartWorker
) -> None:
    broker = open_broker(private_rabbit.url)
    coordinator = FakeCoordinator(broker, "outage", "one")
    start_worker(one(), broker=broker, prefix="outage")
    assert coordinator.ask(command("work", {})).outcome is Outcome.DONE
    coordinator.close()

    private_rabbit.kill()
    private_rabbit.start()

    coordinator = FakeCoordinator(broker, "outage", "one")
    reply = coordinator.ask(sent := command("work", {}))
    coordinator.close()
    assert reply.outcome is Outcome.DONE
    assert count(module_postgresql, "work", sent.saga) == 1

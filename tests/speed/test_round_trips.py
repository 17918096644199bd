"""How often the SDK waits for the service's database: counted on the wire, whichever way the statements go."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from amends.db.engines import open_engine, transaction
from amends.outbox.broker import open_broker
from amends.outbox.wire import Outcome
from amends.participants import Client, Ctx, Participant
from amends.participants.metrics import ParticipantMetrics
from bench.roundtrips import Counted
from tests.participants.coordinator import FakeCoordinator, command
from tests.participants.shop import metadata, record
from tests.servers.postgres import PostgresServer
from tests.speed.counting import RoundTrips, through

COMMANDS = 60
BATCH = 20
HANDLERS = 1  # round trips of the handler's own
# The worker registers itself, and its housekeeping and heartbeat look in now and then.
STARTING = 40


@pytest.fixture
def database(postgres: PostgresServer, proxy: Counted, participant_template: str) -> Iterator[Engine]:
    """A participant's database by way of the proxy; its connections are called as the test's worker."""
    url = postgres.create_database(participant_template)
    engine = open_engine(through(proxy, url), label=f"speed {uuid4().hex[:8]}")
    metadata.create_all(engine)
    yield engine
    engine.dispose()
    postgres.drop_database(url)


@pytest.fixture
def trips(proxy: Counted, database: Engine) -> RoundTrips:
    """Of that database's engine."""
    with database.connect() as connection:
        name = connection.execute(text("SHOW application_name")).scalar_one()
    made = RoundTrips(proxy, name)
    made.more()
    return made


def obeyed(database: Engine, *, batch: int, external: bool = False) -> None:
    """Let a worker of one thread do COMMANDS commands that are all there when it starts."""
    participant = Participant("one")

    @participant.command(external=external)
    def work(cmd: str, ctx: Ctx) -> str:
        record(ctx.connection, "worked", ctx.saga)
        return cmd

    broker = open_broker(f"memory://{uuid4().hex}")
    coordinator = FakeCoordinator(broker, "p", "one")
    worker = participant.worker(
        database=database,
        broker=broker,
        prefix="p",
        metrics=ParticipantMetrics(CollectorRegistry()),
        threads=1,
        undo_threads=1,
        batch=batch,
        prefetch=1,
        time_limit_s=5,
        relay=False,
    )
    try:
        for number in range(COMMANDS):
            coordinator.send(command("work", str(number)))
        worker.start()
        replies = [coordinator.await_reply(lambda reply: True) for _ in range(COMMANDS)]
        assert {reply.outcome for reply in replies} == {Outcome.DONE}
    finally:
        worker.stop()
        coordinator.close()


def test_a_command_costs_a_handful_of_round_trips(database: Engine, trips: RoundTrips) -> None:
    """BEGIN to savepoint, the handler's own, and what follows to COMMIT; deletes now and then.

    Guard: statements that need no answer at once go together. One by one they are nine.
    """
    obeyed(database, batch=1)

    assert trips.more() <= COMMANDS * (3 + HANDLERS) + STARTING


def test_commands_of_a_batch_share_all_round_trips_but_their_handlers(
    database: Engine, trips: RoundTrips
) -> None:
    """Guard: Batches; one by one they would cost two more for each command."""
    obeyed(database, batch=BATCH)

    batches = COMMANDS / BATCH
    assert trips.more() <= COMMANDS * HANDLERS + 2 * batches * 5 + STARTING


def test_an_external_command_costs_two_short_transactions(database: Engine, trips: RoundTrips) -> None:
    """Row, then lease and COMMIT; after the call its own row, the handler's, then all that is left (B5).

    Guard: `later` in Barrier.intend and conclude, and own_and_save. One statement at a time they were thirteen.
    """
    obeyed(database, batch=1, external=True)

    assert trips.more() <= COMMANDS * (4 + HANDLERS) + STARTING


def test_the_client_inserts_and_reads_nothing(database: Engine, trips: RoundTrips) -> None:
    """Beside the starts: BEGIN and COMMIT, and what a fresh connection is told."""
    client = Client("shop")

    with transaction(database) as connection:
        for number in range(50):
            client.start(connection, "place-order", {"number": number}, key=f"order-{number}")

    assert trips.more() <= 50 + 4

"""Broker and database away, wiped, blocked, mute: the outbox waits, counts nothing against its rows, and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine, transaction
from amends.db.errors import StoreUnavailable
from amends.db.participant import create
from amends.db.private_postgres import PrivatePostgres
from amends.db.tables.participant import outbox, owner
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message, OutboxRow
from amends.outbox.ports import Broker, receipts_queue
from amends.outbox.storage import OwnerRules, Resend
from amends.outbox.store import OutboxStore
from tests.outbox.relaying import quick, relaying
from tests.outbox.rows import ids, message, one, rows, stored
from tests.outbox.sending import all_that_arrived, arrived, never_idle, offered, started
from tests.servers.rabbit import PrivateRabbit, private_rabbit_server
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture(scope="module")
def harmed_rabbit() -> Iterator[PrivateRabbit]:
    """A RabbitMQ of this module's own: each test leaves it running and unblocked."""
    with private_rabbit_server() as server:
        yield server


@pytest.fixture
def own_broker(harmed_rabbit: PrivateRabbit) -> Iterator[Broker]:
    """As amends speaks to it."""
    opened = open_broker(harmed_rabbit.url)
    yield opened
    opened.close()


@pytest.fixture
def own_prefix() -> str:
    """What this test's queues begin with."""
    return f"t{uuid4().hex[:8]}"


@contextmanager
def lazy_log(server: PrivatePostgres) -> Iterator[None]:
    """PostgreSQL writes what nobody waits for only after ten seconds: a kill before that is sure to take it."""

    def restarted_with(statement: str) -> None:
        engine = open_engine(server.url()).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        server.stop()
        server.start()

    restarted_with("ALTER SYSTEM SET wal_writer_delay = '10s'")
    try:
        yield
    finally:
        server.start()
        restarted_with("ALTER SYSTEM RESET wal_writer_delay")


def test_a_broker_that_is_away_is_waited_for(
    participant_database: Engine, harmed_rabbit: PrivateRabbit, own_broker: Broker, own_prefix: str
) -> None:
    """O4: a lost connection pauses the relay and counts against no row. Guard: _broker_lost in Sweep and Sender."""
    database, queue = participant_database, f"{own_prefix}.queue"
    with (
        relaying(database, own_broker, own_prefix, queue) as relay,
        started(database, own_broker, queue, limits=never_idle(reconnect_longest_s=0.5)) as sender,
    ):
        offered(database, sender, [message(0, queue)])
        arrived(own_broker, queue, 1)
        harmed_rabbit.stop()
        swept = stored(database, [message(n, queue) for n in range(1, 50)])
        sent = offered(database, sender, [message(n, queue) for n in range(50, 100)])
        eventually(lambda: not relay.status().broker_up and not sender.broker_up, what="both to notice")
        eventually(
            lambda: all(row.owner is None for row in rows(database) if row.id in {one.id for one in sent}),
            what="what was offered to become the sweep's",
        )
        assert relay.status().running

        harmed_rabbit.start()
        came = arrived(own_broker, queue, 99)
        assert {row.attempts for row in rows(database)} <= {0}
        eventually(lambda: sender.broker_up, what="the sender to be back")
        offered(database, sender, [message(100, queue)])
        arrived(own_broker, queue, 1)

    assert {delivery.message_id for delivery in came} == {row.message.message_id for row in [*swept, *sent]}


def test_a_broker_that_lost_everything_loses_no_start(
    participant_database: Engine, harmed_rabbit: PrivateRabbit, own_broker: Broker, own_prefix: str
) -> None:
    """O1: queues are declared anew, starts come again until they are receipted. Guard: `needs_receipt` rows stay."""
    database, queue = participant_database, f"{own_prefix}.queue"
    store = OutboxStore(outbox, owner, resend=Resend(first_s=1.0, longest_s=2.0))
    with relaying(database, own_broker, own_prefix, queue, service="shop", store=store):
        starts = stored(database, [message(n, queue, needs_receipt=True) for n in range(20)])
        eventually(lambda: all(row.sent_at for row in rows(database)), what="the starts to be sent")

        harmed_rabbit.wipe()

        wanted = {row.message.message_id: row for row in starts}
        came: set[str] = set()
        deadline = time.monotonic() + DEADLINE_S
        while came < wanted.keys() and time.monotonic() < deadline:
            try:
                came |= {delivery.message_id for delivery in all_that_arrived(own_broker, queue)}
            except BrokerUnavailable:
                time.sleep(0.2)
        assert came == wanted.keys()
        receipts = [
            Message(
                routing_key=receipts_queue(own_prefix, "shop"),
                type=wire.RECEIPT,
                body=wire.encode(wire.Receipt(message_id=message_id, row=row.id)),
            )
            for message_id, row in wanted.items()
        ]
        stored(database, receipts)
        eventually(lambda: ids(database) == [], what="the starts to go")


def test_a_blocked_broker_is_waited_for_and_late_confirms_are_told(
    participant_database: Engine, harmed_rabbit: PrivateRabbit, own_broker: Broker, own_prefix: str
) -> None:
    """O4, M4: an alarm blocks publishers; nothing raises, nothing is confirmed, nothing counts against a row."""
    database, queue = participant_database, f"{own_prefix}.queue"
    late: list[tuple[OutboxRow, float]] = []
    with (
        relaying(database, own_broker, own_prefix, queue),
        started(database, own_broker, queue, on_late_confirm=late.extend) as sender,
    ):
        offered(database, sender, [message(0, queue)])
        arrived(own_broker, queue, 1)
        harmed_rabbit.block()
        swept = stored(database, [message(n, queue) for n in range(1, 20)])
        sent = offered(database, sender, [message(n, queue) for n in range(20, 40)])
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 1.5, what="a second and a half to pass")
        assert len(ids(database)) == 39

        harmed_rabbit.unblock()
        eventually(lambda: ids(database) == [], what="the rows to go")

    came = {delivery.message_id for delivery in all_that_arrived(own_broker, queue)}
    assert came == {row.message.message_id for row in [*swept, *sent]}
    assert {row.id for row, _ in late} == {row.id for row in sent}
    assert all(late_s > 1 for _, late_s in late)


SUSPEND = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), sys:{verb}(amqqueue:get_pid(Q)).
"""


def mute(rabbit: PrivateRabbit, queue: str, verb: str) -> None:
    """Let a queue's process sleep (suspend), or wake it (resume): while it sleeps it confirms nothing."""
    rabbit.ctl("eval", SUSPEND.format(queue=queue, verb=verb).strip())


@pytest.mark.parametrize("way", ["sweep", "memory"])
def test_a_queue_that_never_confirms_does_not_hold_the_others(
    way: str, participant_database: Engine, harmed_rabbit: PrivateRabbit, own_broker: Broker, own_prefix: str
) -> None:
    """O4. Guard: Destinations; without it every batch is full of the mute queue's messages.

    Its rows back off by `due_at`, unspent, and go when it confirms again.
    """
    database, queue, deaf = participant_database, f"{own_prefix}.queue", f"{own_prefix}.mute"
    with (
        relaying(database, own_broker, own_prefix, queue, deaf, limits=quick(confirm_s=1.0, lease_s=5.0)),
        started(database, own_broker, limits=never_idle(confirm_s=1.0)) as sender,
    ):

        def put(messages: list[Message]) -> list[OutboxRow]:
            return stored(database, messages) if way == "sweep" else offered(database, sender, messages)

        def takes_s(numbers: range) -> float:
            began = time.monotonic()
            put([message(n, queue) for n in numbers])
            arrived(own_broker, queue, len(numbers))
            return time.monotonic() - began

        put([message(0, queue), message(0, deaf)])
        arrived(own_broker, queue, 1)
        alone_s = takes_s(range(1000, 1100))
        arrived(own_broker, deaf, 1)
        mute(harmed_rabbit, deaf, "suspend")
        waiting = put([message(n, deaf) for n in range(1, 600)])
        put([message(n, queue) for n in range(1, 200)])
        arrived(own_broker, queue, 199)
        beside_s = takes_s(range(200, 300))
        left = set(ids(database))
        assert {row.id for row in waiting} <= left
        assert {row.attempts for row in rows(database)} == {0}

        mute(harmed_rabbit, deaf, "resume")
        bodies = set()
        deadline = time.monotonic() + DEADLINE_S
        while len(bodies) < 599 and time.monotonic() < deadline:
            bodies |= {delivery.body for delivery in all_that_arrived(own_broker, deaf)}
        assert len(bodies) == 599
        assert beside_s < 5 + 10 * alone_s, f"{beside_s:.1f} s beside a mute queue, {alone_s:.1f} s alone"


@pytest.fixture
def own_database(private_postgres: PrivatePostgres) -> Iterator[Engine]:
    """A participant's tables in this test's own PostgreSQL."""
    engine = open_engine(private_postgres.url())
    create(engine)
    yield engine
    engine.dispose()


def test_a_database_that_is_killed_is_waited_for(
    own_database: Engine, private_postgres: PrivatePostgres, broker: Broker, prefix: str
) -> None:
    """E5: neither exit nor spin. Guard: _database_lost in Sweep, the except in Settling.settle and Owner._try."""
    database, queue = own_database, f"{prefix}.queue"
    with (
        relaying(database, broker, prefix, queue) as relay,
        started(database, broker, queue, limits=never_idle(beat_s=0.2, idle_s=0.5)) as sender,
    ):
        name = sender.owner
        offered(database, sender, [message(n, queue) for n in range(20)])
        stored(database, [message(n, queue) for n in range(20, 40)])
        private_postgres.kill()
        eventually(lambda: not relay.status().database_up, what="the relay to notice")
        assert relay.status().running

        private_postgres.start()

        eventually(lambda: ids(database) == [], what="the rows to go")
        eventually(lambda: relay.status().database_up, what="the relay to be back")
        assert sender.owner == name
        offered(database, sender, [message(40, queue)])
        eventually(lambda: ids(database) == [], what="the new row to go")

    bodies = {delivery.body for delivery in all_that_arrived(broker, queue)}
    assert bodies == {b'{"n":%d}' % n for n in range(41)}


def test_what_the_relay_wrote_down_and_the_server_lost_is_sent_again(
    own_database: Engine, private_postgres: PrivatePostgres, broker: Broker, prefix: str
) -> None:
    """O1: the relay's own transactions are not flushed; what a crash takes of them is sent twice, and never lost.

    Guard: rows are sent, and only then written down. That the crash does take it was seen: flushed, no copy comes.
    """
    database, queue = own_database, f"{prefix}.queue"
    messages = [message(n, queue) for n in range(20)]
    with lazy_log(private_postgres):
        database.dispose()  # Its connections were cut by the restart.
        stored(database, messages)
        with relaying(database, broker, prefix, queue) as relay:
            eventually(lambda: ids(database) == [], what="the rows to go")
            private_postgres.kill()
            eventually(lambda: not relay.status().database_up, what="the relay to notice")
            private_postgres.start()
            bodies = [delivery.body for delivery in arrived(broker, queue, 2 * len(messages))]

    assert sorted(bodies) == sorted(2 * [one.body for one in messages])


def test_after_an_outage_living_owners_may_tell_before_they_are_taken_for_dead(
    own_database: Engine, private_postgres: PrivatePostgres, broker: Broker, prefix: str
) -> None:
    """O2: nobody could beat while the database was away. Guard: `owners_pause_s` in Sweep._database_lost."""
    database, queue = own_database, f"{prefix}.queue"
    rules = OwnerRules(dead_s=0.5)
    with (
        relaying(database, broker, prefix, queue, rules=rules, limits=quick(owners_pause_s=60)) as relay,
        started(database, broker, limits=never_idle(beat_s=0.1)) as sender,
    ):
        [held] = stored(database, [message(1, queue)], sender.owner)
        private_postgres.kill()
        eventually(lambda: not relay.status().database_up, what="the relay to notice")
        private_postgres.start()
        eventually(lambda: relay.status().database_up, what="the relay to be back")

        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 1.0, what="a second to pass")
        assert one(database, held.id).owner == sender.owner


def test_an_owner_that_could_not_be_registered_is_not_used(
    own_database: Engine, private_postgres: PrivatePostgres, broker: Broker, prefix: str
) -> None:
    """Rows under a name without a heartbeat would be swept at once. Guard: `_registered` in Owner.id."""
    queue = f"{prefix}.queue"
    private_postgres.stop()
    with started(own_database, broker, queue) as sender:
        with pytest.raises(StoreUnavailable):
            _ = sender.owner
        private_postgres.start()

        def registered() -> bool:
            try:
                return bool(sender.owner)
            except StoreUnavailable:
                return False

        eventually(registered, what="the owner to be registered")
        before = sender.owner
        private_postgres.stop()
        sender.renew_owner()
        with pytest.raises(StoreUnavailable):
            _ = sender.owner
        private_postgres.start()
        eventually(registered, what="the fresh owner to be registered")

        assert sender.owner != before
        offered(own_database, sender, [message(1, queue)])
        arrived(broker, queue, 1)


def test_an_outbox_that_is_locked_for_a_while_is_waited_for(
    participant_database: Engine, broker: Broker, prefix: str
) -> None:
    """Somebody alters the table: a lock timeout is no reason to die. Guard: DBAPIError in DATABASE_FAULTS."""
    queue = f"{prefix}.queue"
    url = participant_database.url.update_query_dict({"options": "-c lock_timeout=100"})
    impatient = open_engine(url)
    with relaying(impatient, broker, prefix, queue) as relay:
        eventually(lambda: relay.status().broker_up, what="the connection")
        with transaction(participant_database) as connection:
            connection.exec_driver_sql("LOCK TABLE amends_outbox IN ACCESS EXCLUSIVE MODE")
            eventually(lambda: not relay.status().database_up, what="the relay to give up once")
        stored(participant_database, [message(1, queue)])
        arrived(broker, queue, 1)
        assert relay.status().running
    impatient.dispose()

"""The sweep, on real PostgreSQL (and SQLite) and real RabbitMQ."""

from __future__ import annotations

import statistics
import time
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

from amends.db.engines import transaction
from amends.outbox.message import OutboxRow
from amends.outbox.ports import Broker
from amends.outbox.storage import OwnerRules
from tests.outbox.relaying import quick, relay_of, relaying
from tests.outbox.rows import STORE, ago, beat, change, due_in_s, ids, message, one, rows, stored
from tests.outbox.sending import all_that_arrived, arrived, nothing_arrives
from tests.outbox.watching import WatchedBroker
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture
def queue(prefix: str) -> str:
    return f"{prefix}.queue"


def test_what_stands_in_the_outbox_is_published_in_order_and_deleted(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    sent = stored(database, [message(n, queue, correlation_id="c", headers={"h": "1"}) for n in range(1_200)])

    with relaying(database, broker, prefix, queue):
        came = arrived(broker, queue, 1_200)
        eventually(lambda: ids(database) == [], what="the rows to go")

    assert [one.message_id for one in came] == [row.message.message_id for row in sent]
    assert {(one.type, one.correlation_id, one.headers.get("h")) for one in came} == {("test", "c", "1")}


def test_a_row_without_an_owner_leaves_within_200_ms(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O2. Guard: `poll_s` of SweepLimits. The median of some ten: other work does not count."""
    database = participant_database

    def median_wait_s() -> float:
        waits = []
        for n in range(10):
            stored(database, [message(n, queue)])
            began = time.monotonic()
            eventually(lambda: ids(database) == [], what="the row to go")
            waits.append(time.monotonic() - began)
        return statistics.median(waits)

    with relaying(database, broker, prefix, queue) as relay:
        eventually(lambda: relay.status().broker_up, what="the connection")

        eventually(lambda: median_wait_s() < 0.2, what="ten rows to leave within 200 ms")


def test_two_relays_publish_each_row_once(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O2. Guard: FOR UPDATE in CANDIDATES, and `due_at` in LEASE."""
    database = participant_database
    limits = quick(batch_rows_max=50)
    with (
        relaying(database, broker, prefix, queue, limits=limits),
        relaying(database, broker, prefix, queue, limits=limits),
    ):
        sent = stored(database, [message(n, queue) for n in range(2_000)])
        eventually(lambda: ids(database) == [], what="the rows to go")

    came = arrived(broker, queue, 2_000)
    assert sorted(one.message_id for one in came) == sorted(row.message.message_id for row in sent)


def test_two_relays_keep_the_order_of_every_key(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O6: strictly in order, one under way; the row id travels along. Guard: BEHIND in claims."""
    database = participant_database
    sent = [stored(database, [message(n, queue, key=f"k{n % 7}")])[0] for n in range(140)]

    with relaying(database, broker, prefix, queue), relaying(database, broker, prefix, queue):
        eventually(lambda: ids(database) == [], what="the rows to go")
    came = arrived(broker, queue, 140)

    key_of = {row.message.message_id: row.message.key for row in sent}
    for key in {row.message.key for row in sent}:
        order = [int(str(one.headers["amends-row"])) for one in came if key_of[one.message_id] == key]
        assert order == [row.id for row in sent if row.message.key == key]


def test_no_transaction_is_open_while_the_broker_is_talked_to(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O2. Every publish and every wait for confirms finds the relay's connections outside a transaction."""
    database = participant_database
    open_now: set[int] = set()
    seen: list[int] = []
    event.listen(database, "begin", lambda connection: open_now.add(id(connection)))
    for end in ("commit", "rollback"):
        event.listen(database, end, lambda connection: open_now.discard(id(connection)))
    watched = WatchedBroker(broker, talks=lambda: seen.append(len(open_now)))
    stored(database, [message(n, queue) for n in range(100)])
    with relaying(database, watched, prefix, queue):
        arrived(broker, queue, 100)

    assert len(seen) > 2
    assert set(seen) == {0}


def test_a_returned_row_backs_off_and_goes_when_there_is_a_queue(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O1, O4. Guard: RETURNED in Sweep._missed."""
    [row] = stored(database, [message(1, f"{prefix}.later")])
    with relaying(database, broker, prefix, queue):
        eventually(lambda: one(database, row.id).attempts == 2, what="the second return")
        after = one(database, row.id)
        assert after.returned_since is not None
        assert due_in_s(database, row.id) <= 2
        assert after.last_error.startswith("returned: ")

        arrived(broker, f"{prefix}.later", 0)  # consuming from it declares it
        eventually(lambda: ids(database) == [], what="the row to go")

    arrived(broker, f"{prefix}.later", 1)


def test_a_row_without_a_route_for_an_hour_is_parked(database: Engine, broker: Broker, prefix: str) -> None:
    """O4. Guard: `returned_max_s` in Sweep._missed."""
    recent, old = stored(database, [message(1, f"{prefix}.nobody"), message(2, f"{prefix}.nobody")])
    change(database, recent.id, returned_since=ago(database, 3_500))
    change(database, old.id, returned_since=ago(database, 3_700))

    with relaying(database, broker, prefix):
        eventually(lambda: one(database, old.id).parked_at, what="the old one to be parked")
        eventually(lambda: one(database, recent.id).attempts, what="the recent one to be returned")

    assert "no route for 62 minutes" in one(database, old.id).last_error
    assert one(database, recent.id).parked_at is None


def test_of_a_pipelined_batch_only_the_row_with_a_missing_exchange_is_parked(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """O4: the culprit of a channel error. Guard: UNROUTABLE in Sweep._missed."""
    database = participant_database
    messages = [message(n, queue) for n in range(60)]
    messages[33] = message(33, queue, exchange=f"{prefix}.missing")
    sent = stored(database, messages)

    with relaying(database, broker, prefix, queue):
        eventually(lambda: ids(database) == [sent[33].id], what="all but the culprit to go")
        eventually(lambda: one(database, sent[33].id).parked_at, what="the culprit to be parked")

    assert one(database, sent[33].id).last_error.startswith("unroutable: ")
    came = {delivery.message_id for delivery in all_that_arrived(broker, queue)}  # some of them twice
    assert came == {row.message.message_id for row in sent} - {sent[33].message.message_id}


def test_a_parked_row_goes_once_it_is_retried(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    database = participant_database
    [row] = stored(database, [message(1, queue)])
    with transaction(database) as connection:
        STORE.park(connection, [row.id], "too large")

    with relaying(database, broker, prefix, queue):
        assert nothing_arrives(broker, queue)
        with transaction(database) as connection:
            STORE.retry_parked(connection)
        arrived(broker, queue, 1)


def test_rows_of_a_dead_owner_are_swept_and_a_living_ones_are_not(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    living, dead = uuid4(), uuid4()
    beat(database, living)
    beat(database, dead, ago_s=30)
    kept = stored(database, [message(1, queue)], living)
    stored(database, [message(2, queue)], dead)

    with relaying(database, broker, prefix, queue):
        [came] = arrived(broker, queue, 1)
        eventually(lambda: ids(database) == [kept[0].id], what="the dead one's row to go")

    assert came.body == b'{"n":2}'


def test_a_living_owners_forgotten_row_is_swept_in_the_end(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    living = uuid4()
    beat(database, living)
    stored(database, [message(1, queue)], living)

    with relaying(database, broker, prefix, queue, rules=OwnerRules(backstop_s=0.5, grace_s=0.5)):
        arrived(broker, queue, 1)


def test_a_lease_that_ran_out_is_taken_over(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """Another relay was killed with rows in its hands."""
    database = participant_database
    stored(database, [message(1, queue)])
    with transaction(database) as connection:
        assert len(STORE.claim(connection, 10, lease_s=1.0)) == 1

    with relaying(database, broker, prefix, queue):
        arrived(broker, queue, 1)


def test_rows_published_late_are_told(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """M4: their timeouts run from the confirm. Guard: LATE_S in Sweep._landed."""
    database = participant_database
    old, _new = stored(database, [message(1, queue), message(2, queue)])
    change(database, old.id, created_at=ago(database, 90))
    told: list[tuple[OutboxRow, float]] = []

    with relaying(database, broker, prefix, queue, on_late_confirm=told.extend):
        eventually(lambda: ids(database) == [], what="the rows to go")

    late = {row.id: late_s for row, late_s in told}
    assert 90 <= late[old.id] < 90 + DEADLINE_S


def test_a_stopped_relay_hands_back_what_was_not_confirmed(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """At once, not when the leases run out. Guard: Sweep._leave."""
    database = participant_database
    watched = WatchedBroker(broker)
    with relaying(database, watched, prefix, queue) as relay:
        eventually(lambda: relay.status().broker_up, what="the connection")
        watched.deaf = True
        stored(database, [message(n, queue) for n in range(10)])
        eventually(lambda: relay.status().in_flight == 10, what="the rows to be on the wire")

    assert all(row.leased_until is None and row.owner is None for row in rows(database))
    with transaction(database) as connection:
        assert len(STORE.claim(connection, 100, lease_s=30)) == 10


def test_a_stopped_relay_waits_for_the_confirms_that_are_under_way(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """A deploy is no reason to send anything twice. Guard: `_await_confirms` in Sweep."""
    database, many = participant_database, 3_000
    stored(database, [message(n, queue) for n in range(many)])
    relay = relay_of(database, broker, prefix, queue)
    relay.start()
    eventually(lambda: relay.status().in_flight > 0, what="rows to be on the wire")

    relay.stop()

    assert len(all_that_arrived(broker, queue)) + len(ids(database)) == many


def test_a_lease_that_runs_out_under_way_is_renewed_and_nothing_is_published_twice(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """The confirm takes longer than the lease. Guard: `_in_hand` in Sweep._claim_and_launch."""
    database = participant_database
    watched = WatchedBroker(broker)
    with relaying(database, watched, prefix, queue, limits=quick(lease_s=0.2)) as relay:
        eventually(lambda: relay.status().broker_up, what="the connection")
        watched.deaf = True
        [row] = stored(database, [message(1, queue)])
        first = eventually(lambda: one(database, row.id).leased_until, what="the lease")
        eventually(lambda: one(database, row.id).leased_until > first, what="the lease to be renewed")
        assert relay.status().in_flight == 1
        watched.deaf = False
        eventually(lambda: ids(database) == [], what="the row to go")

    arrived(broker, queue, 1)
    assert nothing_arrives(broker, queue)


def test_the_status_tells_how_a_relay_is(participant_database: Engine, broker: Broker, prefix: str) -> None:
    relay = relay_of(participant_database, broker, prefix)
    assert not relay.status().running

    relay.start()
    status = eventually(lambda: (now := relay.status()).broker_up and now, what="the connection")
    relay.stop()

    assert status.running
    assert status.database_up
    assert (status.error, status.in_flight) == ("", 0)
    assert status.turn_age_s < DEADLINE_S
    assert not relay.status().running

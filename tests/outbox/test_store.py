"""The outbox table: what is stored, claimed, handed back, parked and deleted. On PostgreSQL and on SQLite."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine, transaction
from amends.outbox import wire
from amends.outbox.errors import MessageTooLarge, OutboxNotInstalled
from amends.outbox.message import Message
from tests.outbox.rows import STORE, ago, change, claimed, due_in_s, ids, message, one, rows, stored
from tests.waiting import DEADLINE_S


def test_ids_come_in_the_order_of_the_messages(database: Engine) -> None:
    messages = [message(n) for n in range(3_000)]

    put = stored(database, messages)

    assert [row.id for row in put] == sorted(row.id for row in put)
    with transaction(database) as connection:
        read = STORE.claim(connection, 3_000, lease_s=30)
    assert [(row.id, row.message) for row in read] == [(row.id, row.message) for row in put]


def test_every_field_of_a_message_comes_back(database: Engine) -> None:
    sent = Message(
        routing_key="orders.créés",
        type="order",
        body=b"\x00\xff not json",
        exchange="t.events",
        correlation_id="c",
        reply_to="r",
        headers={"traceparent": "00-1", "x": "ü"},
        expiration_ms=5_000_000_000,
        key="customer 1",
        needs_receipt=True,
    )

    stored(database, [sent])

    with transaction(database) as connection:
        [row] = STORE.claim(connection, 1, lease_s=30)
    assert row.message == sent
    assert row.attempts == 0
    assert 0 <= row.age_s < DEADLINE_S
    assert row.returned_s is None
    assert row.created_at.tzinfo is not None


@pytest.mark.parametrize(
    "field",
    [
        {"body": b"x" * 1_048_577},
        {"routing_key": "ü" * 128},
        {"key": "k" * 256},
        {"message_id": "m" * 65},
        {"headers": {"h": "x" * 40_000}},
    ],
    ids=lambda field: next(iter(field)),
)
def test_what_the_broker_would_not_take_is_refused_before_anything_is_stored(
    database: Engine, field: dict[str, object]
) -> None:
    with pytest.raises(MessageTooLarge, match=next(iter(field))):
        stored(database, [message(), message(**field)])

    assert ids(database) == []


def test_what_is_ordered_or_delayed_has_no_owner(database: Engine) -> None:
    """O6. Guard: the CASE over `owner` in sql_postgresql.INSERT, `swept` in store_sqlite.row_values."""
    owner = uuid4()

    plain, keyed, delayed = stored(database, [message(), message(key="k"), message(delay_s=60)], owner)

    assert one(database, plain.id).owner == owner
    assert one(database, keyed.id).owner is None
    assert one(database, delayed.id).owner is None
    assert claimed(database) == [keyed.id]
    assert due_in_s(database, delayed.id) == pytest.approx(60, abs=5)


def test_a_leased_row_is_left_alone_until_its_lease_runs_out(database: Engine) -> None:
    """O2. Guard: `due_at` in LEASE."""
    [row] = stored(database, [message()])

    assert claimed(database, lease_s=30) == [row.id]
    assert claimed(database) == []

    change(database, due_at=ago(database, 1))  # thirty-one seconds later
    assert claimed(database) == [row.id]


def test_a_claim_does_not_wait_for_another_that_is_under_way(participant_database: Engine) -> None:
    """O2. Guard: SKIP LOCKED in CANDIDATES."""
    database = participant_database
    first, second = stored(database, [message(1), message(2)])

    with transaction(database) as connection:
        assert [row.id for row in STORE.claim(connection, 1, lease_s=30)] == [first.id]
        assert claimed(database, rows_max=5) == [second.id]


def test_the_oldest_due_rows_are_claimed_first(database: Engine) -> None:
    first, second, third = stored(database, [message(n) for n in range(3)])
    change(database, first.id, due_at=ago(database, -5))
    change(database, third.id, due_at=ago(database, 5))

    assert claimed(database, rows_max=1) == [third.id]
    assert claimed(database, rows_max=5) == [second.id]


def test_a_released_row_is_due_again_after_its_delay(database: Engine) -> None:
    [row] = stored(database, [message()])
    claimed(database)

    with transaction(database) as connection:
        STORE.release(connection, [row.id], 7.0, "nobody home")

    after = one(database, row.id)
    assert (after.leased_until, after.last_error, after.attempts) == (None, "nobody home", 0)
    assert due_in_s(database, row.id) == pytest.approx(7, abs=2)


def test_a_returned_row_remembers_since_when_it_has_no_route(database: Engine) -> None:
    """O4. Guard: `coalesce(o.returned_since, ...)` in RELEASE."""
    [row] = stored(database, [message()])
    with transaction(database) as connection:
        STORE.release(connection, [row.id], 0.0, "returned", counts=True, returned=True)
    change(database, returned_since=ago(database, 100))

    with transaction(database) as connection:
        STORE.release(connection, [row.id], 0.0, "returned", counts=True, returned=True)

    with transaction(database) as connection:
        [again] = STORE.claim(connection, 1, lease_s=30)
    assert again.attempts == 2
    assert again.returned_s == pytest.approx(100, abs=5)


def test_disowned_rows_are_the_sweeps(database: Engine) -> None:
    [row] = stored(database, [message()], uuid4())
    assert claimed(database) == []

    with transaction(database) as connection:
        STORE.disown(connection, [row.id], 0.0, "memory full")

    assert claimed(database) == [row.id]


def test_disowning_what_a_relay_has_taken_over_leaves_its_lease_alone(database: Engine) -> None:
    """O2. Guard: `owner IS NOT NULL` in DISOWN."""
    [row] = stored(database, [message()])
    claimed(database)

    with transaction(database) as connection:
        STORE.disown(connection, [row.id], 0.0, "too late")

    assert claimed(database) == []


def test_a_row_that_needs_a_receipt_is_not_deleted_when_it_is_confirmed(database: Engine) -> None:
    """O1. Guard: `NOT needs_receipt` in DELETE."""
    plain, start = stored(database, [message(), message(needs_receipt=True)])

    with transaction(database) as connection:
        STORE.delete(connection, [plain.id, start.id])

    assert ids(database) == [start.id]


def test_a_sent_row_loses_its_owner_and_comes_again_ever_later(database: Engine) -> None:
    """O1. Guard: `owner = NULL` and the power in MARK_SENT."""
    [start] = stored(database, [message(needs_receipt=True)], uuid4())

    waits = []
    for _ in range(8):
        with transaction(database) as connection:
            STORE.mark_sent(connection, [start.id])
        waits.append(round(due_in_s(database, start.id)))
        assert claimed(database) == []

    row = one(database, start.id)
    assert row.owner is None
    assert row.sent_at is not None
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_receipt_deletes_its_row_and_no_other(database: Engine) -> None:
    """O1. Guards: the message id, and `needs_receipt`, in RECEIVE."""
    start, other, plain = stored(
        database, [message(needs_receipt=True), message(needs_receipt=True), message()]
    )
    receipts = [
        wire.Receipt(message_id=start.message.message_id, row=start.id),
        wire.Receipt(message_id="of another table", row=other.id),
        wire.Receipt(message_id=plain.message.message_id, row=plain.id),
        wire.Receipt(message_id="unknown", row=2**62),
    ]

    with transaction(database) as connection:
        first = STORE.receive(connection, receipts)
        again = STORE.receive(connection, receipts)

    assert (first, again) == (1, 0)
    assert ids(database) == [other.id, plain.id]


def test_a_receipt_may_come_before_the_confirm_is_written_down(database: Engine) -> None:
    [start] = stored(database, [message(needs_receipt=True)], uuid4())

    with transaction(database) as connection:
        received = STORE.receive(
            connection, [wire.Receipt(message_id=start.message.message_id, row=start.id)]
        )
        STORE.mark_sent(connection, [start.id])

    assert received == 1
    assert ids(database) == []


def test_a_parked_row_waits_for_an_operator(database: Engine) -> None:
    kept, dropped = stored(database, [message(1), message(2)])
    with transaction(database) as connection:
        STORE.park(connection, [kept.id, dropped.id], "too large")
    assert claimed(database) == []
    with transaction(database) as connection:
        shown = STORE.parked(connection)
    assert [(row.id, row.error) for row in shown] == [(kept.id, "too large"), (dropped.id, "too large")]

    with transaction(database) as connection:
        assert STORE.drop_parked(connection, [dropped.id]) == 1
        assert STORE.retry_parked(connection, [kept.id, dropped.id]) == 1

    assert claimed(database) == [kept.id]
    with transaction(database) as connection:
        assert STORE.drop_parked(connection, [kept.id]) == 0  # it is no longer parked
        assert STORE.retry_parked(connection) == 0


def test_the_stats_tell_what_stands_in_the_table(database: Engine) -> None:
    with transaction(database) as connection:
        empty = STORE.stats(connection)
    assert (empty.pending, empty.oldest_age_s, empty.awaiting_receipt, empty.parked) == (0, 0, 0, 0)
    old, start, broken, _new, _tomorrow = stored(
        database,
        [message(), message(needs_receipt=True), message(), message(), message(delay_s=86_400)],
    )
    change(database, old.id, created_at=ago(database, 50))
    with transaction(database) as connection:
        STORE.mark_sent(connection, [start.id])
        STORE.park(connection, [broken.id], "broken")

    with transaction(database) as connection:
        stats = STORE.stats(connection)

    assert (stats.pending, stats.awaiting_receipt, stats.parked) == (3, 1, 1)
    assert stats.oldest_age_s == pytest.approx(50, abs=5)


def test_a_message_that_is_not_due_yet_is_not_old(database: Engine) -> None:
    stored(database, [message(delay_s=86_400)])
    change(database, created_at=ago(database, 3_600))

    with transaction(database) as connection:
        assert STORE.stats(connection).oldest_age_s == 0


def test_an_id_is_never_used_again(database: Engine) -> None:
    """A late receipt or confirm would delete another message. Guard: sqlite_autoincrement in db/tables/outbox.py."""
    [row] = stored(database, [message()])
    with transaction(database) as connection:
        STORE.delete(connection, [row.id])

    [next_row] = stored(database, [message()])

    assert next_row.id > row.id
    assert [row.id for row in rows(database)] == [next_row.id]


def test_a_missing_table_is_told_with_its_mend(database_url: str) -> None:
    """O: a relay or `put` on a database without the outbox says what to do. Guard: `not_installed`."""
    bare = open_engine(database_url)

    with pytest.raises(OutboxNotInstalled, match="amends migrate"), transaction(bare) as connection:
        STORE.claim(connection, 1, lease_s=1)

    bare.dispose()

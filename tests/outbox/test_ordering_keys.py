"""O6: messages of one key leave one at a time, oldest first; a parked one blocks its key."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, event, select

from amends.db.engines import transaction
from amends.db.tables.participant import outbox
from amends.outbox import wire
from amends.outbox.limits import key_hash
from tests.locks import waiting_locks
from tests.outbox.rows import STORE, ago, change, claimed, due_in_s, ids, message, stored
from tests.waiting import DEADLINE_S, eventually


def confirmed(database: Engine, *row_ids: int) -> None:
    with transaction(database) as connection:
        STORE.delete(connection, list(row_ids))


def test_one_row_of_a_key_is_under_way_and_the_next_follows_its_confirm(database: Engine) -> None:
    """Guards: BEHIND and WAKE; without WAKE the second row waits for a minute."""
    a1, b1, a2, b2, free = stored(
        database, [message(key="a"), message(key="b"), message(key="a"), message(key="b"), message()]
    )

    assert claimed(database) == [a1.id, b1.id, free.id]
    assert claimed(database) == []
    confirmed(database, a1.id, free.id)
    assert claimed(database) == [a2.id]
    confirmed(database, b1.id)
    assert claimed(database) == [b2.id]


def test_rows_behind_another_of_their_key_are_not_read_again_and_again(database: Engine) -> None:
    """O8. Guard: DEFER."""
    stored(database, [message(n, key="a") for n in range(10)])

    claimed(database)

    with transaction(database) as connection:
        waiting = connection.execute(select(outbox.c.id).order_by(outbox.c.id)).scalars().all()[1:]
    assert all(0 < due_in_s(database, id_) <= 60 for id_ in waiting)


def test_rows_that_waited_long_are_looked_at_less_often(database: Engine) -> None:
    _, waiting = stored(database, [message(key="a"), message(key="a")])
    change(database, created_at=ago(database, 600))

    claimed(database)

    assert 600 - DEADLINE_S < due_in_s(database, waiting.id) <= 600 + DEADLINE_S


def test_a_backlog_of_one_key_does_not_hide_the_other_rows(database: Engine) -> None:
    stored(database, [message(n, key="a") for n in range(25)])
    [free] = stored(database, [message()])

    found: list[int] = []
    for _ in range(4):
        found += claimed(database, rows_max=10)

    assert free.id in found


def test_a_parked_row_blocks_its_key_until_it_is_retried(database: Engine) -> None:
    """Guard: BEHIND counts parked rows too."""
    first, second = stored(database, [message(key="a"), message(key="a")])
    with transaction(database) as connection:
        STORE.park(connection, [first.id], "too large")
    assert claimed(database) == []

    with transaction(database) as connection:
        STORE.retry_parked(connection, [first.id])

    assert claimed(database) == [first.id]
    confirmed(database, first.id)
    assert claimed(database) == [second.id]


def test_a_parked_row_blocks_its_key_until_it_is_dropped(database: Engine) -> None:
    """Guard: WAKE after DROP."""
    first, second = stored(database, [message(key="a"), message(key="a")])
    with transaction(database) as connection:
        STORE.park(connection, [first.id], "too large")
    assert claimed(database) == []

    with transaction(database) as connection:
        STORE.drop_parked(connection, [first.id])

    assert claimed(database) == [second.id]


def test_a_row_that_needs_a_receipt_holds_its_key_until_the_receipt(database: Engine) -> None:
    first, second = stored(database, [message(key="a", needs_receipt=True), message(key="a")])
    claimed(database)
    with transaction(database) as connection:
        STORE.mark_sent(connection, [first.id])
    assert claimed(database) == []

    with transaction(database) as connection:
        STORE.receive(connection, [wire.Receipt(message_id=first.message.message_id, row=first.id)])

    assert claimed(database) == [second.id]


def test_a_row_that_backs_off_holds_its_key(database: Engine) -> None:
    first, _second = stored(database, [message(key="a"), message(key="a")])
    claimed(database)

    with transaction(database) as connection:
        STORE.release(connection, [first.id], 60.0, "returned")

    assert claimed(database) == []


def test_waking_a_key_does_not_hurry_a_delayed_message(database: Engine) -> None:
    """Guard: the CASE in WAKE."""
    first, delayed = stored(database, [message(key="a"), message(key="a", delay_s=60)])
    claimed(database)

    confirmed(database, first.id)

    assert claimed(database) == []
    assert due_in_s(database, delayed.id) > 50


def test_ids_of_a_key_are_drawn_in_the_order_in_which_they_become_visible(
    participant_database: Engine,
) -> None:
    """Else a row could be published before an older one that is not committed yet.

    Guard: `lock_keys` in OutboxStore.insert; without it the second transaction commits, and is claimed, first.
    """
    database = participant_database
    order: list[str] = []
    second_done = threading.Event()

    def second() -> None:
        with transaction(database) as connection:
            STORE.insert(connection, [message(2, key="a")])
        order.append("second")
        second_done.set()

    thread = threading.Thread(target=second)
    with transaction(database) as connection:
        [first_id] = STORE.insert(connection, [message(1, key="a")])
        thread.start()
        eventually(lambda: waiting_locks(database) == 1, what="the second put to wait for the key")
        assert claimed(database) == []
        order.append("first")
    thread.join()

    assert order == ["first", "second"]
    assert claimed(database) == [first_id]


def test_keys_are_locked_in_one_order_whatever_the_order_of_the_messages(
    participant_database: Engine,
) -> None:
    """Two transactions that put the same keys in opposite orders do not deadlock. Guard: ORDER BY in LOCK_KEYS."""
    database = participant_database
    low, high = sorted(("a", "b"), key=lambda key: key_hash(outbox.name, key))

    with transaction(database) as connection:
        STORE.insert(connection, [message(key=low)])
        thread = threading.Thread(target=stored, args=(database, [message(key=high), message(key=low)]))
        thread.start()
        eventually(lambda: waiting_locks(database) == 1, what="the other put to wait for the first key")

        stored(database, [message(key=high)])  # is not held by the one that waits
    thread.join()

    assert len(ids(database)) == 4


def test_a_row_found_waiting_while_its_predecessor_is_being_deleted_is_not_left_behind(
    participant_database: Engine,
) -> None:
    """Guard: WAKE updates the next row whatever it looks like, and so waits for a claim that is deferring it.

    With `AND o.leased_until IS NOT NULL` in its WHERE, the second row would stay deferred for a minute.
    """
    database = participant_database
    first, second = stored(database, [message(key="a"), message(key="a")])
    change(database, first.id, due_at=ago(database, -30))  # under way at another relay
    deleted = threading.Event()

    def delete() -> None:
        confirmed(database, first.id)
        deleted.set()

    thread = threading.Thread(target=delete)
    with transaction(database) as connection:
        # A claim that has locked and deferred the second row, but not committed.
        assert STORE.claim(connection, 10, lease_s=30) == []
        thread.start()
        eventually(lambda: waiting_locks(database) == 1, what="the delete to wait for the claim")
    thread.join()

    assert deleted.is_set()
    assert claimed(database) == [second.id]


@pytest.mark.parametrize("on_mariadb", [False, True])
def test_a_row_that_came_while_its_predecessor_was_being_deleted_is_soon_looked_at_again(
    participant_database: Engine, mariadb_database: Engine, on_mariadb: bool
) -> None:
    """The delete looked for it too early, and the claim finds its predecessor. Guard: DEFER is short at first."""
    database = mariadb_database if on_mariadb else participant_database
    [first] = stored(database, [message(key="a")])
    assert claimed(database) == [first.id]

    with transaction(database) as connection:
        STORE.delete(connection, [first.id])
        [second] = stored(database, [message(key="a")])
        assert claimed(database) == []
    assert due_in_s(database, second.id) <= 2

    assert eventually(lambda: claimed(database)) == [second.id]


def test_a_row_locked_after_its_predecessor_was_deleted_is_taken_at_once(
    participant_database: Engine,
) -> None:
    """Guard: BEHIND is a statement of its own; in CANDIDATES' snapshot the first row would still stand."""
    database = participant_database
    first, second = stored(database, [message(key="a"), message(key="a")])
    change(database, first.id, due_at=ago(database, -30))

    with transaction(database) as connection:

        @event.listens_for(connection, "after_cursor_execute", once=True)
        def delete_meanwhile(*_: object) -> None:
            # As if it had been committed after the first statement's snapshot, and before its lock.
            with transaction(database) as other:
                other.execute(outbox.delete().where(outbox.c.id == first.id))

        taken = [row.id for row in STORE.claim(connection, 10, lease_s=30)]

    assert taken == [second.id]


def test_the_lock_of_a_key_is_the_same_in_every_client() -> None:
    assert key_hash("amends_outbox", "customer 1") == key_hash("amends_outbox", "customer 1")
    assert key_hash("amends_outbox", "customer 1") != key_hash("other", "customer 1")
    assert -(2**63) <= key_hash("amends_outbox", "x") < 2**63

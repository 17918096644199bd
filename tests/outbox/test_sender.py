"""The fast path (O2): what a process committed leaves from its memory, on real PostgreSQL and RabbitMQ."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select

from amends.db.engines import transaction
from amends.db.tables.participant import owner as owner_rows
from amends.outbox import wire
from amends.outbox.message import OutboxRow
from amends.outbox.ports import Broker, Topology
from amends.outbox.storage import OwnerRules
from tests.outbox.rows import STORE, claimed, ids, message, one, owners, rows, stored
from tests.outbox.sending import arrived, never_idle, nothing_arrives, offered, started
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture
def queue(prefix: str) -> str:
    return f"{prefix}.queue"


def test_what_was_committed_is_published_and_deleted_with_the_next_transaction(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    database = participant_database
    with started(database, broker, queue, limits=never_idle()) as sender:
        sent = offered(database, sender, [message(n, queue) for n in range(50)])

        came = arrived(broker, queue, 50)
        taken: list[int] = []
        eventually(lambda: taken.extend(sender.take_confirmed()) or len(taken) == 50, what="fifty confirms")
        assert ids(database) == [row.id for row in sent]
        with transaction(database) as connection:
            STORE.delete(connection, taken)
        sender.deleted(taken)

    assert sorted(taken) == [row.id for row in sent]
    assert [one.message_id for one in came] == [row.message.message_id for row in sent]
    assert ids(database) == []


def test_confirmed_rows_that_nobody_takes_are_deleted_by_the_sender(
    database: Engine, broker: Broker, queue: str
) -> None:
    """Guard: `idle` in Settling.settle."""
    with started(database, broker, queue) as sender:
        offered(database, sender, [message(n, queue) for n in range(5)])

        eventually(lambda: ids(database) == [], what="the rows to go")


def test_rows_whose_transaction_failed_are_given_back_and_offered_for_deletion_again(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """Guard: `give_back`; forgotten only when the delete is known to have committed (O2)."""
    database = participant_database
    with started(database, broker, queue, limits=never_idle()) as sender:
        [row] = offered(database, sender, [message(1, queue)])
        taken = eventually(sender.take_confirmed, what="the confirm")
        assert sender.take_confirmed() == []

        sender.give_back(taken)

        assert sender.take_confirmed() == [row.id] == taken


def test_a_returned_message_is_given_to_the_sweep_and_backs_off(
    participant_database: Engine, broker: Broker, prefix: str
) -> None:
    """O1: returned is not confirmed, though the broker acks it. Guard: `one.fate is not Fate.CONFIRMED`."""
    database = participant_database
    with started(database, broker, limits=never_idle()) as sender:
        [row] = offered(database, sender, [message(1, f"{prefix}.nobody")])

        eventually(lambda: one(database, row.id).owner is None, what="the row to lose its owner")
        after = one(database, row.id)

    assert after.attempts == 1
    assert after.returned_since is not None
    assert after.last_error.startswith("returned: ")
    assert after.due_at > after.created_at
    assert claimed(database) == []


def test_of_a_batch_only_the_message_with_a_missing_exchange_is_given_to_the_sweep(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    database = participant_database
    with started(database, broker, queue) as sender:
        messages = [message(n, queue) for n in range(40)]
        messages[17] = message(17, queue, exchange=f"{prefix}.missing")

        sent = offered(database, sender, messages)

        eventually(lambda: ids(database) == [sent[17].id], what="all but the culprit to go")
        eventually(lambda: one(database, sent[17].id).owner is None, what="the culprit to be given up")
    assert one(database, sent[17].id).last_error.startswith("unroutable: ")


def test_a_row_that_needs_a_receipt_waits_for_it_without_an_owner(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """O1. It tells who wants the receipt, and for which row. Guard: `needs_receipt` in Sender._landed."""
    database = participant_database
    with started(database, broker, queue, receipts_to="t.receipts.shop") as sender:
        [row] = offered(database, sender, [message(1, queue, needs_receipt=True)])

        [came] = arrived(broker, queue, 1)
        eventually(lambda: one(database, row.id).sent_at, what="the row to be marked sent")

    assert came.headers[wire.HEADER_ROW] == str(row.id)
    assert came.headers[wire.HEADER_RECEIPT_TO] == "t.receipts.shop"
    assert one(database, row.id).owner is None


def test_ordered_and_delayed_rows_are_left_to_the_sweep(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """O6: keyed rows never take the memory path. Guard: the filter in Sender.offer."""
    database = participant_database
    with started(database, broker, queue) as sender:
        kept = offered(
            database, sender, [message(1, queue, key="a"), message(2, queue, delay_s=60), message(3, queue)]
        )

        arrived(broker, queue, 1)
        eventually(lambda: len(ids(database)) == 2, what="the plain row to go")

    assert ids(database) == [kept[0].id, kept[1].id]
    assert claimed(database) == [kept[0].id]


def test_what_does_not_fit_into_memory_is_given_to_the_sweep(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """O2. Guard: `room` in Sender.offer."""
    database = participant_database
    with started(database, broker, queue, limits=never_idle(rows_max=10)) as sender:
        rows_ = offered(database, sender, [message(n, queue) for n in range(30)])

        eventually(lambda: len(claimed(database)) == 20, what="the surplus to be handed over")
        arrived(broker, queue, 10)

    assert ids(database) == [row.id for row in rows_[10:]]


def test_messages_without_a_row_are_published(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    with started(participant_database, broker, queue) as sender:
        sender.send([message(n, queue) for n in range(3)])

        came = arrived(broker, queue, 3)

    assert [one.body for one in came] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_a_message_without_a_row_and_a_route_is_lost_and_harms_nothing(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    database = participant_database
    with started(database, broker, queue) as sender:
        sender.send([message(1, f"{prefix}.nobody"), message(2, exchange=f"{prefix}.missing")])
        offered(database, sender, [message(3, queue)])

        arrived(broker, queue, 1)
        eventually(lambda: ids(database) == [], what="the row to go")


def test_an_owner_beats_while_it_lives_and_is_forgotten_when_it_stops(
    database: Engine, broker: Broker, queue: str
) -> None:
    """O2: what a stopped process leaves is swept at once. Guard: `forget_owner` in Owner.stop."""

    def beat_at() -> object:
        with transaction(database) as connection:
            return connection.execute(select(owner_rows.c.beat_at)).scalar_one()

    with started(database, broker, queue, limits=never_idle(beat_s=0.05)) as sender:
        owner, first = sender.owner, beat_at()
        assert owners(database) == {owner}
        eventually(lambda: beat_at() != first, what="the next beat")

    assert owners(database) == set()


def test_stopping_publishes_what_waits_and_leaves_no_confirmed_row(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    database = participant_database
    with started(database, broker, queue, limits=never_idle()) as sender:
        offered(database, sender, [message(n, queue) for n in range(2_000)])

    assert ids(database) == []
    arrived(broker, queue, 2_000)


def test_a_sender_that_was_stopped_may_be_started_again(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    database = participant_database
    with started(database, broker, queue) as sender:
        first = sender.owner
        sender.stop()

        sender.start()
        offered(database, sender, [message(1, queue)])

        eventually(lambda: ids(database) == [], what="the row to go")
        assert sender.owner != first


def test_after_an_unknown_commit_its_rows_are_the_sweeps_and_the_known_ones_stay(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """O2, O3: COMMIT's outcome was lost, then the row appears: under a name that is dead.

    Guards: a fresh id in Owner.renew, `forget_owner` and `adopt` in Owner._beat.
    """
    database = participant_database
    with started(database, broker, queue, limits=never_idle(window=1)) as sender:
        before = sender.owner
        known = offered(database, sender, [message(n, queue) for n in range(3)])
        with transaction(database) as connection:
            # It is committed only after the process has given up on it.
            [unknown] = STORE.insert(connection, [message(9, queue)], before)
            sender.renew_owner()

        assert sender.owner != before
        assert owners(database) == {sender.owner}
        with transaction(database) as connection:
            assert STORE.disown_dead(connection, 100, OwnerRules()) == 1
        assert claimed(database) == [unknown]
        assert {row.owner for row in rows(database) if row.id in {one.id for one in known}} == {sender.owner}
        arrived(broker, queue, 3)


def test_rows_confirmed_late_are_told(
    participant_database: Engine, broker: Broker, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M4: the timeout runs from the broker's confirm. Here every confirm counts as late."""
    monkeypatch.setattr("amends.outbox.sender.LATE_S", 0.0)
    told: list[tuple[OutboxRow, float]] = []
    with started(participant_database, broker, queue, on_late_confirm=told.extend) as sender:
        rows_ = offered(participant_database, sender, [message(n, queue) for n in range(3)])

        eventually(lambda: len(told) == 3, what="the late confirms")

    assert [row for row, _ in told] == rows_
    assert all(0 < late_s < DEADLINE_S for _, late_s in told)


def test_prompt_confirms_are_not_told_as_late(
    participant_database: Engine, broker: Broker, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amends.outbox.sender.LATE_S", DEADLINE_S)
    told: list[tuple[OutboxRow, float]] = []
    with started(participant_database, broker, queue, on_late_confirm=told.extend) as sender:
        sender.send([message(0, queue)])  # the connection stands
        arrived(broker, queue, 1)
        offered(participant_database, sender, [message(1, queue)])
        eventually(lambda: ids(participant_database) == [], what="the row to go")

    assert told == []


def test_a_hook_that_fails_stops_nothing(
    participant_database: Engine,
    broker: Broker,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Guard: the except in `tell_late`."""
    monkeypatch.setattr("amends.outbox.sender.LATE_S", 0.0)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    with (
        caplog.at_level(logging.ERROR),
        started(participant_database, broker, queue, on_late_confirm=fail) as sender,
    ):
        offered(participant_database, sender, [message(1, queue)])
        eventually(lambda: ids(participant_database) == [], what="the row to go")

    assert "late_confirm_hook_failed" in caplog.text


def test_nothing_is_published_for_rows_that_were_not_offered(
    participant_database: Engine, broker: Broker, queue: str
) -> None:
    """A sender reads nothing: whoever did not offer leaves its rows to the sweep."""
    with started(participant_database, broker, queue) as sender:
        stored(participant_database, [message(1, queue)], sender.owner)
        stored(participant_database, [message(2, queue)], uuid4())

        assert nothing_arrives(broker, queue)


def test_a_sender_declares_its_topology(participant_database: Engine, broker: Broker, queue: str) -> None:
    topology = Topology(queues=frozenset({queue}))
    with started(participant_database, broker, topology=topology) as sender:
        offered(participant_database, sender, [message(1, queue)])

        eventually(lambda: ids(participant_database) == [], what="the row to go")

"""O1: what no timer would send again stays until the coordinator's receipt, and comes again without one."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine, transaction
from amends.db.tables.participant import outbox, owner
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, Publisher, Topology, dead_letter_queue, receipts_queue
from amends.outbox.receipts import read_receipt
from amends.outbox.storage import Resend
from amends.outbox.store import OutboxStore
from tests.outbox.driving import confirmed
from tests.outbox.relaying import relaying
from tests.outbox.rows import ago, change, due_in_s, ids, message, one, stored
from tests.outbox.sending import arrived, nothing_arrives
from tests.waiting import eventually

SERVICE = "shop"


@pytest.fixture
def queue(prefix: str) -> str:
    return f"{prefix}.coordinator"


def publish(broker: Broker, *messages: Message) -> None:
    publisher: Publisher = broker.publisher()
    try:
        confirmed(publisher, messages)
    finally:
        publisher.close()


def receipt(delivery: Delivery, **changed: object) -> Message:
    """What the coordinator answers to a message."""
    body = wire.Receipt(
        **{  # type: ignore[arg-type]
            "message_id": delivery.message_id,
            "row": int(str(delivery.headers[wire.HEADER_ROW])),
            **changed,
        }
    )
    return Message(
        routing_key=str(delivery.headers[wire.HEADER_RECEIPT_TO]), type=wire.RECEIPT, body=wire.encode(body)
    )


def test_a_start_is_marked_sent_and_goes_with_its_receipt(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """Guards: `receipts_to` in Flight, `receive` in Receipts._take."""
    [row] = stored(database, [message(1, queue, needs_receipt=True)])
    with relaying(database, broker, prefix, queue, service=SERVICE):
        [came] = arrived(broker, queue, 1)
        eventually(lambda: one(database, row.id).sent_at, what="the row to be marked sent")
        assert came.headers[wire.HEADER_RECEIPT_TO] == receipts_queue(prefix, SERVICE)

        publish(broker, receipt(came))

        eventually(lambda: ids(database) == [], what="the row to go")


def test_a_start_comes_again_until_its_receipt_arrives(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """A receipt was lost, or the broker with the start: it is sent again, ever later. Guard: MARK_SENT's `due_at`."""
    [row] = stored(database, [message(1, queue, needs_receipt=True)])
    store = OutboxStore(outbox, owner, resend=Resend(first_s=0.2, longest_s=60))
    with relaying(database, broker, prefix, queue, service=SERVICE, store=store):
        first, second, third = (arrived(broker, queue, 1)[0] for _ in range(3))
        eventually(lambda: one(database, row.id).attempts == 3, what="the third copy to be written down")
        assert due_in_s(database, row.id) <= 0.8

        publish(broker, receipt(third))
        eventually(lambda: ids(database) == [], what="the row to go")

    assert {first.message_id, second.message_id, third.message_id} == {row.message.message_id}


def test_a_start_that_was_sent_once_is_sent_again_by_another_relay(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    database = participant_database
    [row] = stored(database, [message(1, queue, needs_receipt=True)])
    with relaying(database, broker, prefix, queue, service=SERVICE):
        arrived(broker, queue, 1)
        eventually(lambda: one(database, row.id).sent_at, what="the row to be marked sent")
    change(database, due_at=ago(database, 1))

    with relaying(database, broker, prefix, queue, service=SERVICE):
        arrived(broker, queue, 1)


def test_unknown_repeated_and_foreign_receipts_change_nothing(
    database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """Guard: the message id in RECEIVE: a receipt of another table, or of before a restore, names our row's id."""
    kept, told = stored(
        database, [message(1, queue, needs_receipt=True), message(2, queue, needs_receipt=True)]
    )
    with relaying(database, broker, prefix, queue, service=SERVICE):
        first, second = sorted(arrived(broker, queue, 2), key=lambda one: one.body)

        publish(
            broker,
            receipt(first, message_id="of another table"),
            receipt(first, row=kept.id + 1_000),
            receipt(second),
            receipt(second),
        )

        eventually(lambda: ids(database) == [kept.id], what="the receipted row to go")
    assert told.id not in ids(database)


def test_a_receipt_that_met_a_locked_outbox_comes_again(
    participant_database: Engine, broker: Broker, prefix: str, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Guard: the ack after the transaction in Receipts._take."""
    database = participant_database
    impatient = open_engine(database.url.update_query_dict({"options": "-c lock_timeout=100"}))
    stored(database, [message(1, queue, needs_receipt=True)])
    with relaying(impatient, broker, prefix, queue, service=SERVICE):
        [came] = arrived(broker, queue, 1)
        with transaction(database) as connection:
            connection.exec_driver_sql("LOCK TABLE amends_outbox IN ACCESS EXCLUSIVE MODE")
            publish(broker, receipt(came))
            eventually(lambda: "receipts_database_lost" in caplog.messages, what="the receipt to be given up")

        eventually(lambda: ids(database) == [], what="the row to go")
    impatient.dispose()


def test_receipts_nobody_can_read_are_dead_lettered_and_delay_nothing(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    """Guard: the except in Receipts._take."""
    database = participant_database
    stored(database, [message(1, queue, needs_receipt=True)])
    receipts = receipts_queue(prefix, SERVICE)
    broker.declare(Topology(queues=frozenset({receipts})))
    with relaying(database, broker, prefix, queue, service=SERVICE):
        [came] = arrived(broker, queue, 1)
        publish(
            broker,
            Message(routing_key=receipts, type=wire.RECEIPT, body=b"{not json"),
            Message(routing_key=receipts, type="amends.receipts.v9", body=b"{}"),
            Message(routing_key=receipts, type=wire.REPLY, body=b"{}"),
            Message(
                routing_key=receipts,
                type=wire.RECEIPT,
                body=b'{"message_id": "x", "row": 99999999999999999999}',
            ),
            Message(routing_key=receipts, type=wire.RECEIPT, body=b"[" * 2_000_000),
            receipt(came),
        )

        dead = arrived(broker, dead_letter_queue(prefix), 5)
        eventually(lambda: ids(database) == [], what="the row to go")

    assert {str(letter.headers["amends-queue"]) for letter in dead} == {receipts}
    reasons = sorted(str(letter.headers["amends-reason"]) for letter in dead)
    assert any("unknown message type" in reason for reason in reasons)
    assert any("over the limit" in reason for reason in reasons)
    assert nothing_arrives(broker, receipts)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"content_encoding": "gzip"}, "gzip"),
        ({"delivery_count": 11}, "delivered 11 times"),
        ({"body": b'{"message_id": "m", "row": 0}'}, "no outbox row"),
        ({"body": b'{"message_id": "\\u0000", "row": 1}'}, "no outbox row"),
        ({"body": b'{"message_id": "m"}'}, "row"),
        ({"type": wire.COMMAND}, "amends.command"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_receipt_is_told_why(changed: dict[str, object], reason: str) -> None:
    good: dict[str, object] = {
        "tag": 1,
        "queue": "q",
        "type": wire.RECEIPT,
        "body": b'{"message_id": "m", "row": 7, "note": "accepted", "new": 1}',
    }
    assert read_receipt(Delivery(**good)).row == 7  # type: ignore[arg-type]

    with pytest.raises(MalformedMessage, match=reason):
        read_receipt(Delivery(**{**good, **changed}))  # type: ignore[arg-type]


def test_without_a_service_a_relay_listens_for_no_receipts(
    participant_database: Engine, broker: Broker, prefix: str, queue: str
) -> None:
    [row] = stored(participant_database, [message(1, queue, needs_receipt=True)])
    with relaying(participant_database, broker, prefix, queue):
        [came] = arrived(broker, queue, 1)
        eventually(lambda: one(participant_database, row.id).sent_at, what="the row to be marked sent")

    assert wire.HEADER_RECEIPT_TO not in came.headers
    assert came.headers[wire.HEADER_ROW] == str(row.id)

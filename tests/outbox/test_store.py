"""The outbox table: what is stored, claimed, handed back, parked and deleted. On PostgreSQL and on SQLite."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.outbox.errors import MessageTooLarge
from amends.outbox.message import Message
from amends.outbox.store import OutboxStore


def message(n: int = 0, **fields: object) -> Message:
    return Message(routing_key="t.queue", type="test", body=b'{"n":%d}' % n, **fields)  # type: ignore[arg-type]


def test_ids_come_in_the_order_of_the_messages(database: Engine, store: OutboxStore) -> None:
    messages = [message(n) for n in range(500)]

    with transaction(database) as connection:
        ids = store.insert(connection, messages)

    assert ids == sorted(ids)
    with transaction(database) as connection:
        rows = store.claim(connection, 500, lease_s=30)
    assert [(row.id, row.message) for row in rows] == list(zip(ids, messages, strict=True))


def test_every_field_of_a_message_comes_back(database: Engine, store: OutboxStore) -> None:
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

    with transaction(database) as connection:
        store.insert(connection, [sent])
    with transaction(database) as connection:
        [row] = store.claim(connection, 1, lease_s=30)

    assert row.message == sent
    assert row.attempts == 0
    assert 0 <= row.age_s < 5
    assert row.created_at.tzinfo is not None

"""The bare loop's front: starts go through its outbox table, are published from memory, and receipted."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import psycopg

from bench.bare.broker import Broker, Letter
from bench.order import order

INSERT_OUTBOX = """
    INSERT INTO amends_outbox (message_id, exchange, routing_key, type, correlation_id, body, needs_receipt)
    SELECT message_id, '', %s, 'amends.start', saga_id, body, true
    FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS new (message_id, saga_id, body)
    RETURNING id
"""
SENT = "UPDATE amends_outbox SET sent_at = now() WHERE id = ANY(%s::bigint[])"
RECEIVED = "DELETE FROM amends_outbox WHERE id = ANY(%s::bigint[])"


class BareFront:
    """Places orders. One thread: `turn` it often."""

    def __init__(self, database: str, url: str, prefix: str) -> None:
        self._connection = psycopg.connect(database, autocommit=False)
        self._prefix = prefix
        self._receipts = f"{prefix}.receipts.front"
        queues = [f"{prefix}.coordinator", self._receipts]
        self._broker = Broker(url, queues, self._receipts, 2_000)

    def place(self, numbers: list[str]) -> None:
        """Start a saga for each order: one transaction, then published."""
        starts = [start(number) for number in numbers]
        rows: list[tuple[Any, ...]] = [
            (str(uuid4()), one["saga"], json.dumps(one).encode()) for one in starts
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        with self._connection.cursor() as cursor:
            cursor.execute(INSERT_OUTBOX, (f"{self._prefix}.coordinator", *columns))
            ids = [row[0] for row in cursor.fetchall()]
        self._connection.commit()
        letters = [
            Letter(id_, f"{self._prefix}.coordinator", "amends.start", message_id, body)
            for id_, (message_id, _, body) in zip(ids, rows, strict=True)
        ]
        self._broker.publish(letters, receipt_to=self._receipts)

    def turn(self) -> None:
        """Mark what the broker confirmed, delete what was receipted."""
        confirmed = self._broker.confirmed()
        receipts = self._broker.take(2_000)
        if confirmed or receipts:
            with self._connection.cursor() as cursor:
                if confirmed:
                    cursor.execute(SENT, (confirmed,))
                if receipts:
                    cursor.execute(RECEIVED, ([json.loads(one.body)["row"] for one in receipts],))
            self._connection.commit()
            if receipts:
                self._broker.ack(receipts[-1].tag)


def start(number: str) -> dict[str, Any]:
    """The body of a start message."""
    return {
        "saga": saga_of(number),
        "name": "bench-order",
        "input": order(number),
        "key": number,
        "sent_at": int(time.time() * 1000),
    }


def saga_of(number: str) -> str:
    """The id of an order's saga."""
    return str(uuid5(NAMESPACE_URL, number))

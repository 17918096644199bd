"""The bare loop's participant: barrier, effect and reply in one transaction for each batch."""

from __future__ import annotations

import json
import sys
from select import select
from typing import Any
from uuid import uuid4

import psycopg

from bench.bare.broker import Broker, Delivery, Letter

BATCH = 200
PREFETCH = 1_000

CLAIM = """
    INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, args, result, calls)
    SELECT saga, path, 'do', 1, 'done', true, false, '', args, result, 0
    FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::bytea[]) AS new (saga, path, args, result)
    ORDER BY saga, path ON CONFLICT (saga_id, path, op) DO NOTHING RETURNING saga_id::text
"""
EFFECT = "INSERT INTO effects (saga_id, number) SELECT * FROM unnest(%s::uuid[], %s::text[])"
INSERT_OUTBOX = """
    INSERT INTO amends_outbox (message_id, exchange, routing_key, type, correlation_id, body, owner)
    SELECT message_id, '', queue, 'amends.reply', saga_id, body, %s
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[]) AS new (message_id, queue, saga_id, body)
    RETURNING id
"""
DELETE = "DELETE FROM amends_outbox WHERE id = ANY(%s::bigint[])"
RESULT = {"reference": "R-2026-000123"}


def main() -> None:
    """Run until killed: DATABASE_URL BROKER_URL PREFIX NAME."""
    database, url, prefix, name = sys.argv[1:]
    connection = psycopg.connect(database, autocommit=False)
    answers = f"{prefix}.coordinator"
    broker = Broker(url, [f"{prefix}.{name}.do", answers], f"{prefix}.{name}.do", PREFETCH)
    owner = uuid4()
    confirmed: list[int] = []
    while True:
        deliveries = broker.take(BATCH)
        if not deliveries:
            select(broker.sockets, [], [], 0.05)
        confirmed += broker.confirmed()
        if deliveries:
            broker.publish(_batch(connection, deliveries, name, answers, owner, confirmed))
            confirmed = []
            broker.ack(deliveries[-1].tag)


def _batch(
    connection: psycopg.Connection[Any],
    deliveries: list[Delivery],
    name: str,
    answers: str,
    owner: Any,
    confirmed: list[int],
) -> list[Letter]:
    commands = [json.loads(one.body) for one in deliveries]
    result = json.dumps(RESULT).encode()
    replies = []
    for one in commands:
        reply = {key: one[key] for key in ("saga", "path", "op", "round", "attempt")}
        reply |= {"outcome": "done", "participant": name, "result": RESULT}
        replies.append((str(uuid4()), answers, one["saga"], json.dumps(reply).encode()))
    with connection.cursor() as cursor:
        if confirmed:
            cursor.execute(DELETE, (confirmed,))
        cursor.execute(
            CLAIM,
            (
                [one["saga"] for one in commands],
                [one["path"] for one in commands],
                [json.dumps(one["args"]).encode() for one in commands],
                [result] * len(commands),
            ),
        )
        new = {row[0] for row in cursor.fetchall()}
        fresh = [one for one in commands if one["saga"] in new]
        cursor.execute(EFFECT, ([one["saga"] for one in fresh], [one["args"]["number"] for one in fresh]))
        columns = [list(column) for column in zip(*replies, strict=True)]
        ids = [row[0] for row in cursor.execute(INSERT_OUTBOX, (owner, *columns)).fetchall()]
    connection.commit()
    return [
        Letter(id_, answers, "amends.reply", message_id, body)
        for id_, (message_id, _, _, body) in zip(ids, replies, strict=True)
    ]


if __name__ == "__main__":
    main()

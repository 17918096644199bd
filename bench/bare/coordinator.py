"""The bare loop's coordinator: saga, step, log, timer and outbox rows in amends' tables, a transaction a batch."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from select import select
from typing import Any
from uuid import uuid4

import psycopg

from bench.bare.broker import Broker, Delivery, Letter
from bench.order import STEPS

BATCH = 500
PREFETCH = 2_000
TIMEOUT_MS = 30_000
DEADLINE_MS = 900_000

INSERT_SAGAS = """
    INSERT INTO amends.saga (id, name, version, format, status, backwards, key, labels, input, input_hash,
        start_message, started_ms, clock_ms, deadline_ms, seq, head)
    SELECT id, 'bench-order', 1, 1, 'running', false, key, '{}', input::json, hash, message, ms, ms, deadline, 1,
        head::json
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[])
        AS new (id, key, input, hash, message, ms, deadline, head)
    ON CONFLICT (id) DO NOTHING RETURNING id
"""
LOCK_SAGAS = """
    SELECT id::text, status, seq, input, started_ms FROM amends.saga WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""
UPDATE_SAGAS = """
    UPDATE amends.saga SET status = new.status, clock_ms = new.ms, seq = new.seq, head = new.head::json,
        ended_at = CASE WHEN new.status = 'completed' THEN now() END
    FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::int[], %s::text[]) AS new (id, status, ms, seq, head)
    WHERE saga.id = new.id
"""
SAVE_STEPS = """
    INSERT INTO amends.step (saga_id, path, node, queue, phase, op, round, attempt, spent, since_ms, due_ms,
        did, result)
    SELECT saga_id, path, path, queue, phase, 'do', 1, 1, 0, ms, due, did, result::json
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])
        AS new (saga_id, path, queue, phase, ms, due, did, result)
    ON CONFLICT (saga_id, path) DO UPDATE SET phase = excluded.phase, since_ms = excluded.since_ms,
        due_ms = excluded.due_ms, did = excluded.did, result = excluded.result
"""
APPEND_LOG = """
    INSERT INTO amends.saga_log (saga_id, seq, at_ms, event)
    SELECT saga_id, seq, ms, event::json FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[])
        AS new (saga_id, seq, ms, event)
"""
INSERT_OUTBOX = """
    INSERT INTO amends.outbox (message_id, exchange, routing_key, type, correlation_id, reply_to, expiration_ms, body,
        owner)
    SELECT message_id, '', queue, type, saga_id, 'reply', %s, body, %s
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
        AS new (message_id, queue, type, saga_id, body)
    RETURNING id
"""
ARM = """
    INSERT INTO amends.timer (saga_id, path, attempt, queue, due_at, timeout_ms, outbox_id)
    SELECT saga_id, path, 1, queue, to_timestamp(due / 1000.0), %s, outbox_id
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
        AS new (saga_id, path, queue, due, outbox_id)
"""
DISARM = """
    DELETE FROM amends.timer USING unnest(%s::uuid[], %s::text[]) AS gone (saga_id, path)
    WHERE timer.saga_id = gone.saga_id AND timer.path = gone.path
"""
DISARM_SAGAS = "DELETE FROM amends.timer WHERE saga_id = ANY(%s::uuid[])"
DELETE = "DELETE FROM amends.outbox WHERE id = ANY(%s::bigint[])"

Row = tuple[Any, ...]


@dataclass(slots=True)
class Rows:
    """What one batch writes."""

    sagas: list[Row] = field(default_factory=list)
    updates: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)
    timers: list[Row] = field(default_factory=list)
    disarm: list[Row] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def main() -> None:
    """Run until killed: DATABASE_URL BROKER_URL PREFIX DOOR_PORT."""
    database, url, prefix, port = sys.argv[1:]
    Loop(database, url, prefix, int(port)).run()


class Loop:
    """One thread: take what arrived, decide it in one transaction, publish, acknowledge."""

    def __init__(self, database: str, url: str, prefix: str, port: int) -> None:
        self._connection = psycopg.connect(database, autocommit=False)
        self._prefix = prefix
        queues = [f"{prefix}.coordinator"] + [f"{prefix}.{step.participant}.do" for step in STEPS]
        self._broker = Broker(url, queues, queues[0], PREFETCH)
        self._owner = uuid4()
        self._confirmed: list[int] = []
        self._door = socket.create_server(("127.0.0.1", port), backlog=64)
        self._clients: list[socket.socket] = []

    def run(self) -> None:
        while True:
            deliveries = self._broker.take(BATCH)
            asked = list(self._asked(0.0 if deliveries else 0.05))
            self._confirmed += self._broker.confirmed()
            if deliveries or asked:
                self._batch(deliveries, asked)

    def _asked(self, timeout_s: float) -> Iterator[tuple[socket.socket, bytes]]:
        """Starts at the door: a line of JSON each, answered by a line once they are durable. Waits for anything."""
        for one in select([self._door, *self._clients, *self._broker.sockets], [], [], timeout_s)[0]:
            if one is self._door:
                self._clients.append(one.accept()[0])
            elif one in self._clients:
                line = one.recv(65_536)
                if line:
                    yield one, line
                else:
                    self._clients.remove(one)

    def _batch(self, deliveries: list[Delivery], asked: list[tuple[socket.socket, bytes]]) -> None:
        now = int(time.time() * 1000)
        rows = Rows()
        letters: list[Letter] = []
        receipts: dict[str, list[Letter]] = {}
        starts = [(one.message_id, one.body) for one in deliveries if one.type == "amends.start"]
        starts += [(str(uuid4()), line) for _, line in asked]
        replies = [json.loads(one.body) for one in deliveries if one.type == "amends.reply"]
        with self._connection.cursor() as cursor:
            if self._confirmed:
                cursor.execute(DELETE, (self._confirmed,))
            for message_id, body in starts:
                self._begin(rows, message_id, json.loads(body), now)
            if rows.sagas:
                cursor.execute(INSERT_SAGAS, _columns(sorted(rows.sagas)))
            if replies:
                ids = sorted({reply["saga"] for reply in replies})
                sagas = {row[0]: row for row in cursor.execute(LOCK_SAGAS, (ids,)).fetchall()}
                for reply in sorted(replies, key=lambda one: one["saga"]):
                    self._advance(rows, sagas[reply["saga"]], reply, now)
            for statement, some in (
                (UPDATE_SAGAS, rows.updates),
                (SAVE_STEPS, rows.steps),
                (APPEND_LOG, rows.log),
            ):
                if some:
                    cursor.execute(statement, _columns(some))
            if rows.outbox:
                columns = (TIMEOUT_MS, self._owner, *_columns(rows.outbox))
                ids = [row[0] for row in cursor.execute(INSERT_OUTBOX, columns).fetchall()]
                letters = [
                    Letter(id_, queue, type_, message_id, body, TIMEOUT_MS)
                    for id_, (message_id, queue, type_, _, body) in zip(ids, rows.outbox, strict=True)
                ]
                rows.timers = [(*timer, None if at is None else ids[at]) for *timer, at in rows.timers]
            if rows.ended:
                cursor.execute(DISARM_SAGAS, (rows.ended,))
            if rows.disarm:
                cursor.execute(DISARM, _columns(rows.disarm))
            if rows.timers:
                cursor.execute(ARM, (TIMEOUT_MS, *_columns(sorted(rows.timers, key=lambda one: one[:2]))))
        self._connection.commit()
        self._confirmed = []
        self._broker.publish(letters, reply_to=f"{self._prefix}.coordinator")
        for one in deliveries:
            if "amends-receipt-to" in one.headers:
                receipt = {
                    "message_id": one.message_id,
                    "row": int(one.headers["amends-row"]),
                    "note": "accepted",
                }
                queue = one.headers["amends-receipt-to"]
                letter = Letter(0, queue, "amends.receipt", str(uuid4()), json.dumps(receipt).encode())
                receipts.setdefault(queue, []).append(letter)
        for several in receipts.values():
            self._broker.publish(several)
        for client, _ in asked:
            client.sendall(b"ok\n")
        if deliveries:
            self._broker.ack(deliveries[-1].tag)

    def _begin(self, rows: Rows, message_id: str, start: dict[str, Any], now: int) -> None:
        input_ = json.dumps(start["input"], sort_keys=True)
        digest = hashlib.sha256(input_.encode()).hexdigest()
        head = json.dumps({"flow": "forward", "clock": now, "at": 0})
        deadline = now + DEADLINE_MS
        rows.sagas.append((start["saga"], start["key"], input_, digest, message_id, now, deadline, head))
        rows.log.append((start["saga"], 1, now, json.dumps({"type": "started", "input": digest})))
        self._send(rows, start["saga"], 0, start["input"], now, now)
        rows.timers.append((start["saga"], "", None, deadline, None))

    def _advance(self, rows: Rows, saga: Row, reply: dict[str, Any], now: int) -> None:
        id_, status, seq, input_, started = saga
        done = next(number for number, step in enumerate(STEPS) if step.path == reply["path"])
        if status != "running" or seq != done + 1:
            return  # A copy.
        step = STEPS[done]
        ended = done + 1 == len(STEPS)
        head = json.dumps({"flow": "forward", "clock": now, "at": done + 1})
        rows.updates.append((id_, "completed" if ended else "running", now, seq + 1, head))
        queue = f"{step.participant}.do"
        rows.steps.append((id_, step.path, queue, "settled", now, None, "done", json.dumps(reply["result"])))
        rows.log.append((id_, seq + 1, now, json.dumps({"type": "replied", **reply})))
        if ended:
            rows.ended.append(id_)
        else:
            rows.disarm.append((id_, step.path))
            self._send(rows, id_, done + 1, input_, started, now)

    def _send(
        self, rows: Rows, saga: str, number: int, input_: dict[str, Any], started: int, now: int
    ) -> None:
        step = STEPS[number]
        queue, due = f"{step.participant}.do", now + TIMEOUT_MS
        command = {
            "saga": saga,
            "name": "bench-order",
            "path": step.path,
            "op": "do",
            "command": step.path,
            "round": 1,
            "attempt": 1,
            "args": {name: input_[name] for name in step.args},
            "started_at": started,
            "deadline": started + DEADLINE_MS,
        }
        rows.steps.append((saga, step.path, queue, "awaiting", now, due, "unknown", None))
        body = json.dumps(command).encode()
        rows.timers.append((saga, step.path, queue, due, len(rows.outbox)))
        rows.outbox.append((str(uuid4()), f"{self._prefix}.{queue}", "amends.command", saga, body))


def _columns(rows: list[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    main()

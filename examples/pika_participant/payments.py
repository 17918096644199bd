"""The participant `payments`, with bare pika: `python -m examples.pika_participant.payments AMQP_URL DATABASE PREFIX`.

Nothing of amends is imported. It has no outbox: a reply is confirmed by the broker before its command is acknowledged,
so if it is killed in between the command comes again, and the barrier gives the same answer.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from uuid import uuid4

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from psycopg import Connection
from psycopg.rows import dict_row

from examples.pika_participant.barrier import TABLE, Barrier, Expired, Handler, Json, No

log = logging.getLogger("payments")

QUORUM = {"x-queue-type": "quorum"}
REPEATED = ("saga", "path", "op", "round", "attempt", "closes")
BODY_BYTES_MAX = 1_048_576
DELIVERIES_MAX = 10
ACCOUNTS = (
    "CREATE TABLE IF NOT EXISTS account (card text PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0))"
)


def charge(db: Connection[Json], args: Json) -> Json:
    took = db.execute(
        "UPDATE account SET cents = cents - %(cents)s WHERE card = %(card)s AND cents >= %(cents)s", args
    )
    if not took.rowcount:
        raise No("card declined")
    return {"charged": args["cents"]}


def refund(db: Connection[Json], args: Json) -> None:
    db.execute("UPDATE account SET cents = cents + %(cents)s WHERE card = %(card)s", args)


HANDLERS: dict[tuple[str, str], Handler] = {("do", "charge"): charge, ("undo", "refund"): refund}


class Payments:
    """Two threads, so that compensation never waits behind new work; each has connections of its own."""

    def __init__(self, amqp_url: str, database: str, prefix: str) -> None:
        self.amqp_url = amqp_url
        self.database = database
        self.prefix = prefix
        self.stopping = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self.database) as db:
            db.execute(TABLE)
            db.execute(ACCOUNTS)
        threads = [threading.Thread(target=self.serve, args=(way,)) for way in ("do", "undo")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def serve(self, way: str) -> None:
        while not self.stopping.is_set():
            # With the connection the broker takes back what was not acknowledged; the barrier knows what was done.
            try:
                self.serve_until_lost(way)
            except (AMQPError, psycopg.OperationalError) as error:
                log.warning("connecting again: %r", error)
                self.stopping.wait(0.2)

    def serve_until_lost(self, way: str) -> None:
        parameters = pika.URLParameters(self.amqp_url)
        queue = f"{self.prefix}.payments.{way}"
        # A broker that is short of memory blocks publishers: their connection is another than the consumers'.
        with (
            psycopg.connect(self.database, row_factory=dict_row) as db,
            pika.BlockingConnection(parameters) as consuming,
            pika.BlockingConnection(parameters) as publishing,
        ):
            taken, sent = consuming.channel(), publishing.channel()
            sent.confirm_delivery()
            for name in (queue, f"{self.prefix}.coordinator", f"{self.prefix}.dead"):
                taken.queue_declare(name, durable=True, arguments=QUORUM)
            taken.basic_qos(prefetch_count=10)

            def on_message(
                _: BlockingChannel, method: pika.spec.Basic.Deliver, told: pika.BasicProperties, body: bytes
            ) -> None:
                self.deal_with(db, sent, queue, told, body)
                taken.basic_ack(method.delivery_tag)

            taken.basic_consume(queue, on_message)
            while not self.stopping.is_set():
                consuming.process_data_events(time_limit=0.5)
                publishing.process_data_events(time_limit=0)  # Its heartbeats.

    def deal_with(
        self, db: Connection[Json], sent: BlockingChannel, queue: str, told: pika.BasicProperties, body: bytes
    ) -> None:
        """Obey a command, have its reply confirmed. Raises: AMQPError, OperationalError; then acknowledge nothing."""
        headers = told.headers or {}
        try:
            if told.content_encoding not in (None, "", "utf-8") or len(body) > BODY_BYTES_MAX:
                raise ValueError("compressed or too large")
            if told.type != "amends.command":
                raise ValueError(f"no command: {told.type}")
            command = json.loads(body)
            repeated = {name: command[name] for name in REPEATED if name in command}
            if command["op"] not in ("do", "undo", "confirm", "fence"):
                raise ValueError(f"unknown op {command['op']!r}")
        except (ValueError, KeyError, TypeError) as error:
            self.bury(sent, queue, told, body, str(error))
            return
        if headers.get("x-delivery-count", 0) > DELIVERIES_MAX:
            answer: Json = {"outcome": "failed", "reason": "it may be what kills its reader"}
            self.bury(sent, queue, told, body, answer["reason"])
        else:
            answer = self.obey(db, command)
        reply = {**repeated, "participant": "payments", **answer}
        sent.basic_publish(
            "",
            told.reply_to,
            json.dumps(reply).encode(),
            self.properties("amends.reply", command["saga"]),
            # A caller may be gone by now, and is not waited for; a saga's coordinator never is.
            mandatory=headers.get("amends-answer") != "optional",
        )

    def obey(self, db: Connection[Json], command: Json) -> Json:
        op, name = command["op"], command["command"]
        handler = HANDLERS.get((op, name))
        if op != "fence" and handler is None:
            return {
                "outcome": "failed",
                "reason": f"unknown_command: {name}",
                "spent": False,
                "retry_after_s": 10,
            }
        try:
            with db.transaction():
                db.execute("SET LOCAL lock_timeout = '1s'")
                barrier = Barrier(db, command)
                if op == "fence" or handler is None:
                    return barrier.fence()
                return barrier.do(handler) if op == "do" else barrier.undo(handler)
        except No as no:  # Of an undo: nothing is stored.
            return {"outcome": "refused", "reason": str(no)}
        except Expired:
            return {"outcome": "expired"}
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            return {"outcome": "failed", "reason": str(error), "spent": False}
        except psycopg.OperationalError:
            raise  # The database is away: nobody knows what happened, so nothing is answered.
        except Exception as error:  # noqa: BLE001 - Whatever a handler raises is rolled back, and an answer.
            return {"outcome": "failed", "reason": repr(error)}

    def bury(
        self, sent: BlockingChannel, queue: str, told: pika.BasicProperties, body: bytes, reason: str
    ) -> None:
        """A copy for the dead letters; of a large body only the beginning."""
        properties = self.properties(told.type or "", told.correlation_id)
        properties.headers = {"amends-reason": reason[:500], "amends-queue": queue}
        sent.basic_publish("", f"{self.prefix}.dead", body[:65_536], properties, mandatory=True)

    @staticmethod
    def properties(type_: str, correlation_id: str | None) -> pika.BasicProperties:
        return pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            type=type_,
            message_id=str(uuid4()),
            correlation_id=correlation_id,
            timestamp=int(time.time()),
        )


if __name__ == "__main__":
    payments = Payments(*sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: payments.stopping.set())
    payments.run()

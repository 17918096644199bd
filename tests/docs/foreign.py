"""A participant written from docs/protocol.md alone: no line of amends, as if in another language.

It keeps accounts: `charge` writes a line in a ledger, `refund` writes another. A declined card is a business no, a
broken one fails every time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import amqp
import psycopg
from psycopg.rows import dict_row

QUORUM: Final = {"x-queue-type": "quorum"}
RETENTION_MS: Final = 30 * 86_400_000
DAY_MS: Final = 86_400_000
LEDGER: Final = "CREATE TABLE ledger (no serial PRIMARY KEY, saga uuid, path text, entry text)"
CLAIM: Final = """
    INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls)
    VALUES (%(saga)s, %(path)s, %(row)s, %(round)s, %(as)s, true, false, '', 0) ON CONFLICT DO NOTHING
"""
HOLD: Final = (
    "SELECT * FROM amends_barrier WHERE saga_id = %(saga)s AND path = %(path)s AND op = %(row)s FOR UPDATE"
)
LOOK: Final = "SELECT 1 FROM amends_barrier WHERE saga_id = %(saga)s AND path = %(path)s AND op = %(row)s"
KNOWN: Final = "SELECT 1 FROM amends_barrier WHERE saga_id = %(saga)s AND path = %(path)s"
STORE: Final = """
    UPDATE amends_barrier SET outcome = %(as)s, reason = %(reason)s, args = %(args)s, result = %(result)s,
        round = %(round)s, at = now()
    WHERE saga_id = %(saga)s AND path = %(path)s AND op = %(row)s
"""
FINAL: Final = (
    "UPDATE amends_barrier SET final = true WHERE saga_id = %(saga)s AND path = %(path)s AND op = 'do'"
)

REPEATED: Final = ("saga", "path", "op", "round", "attempt", "closes")

Json = dict[str, Any]


class No(Exception):
    """A business no."""


class Expired(Exception):
    """Older than the barrier's memory."""


class ForeignPayments:
    """Consumes both queues, each with a thread and connections of its own."""

    def __init__(self, amqp_url: str, database_url: str, prefix: str) -> None:
        self._amqp_url = amqp_url
        self._database_url = database_url
        self._prefix = prefix
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(way,)) for way in ("do", "undo")]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> amqp.Connection:
        at = urlsplit(self._amqp_url)
        return amqp.Connection(
            host=f"{at.hostname}:{at.port}",
            userid=unquote(at.username or ""),
            password=unquote(at.password or ""),
            virtual_host=unquote(at.path[1:]) or "/",
            confirm_publish=True,
        )

    def _serve(self, way: str) -> None:
        while not self._stopping.is_set():
            # The broker may turn a consumer away (541) whose queue somebody else is only just declaring.
            with suppress(amqp.ConnectionError, OSError):
                self._serve_until_lost(way)

    def _serve_until_lost(self, way: str) -> None:
        with self._connect() as consuming, self._connect() as publishing:
            taken, sent = consuming.channel(), publishing.channel()
            queue = f"{self._prefix}.payments.{way}"
            taken.queue_declare(queue, durable=True, auto_delete=False, arguments=QUORUM)
            taken.basic_qos(0, 10, False)

            def on_message(message: amqp.Message) -> None:
                command = json.loads(message.body)
                # Confirmed before the command is acknowledged: a reply is lost neither here nor there.
                sent.basic_publish(
                    self._reply(command, self._obey(command)),
                    exchange="",
                    routing_key=message.properties["reply_to"],
                    mandatory=True,
                )
                taken.basic_ack(message.delivery_tag)

            taken.basic_consume(queue, callback=on_message)
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    consuming.drain_events(timeout=0.2)

    def _reply(self, command: Json, answer: Json) -> amqp.Message:
        repeated = {name: value for name, value in command.items() if name in REPEATED}
        return amqp.Message(
            json.dumps({**repeated, "participant": "payments", **answer}),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            type="amends.reply",
            message_id=str(uuid4()),
            correlation_id=command["saga"],
            timestamp=int(time.time()),
        )

    def _obey(self, command: Json) -> Json:
        try:
            with psycopg.connect(self._database_url, row_factory=dict_row) as connection:
                connection.execute("SET LOCAL lock_timeout = '1s'")
                return Barrier(connection, command).answer()
        except No as no:  # Of an undo or confirm: the transaction is rolled back, nothing is stored.
            return {"outcome": "refused", "reason": str(no)}
        except Expired:
            return {"outcome": "expired"}
        except psycopg.errors.LockNotAvailable:
            return {"outcome": "failed", "reason": "locked", "spent": False}
        except ZeroDivisionError as error:
            answer = {"outcome": "failed", "reason": str(error)}
        repeated = {
            name: command[name]
            for name in ("saga", "path", "op", "round", "attempt", "closes")
            if name in command
        }
        return {**repeated, "participant": "payments", **answer}


class Barrier:
    """One command, in an open transaction."""

    def __init__(self, connection: psycopg.Connection[Json], command: Json) -> None:
        self._db = connection
        self._command = command
        self._key = {"saga": command["saga"], "path": command["path"], "round": command["round"]}

    def answer(self) -> Json:
        if self._command["op"] == "fence":
            return {"undo": self._close_undo, "confirm": self._close_confirm}.get(
                self._command.get("closes", ""), self._fence
            )()
        handlers: dict[tuple[str, str], Callable[[], Json]] = {
            ("do", "charge"): self._do,
            ("undo", "refund"): self._undo,
        }
        handler = handlers.get((self._command["op"], self._command["command"]))
        if handler is None:
            return {"outcome": "failed", "reason": "unknown_command", "spent": False, "retry_after_s": 10}
        return handler()

    def _do(self) -> Json:
        standing = self._claim("do", "calling")
        undone = self._db.execute(LOOK, {**self._key, "row": "undo"}).fetchone()
        if undone or (standing and standing["outcome"] == "never"):
            return {"outcome": "refused", "reason": "undone or fenced"}
        if standing and (
            standing["outcome"] == "done" or standing["final"] or self._command["round"] <= standing["round"]
        ):
            return self._again(standing)
        try:
            with self._db.transaction():  # The savepoint.
                result = self._charge(self._command["args"])
        except No as no:
            self._store("do", "refused", reason=str(no))
            return {"outcome": "refused", "reason": str(no)}
        self._store("do", "done", args=self._command["args"], result=result)
        return {"outcome": "done", "result": result}

    def _undo(self) -> Json:
        own = self._claim("undo", "nothing")
        if own:
            return {"outcome": own["outcome"]}
        do = self._claim("do", "never")
        if do is None or do["outcome"] != "done":
            return {"outcome": "nothing"}
        self._enter("refund")
        self._store("undo", "done")
        return {"outcome": "done"}

    def _fence(self) -> Json:
        standing = self._claim("do", "never")
        if standing is None or standing["outcome"] == "never":
            return {"outcome": "never"}
        if standing["outcome"] == "refused":
            self._db.execute(FINAL, self._key)
        return self._again(standing)

    def _close_undo(self) -> Json:
        own = self._claim("undo", "never")
        if own:
            return {"outcome": own["outcome"]}
        self._claim("do", "never")
        return {"outcome": "never"}

    def _close_confirm(self) -> Json:
        own = self._claim("confirm", "never")
        return {"outcome": own["outcome"] if own else "never"}

    def _claim(self, row: str, outcome: str) -> Json | None:
        """None if the row is ours, otherwise the row that stands, held."""
        key = {**self._key, "row": row, "as": outcome}
        too_old = self._command["started_at"] < time.time() * 1000 - RETENTION_MS + DAY_MS
        if too_old and not self._db.execute(KNOWN, key).fetchone():
            raise Expired
        if self._db.execute(CLAIM, key).rowcount:
            return None
        return self._db.execute(HOLD, key).fetchone()

    def _store(
        self, row: str, outcome: str, *, reason: str = "", args: Any = None, result: Any = None
    ) -> None:
        stored = {"args": json.dumps(args).encode(), "result": json.dumps(result).encode(), "reason": reason}
        self._db.execute(STORE, {**self._key, "row": row, "as": outcome, **stored})

    def _again(self, standing: Json) -> Json:
        answer = {
            "outcome": standing["outcome"],
            "reason": standing["reason"],
            "certain": standing["certain"],
        }
        if standing["result"] is not None:
            answer["result"] = json.loads(standing["result"])
        if standing["round"] != self._command["round"]:
            answer["ran_in_round"] = standing["round"]
        return answer

    def _charge(self, args: Json) -> Json:
        self._enter("charge")
        if args["card"] == "declined":
            raise No("card declined")
        if args["card"] == "broken":
            raise ZeroDivisionError("the till is broken")
        return {"charged": args["card"]}

    def _enter(self, entry: str) -> None:
        self._db.execute(
            "INSERT INTO ledger (saga, path, entry) VALUES (%s, %s, %s)",
            (self._command["saga"], self._command["path"], entry),
        )

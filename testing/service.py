"""A participant whose commands are obeyed in the calling thread, one at a time, by the worker's own parts."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Final

from sqlalchemy import Connection, delete
from sqlalchemy.exc import DBAPIError

from amends.db.crashpoints import crash_point
from amends.db.tables import participant as tables
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import Delivery, coordinator_queue
from amends.outbox.store import OutboxStore
from amends.outbox.wire import Command, Op
from amends.participants.barrier.barrier import Barrier
from amends.participants.barrier.pruning import RETENTION_S
from amends.participants.barrier.store import BarrierStore
from amends.participants.errors import HandlerEndedTransaction
from amends.participants.locks.store import LockStore
from amends.participants.metrics import metrics_in
from amends.participants.participant import Participant
from amends.participants.worker.calling import Caller
from amends.participants.worker.execution import Execution
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Unit, as_told
from amends.testing.workplaces import Workplace

PREFIX: Final = "amends"
_LIMITS: Final = WorkerSettings()


class Transactions:
    """Transactions in a workplace: what the block does, and its messages' outbox rows.

    What was committed stands in `committed`, until it is taken out. Nothing is published from here.
    """

    def __init__(self, place: Workplace, store: OutboxStore) -> None:
        self._place = place
        self._store = store
        self.committed: list[tuple[int, Message]] = []

    @contextmanager
    def begin(self) -> Iterator[Unit]:
        """Raises: HandlerEndedTransaction, MessageTooLarge, StoreUnavailable, and what the block raises."""
        with self._place.transaction() as connection:
            unit = Unit(connection)
            yield unit
            try:
                for statement in unit.last:
                    connection.exec_driver_sql(*statement)
            except DBAPIError as error:
                raise as_told(error) from error
            ids = self._store.insert(connection, unit.messages)
            crash_point("participant.commit.before")
        self.committed += zip(ids, unit.messages, strict=True)
        crash_point("participant.commit.after")


class Unstored:
    """Takes the answers that need no outbox row."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, messages: Sequence[Message]) -> None:
        """Keep them until they are taken out."""
        self.messages += messages


class Watched(Execution):
    """Tells afterwards what handlers raised that the worker answers for them."""

    raised: BaseException | None = None

    def _failed(self, error: BaseException) -> Any:
        self.raised = error
        return super()._failed(error)


class Service:
    """One participant in one workplace."""

    def __init__(self, participant: Participant, place: Workplace, *, prefix: str = PREFIX) -> None:
        """No I/O. Raises: UnsupportedDatabase."""
        self.participant = participant
        self.place = place
        self.store = OutboxStore(tables.outbox, tables.owner)
        self._transactions = Transactions(place, self.store)
        self._unstored = Unstored()
        self._prefix = prefix
        self._tags = count(1)
        dialect = place.engine.dialect.name
        barrier = Barrier(
            BarrierStore(dialect, retention_s=RETENTION_S, lock_timeout_s=_LIMITS.lock_timeout_s)
        )
        self._execution = Watched(
            # What a Celery task does in life is done here and now, by the same function.
            participant.with_handlers(
                lambda handler: replace(handler, hand_over=None), lambda together: together
            ),
            prefix,
            barrier,
            self._transactions,
            self._unstored,
            TransactionGuard(place.guarded),  # type: ignore[arg-type] # A connection takes the same listeners.
            metrics_in(),
            lease_s=_LIMITS.lease_s,
            batch=BatchSize(1),
            together_max=1,
            stopwatch=Stopwatch(_LIMITS.time_limit_s, lambda: None),
            locks=LockStore(dialect),
        )

    def obey(self, command: Command) -> list[Message]:
        """Take one command through the barrier, as a worker does; what was answered and committed with it.

        Raises: HandlerEndedTransaction (B4), StoreUnavailable.
        """
        delivery = Delivery(
            tag=next(self._tags),
            queue=f"{self._prefix}.{self.participant.name}.{'do' if command.op is Op.DO else 'undo'}",
            body=wire.encode(command),
            type=wire.COMMAND,
            correlation_id=command.saga,
            reply_to=coordinator_queue(self._prefix),
        )
        self.take(delivery)
        return self.answers()

    def take(self, delivery: Delivery) -> None:
        """Deal with one message of a command queue. Raises: as `obey`."""
        self._execution.raised = None

        def act() -> None:
            caller = Caller(_LIMITS.time_limit_s)
            try:
                self._execution.obey([delivery], caller, lambda _: None)
            finally:
                caller.close()

        beside_a_loop(act)
        if isinstance(self._execution.raised, HandlerEndedTransaction):
            raise self._execution.raised

    @property
    def raised(self) -> BaseException | None:
        """What the last command's handler raised, beside a refusal."""
        return self._execution.raised

    def answers(self) -> list[Message]:
        """What was answered since the last time, and take it out of the outbox: nobody else is to carry it."""
        stored, self._transactions.committed = self._transactions.committed, []
        unstored, self._unstored.messages = self._unstored.messages, []
        if stored:
            with self.place.transaction() as connection:
                self.store.delete(connection, [id_ for id_, _ in stored])
        return [message for _, message in stored] + unstored

    def outbox(self) -> list[Message]:
        """What stands in the outbox, oldest first."""
        with self.place.transaction() as connection:
            return [_message(row) for row in _rows(connection)]

    def take_outbox(self) -> list[Message]:
        """The same, and take it out."""
        with self.place.transaction() as connection:
            rows = _rows(connection)
            if rows:
                connection.execute(
                    delete(tables.outbox).where(tables.outbox.c.id.in_([row["id"] for row in rows]))
                )
        return [_message(row) for row in rows]


def beside_a_loop(act: Callable[[], None]) -> None:
    """Do it here; in a test that runs in an event loop, beside it: an async handler brings a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        act()
        return
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, "amends-testing") as threads:
        threads.submit(context.run, act).result()


def _rows(connection: Connection) -> Sequence[Any]:
    return connection.execute(tables.outbox.select().order_by(tables.outbox.c.id)).mappings().all()


def _message(row: Any) -> Message:
    import json

    return Message(
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        type=row["type"],
        body=bytes(row["body"]),
        message_id=row["message_id"],
        correlation_id=row["correlation_id"],
        reply_to=row["reply_to"],
        headers=json.loads(row["headers"]),
        key=row["ordering_key"],
        needs_receipt=row["needs_receipt"],
    )

"""In a Celery worker: a command passes the barrier, runs, and its reply is put, in one transaction (B1).

Each process has an engine and an execution of its own, made at its first task: Celery forks its workers.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from celery.exceptions import Reject
from sqlalchemy import Engine

from amends.db.crashpoints import arm, crash_point
from amends.db.engines import open_engine
from amends.db.tables import participant as tables
from amends.outbox.backoff import Backoff
from amends.outbox.store import OutboxStore
from amends.participants.barrier.barrier import Barrier
from amends.participants.barrier.store import BarrierStore
from amends.participants.celery.handing_over import NoCommand, Received
from amends.participants.celery.swept import Swept
from amends.participants.config import task_settings
from amends.participants.limits import NO_LIMITS
from amends.participants.locks.store import LockStore
from amends.participants.metrics import metrics_in
from amends.participants.participant import Handler, Participant
from amends.participants.worker.calling import Caller
from amends.participants.worker.databases import own_engine, require_ready
from amends.participants.worker.execution import Execution
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.settings import LEASE_MARGIN_S
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Transactions

if TYPE_CHECKING:
    from amends.participants.celery.participant import TaskCommand

log = logging.getLogger(__name__)

_AGAIN_FIRST_S: Final = 0.5
_AGAIN_LONGEST_S: Final = 10.0
_POOL_MAX: Final = 50  # Opened when they are used: one by each thread of a Celery worker.


class Obeying:
    """Obeys the commands of one participant in whichever process it is asked. Thread-safe."""

    def __init__(
        self,
        participant: Participant,
        tasks: Mapping[str, TaskCommand],
        database: Engine | str | None,
        *,
        retention_s: float,
        lock_timeout_s: float,
    ) -> None:
        """No I/O."""
        self._participant = participant
        self._tasks = tasks
        self._database = database
        self._retention_s = retention_s
        self._lock_timeout_s = lock_timeout_s
        self._born_in = self._lives_in = os.getpid()
        self._lock = threading.Lock()
        self._callers = threading.local()
        self._executions: dict[str, Execution] = {}
        self._engine: Engine | None = None
        self._again = Backoff(_AGAIN_FIRST_S, _AGAIN_LONGEST_S)

    def obey(self, receive: Callable[[], Received]) -> None:
        """Deal with a command, durably: after this Celery may acknowledge it.

        Raises: NoCommand, and the task fails; Reject, so that it goes back to its queue, if the database or the codec
        is away, or for any fault of our own. That is raised after a while that grows, so that a queue does not spin.
        With `acks_late=False` it was acknowledged long ago: then the saga sends it again.
        """
        try:
            received = receive()
            self._execution(received.prefix).obey([received.delivery], self._caller(), lambda _: None)
            self._again.reset()
        except NoCommand:
            raise
        except Exception as error:
            wait_s = self._again.next_s()
            log.warning(
                "command_not_answered",
                exc_info=error,
                extra={"participant": self._participant.name, "again_in_s": wait_s},
            )
            time.sleep(wait_s)
            raise Reject(error, requeue=True) from error
        crash_point("participant.ack.before")

    def _caller(self) -> Caller:
        """This thread's: its async handlers share a loop."""
        if getattr(self._callers, "pid", None) != os.getpid():
            self._callers.pid = os.getpid()
            self._callers.caller = Caller(self._time_limit_s)
        caller: Caller = self._callers.caller
        return caller

    @property
    def _time_limit_s(self) -> float:
        return max((task.limits.time_limit_s or 0.0 for task in self._tasks.values()), default=60.0)

    def _execution(self, prefix: str) -> Execution:
        with self._lock:
            if self._lives_in != os.getpid():
                # What was opened before the fork belongs to the parent.
                self._executions, self._engine = {}, None
                self._lives_in = os.getpid()
            found = self._executions.get(prefix)
            if found is None:
                found = self._executions[prefix] = self._made(prefix)
            return found

    def _made(self, prefix: str) -> Execution:
        """Raises: SchemaOutdated, UnsupportedDatabase, StoreUnavailable, InvalidSetting."""
        if self._engine is None:
            self._engine = self._opened()
        own = own_engine(self._engine)
        require_ready(own)
        store = OutboxStore(tables.outbox, tables.owner)
        post = Swept(own, store)
        barrier = BarrierStore(
            own.dialect.name, retention_s=self._retention_s, lock_timeout_s=self._lock_timeout_s
        )
        return Execution(
            self._participant.with_handlers(self._here, lambda together: together),
            prefix,
            Barrier(barrier),
            Transactions(own, store, post),
            post,
            TransactionGuard(own),
            metrics_in(),
            lease_s=self._time_limit_s + LEASE_MARGIN_S,
            batch=BatchSize(1),
            together_max=1,
            # Celery keeps the time.
            stopwatch=Stopwatch(self._time_limit_s, lambda: None),
            locks=LockStore(own.dialect.name),
        )

    def _here(self, handler: Handler) -> Handler:
        task = self._tasks.get(handler.name) if handler.hand_over is not None else None
        return replace(handler, hand_over=None, limits=NO_LIMITS if task is None else task.limits)

    def _opened(self) -> Engine:
        if isinstance(self._database, Engine):
            if self._born_in != os.getpid():
                self._database.dispose(close=False)
            return self._database
        settings = task_settings(self._database)
        arm(settings.crash_at)
        return open_engine(
            settings.database_url,
            pool_max=_POOL_MAX,
            statement_timeout_s=max(30.0, self._time_limit_s),
            label=f"amends {self._participant.name} task",
        )

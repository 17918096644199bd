"""Taking commands through a barrier, each in a transaction of its own, as the worker does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, select, update

from amends.db.engines import transaction
from amends.db.tables.participant import barrier as barrier_table
from amends.outbox.wire import Command, Op
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import Barrier, Intent
from amends.participants.barrier.judge import Run
from amends.participants.barrier.store import BarrierStore
from amends.participants.errors import Refused
from tests.participants.coordinator import command
from tests.participants.shop import count, record
from tests.waiting import DEADLINE_S

DAY_S = 86_400.0
Handle = Callable[[Run, Connection], bytes]


@dataclass
class Ran:
    """A handler that records its effect and remembers what it was run with.

    With `hold` it says so by `running` and waits, in the middle of its transaction, until `hold` is set.
    """

    result: bytes = b'"fine"'
    raises: BaseException | None = None
    hold: threading.Event | None = None
    runs: list[Run] = field(default_factory=list)
    running: threading.Event = field(default_factory=threading.Event)
    name: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, run: Run, connection: Connection) -> bytes:
        self.runs.append(run)
        record(connection, "effect", self.name)
        self.running.set()
        if self.hold is not None:
            assert self.hold.wait(DEADLINE_S)
        if self.raises is not None:
            raise self.raises
        return self.result

    def effects(self, engine: Engine) -> int:
        """How many of its effects are there."""
        return count(engine, "effect", self.name)


class Step:
    """One step instance of a new saga, and the barrier its commands go through."""

    def __init__(
        self,
        engine: Engine,
        *,
        retention_s: float = 30 * DAY_S,
        lock_timeout_s: float = 1.0,
        age_s: float = 0,
    ) -> None:
        self.engine = engine
        self.saga = str(uuid4())
        self.started_at = int((time.time() - age_s) * 1000)
        self.barrier = Barrier(
            BarrierStore(engine.dialect.name, retention_s=retention_s, lock_timeout_s=lock_timeout_s)
        )

    def command(self, op: Op, **fields: Any) -> Command:
        """A command to this step."""
        given: dict[str, Any] = {"saga": self.saga, "path": "step", "op": op, "started_at": self.started_at}
        return command("step", fields.pop("args", "the args"), **{**given, **fields})

    def do(self, handle: Handle | None = None, **fields: Any) -> Answer:
        """B1."""
        return self._pass(self.barrier.do, self.command(Op.DO, **fields), handle or Ran())

    def undo(self, handle: Handle | None = None, **fields: Any) -> Answer:
        """B2."""
        return self._pass(self.barrier.undo, self.command(Op.UNDO, **fields), handle or Ran())

    def confirm(self, handle: Handle | None = None, **fields: Any) -> Answer:
        """B3."""
        return self._pass(self.barrier.confirm, self.command(Op.CONFIRM, **fields), handle or Ran())

    def fence(self, closes: Op | None = None, **fields: Any) -> Answer:
        """B3: plain, or closing."""
        with transaction(self.engine) as connection:
            return self._keep(
                connection, self.barrier.fence(connection, self.command(Op.FENCE, closes=closes, **fields))
            )

    def intend(self, lease_s: float = 60, **fields: Any) -> Answer | Intent:
        """B5: the first transaction of an external call."""
        with transaction(self.engine) as connection:
            return self.barrier.intend(connection, self.command(Op.DO, **fields), lease_s)

    def conclude(self, intent: Intent, outcome: bytes | Refused, **fields: Any) -> Answer:
        """B5: the last one: over one's own lease, or what stands instead."""
        with transaction(self.engine) as connection:
            sent = self.command(Op.DO, **fields)
            if not self.barrier.hold(connection, intent):
                return self.barrier.standing(connection, sent)
            return self.barrier.conclude(connection, sent, intent, outcome)

    def give_up(self, intent: Intent) -> None:
        """B5: the call failed."""
        with transaction(self.engine) as connection:
            self.barrier.give_up(connection, intent)

    def rows(self) -> dict[str, str]:
        """What stands: op to outcome."""
        query = select(barrier_table).where(barrier_table.c.saga_id == UUID(self.saga))
        with self.engine.connect() as connection:
            return {row.op: row.outcome for row in connection.execute(query)}

    def row(self, op: Op = Op.DO) -> Any:
        """One row as it stands."""
        query = select(barrier_table).where(
            barrier_table.c.saga_id == UUID(self.saga), barrier_table.c.op == op.value
        )
        with self.engine.connect() as connection:
            return connection.execute(query).one()

    def change_row(self, op: Op, **values: Any) -> None:
        """Set columns of a standing row, as time or an accident would."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(barrier_table)
                .where(barrier_table.c.saga_id == UUID(self.saga), barrier_table.c.op == op.value)
                .values(**values)
            )

    def _pass(self, through: Callable[..., Answer], sent: Command, handle: Handle) -> Answer:
        with transaction(self.engine) as connection:
            return self._keep(connection, through(connection, sent, lambda run: handle(run, connection)))

    @staticmethod
    def _keep(connection: Connection, answer: Answer) -> Answer:
        """As the worker: what wrote nothing is rolled back."""
        if not answer.durable:
            connection.rollback()
        return answer

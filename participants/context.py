"""What a handler is told beside its payload: for which saga and step it works, and the open transaction."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from amends.outbox.message import Message
from amends.outbox.wire import Op
from amends.participants.errors import NoTransaction, SoftTimeLimit

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

KEY_CHARS_MAX: Final = 255  # What payment providers take as an idempotency key.


class Workspace(Protocol):
    """Where a handler's effects go: the transaction that will also hold their outcome."""

    @property
    def connection(self) -> Connection:
        """The open connection. Raises: NoTransaction."""

    @property
    def session(self) -> Session:
        """An ORM session on that connection, the same one at every call. Raises: NoTransaction."""


class Locking(Protocol):
    """How a handler takes locks."""

    def take(self, name: str, *, wait: bool) -> None:
        """Have this lock, or raise."""


class NoLocks:
    """Where no worker is around the handler."""

    def take(self, name: str, *, wait: bool) -> None:  # noqa: ARG002 - As whoever takes them wants it.
        """Raises: NoTransaction."""
        raise NoTransaction(f"lock {name!r}: here is no saga whose end would let it go")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ctx:
    """One run of one handler.

    `path` is the step's place in the saga, `attempt` how often something was sent to it, `round` how often an
    operator began anew. `deadline` is the saga's, advisory. `certain` is False in an undo whose `do` is in doubt:
    it may or may not have happened, and must be voided by `do_idempotency_key` (B5). `traceparent` and `tracestate` are
    the W3C trace context to pass on to whoever is called.
    """

    saga: str
    saga_name: str
    path: str
    op: Op
    round: int
    attempt: int
    deadline: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    certain: bool = True
    traceparent: str = ""
    tracestate: str = ""
    ends_at: float = field(
        default=math.inf, repr=False
    )  # time.monotonic() at which its soft time limit is reached
    workspace: Workspace = field(repr=False)
    locking: Locking = field(default=NoLocks(), repr=False)

    @property
    def connection(self) -> Connection:
        """The connection whose transaction also holds the barrier row and the reply; do not commit it.

        In a handler of an `external=True` command it opens that transaction at its first use: call the outside
        first, then record here what it said.
        """
        return self.workspace.connection

    @property
    def session(self) -> Session:
        """An ORM session on `connection`; it is flushed after the handler."""
        return self.workspace.session

    @property
    def asession(self) -> AsyncSession:
        """For an async handler: an AsyncSession on `session`, in the same transaction; the same one at every call.

        A statement waits in this handler's thread, whose event loop nobody else uses: tasks of the handler's own wait
        with it. Objects that only an async connection has (`asession.connection()`, `asession.bind`) it cannot give.
        Raises: MissingExtra.
        """
        from amends.participants.asyncio.sessions import async_session

        return async_session(self.session)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and round of this op of this step: pass it to whoever is called outside."""
        return idempotency_key(self.saga, self.path, self.op)

    @property
    def do_idempotency_key(self) -> str:
        """The key under which this step's `do` called outside: what its undo voids."""
        return idempotency_key(self.saga, self.path, Op.DO)

    @property
    def time_left_s(self) -> float:
        """Seconds until this handler's soft time limit, or else its time limit; below 0 if that is over."""
        return self.ends_at - time.monotonic()

    def check_time(self) -> None:
        """Return if there is time left. Call it where it is safe to stop: in a loop, before a slow call.

        Raises: SoftTimeLimit. Not caught, it rolls the handler back, and the command is tried again.
        """
        if self.time_left_s <= 0:
            raise SoftTimeLimit(-self.time_left_s)

    def lock(self, name: str, *, wait: bool = True) -> None:
        """Have this lock for the saga, in this database, until the saga ends; at once, if the saga has it already.

        If another saga has it the handler is rolled back and the command waits its turn, in the order of arrival;
        with `wait=False` it is refused. A saga that holds locks is refused too where the other is older (L2). Take
        locks first: in a command, before its effects, and before the saga's pivot.

        Raises: LockWanted, Refused; let them pass. ParticipantError in an external handler, and in an undo or confirm
        whose saga does not have the lock.
        """
        self.locking.take(name, wait=wait)

    def put(self, message: Message) -> None:
        """Send a message if, and only if, this handler's transaction commits."""
        from amends.outbox import put

        put(self.connection, message)


def idempotency_key(saga: str, path: str, op: Op) -> str:
    """`saga/path/op`; a path that makes it longer than 255 characters is replaced by its hash."""
    key = f"{saga}/{path}/{op}"
    return key if len(key) <= KEY_CHARS_MAX else f"{saga}/{sha256(path.encode()).hexdigest()}/{op}"

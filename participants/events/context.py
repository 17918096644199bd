"""What a handler of an event, or of a saga's end, is told beside it: attributes, and the open transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from amends.outbox.message import Message
from amends.participants.context import Workspace
from amends.participants.events.emitting import emit
from amends.participants.events.types import EventType

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session


class InTransaction:
    """The open transaction of a handler, and what it may send in that."""

    __slots__ = ()

    workspace: Workspace
    participant: str
    prefix: str

    @property
    def connection(self) -> Connection:
        """The connection whose transaction also remembers that this was heard of; do not commit it."""
        return self.workspace.connection

    @property
    def session(self) -> Session:
        """An ORM session on `connection`; it is flushed after the handler."""
        return self.workspace.session

    @property
    def asession(self) -> AsyncSession:
        """For an async handler: as `Ctx.asession`. Raises: MissingExtra."""
        from amends.participants.asyncio.sessions import async_session

        return async_session(self.session)

    def put(self, message: Message) -> None:
        """Send a message if, and only if, this handler's transaction commits."""
        from amends.outbox import put

        put(self.connection, message)

    def emit(
        self,
        type: str | EventType,  # noqa: A002 - CloudEvents' word.
        data: Any = None,
        *,
        version: int | None = None,
        key: str | None = None,
        subject: str = "",
    ) -> str:
        """Tell of an event of one's own if this handler's transaction commits; gives its id. Raises: as `emit`."""
        return emit(
            self.connection,
            type,
            data,
            source=f"/{self.prefix}/{self.participant}",
            version=version,
            key=key,
            subject=subject,
            prefix=self.prefix,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCtx(InTransaction):
    """One run of one handler for one event.

    `id` and `source` name the event; `version` is that of its data's schema. `key` is what it was ordered by, and
    `row` a number that rises with every event of that key from that source, if it has a key: a handler that keeps the
    highest can tell that an event has been overtaken. `time` is when it was emitted, by the emitter's clock. `saga` is
    the saga that emitted it, if one did. `attempt` counts from 1.
    """

    id: str
    source: str
    type: str
    version: int
    subject: str
    time: datetime | None
    key: str
    row: int | None
    saga: str
    attempt: int
    participant: str
    prefix: str
    traceparent: str = ""
    workspace: Workspace = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCtx(InTransaction):
    """One run of one handler for one saga that has ended. `attempt` counts from 1."""

    saga: str
    attempt: int
    participant: str
    prefix: str
    traceparent: str = ""
    workspace: Workspace = field(repr=False)

"""An AsyncSession for an async handler, in the transaction that also holds the barrier's row and the reply.

A worker's thread runs one handler at a time, in an event loop of its own, on a plain connection. The AsyncSession works
on that connection through the handler's Session: each statement is a wait for this thread and its loop, and for nobody
else, as it is in a plain handler. So none can be cancelled halfway, and what guards the transaction guards it here too.

Not to be imported before it is used: it needs SQLAlchemy's asyncio extension.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final, NoReturn, cast

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from amends.db.errors import MissingExtra

_KEPT_AS: Final = "amends.asession"


class HandlerAsyncSession(AsyncSession):
    """An AsyncSession whose every statement runs on a handler's Session, in its thread."""

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        """As an AsyncSession's. The rows are here when it returns: SQLAlchemy's own would await the driver's cursor."""
        given = {name: value for name, value in options.items() if value is not None}
        return await self.run_sync(lambda session: session.execute(statement, params, **given))

    async def connection(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not here. Raises: InvalidRequestError."""
        raise InvalidRequestError(
            "a handler's AsyncSession has no AsyncConnection; use execute(), or ctx.connection, which is a plain one"
        )

    async def stream(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not here. Raises: InvalidRequestError."""
        raise InvalidRequestError(
            "a handler's AsyncSession does not stream; use execute(), and limit its rows"
        )

    async def stream_scalars(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not here. Raises: InvalidRequestError."""
        await self.stream()


def async_session(session: Session) -> AsyncSession:
    """An AsyncSession whose every statement runs on this session; the same one at every call.

    Its commit, rollback and close are the session's. Raises: MissingExtra without greenlet.
    """
    kept = session.info.get(_KEPT_AS)
    if kept is None:
        if find_spec("greenlet") is None:
            raise MissingExtra("ctx.asession", "asyncio")

        def the_same(**_options: Any) -> Session:
            return session

        # Called once, for the session to wrap: a class would make another.
        kept = HandlerAsyncSession(sync_session_class=cast("type[Session]", the_same))
        session.info[_KEPT_AS] = kept
    return cast("AsyncSession", kept)

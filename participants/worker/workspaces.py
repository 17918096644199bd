"""Where a handler's effects go: the transaction under way, or for external handlers one that is opened when asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amends.db.errors import StoreUnavailable
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.transactions import Unit

RUNNING_ELSEWHERE: Final = "the lease of this external call has run out and another attempt has it"


class LeaseLost(Exception):
    """An external call is no more ours to tell of: another attempt has taken it over, or it was closed."""


class HeldWorkspace:
    """The open transaction of a handler. Only the handler's thread uses it."""

    def __init__(self, connection: Connection, guard: TransactionGuard) -> None:
        self._connection = connection
        self._guard = guard
        self._session: Session | None = None
        self.locked: set[str] = set()  # the sagas that have taken a lock, or asked for one that they have

    @property
    def connection(self) -> Connection:
        self._guard.watch(self._connection)
        return self._connection

    @property
    def session(self) -> Session:
        if self._session is None:
            self._session = self._guard.session(self.connection)
        return self._session

    @property
    def lost(self) -> bool:
        """Whether the database broke off under the handler."""
        return self._connection.invalidated

    def finish(self) -> None:
        """Write what the session still holds, once the handler is no more watched."""
        if self._session is not None:
            self._session.commit()

    def close(self) -> None:
        """Let go of the session; the transaction stays."""
        if self._session is not None:
            self._session.close()


class LateWorkspace:
    """The transaction that will hold an external call's outcome: opened at its first use, over one's own lease.

    A context manager: leaving it commits if a transaction was opened, and rolls that back on an error.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Unit]],
        hold: Callable[[Connection], bool],
        guard: TransactionGuard,
    ) -> None:
        self._begin = begin
        self._hold = hold
        self._guard = guard
        self._stack = ExitStack()
        self._unit: Unit | None = None
        self._held: HeldWorkspace | None = None
        self._unreachable = False
        self.locked: set[str] = set()  # Empty: an external handler takes no locks.

    def __enter__(self) -> LateWorkspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)

    @property
    def connection(self) -> Connection:
        return self._workspace().connection

    @property
    def session(self) -> Session:
        return self._workspace().session

    @property
    def unit(self) -> Unit:
        """The transaction, opened if it was not. Raises: LeaseLost, StoreUnavailable."""
        if self._unit is None:
            try:
                unit = self._stack.enter_context(self._begin())
            except StoreUnavailable:
                self._unreachable = True
                raise
            if not self._hold(unit.connection):
                raise LeaseLost(RUNNING_ELSEWHERE)
            self._unit = unit
        return self._unit

    @property
    def opened(self) -> bool:
        """Whether the transaction was opened."""
        return self._unit is not None

    @property
    def lost(self) -> bool:
        """Whether the database could not be reached, or broke off, under the handler."""
        return self._unreachable or (self._unit is not None and self._unit.connection.invalidated)

    def finish(self) -> None:
        """Write what the session still holds, once the handler is no more watched."""
        if self._held is not None:
            self._held.finish()

    def close(self) -> None:
        """Let go of the session; the transaction stays."""
        if self._held is not None:
            self._held.close()

    def _workspace(self) -> HeldWorkspace:
        if self._held is None:
            self._held = HeldWorkspace(self.unit.connection, self._guard)
        return self._held

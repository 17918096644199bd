"""What an error means for the command that met it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import DBAPIError

from amends.db import mysql
from amends.db.mysql import code
from amends.outbox.wire import LOCK_HELD
from amends.participants.barrier.answers import Answer, failed
from amends.participants.errors import BreakerOpen, Failed, ParticipantError

LOCK_TIMEOUT: Final = "55P03"
IDLE_TIMEOUT: Final = "25P03"
_CONFLICTS: Final = ("40P01", "40001")  # a deadlock, a serialization failure
_OF_MYSQL: Final[Mapping[int | None, str]] = {mysql.LOCK_TIMEOUT: LOCK_TIMEOUT, mysql.DEADLOCK: "40P01"}


class HandlerRaised(Exception):
    """Carries what a handler raised through the transaction, so that it is not taken for the worker's own trouble."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


def is_conflict(error: BaseException) -> bool:
    """Whether running the transaction again is likely to succeed (B7)."""
    return sqlstate(error) in _CONFLICTS


def is_idle_timeout(error: BaseException) -> bool:
    """Whether the database broke off because the handler let its transaction idle for too long."""
    return sqlstate(error) == IDLE_TIMEOUT


def sqlstate(error: BaseException | None) -> str | None:
    """What PostgreSQL calls the error, if a database raised it."""
    if not isinstance(error, DBAPIError):
        return None
    return _OF_MYSQL.get(code(error.orig)) or getattr(error.orig, "sqlstate", None)


def transient(error: BaseException) -> Answer:
    """The failed answer for what a handler or the barrier's own statements raised (M3)."""
    if isinstance(error, Failed):
        return failed(error.error, spent=error.spent, retry_after_s=error.retry_after_s)
    if isinstance(error, BreakerOpen):
        return failed(str(error), spent=False, retry_after_s=error.retry_after_s)
    if sqlstate(error) == LOCK_TIMEOUT or is_conflict(error):
        return failed(LOCK_HELD, spent=False)
    return failed(described(error), spent=True)


def is_expected(error: BaseException) -> bool:
    """Whether an author said it on purpose: it needs no traceback."""
    return isinstance(error, Failed | BreakerOpen) or sqlstate(error) == LOCK_TIMEOUT or is_conflict(error)


def described(error: BaseException) -> str:
    """One line for people: the kind of error and what it says, without a statement's parameters."""
    if isinstance(error, ParticipantError):
        return str(error)
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(told).strip().splitlines()
    name = type(told).__qualname__
    return f"{name}: {lines[0]}" if lines else name

"""What a database may do to a thread that must go on: the errors, and how they are told."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

from amends.db.errors import StoreUnavailable
from amends.outbox.errors import OutboxError

# Away, or a lock timeout, a deadlock, a full disk, a table that is missing for now: waited for with back-off.
DATABASE_FAULTS: Final = (StoreUnavailable, DBAPIError, OutboxError)


def told(error: BaseException) -> str:
    """The error on one line, without the statement's values: those are payloads."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__

"""Errors of a statement that are not the event's fault: it is tried again, and not counted against it (E2)."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

# Deadlock, serialization, lock timeout, statement timeout.
_TRANSIENT: Final = frozenset({"40P01", "40001", "55P03", "57014"})


def is_transient(error: Exception) -> bool:
    """Whether the same event may go through at the next try, though nothing is mended."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _TRANSIENT

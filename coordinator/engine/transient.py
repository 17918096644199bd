"""Errors of a statement that are not the event's fault: it is tried again, and not counted against it (E2)."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

# Deadlock, serialization, lock timeout. Not statement timeout (57014): a batch that takes too long is split, and an
# event that takes too long alone will do so whenever it comes again.
_TRANSIENT: Final = frozenset({"40P01", "40001", "55P03"})


def is_transient(error: Exception) -> bool:
    """Whether the same event may go through at the next try, though nothing is mended."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _TRANSIENT

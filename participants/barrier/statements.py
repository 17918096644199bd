"""The statements a barrier needs of a database: one value per dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """SQL texts with named parameters in the driver's own style; `uuid` is how an id is passed."""

    uuid: Callable[[UUID], str]
    limit_session: str | None  # what limits the waits for locks of a whole session, once
    limit_locks: str | None  # what limits them for the rest of a transaction
    insert_many: str | None  # None: one after another
    settle_many: str | None
    insert: str
    lock: str
    read: str
    know: str
    savepoint: str
    release: str
    rollback_to: str
    settle: str
    finalize: str
    lease: str
    own: str
    end_lease: str
    prunable: str
    prune: str

"""A saga that was asked for, or the answer that it is not there."""

from __future__ import annotations

from datetime import UTC
from typing import TypeVar
from uuid import UUID

from amends.coordinator.errors import UnknownSaga
from amends.coordinator.http.answers import Refusal
from amends.coordinator.records import Pruned

T = TypeVar("T")


def there(saga_id: UUID, found: T | Pruned | None) -> T:
    """What was found. Raises: UnknownSaga; Refusal (410) if it was pruned."""
    if found is None or isinstance(found, Pruned):
        raise not_there(saga_id, found)
    return found


def not_there(saga_id: UUID, found: Pruned | None) -> Exception:
    """What to raise where there is no saga any more, or never was."""
    if found is None:
        return UnknownSaga(str(saga_id))
    at = found.at.astimezone(UTC).isoformat(timespec="seconds")
    return Refusal(410, "pruned_saga", f"saga {saga_id} ended and was pruned at {at}", "saga_id")

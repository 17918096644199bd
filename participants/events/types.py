"""An event's type as a service declares it: the name, the version and the type of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amends.outbox.topics import type_problem
from amends.participants.errors import InvalidHandler, InvalidInput
from amends.participants.events.versions import VERSION_MAX
from amends.participants.payloads import PayloadReader


@dataclass(frozen=True)
class EventType:
    """`user_created = EventType("user.created", UserCreated, version=2)`: what `emit` then checks the data against.

    `data` may be whatever a handler may declare; Any takes all JSON.
    """

    name: str
    data: Any = Any
    version: int = 1
    reader: PayloadReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: InvalidInput for a name or version that no event can have, and for a type that JSON has none of."""
        check_type(self.name, self.version)
        try:
            object.__setattr__(self, "reader", PayloadReader(self.data))
        except InvalidHandler as error:
            raise InvalidInput(f"event {self.name!r}: {error}") from error


def check_type(name: str, version: int) -> None:
    """Raises: InvalidInput for a type or version that no event can have."""
    problem = type_problem(name) if isinstance(name, str) else "an event's type is text"
    if problem is not None:
        raise InvalidInput(f"event {name!r:.80}: {problem}")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= VERSION_MAX:
        raise InvalidInput(f"event {name!r}: its version is a whole number from 0, not {version!r:.40}")

"""What every process of a run has: it lives, is frozen, dies, and makes one move at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from amends.coordinator.simulating.town import Town

# A move's weight, and what it does. It tells whether it did anything, so that a drain knows when all is quiet.
Move: TypeAlias = tuple[float, Callable[[], bool | None]]


class Process:
    """One process. When it dies, its successor begins with nothing in memory."""

    def __init__(self, town: Town, name: str) -> None:
        self.town = town
        self.name = name
        self.frozen_until = 0

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still: stopped by its machine, or by a debugger, without knowing it."""
        return self.town.now < self.frozen_until

    def moves(self) -> Iterator[Move]:
        """What it could do now."""
        raise AssertionError("each kind of process says")

    def turn(self) -> None:
        """Make one of the moves. Raises: Crashed."""
        possible = list(self.moves())
        if possible:
            weights = [weight for weight, _ in possible]
            _, move = self.town.rng.choices(possible, weights)[0]
            move()

    def settle(self) -> bool:
        """Make all moves once, in a calm time; whether any did something."""
        did = False
        for _, move in list(self.moves()):
            did = move() is not False or did
        return did

    def die(self) -> None:
        """Its connections end."""

"""Which functions of a participant hear of which events: a registry without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from amends.outbox.topics import matches, pattern_problem
from amends.outbox.wire import Op
from amends.participants.errors import InvalidHandler
from amends.participants.events.context import EventCtx
from amends.participants.events.types import EventType
from amends.participants.events.versions import NEWER, Newer, Versions, read_versions
from amends.participants.signature import read_signature

if TYPE_CHECKING:
    from amends.participants.participant import Handler

ATTEMPTS: Final = 12
_THREADS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A handler, and the events it hears of. Its name is the handler's, and part of its queue's.

    `attempts` is how often it may fail on one event before that is dead-lettered, `threads` how many events it
    handles at once in each process.
    """

    handler: Handler
    patterns: tuple[str, ...]
    versions: Versions
    newer: Newer
    threads: int
    attempts: int

    @property
    def name(self) -> str:
        """The subscriber's."""
        return self.handler.name

    def wants(self, type_: str) -> bool:
        """Whether it hears of events of this type."""
        return any(matches(pattern, type_) for pattern in self.patterns)


class Subscriptions:
    """Those of one participant, by name."""

    def __init__(self, participant: str) -> None:
        self._participant = participant
        self._all: dict[str, Subscription] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._all.values())

    def add(self, subscription: Subscription) -> None:
        """Raises: InvalidHandler if the name is taken: two handlers on one queue would share its events."""
        standing = self._all.setdefault(subscription.name, subscription)
        if standing is not subscription:
            raise InvalidHandler(
                f"participant {self._participant!r} already has an event handler {subscription.name!r}; give one of "
                f"them a name=..., or all the types to one: on('user.created', 'user.deleted')"
            )

    def __len__(self) -> int:
        return len(self._all)

    def with_handlers(self, handler: Callable[[Handler], Handler]) -> Subscriptions:
        """The same ones, each with its handler as `handler` makes it anew."""
        other = Subscriptions(self._participant)
        other._all = {name: replace(one, handler=handler(one.handler)) for name, one in self._all.items()}
        return other


def make_subscription(
    name: str,
    function: Callable[..., Any],
    types: tuple[str | EventType, ...],
    *,
    version: str | int | None,
    newer: Newer,
    threads: int,
    attempts: int,
    names: Mapping[str, Any],
) -> Subscription:
    """What `@participant.on` makes of a function. Raises: InvalidHandler, naming the mend."""
    from amends.participants.participant import Handler

    where = f"event handler {name!r}"
    patterns = tuple(dict.fromkeys(one.name if isinstance(one, EventType) else one for one in types))
    if not patterns or not all(isinstance(one, str) for one in patterns):
        raise InvalidHandler(f"{where}: say which events it hears of: on('user.created')")
    for pattern in patterns:
        problem = pattern_problem(pattern)
        if problem is not None:
            raise InvalidHandler(f"{where}: {pattern[:80]!r}: {problem}")
    if newer not in NEWER:
        raise InvalidHandler(f"{where}: newer={newer!r} is none of {', '.join(NEWER)}")
    if not 1 <= threads <= _THREADS_MAX:
        raise InvalidHandler(f"{where}: threads must be 1 to {_THREADS_MAX}, not {threads}")
    if attempts < 1:
        raise InvalidHandler(f"{where}: attempts must be at least 1, not {attempts}")
    signature = read_signature(function, takes_result=False, names=names, context=EventCtx)
    return Subscription(
        handler=Handler(Op.DO, name, function, signature),
        patterns=patterns,
        versions=read_versions(version),
        newer=newer,
        threads=threads,
        attempts=attempts,
    )

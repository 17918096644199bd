"""What else can happen to a saga in a story, beside answers: time, signals, operators, its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from amends.coordinator.saga import events
from amends.coordinator.saga.durations import MEND, milliseconds
from amends.coordinator.saga.effects import Order
from amends.testing.errors import UnknownStep, WrongAnswer

if TYPE_CHECKING:
    from amends.testing.story import Story

_ACTOR = "test"


class Happening(Protocol):
    """Something that happens in a story."""

    def __call__(self, story: Story) -> None:
        """Let it happen."""


def after(length: str | float) -> Happening:
    """So much time passes (`"15m"`, or seconds): every timeout, back-off and deadline on the way comes, in order."""
    passing = length_of(length)

    def passes(story: Story) -> None:
        story._pass(passing)

    return passes


def deadline() -> Happening:
    """The saga's deadline passes, now; what is due before it is held back."""

    def passes(story: Story) -> None:
        story._deadline()

    return passes


def signal(name: str, payload: Any = None, *, id: str | None = None) -> Happening:  # noqa: A002 - As on the wire.
    """Somebody sends a signal; in an `each` the item follows: `approved/3`. `id` tells copies (S1)."""

    def comes(story: Story) -> None:
        bare = name.partition("/")[0]
        if bare not in story.definition.plan.by_signal:
            raise UnknownStep("signal", bare, story.definition.name, story.definition.plan.by_signal)
        message = id or f"signal-{len(story.course)}"
        story._happens(
            events.Signalled(name=name, message_id=message, payload=plain(payload)),
            f"the signal {name!r} comes",
        )

    return comes


def retry(path: str | None = None) -> Happening:
    """An operator retries what is outstanding, or one step (A3). Raises: ActRefused, as all acts do."""
    return _act(
        f"an operator retries {path or 'what is outstanding'}",
        lambda: events.Retry(actor=_ACTOR, reason="", path=path),
    )


def edit(path: str, args: Any) -> Happening:
    """An operator gives a step other args (A3)."""
    return _act(
        f"an operator edits {path}",
        lambda: events.Edit(actor=_ACTOR, reason="", path=path, args=plain(args)),
    )


def skip(path: str) -> Happening:
    """An operator does without a stuck step (A1)."""
    return _act(f"an operator skips {path}", lambda: events.Skip(actor=_ACTOR, reason="", path=path))


def force(path: str, result: Any = None, *, refuse: bool = False) -> Happening:
    """An operator says what came of a stuck step (A1, A2)."""
    return _act(
        f"an operator forces {path}",
        lambda: events.Force(actor=_ACTOR, reason="", path=path, refuse=refuse, result=plain(result)),
    )


def compensate() -> Happening:
    """An operator turns the saga back (A3, P1)."""
    return _act("an operator turns it back", lambda: events.Compensate(actor=_ACTOR, reason=""))


def finish() -> Happening:
    """An operator ends a stuck saga as it is (A4)."""
    return _act("an operator ends it as it is", lambda: events.Finish(actor=_ACTOR, reason=""))


def told(order: str) -> Happening:
    """Its parent tells a child what is decided: `settle`, `compensate`, or `fence` (K3, K5)."""
    if order not in tuple(Order):
        raise WrongAnswer(f"a parent tells {', '.join(Order)}; not {order!r}")
    return _act(f"its parent tells it to {order}", lambda: events.Told(order=Order(order), round=1))


def length_of(length: str | float) -> int:
    """A duration in ms. Raises: WrongAnswer, saying how one is written."""
    found = milliseconds(length) if isinstance(length, str) else round(length * 1000)
    if found is None or found < 0:
        raise WrongAnswer(f"{length!r} is no length of time; {MEND}, or a number of seconds")
    return found


def plain(value: Any) -> Any:
    """A value as the JSON it travels as."""
    import msgspec

    from amends.participants.payloads import encode

    return msgspec.json.decode(encode(value))


def _act(line: str, event: Callable[[], events.Event]) -> Happening:
    def happens(story: Story) -> None:
        story._happens(event(), line)

    return happens

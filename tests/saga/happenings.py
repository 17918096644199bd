"""More that can happen in a story: signals, what parent and child tell each other, and further acts of operators."""

from __future__ import annotations

from amends.coordinator.saga import events
from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Parent
from tests.saga.story import Happening, Story

HELD = Parent(saga="parent-1", path="child", round=1, holds=True)
FREE = Parent(saga="parent-1", path="child", round=1, holds=False)


def signal(name: str, payload: Json = None, *, id: str = "m1") -> Happening:  # noqa: A002 - The story's word.
    """Somebody sends a signal; the same `id` is a copy."""
    return lambda story: events.Signalled(name=name, message_id=id, payload=payload, held=story.held)


def reports(
    path: str,
    outcome: ReportOutcome,
    result: Json = None,
    *,
    child: str | None = None,
    round: int | None = None,  # noqa: A002 - The wire's word.
) -> Happening:
    """The child that is called there now tells what has become of it."""

    def told(story: Story) -> Event:
        return events.Reported(
            path=path,
            child=child or child_of(story, path),
            round=round or story.step(path).round,
            outcome=outcome,
            result=result,
            reason="it says so",
            held=story.held,
        )

    return told


def child_of(story: Story, path: str) -> str:
    """The id of the child that was last called or told there."""
    return story.children[path]


def told(order: Order, *, round: int = 1) -> Happening:  # noqa: A002 - The wire's word.
    """The parent has decided."""
    return lambda story: events.Told(order=order, round=round, held=story.held)


def called(*, round: int = 1) -> Happening:  # noqa: A002 - The wire's word.
    """The call comes again."""
    return lambda story: events.Called(round=round, held=story.held)


def edit(path: str, args: Json) -> Happening:
    return lambda story: events.Edit(actor="ann", reason="because", path=path, args=args, held=story.held)


def force(path: str, result: Json = None, *, refuse: bool = False) -> Happening:
    return lambda story: events.Force(
        actor="ann", reason="because", path=path, refuse=refuse, result=result, held=story.held
    )


def finish() -> Happening:
    return lambda story: events.Finish(actor="ann", reason="because", held=story.held)

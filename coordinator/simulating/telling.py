"""What happens to a saga, in words, for the timeline of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from amends.coordinator.saga import events
from amends.coordinator.saga.effects import (
    AttemptClosed,
    Call,
    Effect,
    Ended,
    LetGo,
    Publish,
    Report,
    Send,
    StepStuck,
    Tell,
)
from amends.coordinator.saga.events import Act, Event
from amends.coordinator.saga.state import Op, Saga


def event_in_words(event: Event, saga: Saga, effects: Iterable[Effect]) -> str:
    """An event, the status after it, and what the saga then wants done."""
    wanted = ", ".join(words for effect in effects if (words := _wanted(effect)))
    held = f" [{', '.join(sorted(event.held))} held]" if event.held else ""
    return f"{_happened(event)} -> {saga.status.value}{': ' + wanted if wanted else ''}{held}"


def _happened(event: Event) -> str:
    match event:
        case events.Started():
            return "starts" if event.parent is None else f"starts, called by {event.parent.saga[:8]}"
        case events.Replied():
            certain = "" if event.certain else ", in doubt"
            return f"{_asked(event.path, event.op)} is answered: {event.outcome.value}{certain}"
        case events.TimerFired():
            return f"timer of {event.path} (attempt {event.attempt})"
        case events.DeadlineReached():
            return "its deadline passes"
        case events.Admitted():
            return f"{event.path} is let in"
        case events.Unsendable():
            return f"{event.path} cannot be sent: {event.reason}"
        case events.InternalError():
            return f"an event could not be processed: {event.reason}"
        case events.Signalled():
            return f"signal {event.name} ({event.message_id})"
        case events.Called():
            return f"is called again (round {event.round})"
        case events.Told():
            return f"its parent says: {event.order.value} (round {event.round})"
        case events.Reported():
            return f"the child at {event.path} reports: {event.outcome.value}"
        case events.Retry() | events.Skip() | events.Edit() | events.Force() | events.Compensate():
            return _act(event)
        case events.Finish() | events.MoveTimer() | events.CancelTimer():
            return _act(event)
        case _:
            assert_never(event)


def _act(act: Act) -> str:
    path = getattr(act, "path", None)
    return f"an operator: {type(act).__name__.lower()}{f' {path}' if path else ''}"


def _wanted(effect: Effect) -> str:
    match effect:
        case Send():
            closes = f", closing {effect.closes.value}" if effect.closes is not None else ""
            return f"sends {_asked(effect.path, effect.op)} to {effect.participant}{closes}"
        case Publish():
            return f"publishes {effect.type}"
        case Call():
            return f"calls {effect.saga} {effect.child[:8]}"
        case Tell():
            return f"tells {effect.child[:8]} to {effect.order.value}"
        case Report():
            return f"reports {effect.outcome.value}"
        case LetGo():
            return f"lets {effect.participant} let go its locks"
        case StepStuck():
            return f"needs an operator: {effect.path} {effect.reason}"
        case Ended() | AttemptClosed():
            return ""
        case _:
            assert_never(effect)


def _asked(path: str, op: Op) -> str:
    return path if op is Op.DO else f"{op.value} of {path}"

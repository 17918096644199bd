"""A saga's log entries as JSON, and back: replaying them through `advance` gives the stored state (invariant 10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import msgspec

from amends.coordinator.saga import events
from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Decision, Op, Parent

_EVENTS: Final[dict[str, type[Event]]] = {
    kind.__name__: kind
    for kind in (
        events.Started,
        events.Replied,
        events.TimerFired,
        events.DeadlineReached,
        events.Admitted,
        events.Unsendable,
        events.InternalError,
        events.Retry,
        events.Edit,
        events.Skip,
        events.Force,
        events.Compensate,
        events.Finish,
        events.MoveTimer,
        events.CancelTimer,
        events.Signalled,
        events.Called,
        events.Told,
        events.Reported,
    )
}
_DEFAULTS: Final[dict[str, dict[str, object]]] = {
    name: {
        one.name: one.default for one in dataclasses.fields(kind) if one.default is not dataclasses.MISSING
    }
    for name, kind in _EVENTS.items()
}
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "op": Op,
    "closes": Op,
    "outcome": events.Outcome,
    "order": Order,
    "decision": Decision,
    "parent": lambda parent: Parent(**parent),
}
_OF_REPORTS: Final[dict[str, Callable[[Any], Any]]] = {"outcome": ReportOutcome}
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> str:
    """One log entry: the event's name as `event`, and every field that is not at its default."""
    name = type(event).__name__
    defaults = _DEFAULTS[name]
    entry: dict[str, object] = {"event": name}
    for field in type(event).__slots__:
        value = getattr(event, field)
        if field == "held":
            if value:
                entry["held"] = sorted(value)
        elif field not in defaults or value != defaults[field]:
            entry[field] = value
    return _encoder.encode(entry).decode()


def decode_event(entry: dict[str, Json]) -> Event:
    """The event of one log entry. Raises: KeyError for an event of a newer release."""
    fields: dict[str, Any] = dict(entry)
    kind = _EVENTS[fields.pop("event")]
    fields["held"] = frozenset(fields.get("held", ()))
    readers = _READERS | _OF_REPORTS if kind is events.Reported else _READERS
    for name, read in readers.items():
        if fields.get(name) is not None:
            fields[name] = read(fields[name])
    return kind(**fields)

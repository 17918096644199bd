"""Spans for what is put, sent and obeyed: off until a program asks for them.

    from amends.outbox.tracing import start_tracing

    start_tracing()          # OpenTelemetry's global tracer provider, or one that is given

Off, nothing of OpenTelemetry is imported, and each place costs one look at `switch.tracing`. On or off, the trace
context of a start is carried by all that follows from it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol

from amends.db.errors import MissingExtra

if TYPE_CHECKING:
    from amends.outbox.message import Message
    from amends.outbox.ports import Delivery


class Work(Protocol):
    """One message that is being dealt with: a span from its delivery until it is durably done."""

    @property
    def trace(self) -> str:
        """The trace as what follows carries it on: the span is its parent."""

    def current(self) -> AbstractContextManager[object]:
        """While code runs that works on it: what that code traces is a child."""

    def told(self, outcome: str, *, is_error: bool = False) -> None:
        """What became of it."""

    def end(self) -> None:
        """It is done, or given back. A second time changes nothing."""


class Tracing(Protocol):
    """What `switch.tracing` is while it is on. Thread-safe."""

    def headers(self) -> dict[str, str]:
        """What carries the trace of the code at hand on; nothing if that has none."""

    def begun(self, name: str, attributes: dict[str, str | int]) -> str:
        """A trace of its own that begins here, as it is kept; empty if nothing is traced."""

    def created(self, message: Message) -> Message:
        """The message with a span of its own, whose parent its headers name, or else the code at hand."""

    def sent(self, message: Message, since: float, problem: str = "") -> None:
        """It was published at `since` (monotonic), and has been confirmed now, unless there is a problem."""

    def work(self, delivery: Delivery, **attributes: str | int) -> Work:
        """Begin to deal with a delivery."""


class Switch:
    """Whether it is on, for this process and what it forks."""

    __slots__ = ("tracing",)

    def __init__(self) -> None:
        self.tracing: Tracing | None = None


switch: Final = Switch()


def start_tracing(tracer_provider: Any = None) -> None:
    """Make spans from now on, with this OpenTelemetry TracerProvider, else with the global one.

    Raises: MissingExtra without OpenTelemetry's API.
    """
    try:
        from amends.outbox.spans import Spans
    except ModuleNotFoundError as error:
        raise MissingExtra("tracing", "opentelemetry") from error
    switch.tracing = Spans(tracer_provider)


def stop_tracing() -> None:
    """Make no more spans."""
    switch.tracing = None

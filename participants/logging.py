"""Which command the code at hand works for, on every log record of the service.

    logging.getLogger().handlers[0].addFilter(CommandFields())

or, in a worker that runs by itself, nothing: `Worker.run` adds it to the root logger's handlers. A format may then
use `%(saga)s %(path)s %(op)s %(attempt)s %(trace)s`; they are empty while no handler runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from amends.db.logs import JsonFormatter, TextFormatter

FIELDS: Final = ("saga", "path", "op", "attempt", "trace")


@dataclass(frozen=True, slots=True)
class CommandScope:
    """The command that is being obeyed. `traceparent` is the W3C trace context it came with, or nothing."""

    saga: str
    path: str
    op: str
    attempt: int
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace(self) -> str:
        """The trace id of the trace context; empty if there is none."""
        return trace_id(self.traceparent)


_scope: ContextVar[CommandScope | None] = ContextVar("amends_command_scope", default=None)


def current_scope() -> CommandScope | None:
    """The command that this thread or task is obeying."""
    return _scope.get()


@contextmanager
def command_scope(scope: CommandScope) -> Iterator[None]:
    """While this command is obeyed."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def trace_id(traceparent: str) -> str:
    """The trace id in `00-<trace id>-<parent id>-<flags>`; empty if there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""


class CommandFields(logging.Filter):
    """Puts `saga`, `path`, `op`, `attempt` and `trace` on every record; what a record says itself is kept.

    With `always` they are there, and empty, also while no handler runs: a `%` format needs that.
    """

    def __init__(self, *, always: bool = True) -> None:
        super().__init__()
        self._always = always

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the record through."""
        scope = _scope.get()
        if scope is not None or self._always:
            for field in FIELDS:
                if not hasattr(record, field):
                    setattr(record, field, getattr(scope, field, ""))
        return True


@contextmanager
def fields_on_every_record() -> Iterator[None]:
    """Add the filter to all handlers there are now, the root logger's and others'."""
    filters = {
        handler: CommandFields(always=not isinstance(handler.formatter, JsonFormatter | TextFormatter))
        for logger in (logging.getLogger(), *_other_loggers())
        for handler in logger.handlers
    }
    for handler, fields in filters.items():
        handler.addFilter(fields)
    try:
        yield
    finally:
        for handler, fields in filters.items():
            handler.removeFilter(fields)


def _other_loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logger for logger in known if isinstance(logger, logging.Logger)]

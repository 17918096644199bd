"""A circuit breaker for calls to somebody else.

    closed --`failures` in a row--> open --`open_s` later--> half-open --the one probe succeeds--> closed
                                     ^                          |
                                     +------- the probe fails --+

    bank = CircuitBreaker("bank", failures=5, open_s=30)

    with bank:                      # or `async with bank:`, or `@bank` on a function, plain or async
        answer = requests.post(...)

It holds no lock during the call. What began before the breaker last changed its state no longer counts. A call that is
cancelled tells nothing of the other side: put its timeout inside the breaker, not around it. In a handler, BreakerOpen
becomes a failed answer that is not spent and says when to come again.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakSet

from amends.participants.errors import BreakerOpen, Refused

P = ParamSpec("P")
R = TypeVar("R")


class BreakerState(Enum):
    """Whether calls get through: all, none, or one."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class _Ticket:
    """One call that got through: in which era, and whether it is the probe."""

    era: int
    probe: bool


# The calls under way in this thread or task, innermost last, over all breakers.
_under_way: Final[ContextVar[tuple[tuple[CircuitBreaker, _Ticket], ...]]] = ContextVar(
    "amends_breaker_calls", default=()
)
_breakers: Final[WeakSet[CircuitBreaker]] = WeakSet()


class CircuitBreaker:
    """Counts failures in a row; see the module. Safe to share between threads, tasks and, from before it, a fork.

    `failures` in a row open it for `open_s` seconds. `counts` are the exceptions that are failures, `ignores` those
    among them that are answers after all. A probe that has not come back after `probe_s` seconds is given up, and
    another may go. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        open_s: float = 30.0,
        probe_s: float = 60.0,
        counts: tuple[type[Exception], ...] = (Exception,),
        ignores: tuple[type[Exception], ...] = (Refused,),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises: ValueError for numbers that cannot work."""
        if failures < 1 or open_s <= 0 or probe_s <= 0:
            raise ValueError(f"breaker {name!r}: failures must be at least 1, open_s and probe_s more than 0")
        self.name = name
        self._failures_max = failures
        self._open_s = open_s
        self._probe_s = probe_s
        self._counts = counts
        self._ignores = ignores
        self._clock = clock
        self._begin()
        _breakers.add(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._era = 0
        self._failures = 0
        self._opened_at: float | None = None
        self._probing_since: float | None = None

    @property
    def state(self) -> BreakerState:
        """As a call would find it now."""
        with self._locked():
            if self._opened_at is None:
                return BreakerState.CLOSED
            return BreakerState.OPEN if self._wait_s(self._opened_at) > 0 else BreakerState.HALF_OPEN

    @property
    def retry_after_s(self) -> float:
        """Seconds until it may let a call through; 0 if it would now."""
        with self._locked():
            return self._retry_after_s()

    def reset(self) -> None:
        """Close it, whatever happened."""
        with self._locked():
            self._close()

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function through the breaker; of an async one: `await breaker.call(function, ...)`.

        Raises: BreakerOpen, and what the function raises; TypeError for a generator.
        """
        return self(function)(*args, **kwargs)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, plain or async: every call goes through the breaker."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"breaker {self.name!r} cannot guard the generator {function!r}: use `with` inside it"
            )
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            # Of an object that is called; for a plain function's, which is none, nothing changes.
            getattr(function, "__call__", None)  # noqa: B004 - Not whether it can be called, but what that is.
        ):
            awaited = cast("Callable[P, Awaitable[Any]]", function)

            @functools.wraps(function)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self:
                    return await awaited(*args, **kwargs)

            return cast("Callable[P, R]", guarded_async)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return guarded

    def __enter__(self) -> CircuitBreaker:
        ticket = self._admit()
        _under_way.set((*_under_way.get(), (self, ticket)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        calls = _under_way.get()
        for place in range(len(calls) - 1, -1, -1):
            if calls[place][0] is self:
                _under_way.set(calls[:place] + calls[place + 1 :])
                self._settle(calls[place][1], error)
                return

    async def __aenter__(self) -> CircuitBreaker:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _admit(self) -> _Ticket:
        with self._locked():
            wait_s = self._retry_after_s()
            if wait_s > 0:
                raise BreakerOpen(self.name, min(wait_s, self._open_s))
            probe = self._opened_at is not None
            if probe:
                # Exactly one: until it comes back, or is given up, every other call is turned away.
                self._probing_since = self._clock()
                self._era += 1
            return _Ticket(self._era, probe)

    def _settle(self, ticket: _Ticket, error: BaseException | None) -> None:
        with self._locked():
            if ticket.era != self._era:
                return  # It began before the breaker last changed: it says nothing about now.
            if error is None or isinstance(error, self._ignores):
                self._close()
            elif isinstance(error, self._counts) and not isinstance(error, BreakerOpen):
                self._failures += 1
                if ticket.probe or self._failures >= self._failures_max:
                    self._open()
            elif ticket.probe:
                # Cancelled, or another breaker in it is open: it tells nothing, so the next call is the probe.
                self._probing_since = None

    def _retry_after_s(self) -> float:
        if self._opened_at is None:
            return 0.0
        wait_s = self._wait_s(self._opened_at)
        if wait_s > 0:
            return wait_s
        if self._probing_since is None:
            return 0.0
        return max(0.0, self._probing_since + self._probe_s - self._clock())

    def _wait_s(self, opened_at: float) -> float:
        return max(0.0, opened_at + self._open_s - self._clock())

    def _open(self) -> None:
        self._era += 1
        self._opened_at = self._clock()
        self._probing_since = None

    def _close(self) -> None:
        if self._opened_at is not None:
            self._era += 1
        self._opened_at = self._probing_since = None
        self._failures = 0

    def _locked(self) -> threading.Lock:
        if self._pid != os.getpid():
            # A thread of the parent may have held the lock at the fork; nobody here would ever release it.
            self._begin()
        return self._lock


def breakers() -> Iterable[CircuitBreaker]:
    """The circuit breakers of this process."""
    return tuple(_breakers)

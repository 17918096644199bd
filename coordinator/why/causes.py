"""What can keep a saga waiting: each cause once, with what comes next and what an operator can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from amends.outbox.ports import QueueState


class Cause(StrEnum):
    """Why something waits. Constant words, for programs; `Wait.text` says the same to people."""

    ANSWER = "answer"  # the broker has the command, a worker has taken it, no reply yet
    QUEUED = "queued"  # the broker has the command, and nobody has taken it yet
    NO_WORKER = "no_worker"  # nobody consumes the queue, or there is none
    UNSENT = "unsent"  # the command is still in the outbox
    PARKED_ROW = "parked_row"  # the same, and only an operator moves it (O4)
    BROKER_AWAY = "broker_away"
    BREAKER = "breaker"  # nobody answers on the queue (M6)
    WINDOW = "window"  # too many commands are out already (E4)
    BACKOFF = "backoff"  # the last attempt failed; the next one is due later
    SLEEP = "sleep"  # for its time
    SIGNAL = "signal"  # a signal has not come
    CHILD = "child"  # a child saga has not told what became of it
    PARENT = "parent"  # a child that is done waits for its parent to decide (K2)
    WAITING = "waiting"  # for one of these three; the definition that would tell is not at hand
    LOCK = "lock"  # the last attempt failed because somebody else holds a lock
    OVERDUE = "overdue"  # a timer is due and no coordinator takes it
    STUCK = "stuck"  # an operator must decide
    SAGA_STUCK = "saga_stuck"  # of a stuck saga: goes on when that moves again (C3)
    NEWER = "newer"  # a newer release keeps this saga (E3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing that is waited for. Times are milliseconds since 1970.

    `path` is empty where it is the whole saga. `next` is what comes by itself, at `next_at` where that is known; None
    if nothing does. `acts` are what an operator can do, as commands. `count` steps wait alike, from `path` to `last`;
    the text is that of the first.
    """

    cause: Cause
    path: str
    text: str
    since: int | None = None
    next: str | None = None
    next_at: int | None = None
    acts: Sequence[str] = ()
    count: int = 1
    last: str = ""

    @property
    def place(self) -> str:
        """Which steps wait: `charge`, `o/0 ... o/899 (900)`; empty where it is the whole saga."""
        return self.path if self.count == 1 else f"{self.path} ... {self.last} ({self.count:,})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What the broker says of some command queues, without prefix; a queue that is missing is None.

    `away` says why it could not be asked. `in_process`: a command stays in the outbox until its worker has dealt with
    it. What was never asked says nothing.
    """

    queues: Mapping[str, QueueState | None] = field(default_factory=dict)
    away: str = ""
    in_process: bool = False


NOT_ASKED = Broker()

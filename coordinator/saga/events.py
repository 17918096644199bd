"""What can happen to a saga: a closed union. Each is stored in the saga's log as it was given to `advance`.

`held` names the command queues (`payments.do`) that are closed at this moment: their window is full or their
breaker is open. A command that would go there is parked instead (E4). It is part of the event, so that a
replay of the log decides the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Decision, Op, Parent

NOTHING_HELD: frozenset[str] = frozenset()


class Outcome(StrEnum):
    """A participant's answer; the wire's words."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    NEVER = "never"
    UNKNOWN = "unknown"
    NOTHING = "nothing"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The saga begins. `parent` and `decision` repeat what it was begun with, for whoever replays its log."""

    parent: Parent | None = None
    decision: Decision = Decision.NONE
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """A participant answered a command (M1 to M3). `holds`: it has locks for the saga (L1)."""

    path: str
    op: Op
    round: int
    attempt: int
    outcome: Outcome
    result: Json = None
    reason: str = ""
    certain: bool = True
    spent: bool = True
    retry_after: int | None = None
    ran_in_round: int | None = None
    in_doubt: bool = False
    closes: Op | None = None
    holds: bool = False
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """A step's timer is due: its attempt timed out (`awaiting`) or its back-off is over (`backoff`).

    `excused` is how long, in ms, the engine re-armed it without an event: time that no policy counts (M4, M6).
    `spent` is False for a timeout that must not count: the attempt was sent before its breaker last closed (M6).
    """

    path: str
    attempt: int
    excused: int = 0
    spent: bool = True
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineReached:
    """The saga's deadline has passed."""

    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """There is room for a parked command, or it is its queue's probe: send it."""

    path: str
    excused: int = 0
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """The command or call that the last event wanted to send can never be sent: too large (O5).

    Without a path it is what the saga reports to its parent: its result.
    """

    path: str
    attempt: int
    reason: str
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalError:
    """The engine could not process an event of this saga, alone and three times over (E2)."""

    reason: str
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """An operator: everything outstanding is due again; stuck steps in a new round (A3). A `deadline` replaces."""

    actor: str
    reason: str
    path: str | None = None
    deadline: int | None = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """An operator: do without this stuck step, once a closing fence told what became of it (A1)."""

    actor: str
    reason: str
    path: str
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensate:
    """An operator: turn back now (A3, P1)."""

    actor: str
    reason: str
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An operator: give a step that is not done other args, and ask it again in a new round (A3)."""

    actor: str
    reason: str
    path: str
    args: Json
    deadline: int | None = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """An operator: this stuck step is done, with `result`, or with `refuse` it is refused (A1, A2)."""

    actor: str
    reason: str
    path: str
    refuse: bool = False
    result: Json = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """An operator: end this stuck saga as it is (A1, A4, A5)."""

    actor: str
    reason: str
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTimer:
    """An operator: what is due for this step is due then, ms since 1970; without a path the saga's deadline."""

    actor: str
    reason: str
    due: int
    path: str | None = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    """An operator: put the deadline off as far as it goes, or how long this step waits for a signal."""

    actor: str
    reason: str
    path: str | None = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """Somebody sent a signal; `message_id` tells copies (S1)."""

    name: str
    message_id: str
    payload: Json = None
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """The call that started this saga came again, perhaps in a new round (K1)."""

    round: int
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The parent has decided, or wants to know (K2, K3, K5)."""

    order: Order
    round: int
    held: frozenset[str] = field(default=NOTHING_HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A child told what has become of it (K2, K4)."""

    path: str
    child: str
    round: int
    outcome: ReportOutcome
    result: Json = None
    reason: str = ""
    held: frozenset[str] = field(default=NOTHING_HELD)


Act: TypeAlias = Retry | Edit | Skip | Force | Compensate | Finish | MoveTimer | CancelTimer
Event: TypeAlias = (
    Started
    | Replied
    | TimerFired
    | DeadlineReached
    | Admitted
    | Unsendable
    | InternalError
    | Signalled
    | Called
    | Told
    | Reported
    | Act
)

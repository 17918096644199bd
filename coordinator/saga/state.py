"""What a saga is at one moment: a header and one record per step instance.

All values are immutable; `advance` makes new ones. Times are milliseconds since 1970 in database time,
durations milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from amends.coordinator.saga.json import Json

FORMAT = 2  # Rises when a stored saga can no longer be read by the release before (E3).
# The format of a saga that has nothing in it which came with format 2: who is told of its end, who holds locks for it.
PLAIN = 1


class Status(StrEnum):
    """Where a saga stands. `stuck` needs an operator; the last three are final."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    REJECTED = "rejected"

    @property
    def ended(self) -> bool:
        """Nothing can change it any more."""
        return self in (Status.COMPLETED, Status.COMPENSATED, Status.REJECTED)


class Op(StrEnum):
    """What is asked of a participant; the wire's words."""

    DO = "do"
    UNDO = "undo"
    CONFIRM = "confirm"
    FENCE = "fence"


class Phase(StrEnum):
    """What happens with a step's current op."""

    PARKED = "parked"  # wanted, not sent: the window is full or the breaker is open (E4)
    AWAITING = "awaiting"  # sent; the current attempt's answer is awaited, `due` is its timeout
    WAITING = "waiting"  # nothing was sent to a participant: for a time, a signal, or a child saga; `due` may end it
    BACKOFF = "backoff"  # the last attempt failed or stayed silent; `due` is the next one
    SETTLED = "settled"  # answered: nothing is outstanding
    STUCK = "stuck"  # given up; an operator or a late reply moves it


class Did(StrEnum):
    """What is known of a step's `do`."""

    UNSENT = "unsent"  # never logged as sent: nothing to undo
    UNKNOWN = "unknown"  # sent; owed an undo whatever comes
    DONE = "done"
    REFUSED = "refused"  # certainly nothing happened
    IN_DOUBT = "in_doubt"  # refused, but an earlier external call may have happened (M2)
    NEVER = "never"  # a fence took its place
    SKIPPED = "skipped"  # an operator did without it (A1)
    FORCED = "forced"  # an operator said what its result is (A1)


class Pivot(StrEnum):
    """Where the saga stands with its point of no return (P1, P2).

    A saga without a pivot that has something to confirm passes it with its decision, once every step has succeeded.
    """

    NONE = "none"  # the definition has none
    AHEAD = "ahead"
    SENT = "sent"  # logged: only its outcome decides
    PASSED = "passed"


class Decision(StrEnum):
    """What a parent has told its child (K2, K3)."""

    NONE = "none"
    SETTLE = "settle"
    COMPENSATE = "compensate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """How far an `each` is. Items have numbers from 0 on.

    Forwards and confirming, `next` is the item to begin next; backwards, those below `next` are still to be given
    back. `open` are the items under way. `skip` are those that were under way when the saga turned back: they were
    given back at once, before their turn (C2).
    """

    total: int
    next: int = 0
    open: tuple[int, ...] = ()
    skip: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Who called this saga: the path of the call, and its round, which every report names (K1).

    `holds`: called before the parent's pivot, so it is held when done until the parent has decided (K2).
    """

    saga: str
    path: str
    round: int
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A signal that nobody has taken yet; `id` is its message's, which tells copies (S1)."""

    id: str
    payload: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instance of a leaf. `path` is the leaf's name; instances in an `each` add `/index`.

    `attempt` rises at every send, over all ops, also when a wait begins or a child is told; `round` by an operator's
    retry. `spent` counts the failures of the current op that count against its policy; `since` is when the current op
    first became due.
    `recorded` is a reply that came while the saga was stuck, acted on when it leaves stuck (C3).
    `override` names the operator's act that settles or settled this step (A6); `forces` is the outcome that it forces.
    `edited` holds args that an operator gave in place of the definition's. `child` numbers a call's children (K1).
    `took` is the message id of the signal that a wait has taken (S1).
    """

    path: str
    node: str
    participant: str
    phase: Phase
    op: Op = Op.DO
    closes: Op | None = None
    round: int = 1
    attempt: int = 0
    spent: int = 0
    since: int
    due: int | None = None
    did: Did = Did.UNSENT
    result: Json = None
    error: str = ""
    recorded: Mapping[str, Json] | None = None
    override: str | None = None
    forces: Mapping[str, Json] | None = None
    edited: Mapping[str, Json] | None = None
    child: int = 0
    took: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """One saga. `steps` holds at least the instances its next event touches.

    `positions` keeps, per composite node (its id, and in an `each` the numbers of the items), what the walk needs to
    go on: of a chain the index of the child under way, of a group how many branches are still open, of a `choose`
    the branch; `fans` the same for each `each`. That holds until the saga decides; from then on both count, under the
    same keys, what is still to be confirmed (`confirming.py`). Also in `positions`: under `stuck` how many steps are
    stuck, under `confirming` how many parts are still to be confirmed, `through` when the way forward is behind.
    `partial`: `steps` is not all of it; then `absent` are paths known not to have begun, and `has_open` tells that all
    unsettled ones are there.
    `signals` are those that nobody has taken yet, by name; in an `each` with the numbers of the item (S1).
    `wants_back` says why a saga whose pivot is in doubt would compensate (deadline, retries, an operator).
    `cause` says why it compensates, or which internal error made it stuck.
    `holders` are the participants that hold locks for it, and hear of its end (L4).
    """

    id: str
    name: str
    version: int
    status: Status
    backwards: bool = False
    input: Json
    labels: Mapping[str, str] = field(default_factory=dict)
    started: int
    clock: int
    deadline: int | None
    seq: int = 0
    positions: Mapping[str, int] = field(default_factory=dict)
    pivot: Pivot = Pivot.NONE
    wants_back: str = ""
    cause: str = ""
    overrides: tuple[str, ...] = ()
    fans: Mapping[str, Fan] = field(default_factory=dict)
    signals: Mapping[str, tuple[Kept, ...]] = field(default_factory=dict)
    parent: Parent | None = None
    decision: Decision = Decision.NONE
    finishing: bool = False
    result: Json = None
    partial: bool = False
    has_open: bool = False
    absent: frozenset[str] = frozenset()
    steps: Mapping[str, Step] = field(default_factory=dict)
    trace: str = ""  # the W3C trace context of its start; only carried along
    told: str = ""  # the participant that is told of its end; only carried along
    holders: tuple[str, ...] = ()
    format: int = PLAIN

    def with_steps(self, steps: Mapping[str, Step]) -> Saga:
        """The same header with these step instances."""
        return replace(self, steps=steps)

    @property
    def stuck_steps(self) -> tuple[Step, ...]:
        """The steps that need an operator, in path order; not those that a recorded reply will settle."""
        stuck = (step for _, step in sorted(self.steps.items()) if step.phase is Phase.STUCK)
        return tuple(step for step in stuck if step.recorded is None)


def queue_of(participant: str, op: Op) -> str:
    """The command queue of an op, without prefix: `payments.do` or `payments.undo`; empty if nobody is commanded."""
    if not participant:
        return ""
    return f"{participant}.do" if op is Op.DO else f"{participant}.undo"

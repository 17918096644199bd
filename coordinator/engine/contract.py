"""What the doors may ask of a running coordinator, and what it answers."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from amends.coordinator.catalog import Catalog
from amends.coordinator.saga.events import Act
from amends.outbox.ports import QueueState
from amends.outbox.wire import Start


class Verdict(StrEnum):
    """What became of a start.

    `accepted`: the saga exists now. `duplicate`: it existed, with the same input. `conflict`: it existed with
    other input, and is as it was (S2). `rejected`: its input does not fit; kept and counted. `unknown_definition`:
    no such name or version; nothing was stored. `suspended`: no saga of this name begins until it is resumed;
    nothing was stored. `spent`: the id belonged to a saga that was pruned (S3).
    """

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    UNKNOWN_DEFINITION = "unknown_definition"
    SUSPENDED = "suspended"
    SPENT = "spent"

    @property
    def waits(self) -> bool:
        """Whether the same start may be accepted later: a message's sender gets no receipt, and comes again (S2)."""
        return self in (Verdict.UNKNOWN_DEFINITION, Verdict.SUSPENDED)


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """What became of a start; `status` is the saga's status now, None where there is no saga.

    `field` names the input field at fault, as a JSON path, where there is one. `key` is the key that the start
    brought or its definition made.
    """

    saga_id: str
    verdict: Verdict
    reason: str = ""
    status: str | None = None
    field: str | None = None
    key: str | None = None


class ActVerdict(StrEnum):
    """What became of an operator's act. `refused`: it does not fit the saga as it stands; nothing changed.

    `fits`: of a dry run; it would be applied to the saga as it stands, and nothing changed.
    """

    APPLIED = "applied"
    FITS = "fits"
    REFUSED = "refused"
    UNKNOWN_SAGA = "unknown_saga"


@dataclass(frozen=True, slots=True)
class ActAnswer:
    """What became of an act; `status` is the saga's status after it."""

    saga_id: str
    verdict: ActVerdict
    reason: str = ""
    status: str | None = None


class SignalVerdict(StrEnum):
    """What became of a signal.

    `accepted`: the saga has it. `kept`: no such saga has started yet, or its start was rejected; another will have it.
    `duplicate`: it, or the placeholder, had it before. The others changed nothing: `unknown_signal`: the saga never
    waits for it. `too_many`: as many are kept as can be. `ended`: too late. `pruned`: much too late (S3).
    """

    ACCEPTED = "accepted"
    KEPT = "kept"
    DUPLICATE = "duplicate"
    UNKNOWN_SIGNAL = "unknown_signal"
    TOO_MANY = "too_many"
    ENDED = "ended"
    PRUNED = "pruned"

    @property
    def waits(self) -> bool:
        """Whether the same signal may be taken later: a message's sender gets no receipt, and comes again (S1)."""
        return self is SignalVerdict.TOO_MANY


@dataclass(frozen=True, slots=True)
class SignalAnswer:
    """What became of a signal; `status` is the saga's status after it, None where no saga has started."""

    saga_id: str
    verdict: SignalVerdict
    reason: str = ""
    status: str | None = None


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How a coordinator is. `loop_age_s` is how long ago its deciding loop last turned (idle turns included)."""

    running: bool
    loop_age_s: float
    database_up: bool
    broker_up: bool


class Engine(Protocol):
    """The part of a coordinator that the doors use. Futures resolve after COMMIT.

    A future raises StoreUnavailable when the database is away, CommitUnknown when its outcome is not known, and
    CancelledError when the coordinator stops first.
    """

    @property
    def catalog(self) -> Catalog:
        """The registered definitions."""

    def submit_start(self, start: Start, *, actor: str, trace: str = "") -> Future[StartAnswer]:
        """Start a saga in the engine's next batch; `trace` is the W3C trace context it belongs to."""

    def submit_act(
        self, saga_id: str, act: Act, *, in_ms: int | None = None, dry: bool = False
    ) -> Future[ActAnswer]:
        """Apply an operator's act in the engine's next batch; with `dry` only tell whether it would be (`FITS`).

        With `in_ms` its deadline, or what it makes due, is so many ms from the saga's now, whatever the act says.
        """

    def submit_signal(
        self, saga_id: str, name: str, payload: bytes, *, message_id: str
    ) -> Future[SignalAnswer]:
        """Give a saga a signal in the engine's next batch; `payload` is JSON, `message_id` tells copies.

        Raises: MalformedMessage for a name, a payload or an id that cannot be one.
        """

    def status(self) -> EngineStatus:
        """How the coordinator is, without I/O."""

    @property
    def broker_in_process(self) -> bool:
        """Whether the broker confirms a command only when its participant has dealt with it."""

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        """How these command queues (`payments.do`) stand at the broker; None where there is no such queue.

        Raises: BrokerUnavailable.
        """

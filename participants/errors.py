"""What a handler may raise, and what can go wrong in the SDK.

ParticipantError
+-- Refused                  raised by a handler: a business no; nothing happened; not retried (M2)
+-- Failed                   raised by a handler: transient; tried again (M3)
|   +-- SoftTimeLimit        raised by ctx.check_time(): the handler's time is up
|   +-- LockWanted           raised by ctx.lock(): somebody else has the lock, and the command waits its turn
+-- BreakerOpen              a circuit breaker lets no call through; in a handler it counts as Failed, unspent
+-- HandlerEndedTransaction  a handler committed or rolled back the transaction that is not its own (B4)
+-- NoTransaction            a handler asked for a connection where there is none
+-- InvalidHandler           a function that cannot be a handler; the message names the mend
+-- NotLoadable              `module:object` names no participant; says what there is
+-- InvalidPayload           JSON that is not of the declared type; says where
+-- InvalidInput             a start whose input or name is wrong; nothing was sent
+-- StartConflict            the key belongs to a saga with other input (HTTP 409)
+-- SagaSuspended            no saga of this name begins now; nothing was stored, start it again later (HTTP 409)
+-- UnknownSaga              the coordinator knows no saga of that id, or no definition of that name
+-- CoordinatorRefused       the coordinator answered that the request is wrong, or not allowed
+-- CoordinatorUnavailable   the coordinator cannot be reached
+-- WaitTimeout              the saga has not ended in time
"""

from __future__ import annotations


class ParticipantError(Exception):
    """Any error of the participant SDK."""


class Refused(ParticipantError):
    """A business no: nothing happened, and asking again would not help.

    `certain=False` says that an earlier call to somebody else is in doubt: the step is compensated as well.
    """

    def __init__(self, reason: str, *, certain: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.certain = certain


class Failed(ParticipantError):
    """It did not work this time; nothing happened. Tried again, after `retry_after_s` if that is given.

    `spent=False` says that the attempt does not count against the step's retry limit.
    """

    def __init__(self, error: str, *, retry_after_s: float | None = None, spent: bool = True) -> None:
        super().__init__(error)
        self.error = error
        self.retry_after_s = retry_after_s
        self.spent = spent


class SoftTimeLimit(Failed):
    """The handler has taken its time, and was told at a place where it can stop. Counts as Failed."""

    def __init__(self, over_s: float) -> None:
        super().__init__(f"soft_time_limit: over by {over_s:.2f} s")


class LockWanted(Failed):
    """Another saga has the lock. Let it pass: the worker queues the saga up, and the command comes again, unspent."""

    def __init__(self, error: str, place: object, retry_after_s: float) -> None:
        super().__init__(error, retry_after_s=retry_after_s, spent=False)
        self.place = place


class BreakerOpen(ParticipantError):
    """The circuit breaker lets no call through for another `retry_after_s` seconds."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__(f"circuit breaker {name!r} is open; it lets a call through in {retry_after_s:.1f} s")
        self.name = name
        self.retry_after_s = retry_after_s


class HandlerEndedTransaction(ParticipantError):
    """A handler committed or rolled back the transaction that also holds the barrier and the reply."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a handler ended the worker's transaction ({what}); leave commit and rollback to the worker, "
            f"use begin_nested() for a part that may fail, and raise Refused or Failed to undo it all"
        )


class NoTransaction(ParticipantError):
    """A handler asked for a connection where there is none."""


class InvalidHandler(ParticipantError):
    """A function that cannot be a handler."""


class NotLoadable(ParticipantError):
    """`module:object` names no participant."""


class InvalidPayload(ParticipantError):
    """JSON that is not of the declared type. `path` says where, in the payload's own names."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class InvalidInput(ParticipantError):
    """A start whose input, key or labels are wrong. Nothing was sent."""


class StartConflict(ParticipantError):
    """The key belongs to a saga that was started with other input; that saga is unchanged."""

    def __init__(self, saga: str, message: str) -> None:
        super().__init__(message)
        self.saga = saga


class SagaSuspended(ParticipantError):
    """No saga of this name begins until an operator resumes it. Nothing was stored.

    A start in a transaction (`Client.start`) would have waited by itself.
    """


class UnknownSaga(ParticipantError):
    """The coordinator knows no saga of that id, or no definition of that name and version."""


class CoordinatorRefused(ParticipantError):
    """The coordinator answered that the request is wrong, or not allowed to this token."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the coordinator answered {status}: {message}")
        self.status = status


class CoordinatorUnavailable(ParticipantError):
    """The coordinator cannot be reached, or is not ready."""


class WaitTimeout(ParticipantError):
    """The saga has not ended in time. It goes on."""

    def __init__(self, saga: str, status: str, timeout_s: float) -> None:
        super().__init__(
            f"saga {saga} is {status} after {timeout_s:g} s; it goes on, wait again or look at it"
        )
        self.saga = saga
        self.status = status

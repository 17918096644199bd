"""What a call may come to instead of a result.

ParticipantError
+-- CallError
    +-- CallRefused   a business no: nothing happened
    +-- CallFailed    it did not work this time; nothing was stored, call again
    +-- CallExpired   the key's first call is older than what the participant remembers
    +-- CallTimeout   no answer in time: it may have happened, or may be about to
"""

from __future__ import annotations

from amends.participants.errors import ParticipantError


class CallError(ParticipantError):
    """A call without a result. `call` is its id."""

    def __init__(self, call: str, what: str, problem: str) -> None:
        super().__init__(f"{what}: {problem}")
        self.call = call


class CallRefused(CallError):
    """A business no, with its `reason`. `certain=False`: an effect outside the participant is in doubt."""

    def __init__(self, call: str, what: str, reason: str, *, certain: bool) -> None:
        super().__init__(call, what, f"refused: {reason}")
        self.reason = reason
        self.certain = certain


class CallFailed(CallError):
    """It did not work this time. `retry_after_s` is when to come again, if the participant says so."""

    def __init__(self, call: str, what: str, reason: str, retry_after_s: float | None) -> None:
        super().__init__(call, what, f"failed: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s


class CallExpired(CallError):
    """The participant cannot tell whether it happened (B6)."""


class CallTimeout(CallError):
    """No answer in time. With a `key` it is safe to call again."""

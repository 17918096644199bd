"""The participant SDK: handlers behind a barrier, the client that starts sagas, circuit breakers."""

from __future__ import annotations

from amends.participants.breaker import BreakerState, CircuitBreaker
from amends.participants.context import Ctx
from amends.participants.errors import (
    BreakerOpen,
    Failed,
    HandlerEndedTransaction,
    InvalidHandler,
    ParticipantError,
    Refused,
)
from amends.participants.participant import Participant

__all__ = [
    "BreakerOpen",
    "BreakerState",
    "CircuitBreaker",
    "Ctx",
    "Failed",
    "HandlerEndedTransaction",
    "InvalidHandler",
    "Participant",
    "ParticipantError",
    "Refused",
]

"""The participant SDK: handlers behind a barrier, the client that starts sagas, circuit breakers."""

from __future__ import annotations

from amends.participants.acts_on_many import Acted
from amends.participants.breaker import BreakerState, CircuitBreaker
from amends.participants.calls.answer import Answer
from amends.participants.calls.errors import CallError, CallExpired, CallFailed, CallRefused, CallTimeout
from amends.participants.client import Client
from amends.participants.context import Ctx
from amends.participants.errors import (
    BreakerOpen,
    CoordinatorRefused,
    CoordinatorUnavailable,
    Failed,
    HandlerEndedTransaction,
    InvalidHandler,
    InvalidInput,
    ParticipantError,
    Refused,
    SagaSuspended,
    SoftTimeLimit,
    StartConflict,
    UnknownSaga,
    WaitTimeout,
)
from amends.participants.events.context import EventCtx, FinishedCtx
from amends.participants.events.emitting import aemit, emit
from amends.participants.events.finishing import FinishedSaga
from amends.participants.events.types import EventType
from amends.participants.logging import CommandFields
from amends.participants.participant import Participant
from amends.participants.sagas import SagaView
from amends.participants.schedules import ScheduleView
from amends.participants.why import WhyView

__all__ = [
    "Acted",
    "Answer",
    "BreakerOpen",
    "BreakerState",
    "CallError",
    "CallExpired",
    "CallFailed",
    "CallRefused",
    "CallTimeout",
    "CircuitBreaker",
    "Client",
    "CommandFields",
    "CoordinatorRefused",
    "CoordinatorUnavailable",
    "Ctx",
    "EventCtx",
    "EventType",
    "Failed",
    "FinishedCtx",
    "FinishedSaga",
    "HandlerEndedTransaction",
    "InvalidHandler",
    "InvalidInput",
    "Participant",
    "ParticipantError",
    "Refused",
    "SagaSuspended",
    "SagaView",
    "ScheduleView",
    "SoftTimeLimit",
    "StartConflict",
    "UnknownSaga",
    "WaitTimeout",
    "WhyView",
    "aemit",
    "emit",
]

"""A stuck saga records late replies, and acts on them when it moves again (C3, A3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from amends.coordinator.saga.draft import Draft, StepDraft
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.forward import again
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.replies import concerns, only_informs, take
from amends.coordinator.saga.sending import renew
from amends.coordinator.saga.state import Op, Phase, Status

_OUTSTANDING: Final = (Phase.AWAITING, Phase.BACKOFF, Phase.PARKED)


def record(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """Keep an answer for later; when it settles the last stuck step the saga moves again."""
    if only_informs(step, reply):
        take(draft, step, reply)
        return
    if not _would_move(draft, step, reply) or _has_done(step):
        return
    step.recorded = _to_json(reply)
    if draft.stuck and all(one.recorded is not None for one in draft.steps() if one.phase is Phase.STUCK):
        leave(draft)
        make_due(draft)


def leave(draft: Draft) -> None:
    """Stuck no longer: first evaluate what was recorded."""
    draft.status = Status.COMPENSATING if draft.backwards else Status.RUNNING
    if not draft.backwards:
        draft.cause = ""
    recorded = [(step, _from_json(step.recorded)) for step in draft.steps() if step.recorded is not None]
    for step, _ in recorded:
        step.recorded = None
    for step, reply in recorded:
        if concerns(step, reply):
            take(draft, step, reply)


def make_due(draft: Draft) -> None:
    """Send everything outstanding again, under policies that begin now: none ran while the saga was stuck."""
    for step in draft.steps():
        if step.phase in _OUTSTANDING and step.path not in draft.resent:
            renew(draft, step)
            again(draft, step)


def _would_move(draft: Draft, step: StepDraft, reply: Replied) -> bool:
    """Whether acting on this answer now would free the step, or change what is asked of it: tried on a copy."""
    trial = draft.fresh()
    copy = trial.step(step.path)
    assert copy is not None
    take(trial, copy, reply)
    if reply.outcome is Outcome.FAILED:
        return False  # On leaving stuck it is asked again anyway.
    return copy.phase is not Phase.STUCK if step.phase is Phase.STUCK else copy.freeze() != step.freeze()


def _has_done(step: StepDraft) -> bool:
    return step.recorded is not None and step.recorded["outcome"] == Outcome.DONE.value


def _to_json(reply: Replied) -> dict[str, Json]:
    return {
        "op": reply.op.value,
        "round": reply.round,
        "attempt": reply.attempt,
        "outcome": reply.outcome.value,
        "result": reply.result,
        "reason": reply.reason,
        "certain": reply.certain,
        "in_doubt": reply.in_doubt,
        "closes": reply.closes.value if reply.closes is not None else None,
    }


def _from_json(recorded: Mapping[str, Any]) -> Replied:
    closes = recorded["closes"]
    return Replied(
        path="",
        op=Op(recorded["op"]),
        round=recorded["round"],
        attempt=recorded["attempt"],
        outcome=Outcome(recorded["outcome"]),
        result=recorded["result"],
        reason=recorded["reason"],
        certain=recorded["certain"],
        in_doubt=recorded["in_doubt"],
        closes=Op(closes) if closes is not None else None,
    )

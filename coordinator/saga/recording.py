"""A stuck saga records late replies and reports, and acts on them when it moves again (C3, A3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from amends.coordinator.saga import children, signals
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import ReportOutcome
from amends.coordinator.saga.events import Outcome, Replied, Reported
from amends.coordinator.saga.forward import again
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.replies import concerns, only_informs, take
from amends.coordinator.saga.sending import renew
from amends.coordinator.saga.state import Op, Phase, Status
from amends.coordinator.saga.step_draft import StepDraft

_OUTSTANDING: Final = (Phase.AWAITING, Phase.BACKOFF, Phase.PARKED)

News: TypeAlias = Replied | Reported


def record(draft: Draft, step: StepDraft, news: News) -> None:
    """Keep an answer for later; when it settles the last stuck step the saga moves again."""
    if isinstance(news, Replied) and only_informs(step, news):
        take(draft, step, news)
        return
    if not _would_move(draft, step, news) or _has_done(step):
        return
    if step.recorded is not None and news.outcome is ReportOutcome.STUCK:
        return  # Its outcome is known already (K4).
    step.recorded = _to_json(news)
    if draft.stuck and all(one.recorded is not None for one in draft.steps() if one.phase is Phase.STUCK):
        leave(draft)
        make_due(draft)


def leave(draft: Draft) -> None:
    """Stuck no longer: first evaluate what was recorded."""
    draft.status = Status.COMPENSATING if draft.backwards else Status.RUNNING
    if not draft.backwards:
        draft.cause = ""
    recorded = [(step, _from_json(step)) for step in draft.steps() if step.recorded is not None]
    for step, _ in recorded:
        step.recorded = None
    for step, news in recorded:
        if _concern(draft, step, news):
            _take(draft, step, news)


def make_due(draft: Draft) -> None:
    """Send everything outstanding again, under policies that begin now: none ran while the saga was stuck."""
    for step in list(draft.steps()):
        if step.path in draft.resent:
            continue
        if step.phase in _OUTSTANDING:
            renew(draft, step)
            again(draft, step)
        elif step.phase is Phase.WAITING:
            signals.wait_on(draft, step)


def _concern(draft: Draft, step: StepDraft, news: News) -> bool:
    if isinstance(news, Replied):
        return concerns(step, news)
    return children.concerns(draft, step, news)


def _take(draft: Draft, step: StepDraft, news: News) -> None:
    if isinstance(news, Replied):
        take(draft, step, news)
    else:
        children.take(draft, step, news)


def _would_move(draft: Draft, step: StepDraft, news: News) -> bool:
    """Whether acting on this answer now would free the step, or change what is asked of it: tried on a copy."""
    trial = draft.fresh()
    copy = trial.step(step.path)
    assert copy is not None
    _take(trial, copy, news)
    if news.outcome is Outcome.FAILED:
        return False  # On leaving stuck it is asked again anyway.
    return copy.phase is not Phase.STUCK if step.phase is Phase.STUCK else copy.freeze() != step.freeze()


def _has_done(step: StepDraft) -> bool:
    return step.recorded is not None and step.recorded["outcome"] == Outcome.DONE.value


def _to_json(news: News) -> dict[str, Json]:
    if isinstance(news, Reported):
        return {
            "child": news.child,
            "round": news.round,
            "outcome": news.outcome.value,
            "result": news.result,
            "reason": news.reason,
        }
    return {
        "op": news.op.value,
        "round": news.round,
        "attempt": news.attempt,
        "outcome": news.outcome.value,
        "result": news.result,
        "reason": news.reason,
        "certain": news.certain,
        "in_doubt": news.in_doubt,
        "ran_in_round": news.ran_in_round,
        "closes": news.closes.value if news.closes is not None else None,
    }


def _from_json(step: StepDraft) -> News:
    recorded: Mapping[str, Any] = step.recorded or {}
    if "child" in recorded:
        return Reported(path=step.path, **{**recorded, "outcome": ReportOutcome(recorded["outcome"])})
    closes = recorded["closes"]
    read = {
        "op": Op(recorded["op"]),
        "outcome": Outcome(recorded["outcome"]),
        "closes": Op(closes) if closes is not None else None,
    }
    return Replied(path=step.path, **{**recorded, **read})

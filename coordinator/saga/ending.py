"""How a saga ends: forwards once all is through and confirmed, backwards once all is given back (P2, K2)."""

from __future__ import annotations

from amends.coordinator.saga.confirming import begin_confirming
from amends.coordinator.saga.draft import CONFIRMING, THROUGH, Draft
from amends.coordinator.saga.effects import Order, Report, ReportOutcome
from amends.coordinator.saga.evaluating import Unresolved, resolve
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.settling import tell_children
from amends.coordinator.saga.state import Decision, Parent, Pivot, Saga, Status
from amends.coordinator.saga.surroundings import Around


def arrive(draft: Draft) -> None:
    """The way forward is behind. A saga that is held waits for its parent's decision (K2)."""
    draft.positions[THROUGH] = 1
    draft.result = _result(draft)
    if is_held(draft):
        report(draft, ReportOutcome.DONE)
    else:
        decide(draft)


def decide(draft: Draft) -> None:
    """The saga has succeeded. Without a pivot the decision to confirm is its own, stored before it is told (P2).

    One that an operator finished as it is confirms nothing; its children stay as they are (A4).
    """
    if draft.finishing:
        tell_children(draft, Order.SETTLE)
    elif draft.pivot is Pivot.NONE and draft.plan.root.settles:
        draft.pivot = Pivot.PASSED
        begin_confirming(draft)
    end_if_done(draft)


def end_if_done(draft: Draft) -> None:
    """Complete the saga once all is through and confirmed."""
    if draft.status.ended or not draft.through or draft.positions.get(CONFIRMING):
        return
    was_held = draft.parent is not None and draft.parent.holds
    draft.end(Status.COMPLETED)
    if not was_held:
        report(draft, ReportOutcome.DONE)


def compensated(draft: Draft) -> None:
    """Everything is given back."""
    draft.end(Status.COMPENSATED)
    report(draft, ReportOutcome.REFUSED, reason=draft.cause)


def is_held(draft: Draft) -> bool:
    """Whether its parent has still to decide (K2)."""
    return draft.parent is not None and draft.parent.holds and draft.decision is not Decision.SETTLE


def report(draft: Draft, outcome: ReportOutcome, reason: str = "") -> None:
    """Tell the parent, if there is one."""
    if draft.parent is not None:
        result = draft.result if outcome is ReportOutcome.DONE else None
        draft.effects.append(Report(parent=draft.parent, outcome=outcome, result=result, reason=reason))


def last_report(saga: Saga, parent: Parent) -> Report:
    """What a saga that has ended tells a parent that asks again (K3)."""
    if saga.status is Status.COMPLETED:
        return Report(parent=parent, outcome=ReportOutcome.DONE, result=saga.result)
    return Report(parent=parent, outcome=ReportOutcome.REFUSED, reason=saga.cause)


def _result(draft: Draft) -> Json:
    try:
        return resolve(draft.definition.result, Around(draft, draft.plan.root, ""))
    except Unresolved:
        return None  # An operator skipped what it is made of.

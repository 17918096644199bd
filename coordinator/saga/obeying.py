"""A child obeys its parent (K1 to K3, K5). What it reports, its parent reads in `children.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.ending import decide, is_held, report
from amends.coordinator.saga.events import Called, Told
from amends.coordinator.saga.giving_up import fence_pivot
from amends.coordinator.saga.recording import leave, make_due
from amends.coordinator.saga.state import Decision, Pivot, Status
from amends.coordinator.saga.stuck import stuck_reason


def called(draft: Draft, event: Called) -> None:
    """The call came again: from now on reports name its round; what there is to say is said again (K1)."""
    if draft.parent is None or event.round < draft.parent.round:
        return
    draft.parent = replace(draft.parent, round=event.round)
    _report_again(draft)


def told(draft: Draft, event: Told) -> None:
    """Obey the first decision, in every status; answer later ones from what is stored (K3)."""
    if draft.parent is None or event.round < draft.parent.round:
        return
    draft.parent = replace(draft.parent, round=event.round)
    match event.order:
        case Order.SETTLE if draft.decision is Decision.NONE:
            draft.decision = Decision.SETTLE
            if draft.through and not draft.backwards:
                decide(draft)
        case Order.COMPENSATE if draft.decision is Decision.NONE:
            draft.decision = Decision.COMPENSATE
            _turn_back(draft, "its parent compensates")
        case Order.FENCE:
            _turn_back(draft, "its parent wants to know whether it will happen, and it had not")
        case Order.SETTLE | Order.COMPENSATE:
            _report_again(draft)
        case _:
            assert_never(event.order)


def _turn_back(draft: Draft, cause: str) -> None:
    """Compensate, if that is still possible; a stuck child compensates what it can at once (K3)."""
    if draft.backwards or draft.pivot is Pivot.PASSED:
        _report_again(draft)
        return
    was_stuck = draft.status is Status.STUCK
    if was_stuck:
        leave(draft)
    if not (draft.backwards or draft.status.ended):  # Else what was recorded has decided already.
        _back(draft, cause)
    if was_stuck and not draft.status.ended:
        make_due(draft)


def _back(draft: Draft, cause: str) -> None:
    match draft.pivot:
        case Pivot.NONE | Pivot.AHEAD:
            turn_back(draft, cause)
        case Pivot.SENT if draft.wants_back == "":
            fence_pivot(draft, cause)
        case Pivot.SENT | Pivot.PASSED:
            pass
        case _:
            assert_never(draft.pivot)


def _report_again(draft: Draft) -> None:
    if draft.status is Status.STUCK:
        report(draft, ReportOutcome.STUCK, stuck_reason(draft))
    elif draft.through and is_held(draft) and not draft.backwards:
        report(draft, ReportOutcome.DONE)

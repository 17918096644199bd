"""What follows when a step's op cannot succeed: turn back, make sure of the pivot, or ask an operator (M5, C3, P1)."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.state import Did, Op, Pivot
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.stuck import give_to_operator
from amends.coordinator.saga.walk import Zone


def give_up(draft: Draft, step: StepDraft, reason: str) -> None:
    """No more tries. Before the pivot a `do` of unknown outcome turns the saga back; a pivot's is fenced first."""
    if step.op is not Op.DO:
        give_to_operator(draft, step, f"{step.op}: {reason}")
        return
    match step.place.zone:
        case Zone.BEFORE:
            turn_back(draft, f"{step.name}: {reason}")
        case Zone.PIVOT if draft.pivot is not Pivot.SENT:
            turn_back(draft, f"{step.name}: {reason}")
        case Zone.PIVOT if draft.wants_back == "":
            fence_pivot(draft, f"{step.name}: {reason}")
        case Zone.PIVOT | Zone.AFTER:
            give_to_operator(draft, step, reason)
        case _:
            assert_never(step.place.zone)


def refused(draft: Draft, step: StepDraft, reason: str, *, certain: bool) -> None:
    """The step's `do` was refused (M2); a refusal in doubt is compensated as well, and a pivot's is an operator's."""
    step.did = Did.REFUSED if certain else Did.IN_DOUBT
    match step.place.zone:
        case Zone.BEFORE:
            step.error = reason
            turn_back(draft, f"{step.name} was refused: {reason}")
        case Zone.PIVOT if certain:
            step.error = reason
            turn_back(draft, f"{step.name} was refused: {reason}")
        case Zone.PIVOT:
            give_to_operator(draft, step, f"refused, but it may have happened: {reason}")
        case Zone.AFTER:
            give_to_operator(draft, step, f"refused after the point of no return: {reason}")
        case _:
            assert_never(step.place.zone)


def fence_pivot(draft: Draft, reason: str) -> None:
    """Make sure of the pivot's outcome: only that decides whether the saga turns back (P1)."""
    place = draft.plan.pivot
    step = draft.step(place.name) if place is not None else None
    assert step is not None  # A pivot that was sent has its step.
    draft.wants_back = reason
    ask(draft, step, Op.FENCE)

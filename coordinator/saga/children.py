"""What children report means for their parent's calls (K2, K4, K5). The other side: `obeying.py`."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.backward import given_back, turn_back
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import ReportOutcome
from amends.coordinator.saga.events import Reported
from amends.coordinator.saga.forward import succeed
from amends.coordinator.saga.giving_up import refused
from amends.coordinator.saga.identity import child_of
from amends.coordinator.saga.state import Did, Op, Phase
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.stuck import give_to_operator


def concerns(draft: Draft, step: StepDraft, event: Reported) -> bool:
    """Whether a report is of the child that is called now, in the round in which it is asked (K1)."""
    return (
        step.phase is not Phase.SETTLED and event.round == step.round and event.child == child_of(draft, step)
    )


def take(draft: Draft, step: StepDraft, event: Reported) -> None:
    """Act on what a child has become."""
    match event.outcome:
        case ReportOutcome.STUCK:
            give_to_operator(draft, step, f"its child {event.child} is stuck: {event.reason}")
        case ReportOutcome.DONE if step.op is not Op.UNDO:
            step.did, step.result, step.error = Did.DONE, event.result, ""
            succeed(draft, step)
        case ReportOutcome.DONE:
            # Reported before it heard that it is to compensate. It cannot have completed: a child that may be undone is
            # held until it is told to settle (K2), and that is told only after what nothing is undone any more (P2).
            pass
        case ReportOutcome.REFUSED | ReportOutcome.NEVER if step.op is Op.UNDO:
            step.error = ""
            draft.move(step, Phase.SETTLED)
            given_back(draft, step.place, step.scope)
        case ReportOutcome.REFUSED | ReportOutcome.NEVER if step.op is Op.FENCE:
            step.did = Did.NEVER if event.outcome is ReportOutcome.NEVER else Did.REFUSED
            step.error = event.reason
            turn_back(draft, draft.wants_back)
        case ReportOutcome.REFUSED | ReportOutcome.NEVER:
            refused(draft, step, f"its child {event.child} did not happen: {event.reason}", certain=True)
        case _:
            assert_never(event.outcome)

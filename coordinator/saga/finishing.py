"""Finish as is: an operator ends a stuck saga where it stands (A1, A4, A5).

Everything outstanding is closed by a fence, so that it is known, and stays as it is found; children are told. Once
the last answer is there the saga has ended, without doing anything else.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.coordinator.saga.draft import CONFIRMING, THROUGH, Draft, StepDraft
from amends.coordinator.saga.effects import Order, ReportOutcome, Tell
from amends.coordinator.saga.ending import compensated, end_if_done, is_held, report
from amends.coordinator.saga.fans import began
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.leaves import CallNode, StepNode
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.state import Did, Op, Phase
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place


def finish(draft: Draft, override: str) -> None:
    """Close what is outstanding, tell the children, and end once that is answered."""
    draft.finishing = True
    order = Order.COMPENSATE if draft.backwards else Order.SETTLE
    for step in list(_calls(draft, draft.plan.root, "")):
        if step.did in (Did.UNKNOWN, Did.DONE) and not (step.phase is Phase.SETTLED and step.op is not Op.DO):
            tell = Tell(child=child_of(draft, step), order=order, parent=parent_of(draft, step))
            draft.effects.append(tell)
    for step in list(draft.steps()):
        if step.phase is not Phase.SETTLED:
            _close(draft, step, override)
    finished(draft)


def finished(draft: Draft) -> None:
    """End the saga if nothing is outstanding any more."""
    if draft.status.ended or any(step.phase is not Phase.SETTLED for step in draft.steps()):
        return
    if draft.backwards:
        compensated(draft)
        return
    draft.positions.pop(CONFIRMING, None)
    draft.positions[THROUGH] = 1
    if is_held(draft):
        report(draft, ReportOutcome.DONE)  # Held, never completed: its parent decides (A5).
    else:
        end_if_done(draft)


def closes(step: StepDraft) -> Op:
    """The op that a closing fence is to close."""
    return (step.closes or Op.DO) if step.op is Op.FENCE else step.op


def _close(draft: Draft, step: StepDraft, override: str) -> None:
    if isinstance(step.place.node, StepNode) and (step.did is not Did.UNSENT or step.op is not Op.DO):
        step.override = override
        step.forces = None
        ask(draft, step, Op.FENCE, closes=closes(step))
        return
    draft.overrides = (*draft.overrides, f"{override} ({step.path}: nothing to be found out)")
    draft.move(step, Phase.SETTLED)


def _calls(draft: Draft, place: Place, scope: str) -> Iterator[StepDraft]:
    """Every call that was begun."""
    if not any(isinstance(one.node, CallNode) for one in place.below()):
        return
    if isinstance(place.node, CallNode):
        step = draft.step(place.name + scope)
        if step is not None:
            yield step
    elif isinstance(place.node, EachNode):
        fan = began(draft, place, scope)
        for number in range(fan.total if fan is not None else 0):
            yield from _calls(draft, place.children[0], f"{scope}/{number}")
    else:
        for child in place.children:
            yield from _calls(draft, child, scope)

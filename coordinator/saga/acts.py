"""What operators do (A1 to A5). An act that does not fit is refused and changes nothing."""

from __future__ import annotations

from amends.coordinator.saga.backward import given_back, turn_back
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Order, Tell
from amends.coordinator.saga.ending import is_held
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Compensate, Edit, Finish, Force, Retry, Skip
from amends.coordinator.saga.finishing import closes, finish
from amends.coordinator.saga.forward import again, succeed
from amends.coordinator.saga.giving_up import fence_pivot
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.leaves import CallNode, StepNode
from amends.coordinator.saga.recording import leave, make_due
from amends.coordinator.saga.sending import ask, renew
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, Status
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.walk import Zone


def retry(draft: Draft, act: Retry) -> None:
    """Stuck steps are asked again in a new round; everything else that is outstanding is due now (A3)."""
    chosen = _chosen(draft, act.path)
    was_stuck = draft.status is Status.STUCK
    set_deadline(draft, act.deadline, was_stuck)
    if was_stuck:
        leave(draft)
    for step in chosen:
        if step.phase is Phase.STUCK:
            _in_a_new_round(draft, step)
        elif step.phase is Phase.BACKOFF and step.path not in draft.resent:
            again(draft, step)
    if was_stuck:
        make_due(draft)
    elif not draft.resent and act.deadline is None:
        raise ActRefused(f"nothing waits to be retried: {_awaited(draft)}")


def edit(draft: Draft, act: Edit) -> None:
    """Give a step other args and ask it again, in a new round (A3)."""
    (step,) = _chosen(draft, act.path)
    if not isinstance(step.place.node, StepNode) or step.op is not Op.DO:
        raise ActRefused(f"{step.name} does {step.op}; only the args of a command's `do` can be edited")
    was_stuck = draft.status is Status.STUCK
    set_deadline(draft, act.deadline, was_stuck)
    if was_stuck:
        leave(draft)
    if step.phase is Phase.SETTLED or step.op is not Op.DO or draft.status.ended:
        raise ActRefused(
            f"{step.name} has been answered meanwhile: retry, and what was recorded takes effect"
        )
    step.edited = {"args": act.args}
    note = f"edit {act.path} by {act.actor}: {act.reason}"
    draft.overrides = (*draft.overrides, note)
    _in_a_new_round(draft, step)
    if was_stuck:
        make_due(draft)


def skip(draft: Draft, act: Skip) -> None:
    """Do without a stuck step, once a closing fence told what became of it (A1)."""
    step = _stuck_step(draft, act.path, "skipped")
    leave(draft)
    if step.phase is Phase.STUCK:
        step.forces = None
        _settle(draft, step, f"skip {step.path} by {act.actor}: {act.reason}")
    make_due(draft)


def force(draft: Draft, act: Force) -> None:
    """Say what came of a stuck step, once a closing fence told that it did not (A1, A2)."""
    step = _stuck_step(draft, act.path, "forced")
    if act.refuse and (draft.backwards or step.place.zone is Zone.AFTER or draft.pivot is Pivot.PASSED):
        raise ActRefused(
            f"a refusal of {step.name} would decide nothing: the saga compensates, or is past its point of no return; "
            f"skip it, or force a result"
        )
    if act.refuse and step.place.zone is Zone.PIVOT and isinstance(step.place.node, CallNode):
        raise ActRefused(
            f"{step.name} is the pivot, and a saga of its own: only that knows; compensate, which asks it (P1)"
        )
    leave(draft)
    if step.phase is Phase.STUCK:
        step.forces = {"refuse": True} if act.refuse else {"result": act.result}
        _settle(draft, step, f"force {step.path} by {act.actor}: {act.reason}")
    make_due(draft)


def compensate(draft: Draft, act: Compensate) -> None:
    """Turn back now; with the pivot sent, once its outcome is known (A3, P1)."""
    if draft.parent is not None:
        raise ActRefused(f"its parent, saga {draft.parent.saga}, decides that: compensate the parent (A5)")
    if draft.backwards:
        raise ActRefused(f"the saga compensates already; retry or skip what is stuck: {_stuck(draft)}")
    was_stuck = draft.status is Status.STUCK
    if was_stuck:
        leave(draft)
    if not draft.backwards and not draft.status.ended:
        _turn_back(draft, f"compensated by {act.actor}: {act.reason}")
    if was_stuck:
        make_due(draft)


def finish_as_is(draft: Draft, act: Finish) -> None:
    """End a stuck saga where it stands, once closing fences told what became of what is outstanding (A1, A4)."""
    if draft.status is not Status.STUCK:
        raise ActRefused(f"the saga is {draft.status}, not stuck; only a stuck saga can be finished as it is")
    was_backwards = draft.backwards
    leave(draft)
    if draft.backwards is was_backwards and not draft.status.ended:
        finish(draft, f"finish by {act.actor}: {act.reason}")
    else:
        make_due(draft)  # What was recorded has turned it back: this is not what the operator looked at.


def _in_a_new_round(draft: Draft, step: StepDraft) -> None:
    if isinstance(step.place.node, CallNode) and step.op is Op.DO and step.did is Did.REFUSED:
        step.child += 1  # Its child has ended: this will be another (K1).
    step.round += 1
    renew(draft, step)
    again(draft, step)


def _settle(draft: Draft, step: StepDraft, override: str) -> None:
    """Close what is outstanding of a stuck step with a fence; where nobody was commanded there is nothing to close."""
    step.override = override
    if isinstance(step.place.node, StepNode):
        ask(draft, step, Op.FENCE, closes=closes(step))
        return
    draft.overrides = (*draft.overrides, override)
    if isinstance(step.place.node, CallNode):
        tell = Tell(child=child_of(draft, step), order=Order.COMPENSATE, parent=parent_of(draft, step))
        draft.effects.append(tell)
    if draft.backwards:
        draft.move(step, Phase.SETTLED)
        given_back(draft, step.place, step.scope)
    elif step.forces is not None and step.forces.get("refuse"):
        step.did = Did.REFUSED
        turn_back(draft, f"{step.name} was refused by an operator")
    else:
        step.did = Did.SKIPPED
        if step.forces is not None:
            step.did, step.result, step.error = Did.FORCED, step.forces.get("result"), ""
        succeed(draft, step)


def _turn_back(draft: Draft, reason: str) -> None:
    if draft.pivot is Pivot.PASSED:
        raise ActRefused(
            "the saga has passed its point of no return: nothing is compensated after it; retry or skip"
        )
    if draft.pivot is not Pivot.SENT:
        turn_back(draft, reason)
        return
    pivot = draft.plan.pivot
    step = draft.step(pivot.name) if pivot is not None else None
    if step is not None and step.op is Op.FENCE and step.closes is None and step.phase is not Phase.STUCK:
        raise ActRefused(
            f"{step.name}, the pivot, is being asked already whether it happened: {draft.wants_back}"
        )
    fence_pivot(draft, reason)


def _stuck_step(draft: Draft, path: str, done: str) -> StepDraft:
    step = draft.step(path)
    if step is None:
        raise unknown_step(draft, path)
    if step.phase is not Phase.STUCK:
        raise ActRefused(
            f"{step.name} is {step.phase}, not stuck; only a stuck step can be {done}: {_stuck(draft)}"
        )
    if draft.status is not Status.STUCK:
        raise ActRefused(
            f"the saga is {draft.status}: other steps are still under way; come back once it is stuck, or retry now"
        )
    return step


def _chosen(draft: Draft, path: str | None) -> list[StepDraft]:
    if path is None:
        return list(draft.steps())
    step = draft.step(path)
    if step is None:
        raise unknown_step(draft, path)
    if step.phase is Phase.SETTLED:
        raise ActRefused(f"{step.name} is settled ({step.op}, {step.did}); {_awaited(draft)}")
    return [step]


def set_deadline(draft: Draft, deadline: int | None, was_stuck: bool) -> None:
    """Move the deadline; None leaves it. Refused where it would do nothing, or has passed."""
    before_pivot = not draft.backwards and draft.pivot in (Pivot.NONE, Pivot.AHEAD)
    if deadline is None:
        passed = draft.deadline is not None and draft.deadline <= draft.now
        if was_stuck and before_pivot and not draft.through and passed:
            raise ActRefused(
                "its deadline has passed, so it would turn back at once; retry with a new deadline, or compensate"
            )
        return
    if draft.through and is_held(draft) and draft.parent is not None and not was_stuck:
        raise ActRefused(
            f"it is done and waits for its parent, saga {draft.parent.saga}, to decide: no deadline applies to it any "
            f"more (K2)"
        )
    if draft.backwards or draft.pivot is Pivot.PASSED:
        raise ActRefused(
            "no deadline applies any more: the saga compensates or is past its pivot; leave it out"
        )
    if deadline <= draft.now:
        raise ActRefused("the new deadline has passed already; give one that is still to come")
    draft.deadline = deadline
    pivot = draft.plan.pivot
    step = draft.step(pivot.name) if pivot is not None else None
    if step is not None and step.op is Op.DO:
        draft.wants_back = ""  # The pivot's fence could not tell; with more time it is simply tried on.


def unknown_step(draft: Draft, path: str) -> ActRefused:
    """What to raise for a path that no step has."""
    place = draft.plan.by_name.get(path)
    if place is not None and place.eaches:
        item = "/0" * len(place.eaches)
        return ActRefused(f"{path!r} is done for each item of a list: name an item, such as {path}{item}")
    begun = ", ".join(step.path for step in draft.steps()) or "none"
    return ActRefused(f"no step {path!r} has begun; begun are: {begun}")


def _stuck(draft: Draft) -> str:
    stuck = [step.path for step in draft.steps() if step.phase is Phase.STUCK]
    return f"stuck are {', '.join(stuck)}" if stuck else "no step is stuck"


def _awaited(draft: Draft) -> str:
    waiting = [
        f"{step.path} ({step.op})"
        for step in draft.steps()
        if step.phase in (Phase.AWAITING, Phase.PARKED, Phase.WAITING)
    ]
    return f"under way are {', '.join(waiting)}" if waiting else _stuck(draft)

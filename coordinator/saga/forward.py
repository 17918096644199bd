"""Going forward: begins what comes next, and notes what is through."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.draft import Draft, StepDraft
from amends.coordinator.saga.effects import Ended
from amends.coordinator.saga.expressions import Unresolved, resolve
from amends.coordinator.saga.giving_up import give_up
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.sending import send
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, Status
from amends.coordinator.saga.tree import ChainNode, GroupNode, PivotNode, StepNode
from amends.coordinator.saga.walk import Place, Zone


def enter(draft: Draft, place: Place) -> None:
    """Begin what stands in this place. Something in it that cannot begin may turn the saga back at once."""
    match place.node:
        case StepNode():
            again(draft, draft.begin_step(place))
        case ChainNode():
            draft.positions[place.id] = 0
            enter(draft, place.children[0])
        case GroupNode():
            draft.positions[place.id] = len(place.children)
            for child in place.children:
                if draft.backwards:
                    return
                enter(draft, child)
        case PivotNode():
            enter(draft, place.children[0])
        case _:
            assert_never(place.node)


def through(draft: Draft, place: Place) -> None:
    """What stands in this place is through: go on with what comes after it."""
    while (parent := place.parent) is not None:
        match parent.node:
            case ChainNode():
                following = place.index + 1
                if following < len(parent.children):
                    draft.positions[parent.id] = following
                    enter(draft, parent.children[following])
                    return
            case GroupNode():
                draft.positions[parent.id] -= 1
                if draft.positions[parent.id] > 0:
                    return
            case PivotNode() | StepNode():
                pass
            case _:
                assert_never(parent.node)
        place = parent
    draft.status = Status.COMPLETED
    draft.effects.append(Ended(status=Status.COMPLETED))


def succeed(draft: Draft, step: StepDraft) -> None:
    """A step going forward is settled, by its own success or by an operator: go on."""
    draft.move(step, Phase.SETTLED)
    if step.place.zone is Zone.PIVOT:
        draft.pivot = Pivot.PASSED
        draft.wants_back = ""
    through(draft, step.place)


def again(draft: Draft, step: StepDraft) -> None:
    """Send a step's current op: for the first time, or once more."""
    if step.op is not Op.DO:
        send(draft, step)
        return
    try:
        args = resolve(step.place.step.args, draft.input, lambda name: _result(draft, name))
    except Unresolved as missing:
        give_up(draft, step, f"its args cannot be made: {missing}")
    else:
        send(draft, step, args)


def _result(draft: Draft, name: str) -> Json:
    step = draft.result_of(name)
    if step is None or step.did is not Did.DONE:
        why = (
            "an operator skipped that step"
            if step is not None and step.did is Did.SKIPPED
            else "it did not run"
        )
        raise Unresolved(f"result({name!r}) is not there: {why}")
    return step.result

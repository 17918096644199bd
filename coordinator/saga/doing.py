"""What a leaf does when its turn has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, assert_never

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Call, Publish
from amends.coordinator.saga.evaluating import Unresolved, resolve
from amends.coordinator.saga.expressions import Expression
from amends.coordinator.saga.giving_up import give_up
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.sending import send
from amends.coordinator.saga.state import Did, Op, Phase, Pivot
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.surroundings import Around
from amends.coordinator.saga.walk import Zone

Begin: TypeAlias = Callable[[Draft, StepDraft, Json], bool]


def do(draft: Draft, step: StepDraft) -> bool:
    """Do what a leaf is there for. True if it is done at once; something it cannot begin with may end the way here."""
    match step.place.leaf:
        case StepNode() as node:
            return _with(draft, step, node.args, _command)
        case EmitNode() as node:
            return _with(draft, step, node.data, _emit)
        case CallNode() as node:
            return _with(draft, step, node.args, _call)
        case SleepNode() as node:
            return _wait(draft, step, node.duration)
        case WaitNode() as node:
            return take_signal(draft, step) or _wait(draft, step, node.timeout)
        case _:
            assert_never(step.place.leaf)


def take_signal(draft: Draft, step: StepDraft) -> bool:
    """Give a wait the oldest signal that nobody has taken (S1). False if there is none."""
    name = signal_of(step)
    kept = draft.signals.get(name)
    if not kept:
        return False
    if len(kept) > 1:
        draft.signals[name] = kept[1:]
    else:
        del draft.signals[name]
    step.took = kept[0].id
    _settled(draft, step, kept[0].payload)
    return True


def signal_of(step: StepDraft) -> str:
    """The name of the signal that a wait is there for: in an `each`, with the numbers of the items."""
    assert isinstance(step.place.node, WaitNode)
    return step.place.node.signal + step.scope


def _settled(draft: Draft, step: StepDraft, result: Json) -> None:
    step.did, step.result, step.error = Did.DONE, result, ""
    draft.move(step, Phase.SETTLED)


def _with(draft: Draft, step: StepDraft, wanted: Expression, begin: Begin) -> bool:
    if step.edited is not None:
        return begin(draft, step, step.edited["args"])
    try:
        value = resolve(wanted, Around(draft, step.place, step.scope))
    except Unresolved as missing:
        give_up(draft, step, f"its args cannot be made: {missing}")
        return False
    return begin(draft, step, value)


def _command(draft: Draft, step: StepDraft, args: Json) -> bool:
    send(draft, step, args)
    return False


def _emit(draft: Draft, step: StepDraft, data: Json) -> bool:
    assert isinstance(step.place.node, EmitNode)
    draft.effects.append(Publish(path=step.path, op=Op.DO, type=step.place.node.type, data=data))
    _settled(draft, step, data)
    return True


def _call(draft: Draft, step: StepDraft, args: Json) -> bool:
    node = step.place.node
    assert isinstance(node, CallNode)
    step.did = Did.UNKNOWN  # From here on it is owed a compensation, as a command is (C1).
    if step.place.zone is Zone.PIVOT:
        draft.pivot = Pivot.SENT
    _wait(draft, step, None)
    call = Call(
        child=child_of(draft, step),
        saga=node.saga,
        version=node.version,
        input=args,
        parent=parent_of(draft, step),
    )
    draft.effects.append(call)
    return False


def _wait(draft: Draft, step: StepDraft, duration: int | None) -> bool:
    step.attempt += 1  # A timer of an earlier wait is not this one's.
    draft.resent.add(step.path)
    draft.move(step, Phase.WAITING, draft.now + duration if duration is not None else None)
    return False

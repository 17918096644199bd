"""What must hold of a saga whatever happens: invariants 1 to 9 of docs/invariants.md, by their numbers.

Broken by a definition, not by the machine, is number 3 alone: a step that says `undo=None` is left as it is when the
saga compensates. That is `LEFT`: the author has said so, and is shown what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from amends.coordinator.checking.barrier import Row
from amends.coordinator.checking.moves import Move
from amends.coordinator.checking.worlds import World
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.effects import Ended, Send
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, Saga, Status, Step
from amends.coordinator.saga.tree import ChainNode
from amends.coordinator.saga.walk import Place, outer_scope, scope_of

LEFT: Final = "left behind"
STUCK: Final = "stuck"
_ATTEMPTS: Final = re.compile(r"given up after \d+ attempts")


class Finding(NamedTuple):
    """A promise that is broken (its number), something left behind, or a step that needs an operator."""

    kind: str
    path: str
    text: str


def findings(definition: Definition, before: World, move: Move) -> Iterator[Finding]:
    """What a move has brought about."""
    world = move.world
    saga = world.saga
    yield from _counts(world)
    for effect in move.effects:
        if isinstance(effect, Send):
            yield from _order(definition, before.saga, saga, effect)
    ends = [effect for effect in move.effects if isinstance(effect, Ended)]
    if saga.status.ended and not before.saga.status.ended:
        if len(ends) != 1:
            yield Finding("1", "", f"it is {saga.status} and that was told {len(ends)} times")
        if any(step.phase is not Phase.SETTLED for step in saga.steps.values()):
            yield Finding("1", "", f"it is {saga.status}, with something still outstanding")
    if saga.status is Status.STUCK and before.saga.status is not Status.STUCK:
        for step in saga.stuck_steps:
            yield Finding(STUCK, step.path, _why(definition, step))


def _why(definition: Definition, step: Step) -> str:
    """Why a step needs an operator. How often the model tried it tells nothing: what gives up is its policy."""
    node = definition.plan.by_id[step.node].node
    if not isinstance(node, StepNode):
        return step.error
    policy = node.retry if step.op is Op.DO else node.undo_retry
    tries = [] if policy.limit is None else [f"{policy.limit} retries"]
    times = [] if policy.within is None else [written(policy.within)]
    return _ATTEMPTS.sub(" or ".join(["given up", *tries, *times]).replace(" or", " after", 1), step.error)


def findings_at_the_end(definition: Definition, world: World) -> Iterator[Finding]:
    """What is wrong in a world in which nothing more happens."""
    saga = world.saga
    if not (saga.status.ended or saga.status is Status.STUCK):
        yield Finding("1", "", f"it is {saga.status}, and nothing more happens")
    if saga.overrides or saga.finishing:
        return  # What an operator overrode is exempt (A6).
    for step in saga.steps.values():
        place = definition.plan.by_id[step.node]
        if isinstance(place.node, StepNode):
            yield from _ended_step(saga, step, place.node, world.rows.get(step.path, Row()))
    if saga.status is Status.COMPENSATED:
        for child, row in world.rows.items():
            if child not in saga.steps and row.effects > row.undone:
                yield Finding("3", child, f"compensated, but child {child} stands")


def _counts(world: World) -> Iterator[Finding]:
    for path, row in world.rows.items():
        if row.effects > 1:
            yield Finding("6", path, f"{path} took effect {row.effects} times")
        if row.undone > row.effects or row.undone > 1:
            yield Finding(
                "5", path, f"{path} was undone {row.undone} times, and happened {row.effects} times"
            )


def _order(definition: Definition, was: Saga, saga: Saga, send: Send) -> Iterator[Finding]:
    if send.op is Op.DO and was.backwards:
        yield Finding("4", send.path, f"{send.path} is sent while the saga compensates")
    if send.op is not Op.UNDO:
        return
    if saga.pivot is Pivot.PASSED:
        yield Finding("8", send.path, f"{send.path} is undone after the point of no return")
    place = definition.plan.by_id[saga.steps[send.path].node]
    for path, step in saga.steps.items():
        other = definition.plan.by_id[step.node]
        if step.phase is not Phase.SETTLED and _depends(other, scope_of(path), place, scope_of(send.path)):
            yield Finding("7", send.path, f"{send.path} is undone before {path}, which came after it")


def _depends(later: Place, later_scope: str, earlier: Place, earlier_scope: str) -> bool:
    """Whether one instance could begin only after the other: they part in a chain, in the same item."""
    ways = [list(_up(place)) for place in (later, earlier)]
    common = [one for one in ways[0] if one in ways[1]]
    meeting = common[0]
    depth = len(meeting.eaches)
    if outer_scope(later_scope, depth) != outer_scope(earlier_scope, depth):
        return False
    if not isinstance(meeting.node, ChainNode):
        return False
    below = [way[way.index(meeting) - 1] if way[0] is not meeting else meeting for way in ways]
    return below[0].index > below[1].index


def _up(place: Place) -> Iterator[Place]:
    here: Place | None = place
    while here is not None:
        yield here
        here = here.parent


def _ended_step(saga: Saga, step: Step, node: StepNode, row: Row) -> Iterator[Finding]:
    if saga.status is Status.COMPLETED:
        if row.effects != 1 or row.undone:
            counts = f"{row.effects} times and was undone {row.undone} times"
            yield Finding("2", step.path, f"completed, but {step.path} happened {counts}")
        if node.confirm is not None and step.did is Did.DONE and row.confirmed != 1:
            yield Finding("2", step.path, f"completed, but {step.path} was confirmed {row.confirmed} times")
    if saga.status is not Status.COMPENSATED or row.effects == row.undone or node.reads:
        return
    if node.undo is not None or not node.final:
        yield Finding("3", step.path, f"compensated, but {step.path} happened and was not undone")
    else:
        yield Finding(LEFT, step.path, f"compensated, and {step.path} stands: nothing undoes it")

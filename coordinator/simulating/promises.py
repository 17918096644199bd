"""What must hold of every saga, by the numbers of the invariants: checked after every event."""

from __future__ import annotations

from collections.abc import Iterable

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Call, Effect, Ended, Order, Publish, Send, StepStuck, Tell
from amends.coordinator.saga.state import Decision, Did, Op, Phase, Pivot, Saga, Status, Step
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import numbers, scope_of
from amends.coordinator.simulating import expecting
from amends.coordinator.simulating.expecting import comes_before

_BEGUN_ON = (Did.DONE, Did.SKIPPED, Did.FORCED, Did.UNKNOWN)


def promise_each_event(
    definition: Definition, order: expecting.Order, was: Saga, saga: Saga, effects: Iterable[Effect]
) -> None:
    """The order of what is asked, and what a state may look like."""
    try:
        check(definition, saga)
    except AssertionError as error:
        raise AssertionError(f"1: no saga may look like this: {error}: {saga}") from None
    known = {path for path, step in saga.steps.items() if step.phase is Phase.STUCK}
    told = {effect.path for effect in effects if isinstance(effect, StepStuck)}
    told |= {path for path, step in was.steps.items() if step.phase is Phase.STUCK}
    assert known <= told, f"15: stuck, but not told: {known - told}"
    for effect in effects:
        match effect:
            case Send(op=Op.DO) | Call() | Publish(op=Op.DO):
                path = effect.parent.path if isinstance(effect, Call) else effect.path
                if path:
                    _promise_forwards(order, was, saga, path)
            case Send(op=Op.CONFIRM):
                _promise_decided(definition, saga, effect.path)
            case Tell(order=Order.SETTLE):
                _promise_settled(saga, effect)
            case Send() | Publish():
                _promise_backwards(order, saga, effect.path)
            case Tell(order=Order.COMPENSATE) if effect.parent.path in saga.steps and saga.backwards:
                if saga.steps[effect.parent.path].phase is not Phase.SETTLED:
                    _promise_backwards(order, saga, effect.parent.path)
            case _:
                pass
    _promise_pivot(definition, was, saga)
    _promise_room(definition, saga)
    ends = [effect for effect in effects if isinstance(effect, Ended)]
    assert len(ends) == saga.status.ended, f"1: {saga.status}, but told {ends}"
    if saga.status is Status.COMPLETED and saga.parent is not None and saga.parent.holds:
        assert saga.decision is Decision.SETTLE, "K2: a held child completed before its parent decided"


def _promise_forwards(order: expecting.Order, was: Saga, saga: Saga, path: str) -> None:
    assert not was.backwards, f"C1: a do of {path} while compensating"
    for other, step in saga.steps.items():
        if not comes_before(order, other, path):
            continue
        assert step.did in _BEGUN_ON, f"{path} before {other}, which is {step.did}"
        assert (
            saga.backwards
            or step.phase is Phase.SETTLED
            or step.op is Op.CONFIRM
            or (step.closes is Op.CONFIRM)
        ), f"{path} before {other}, which is {step.phase}"


def _promise_backwards(order: expecting.Order, saga: Saga, path: str) -> None:
    if not saga.backwards:
        return
    assert saga.pivot is not Pivot.PASSED, f"8: {path} is compensated after the pivot was passed"
    for other, step in saga.steps.items():
        if comes_before(order, path, other):
            assert step.phase is Phase.SETTLED, f"7: {path} is compensated before {other}: {step.phase}"


def _promise_decided(definition: Definition, saga: Saga, path: str) -> None:
    assert saga.pivot is Pivot.PASSED, f"P2: {path} is confirmed before the decision"
    assert definition.plan.pivot is not None or "through" in saga.positions, f"P2: {path} confirmed too early"
    assert not saga.backwards, f"P2: {path} is confirmed while compensating"
    step = saga.steps[path]
    assert step.did is Did.DONE, f"A2: {path} is confirmed, but {step.did}"


def _promise_settled(saga: Saga, tell: Tell) -> None:
    decided = saga.pivot is Pivot.PASSED or saga.finishing or saga.status is Status.COMPLETED
    assert decided, f"K2: {tell.parent.path} is settled before the decision"
    held = saga.parent is not None and saga.parent.holds
    assert not held or saga.decision is Decision.SETTLE, "K2: a held saga settled its child"


def _promise_pivot(definition: Definition, was: Saga, saga: Saga) -> None:
    pivot = definition.plan.pivot
    if saga.backwards and not was.backwards and pivot is not None and pivot.name in saga.steps:
        step = saga.steps[pivot.name]
        sure = step.did in (Did.UNSENT, Did.NEVER, Did.REFUSED)
        assert sure or _forced(saga, pivot.name), f"P1: turned back while its pivot is {step.did}"


def _forced(saga: Saga, path: str) -> bool:
    return any(one.startswith(f"force {path} ") for one in saga.overrides)


def _promise_room(definition: Definition, saga: Saga) -> None:
    """No `each` has more items under way than it may; the steps tell, not its own counts."""
    if not definition.plan.fans_out or saga.status is Status.STUCK:
        return
    under_way: dict[tuple[str, str], set[int]] = {}
    for step in saga.steps.values():
        if step.phase is Phase.SETTLED:
            continue
        scope = numbers(scope_of(step.path))
        for depth, each in enumerate(definition.plan.by_id[step.node].eaches):
            above = "/".join(map(str, scope[:depth]))
            under_way.setdefault((each.id, above), set()).add(scope[depth])
    for (place, _), items in under_way.items():
        node = definition.plan.by_id[place].node
        assert isinstance(node, EachNode)
        assert len(items) <= node.at_most, f"at_most: {len(items)} items under way of {node.at_most}"


def is_held(saga: Saga) -> bool:
    """Whether a child is through, and its parent has still to decide (K2)."""
    return (
        saga.parent is not None and saga.parent.holds and "through" in saga.positions and not saga.backwards
    )


def check(definition: Definition, saga: Saga) -> None:
    """What holds in every state; the database's constraints say the same."""
    for path, step in saga.steps.items():
        assert step.path == path
        timed = step.phase in (Phase.AWAITING, Phase.BACKOFF)
        assert step.phase is Phase.WAITING or (step.due is not None) is timed, step
        assert step.closes is None or step.op is Op.FENCE, step
        assert step.phase is not Phase.AWAITING or step.attempt >= 1, step
        assert step.phase is not Phase.STUCK or step.error, step
        assert step.node in definition.plan.by_id
    stuck = sum(step.phase is Phase.STUCK for step in saga.steps.values())
    assert saga.positions.get("stuck", 0) == stuck
    assert saga.clock >= saga.started
    if saga.status in (Status.COMPENSATING, Status.COMPENSATED):
        assert saga.backwards
    if saga.status in (Status.RUNNING, Status.COMPLETED):
        assert not saga.backwards
    if saga.status.ended:
        assert all(step.phase is Phase.SETTLED for step in saga.steps.values())
    elif saga.status is Status.STUCK:
        assert saga.stuck_steps or "internal error" in saga.cause
    elif not is_held(saga):
        assert any(step.phase is not Phase.SETTLED for step in saga.steps.values())
    if saga.backwards:
        assert saga.pivot is not Pivot.PASSED
        assert all(step.op is not Op.DO or step.phase is Phase.SETTLED for step in saga.steps.values())


def is_overridden(step: Step | None) -> bool:
    """Whether an operator answers for a step (A6)."""
    return step is not None and (step.override is not None or step.did in (Did.SKIPPED, Did.FORCED))

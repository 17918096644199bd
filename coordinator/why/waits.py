"""Why a step waits that no participant was asked for: it sleeps, or a signal or a child saga is to come."""

from __future__ import annotations

from amends.coordinator.records import StepRow
from amends.coordinator.saga.leaves import CallNode, SleepNode, WaitNode
from amends.coordinator.saga.walk import Plan, scope_of
from amends.coordinator.why.causes import Cause, Wait
from amends.coordinator.why.words import REASON


def waits(step: StepRow, saga_id: str, plan: Plan | None) -> Wait:
    """What such a step waits for. Without the definition nobody knows which of the three it is."""
    place = plan.by_id.get(step.node) if plan is not None else None
    match place.node if place is not None else None:
        case SleepNode():
            now = f"amends timers move {saga_id} {step.path} --in 0s {REASON}"
            return _wait(step, Cause.SLEEP, f"{step.path} lets some time pass", "the saga goes on", now)
        case WaitNode() as node:
            name = node.signal + scope_of(step.path)
            send = f"amends sagas signal {saga_id} {name}"
            return _wait(step, Cause.SIGNAL, f"the signal {name!r} has not come", _without(step, node), send)
        case CallNode() as node:
            return _child(step, node, saga_id)
        case _:
            text = f"{step.path} waits for its time, a signal or a child saga"
            return _wait(step, Cause.WAITING, text, "the saga goes on")


def _child(step: StepRow, node: CallNode, saga_id: str) -> Wait:
    if step.child is None:
        text = f"the child saga {node.saga!r} that {step.path} called has not begun"
        return _wait(step, Cause.CHILD, text, "it begins", f"amends sagas list --parent {saga_id}")
    child = f"{node.saga!r} ({step.child.id}, {step.child.status})"
    text = f"the child saga {child} that {step.path} called has not told what became of it"
    return _wait(step, Cause.CHILD, text, "what it tells", f"amends why {step.child.id}")


def _without(step: StepRow, node: WaitNode) -> str:
    if step.due_ms is None:
        return "the signal, or the saga's deadline"
    return "without the signal " + ("the saga goes on" if node.lenient else "the step fails")


def _wait(step: StepRow, cause: Cause, text: str, then: str, *acts: str) -> Wait:
    due = step.timer.due_ms if step.timer is not None else step.due_ms
    return Wait(
        cause=cause, path=step.path, text=text, since=step.since_ms, next=then, next_at=due, acts=acts
    )

"""Why a saga does not move: its steps' reasons, its own, and its deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amends.coordinator.records import Detail, QueueLoad, StepRow
from amends.coordinator.saga.state import FORMAT, Decision, Op, Phase, Pivot, Status
from amends.coordinator.saga.walk import Plan
from amends.coordinator.why.causes import NOT_ASKED, Broker, Cause, Wait
from amends.coordinator.why.grouping import grouped
from amends.coordinator.why.steps import Surroundings, wait_of
from amends.coordinator.why.words import REASON, asked, retry

_ENDED = frozenset(status.value for status in Status if status.ended)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the saga's deadline comes, in milliseconds since 1970, and what it does then."""

    at: int
    then: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything a saga waits for; nothing once it has ended. `deadline` is None where none applies."""

    waits: Sequence[Wait]
    deadline: Deadline | None


def explain(
    detail: Detail,
    loads: Mapping[str, QueueLoad] | None = None,
    broker: Broker = NOT_ASKED,
    plan: Plan | None = None,
) -> Explanation:
    """Why a saga waits. Without `loads`, `broker` and the definition's `plan` only what its own rows tell."""
    if detail.header.status in _ENDED:
        return Explanation((), None)
    around = Surroundings(
        saga_id=detail.header.id, now=detail.now_ms, loads=loads or {}, broker=broker, plan=plan
    )
    waits = grouped(_own(detail) or _of_steps(detail, around), detail.steps)
    return Explanation(waits, _deadline(detail))


def queues_to_ask(detail: Detail) -> frozenset[str]:
    """The command queues, without prefix, whose state would tell more."""
    if detail.header.status not in (Status.RUNNING, Status.COMPENSATING):
        return frozenset()
    return frozenset(
        step.queue
        for step in detail.steps
        if step.phase == Phase.AWAITING or (step.breaker is not None and step.phase != Phase.SETTLED)
    )


def in_words(step: StepRow, detail: Detail, plan: Plan | None = None) -> str | None:
    """What one step waits for, as one line; None once it is settled or its saga has ended."""
    if detail.header.status in _ENDED:
        return None
    wait = wait_of(step, Surroundings(saga_id=detail.header.id, now=detail.now_ms, plan=plan))
    return wait.text if wait is not None else None


def summary(detail: Detail, plan: Plan | None = None) -> str | None:
    """What the whole saga waits for, as one line; None once it has ended."""
    waits = explain(detail, plan=plan).waits
    if not waits:
        return None
    if detail.header.status == Status.STUCK:
        stuck = [wait for wait in waits if wait.cause is Cause.STUCK]
        places = "; ".join(f"{wait.place or 'the saga'}: {wait.text}" for wait in stuck)
        acts = [act for act in stuck[0].acts if act.startswith("amends sagas")] if stuck else []
        return f"{places}. Mend the cause, then `{acts[0]}`" if acts else places
    return "; ".join(f"{wait.place}: {wait.text}" if wait.path else wait.text for wait in waits)


def _own(detail: Detail) -> list[Wait]:
    """What concerns the saga as a whole, and makes its steps' reasons beside the point."""
    header = detail.header
    if header.format > FORMAT:
        text = "a newer release keeps this saga; coordinators of this one leave it alone"
        act = "amends coordinator"
        return [Wait(cause=Cause.NEWER, path="", text=text, next="a newer coordinator goes on", acts=(act,))]
    if header.held:
        return [_held(detail, header.parent or "")]
    if header.status != Status.STUCK:
        return []
    places = {one["path"]: one["reason"] for one in header.stuck_steps or ()}
    steps = {step.path: step for step in detail.steps}
    waits = [_stuck(detail, path, reason, steps.get(path)) for path, reason in places.items()]
    for step in detail.steps:
        if step.path not in places and step.phase != Phase.SETTLED:
            text = f"{asked(step)} goes on when the saga does"
            waits.append(
                Wait(cause=Cause.SAGA_STUCK, path=step.path, text=text, next="then it is sent again at once")
            )
    return waits


def _held(detail: Detail, parent: str) -> Wait:
    return Wait(
        cause=Cause.PARENT,
        path="",
        text=f"it is done, and waits for its parent, saga {parent}, to decide (K2)",
        since=detail.header.clock_ms,
        next="what its parent decides: it is completed, or gives back what it did",
        acts=(f"amends why {parent}",),
    )


def _stuck(detail: Detail, path: str, reason: str, step: StepRow | None) -> Wait:
    header = detail.header
    forwards = not header.backwards
    before_pivot = forwards and detail.pivot in (Pivot.NONE, Pivot.AHEAD)
    late = before_pivot and header.deadline_ms is not None and header.deadline_ms <= detail.now_ms
    child = step.child if step is not None else None
    if child is not None and child.status not in _ENDED:
        # Asked again, it would only tell again that it is stuck: it is there that something is to be done.
        acts = [f"amends why {child.id}", retry(child.id)]
    else:
        acts = [retry(header.id, step, deadline=late)]
    if header.status == Status.STUCK and step is not None:
        acts += [
            f"amends sagas {act} {header.id} --step {path}{how} {REASON}"
            for act, how in (("edit", " --args ..."), ("skip", ""), ("force", " --result ..."))
            if act != "edit" or (step.op == Op.DO and step.queue)
        ]
    if forwards and detail.pivot != Pivot.PASSED and detail.parent is None:
        acts.append(f"amends sagas compensate {header.id} {REASON}")
    if header.status == Status.STUCK:
        acts.append(f"amends sagas finish {header.id} {REASON}")
    return Wait(
        cause=Cause.STUCK,
        path=path,
        text=f"an operator is needed: {reason}",
        since=step.since_ms if step is not None else header.clock_ms,
        acts=acts,
    )


def _of_steps(detail: Detail, around: Surroundings) -> list[Wait]:
    waits = []
    for step in detail.steps:
        if step.phase == Phase.STUCK:
            waits.append(_stuck(detail, step.path, step.error or "", step))
        elif (wait := wait_of(step, around)) is not None:
            waits.append(wait)
    return waits


def _deadline(detail: Detail) -> Deadline | None:
    header = detail.header
    if header.deadline_ms is None or header.backwards or detail.pivot == Pivot.PASSED:
        return None
    if detail.finishing:
        return Deadline(header.deadline_ms, "nothing: an operator ends it as it is (A4)")
    if detail.through:
        held = detail.parent is not None and detail.decision == Decision.NONE
        why = "it is done, and its parent decides (K2)" if held else "its way forward is behind it"
        return Deadline(header.deadline_ms, f"nothing: {why}")
    if header.status == Status.STUCK:
        return Deadline(header.deadline_ms, "nothing while it is stuck; once it moves again it turns back")
    if detail.pivot == Pivot.SENT:
        return Deadline(header.deadline_ms, "the pivot's participant is asked whether it happened (P1)")
    return Deadline(header.deadline_ms, "it turns back and compensates")

"""Sends a step's current op, or parks it while its queue is held (E4); backs off after a try in vain (M3, M5)."""

from __future__ import annotations

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import AttemptClosed, Order, Send, Tell
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.policies import Retry
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, queue_of
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.walk import Zone


def ask(draft: Draft, step: StepDraft, op: Op, closes: Op | None = None) -> None:
    """Ask something new of a step's participant, under a policy that begins now. Not for `do`: that has args."""
    step.op = op
    step.closes = closes
    renew(draft, step)
    resend(draft, step)


def renew(draft: Draft, step: StepDraft) -> None:
    """Its policy begins anew."""
    step.spent = 0
    step.since = draft.now


def send(draft: Draft, step: StepDraft, args: Json = None) -> None:
    """Send the current op, as one attempt more; or park it."""
    node = step.place.step
    draft.resent.add(step.path)
    if queue_of(node.to, step.op) in draft.held:
        draft.move(step, Phase.PARKED)
        return
    step.attempt += 1
    if step.op is Op.DO:
        # From here on its undo is owed, whatever is answered, or not (C1, M4).
        step.did = Did.UNKNOWN
        if step.place.zone is Zone.PIVOT:
            draft.pivot = Pivot.SENT
    timeout = _timeout(step)
    draft.move(step, Phase.AWAITING, draft.now + timeout)
    draft.effects.append(
        Send(
            path=step.path,
            participant=node.to,
            op=step.op,
            command={Op.UNDO: node.undo, Op.CONFIRM: node.confirm}.get(step.op) or node.do,
            round=step.round,
            attempt=step.attempt,
            args=args,
            timeout=timeout,
            closes=step.closes,
        )
    )


def resend(draft: Draft, step: StepDraft) -> None:
    """Ask once more what is outstanding. Not for `do`: that has args."""
    if isinstance(step.place.node, StepNode):
        send(draft, step)
        return
    # A call: what its child is told.
    draft.resent.add(step.path)
    step.attempt += 1
    order = Order.FENCE if step.op is Op.FENCE else Order.COMPENSATE
    draft.move(step, Phase.WAITING)
    draft.effects.append(Tell(child=child_of(draft, step), order=order, parent=parent_of(draft, step)))


def close_attempt(draft: Draft, step: StepDraft, outcome: str) -> None:
    """Tell the metrics how the awaited attempt ended, if one is awaited."""
    if step.phase is not Phase.AWAITING or step.due is None:
        return
    duration = max(0, draft.now - (step.due - _timeout(step)))
    participant = step.place.step.to
    draft.effects.append(
        AttemptClosed(path=step.path, participant=participant, op=step.op, outcome=outcome, duration=duration)
    )


def in_vain(draft: Draft, step: StepDraft, reason: str, *, spent: bool, retry_after: int | None) -> bool:
    """The awaited attempt brought no answer that decides: back off. False if the policy has no more tries (M3).

    What is not spent neither counts nor lengthens the pause.
    """
    policy = _policy(draft, step)
    step.error = reason
    if spent:
        step.spent += 1
    seed = f"{draft.id}/{step.path}/{step.attempt}"
    pause = policy.pause(step.spent if spent else 1, seed, at_least=retry_after or 0)
    if policy.gives_up(step.spent, step.since, draft.now + pause):
        return False
    draft.move(step, Phase.BACKOFF, draft.now + pause)
    return True


def _timeout(step: StepDraft) -> int:
    node = step.place.step
    return node.timeout if step.op is Op.DO else node.undo_timeout


def _policy(draft: Draft, step: StepDraft) -> Retry:
    node = step.place.step
    # A pivot whose fence could not tell is tried on under the fence's policy: its own has run out (P1).
    last_tries = step.place.zone is Zone.PIVOT and draft.wants_back != ""
    return node.retry if step.op is Op.DO and not last_tries else node.undo_retry

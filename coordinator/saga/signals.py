"""Waits: signals that come early, in time, twice, or not at all (S1); and the time that a `sleep` lets pass."""

from __future__ import annotations

from amends.coordinator.saga.bounds import SIGNALS_MAX
from amends.coordinator.saga.doing import signal_of, take_signal
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.events import Signalled
from amends.coordinator.saga.forward import succeed
from amends.coordinator.saga.giving_up import give_up
from amends.coordinator.saga.leaves import SleepNode, WaitNode
from amends.coordinator.saga.state import Did, Phase, Status
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.walk import Place, scope_of


def signalled(draft: Draft, event: Signalled) -> None:
    """Keep a signal until a wait takes it; copies and signals that no wait is there for change nothing."""
    name, _, __ = event.name.partition("/")
    places = draft.plan.by_signal.get(name)
    if places is None or event.message_id in draft.heard or len(draft.heard) >= SIGNALS_MAX:
        return
    draft.heard = (*draft.heard, event.message_id)
    if draft.backwards:
        return  # Nobody will wait for it any more.
    draft.signals[event.name] = (*draft.signals.get(event.name, ()), event.payload)
    if draft.status is not Status.STUCK:
        _offer(draft, places, scope_of(event.name))


def _offer(draft: Draft, places: list[Place], scope: str) -> None:
    for place in places:
        step = draft.step(place.name + scope)
        if step is not None and step.phase is Phase.WAITING and take_signal(draft, step):
            succeed(draft, step)
            return


def wait_on(draft: Draft, step: StepDraft) -> None:
    """The saga was stuck: what came meanwhile is taken, what was to be due is due again; a child needs nothing."""
    if isinstance(step.place.node, WaitNode) and draft.signals.get(signal_of(step)):
        take_signal(draft, step)
        succeed(draft, step)
    elif step.due is not None:
        step.attempt += 1
        draft.move(step, Phase.WAITING, max(step.due, draft.now))


def time_is_up(draft: Draft, step: StepDraft) -> None:
    """A sleep is over; a wait has lasted as long as it may."""
    match step.place.node:
        case SleepNode():
            step.did = Did.DONE
            succeed(draft, step)
        case WaitNode(lenient=True):
            step.did = Did.DONE
            succeed(draft, step)
        case WaitNode() as node:
            give_up(draft, step, f"no signal {signal_of(step)!r} came within {written(node.timeout or 0)}")
        case _:
            pass  # Nothing else waits for a time.

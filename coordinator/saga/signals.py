"""Waits: signals that come early, in time, twice, or not at all (S1); and the time that a `sleep` lets pass."""

from __future__ import annotations

from enum import StrEnum

from amends.coordinator.saga.bounds import SIGNALS_MAX
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.doing import signal_of, take_signal
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.evaluating import Unresolved
from amends.coordinator.saga.events import Signalled
from amends.coordinator.saga.expressions import Result, parts
from amends.coordinator.saga.forward import succeed
from amends.coordinator.saga.giving_up import give_up
from amends.coordinator.saga.leaves import SleepNode, WaitNode
from amends.coordinator.saga.state import Did, Kept, Phase, Saga, Status
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.surroundings import count_of
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place, outer_scope, scope_of


class Hearing(StrEnum):
    """What a signal means to a saga as it stands. Only the first two change it."""

    TAKEN = "taken"  # a wait is there for it
    KEPT = "kept"  # one may come
    COPY = "copy"  # it came before
    UNAWAITED = "unawaited"  # the definition has no such wait, or its list no such item
    LATE = "late"  # the saga compensates, nobody will wait any more
    FULL = "full"  # so many are kept already that no further one can be


def hearing(definition: Definition, saga: Saga, event: Signalled) -> Hearing:
    """What this signal would mean to a saga that has not ended. Raises: NotLoaded."""
    return _hearing(Draft(definition, saga, saga.clock, event.held), event)


def paths_of(definition: Definition, name: str) -> list[str]:
    """The waits that a signal of this name may be for, as paths: those of its item, where it names one."""
    places = definition.plan.by_signal.get(name.partition("/")[0], [])
    return [place.name + scope_of(name) for place in places]


def signalled(draft: Draft, event: Signalled) -> None:
    """Keep a signal until a wait takes it; copies and signals that no wait is there for change nothing."""
    heard = _hearing(draft, event)
    if heard not in (Hearing.TAKEN, Hearing.KEPT):
        return
    kept = Kept(id=event.message_id, payload=event.payload)
    draft.signals[event.name] = (*draft.signals.get(event.name, ()), kept)
    waiting = _waiting(draft, event) if heard is Hearing.TAKEN else None
    if waiting is not None and take_signal(draft, waiting):
        succeed(draft, waiting)


def _hearing(draft: Draft, event: Signalled) -> Hearing:
    places = _places(draft, event)
    if not places:
        return Hearing.UNAWAITED
    if draft.backwards:
        return Hearing.LATE
    if _is_copy(draft, event, places):
        return Hearing.COPY
    if _waiting(draft, event) is not None:
        return Hearing.TAKEN
    # Only what is kept is bounded: a wait that is there has its signal, however many came before.
    return Hearing.KEPT if sum(map(len, draft.signals.values())) < SIGNALS_MAX else Hearing.FULL


def _places(draft: Draft, event: Signalled) -> list[Place]:
    """The waits that might ever take it: in as many `each` nodes as it has numbers, none past the list's end."""
    name, _, _ = event.name.partition("/")
    scope = scope_of(event.name)
    return [place for place in draft.plan.by_signal.get(name, ()) if _may_come(draft, place, scope)]


def _may_come(draft: Draft, place: Place, scope: str) -> bool:
    written_numbers = scope.split("/")[1:]
    if len(written_numbers) != len(place.eaches):
        return False
    for depth, (each, number) in enumerate(zip(place.eaches, written_numbers, strict=True)):
        total = _known_total(draft, each, outer_scope(scope, depth))
        if number != str(int(number)) or (total is not None and int(number) >= total):
            return False
    return True


def _known_total(draft: Draft, each: Place, scope: str) -> int | None:
    """How many items an `each` has; None if that takes results to tell, and it has not begun."""
    fan = draft.fans.get(each.id + scope)
    if fan is not None:
        return fan.total
    assert isinstance(each.node, EachNode)
    around = [*each.eaches, each]
    overs = [one.node.over for one in around if isinstance(one.node, EachNode)]
    if any(isinstance(part, Result) for over in overs for part in parts(over)):
        return None  # Nothing is read for a signal that may be kept as well.
    try:
        return count_of(draft, each, scope)
    except Unresolved:
        return None


def _is_copy(draft: Draft, event: Signalled, places: list[Place]) -> bool:
    """Whether this name and id is kept, or was taken by one of the waits that it might be for (S1)."""
    if any(one.id == event.message_id for one in draft.signals.get(event.name, ())):
        return True
    paths = [place.name + scope_of(event.name) for place in places]
    draft.require(paths)
    steps = (draft.result_of(path) for path in paths)
    return any(step is not None and step.took == event.message_id for step in steps)


def _waiting(draft: Draft, event: Signalled) -> StepDraft | None:
    """The wait that takes this signal now; a stuck saga's takes it when it moves again."""
    if draft.status is Status.STUCK:
        return None
    steps = (draft.step(place.name + scope_of(event.name)) for place in _places(draft, event))
    return next((step for step in steps if step is not None and step.phase is Phase.WAITING), None)


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

"""Everything that can happen next in a world.

What is ordinary is free: messages arrive, in any order; handlers do or refuse; what was lost is tried again; a saga
may be called off by what it waits for. What goes wrong costs a mishap: a handler fails, a participant dies before its
commit or after it, a message comes twice, an answer comes later than its timeout, a deadline passes, an undo or a
confirm is refused. What an operator does costs an act.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from amends.coordinator.checking.barrier import Row, answer, obey, runs_handler
from amends.coordinator.checking.worlds import Message, World, happens
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.effects import Call, Effect, Order, ReportOutcome, Send, Tell
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Event, Outcome, Replied, Reported
from amends.coordinator.saga.leaves import StepNode, WaitNode
from amends.coordinator.saga.state import Op, Parent, Phase, Pivot, Status, Step
from amends.coordinator.saga.walk import scope_of

_DAY_MS: Final = 86_400_000
_ACTOR: Final = "operator"
_REASON: Final = "checked"


class Move(NamedTuple):
    """Something that happens: in words, the world after it, and what the saga then wants done."""

    text: str
    world: World
    effects: tuple[Effect, ...] = ()


def moves(definition: Definition, world: World) -> Iterator[Move]:
    """Every move. An ended saga's messages still arrive: nothing may come of them."""
    for index, message in enumerate(world.network):
        if message in world.network[:index]:
            continue  # One of two equal copies is enough.
        rest = replace(world, network=world.network[:index] + world.network[index + 1 :])
        yield from _arrives(definition, rest, message)
        if world.mishaps:
            twice = _mishap(world)
            for move in _arrives(definition, twice, message):
                if move.world.mishaps == twice.mishaps:
                    yield move._replace(text=f"{move.text} (and a copy of it is still under way)")
    if world.saga.status.ended:
        return
    for step in world.saga.steps.values():
        yield from _time(definition, world, step)
    yield from _deadline(definition, world)
    if world.acts:
        yield from _operator(definition, world)


def _mishap(world: World) -> World:
    return replace(world, mishaps=world.mishaps - 1)


def _event(definition: Definition, world: World, event: Event, text: str, now: int = 0) -> Move:
    after, effects = happens(definition, world, event, now)
    return Move(text, after, effects)


# Messages


def _arrives(definition: Definition, world: World, message: Message) -> Iterator[Move]:
    match message:
        case Send():
            yield from _obeyed(world, message)
        case Replied():
            text = f"{_asked(message.path, message.op)} is answered: {message.outcome.value}"
            yield _event(definition, world, message, text)
        case Call() | Tell():
            yield from _child(world, message)
        case Reported():
            text = f"the child of {message.path} reports: {message.outcome.value}"
            yield _event(definition, world, message, text)


def _obeyed(world: World, send: Send) -> Iterator[Move]:
    row = world.rows.get(send.path, Row())
    asked = _asked(send.path, send.op)
    if not runs_handler(row, send):
        after, reply = obey(row, send, refuse=False)
        yield Move(f"{send.participant} answers {asked} from what stands", _store(world, send, after, reply))
    else:
        after, reply = obey(row, send, refuse=False)
        yield Move(f"{send.participant}: {asked} happens", _store(world, send, after, reply))
        after, reply = obey(row, send, refuse=True)
        if send.op is Op.DO:
            yield Move(f"{send.participant} refuses {asked}", _store(world, send, after, reply))
        elif world.mishaps:
            yield Move(f"{send.participant} refuses {asked}", _store(_mishap(world), send, after, reply))
    if not world.mishaps:
        return
    worse = _mishap(world)
    yield Move(f"{send.participant} dies before {asked} is committed", worse)
    failed = replace(answer(send, Outcome.FAILED), spent=True)
    yield Move(f"{send.participant} fails at {asked}", replace(worse, network=(*worse.network, failed)))
    after, _ = obey(row, send, refuse=False)
    if after != row:
        rows = {**world.rows, send.path: after}
        yield Move(f"{send.participant}: {asked} happens, and its answer is lost", replace(worse, rows=rows))


def _store(world: World, send: Send, row: Row, reply: Replied) -> World:
    return replace(world, rows={**world.rows, send.path: row}, network=(*world.network, reply))


def _child(world: World, message: Call | Tell) -> Iterator[Move]:
    """A child saga as a whole: it happens or it does not; told to compensate, nothing of it is left (K2 to K5)."""
    row = world.rows.get(message.child, Row())
    path = message.parent.path
    if isinstance(message, Tell):
        yield _told(world, message, row)
    elif row.do == "":
        done = row._replace(do="done", effects=1)
        yield _reports(
            world, message.child, done, message.parent, ReportOutcome.DONE, f"the child of {path} succeeds"
        )
        refused = row._replace(do="refused")
        yield _reports(
            world,
            message.child,
            refused,
            message.parent,
            ReportOutcome.REFUSED,
            f"the child of {path} is refused",
        )
    else:
        outcome = ReportOutcome.DONE if row.do == "done" and not row.undo else ReportOutcome.REFUSED
        yield _reports(
            world, message.child, row, message.parent, outcome, f"the child of {path} is called again"
        )


def _told(world: World, tell: Tell, row: Row) -> Move:
    path = tell.parent.path
    if tell.order is Order.SETTLE:
        rows = {**world.rows, tell.child: row._replace(confirm="done", confirmed=1)}
        return Move(f"the child of {path} is settled", replace(world, rows=rows))
    if tell.order is Order.FENCE and row.do == "done":
        return _reports(
            world, tell.child, row, tell.parent, ReportOutcome.DONE, f"the child of {path} is past it"
        )
    never = row.do == ""
    undone = 1 if row.do == "done" else row.undone
    after = row._replace(do=row.do or "never", undo="done" if row.do == "done" else "nothing", undone=undone)
    outcome = ReportOutcome.NEVER if never and tell.order is Order.FENCE else ReportOutcome.REFUSED
    return _reports(world, tell.child, after, tell.parent, outcome, f"the child of {path} compensates")


def _reports(world: World, child: str, row: Row, parent: Parent, outcome: ReportOutcome, text: str) -> Move:
    report = Reported(
        path=parent.path, child=child, round=parent.round, outcome=outcome, reason=outcome.value
    )
    return Move(text, replace(world, rows={**world.rows, child: row}, network=(*world.network, report)))


# Time


def _time(definition: Definition, world: World, step: Step) -> Iterator[Move]:
    node = definition.plan.by_id[step.node].node
    if step.phase is Phase.WAITING and isinstance(node, WaitNode):
        name = node.signal + scope_of(step.path)
        signal = events.Signalled(name=name, message_id=f"signal {world.saga.seq}")
        yield _event(definition, world, signal, f"the signal {name!r} comes")
    if step.due is None:
        return
    fired = events.TimerFired(path=step.path, attempt=step.attempt)
    asked = _asked(step.path, step.op)
    match step.phase:
        case Phase.BACKOFF:
            yield _event(definition, world, fired, f"{asked} is tried again", step.due)
        case Phase.WAITING:
            yield _event(definition, world, fired, f"{step.path} has waited long enough", step.due)
        case Phase.AWAITING if not _under_way(world, step):
            yield _event(definition, world, fired, f"{asked} stays without an answer", step.due)
        case Phase.AWAITING if world.mishaps:
            yield _event(definition, _mishap(world), fired, f"{asked} is not answered in time", step.due)
        case _:
            pass
    if step.phase is Phase.AWAITING and world.mishaps and isinstance(node, StepNode):
        within = (node.retry if step.op is Op.DO else node.undo_retry).within
        if within is not None:
            text = f"{asked} is not answered for {written(within)}, and given up"
            yield _event(definition, _mishap(world), fired, text, step.since + within)


def _under_way(world: World, step: Step) -> bool:
    """Whether the step's command or its answer is still to arrive: then its timeout is not the next thing to happen."""
    return any(
        isinstance(message, Send | Replied) and message.path == step.path and message.op is step.op
        for message in world.network
    )


def _deadline(definition: Definition, world: World) -> Iterator[Move]:
    saga = world.saga
    if not world.mishaps or saga.deadline is None or world.now >= saga.deadline or saga.backwards:
        return
    if saga.pivot is not Pivot.PASSED:
        yield _event(
            definition, _mishap(world), events.DeadlineReached(), "the deadline passes", saga.deadline
        )


# Operators


def _operator(definition: Definition, world: World) -> Iterator[Move]:
    for event, text in _acts(world):
        try:
            move = _event(definition, replace(world, acts=world.acts - 1), event, f"an operator: {text}")
        except ActRefused:
            continue
        if move.world.saga is not world.saga:
            yield move


def _acts(world: World) -> Iterator[tuple[Event, str]]:
    yield events.Compensate(actor=_ACTOR, reason=_REASON), "compensate"
    if world.saga.status is not Status.STUCK:
        return
    deadline = None if world.saga.backwards else world.now + _DAY_MS
    yield events.Retry(actor=_ACTOR, reason=_REASON), "retry"
    yield events.Retry(actor=_ACTOR, reason=_REASON, deadline=deadline), "retry with a new deadline"
    yield events.Finish(actor=_ACTOR, reason=_REASON), "finish as is"
    for step in world.saga.stuck_steps:
        path = step.path
        yield events.Skip(actor=_ACTOR, reason=_REASON, path=path), f"skip {path}"
        yield events.Force(actor=_ACTOR, reason=_REASON, path=path), f"force a result of {path}"
        yield events.Force(actor=_ACTOR, reason=_REASON, path=path, refuse=True), f"force a refusal of {path}"


def _asked(path: str, op: Op) -> str:
    return path if op is Op.DO else f"{op.value} of {path}"

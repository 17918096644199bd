"""One moment: a saga, its participants and children, what is under way between them, what may still go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from amends.coordinator.checking.barrier import Row
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Call, Effect, Publish, Send, Tell
from amends.coordinator.saga.events import Event, Outcome, Replied, Reported
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Saga, Step

Message: TypeAlias = Send | Replied | Call | Tell | Reported
START = 1_000_000_000_000  # ms; which moment it is matters to nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`rows` are participants' steps and children by path or id; `mishaps` and `acts` how many may still come.

    `emitted` are the events published, by path and op. A timer that matters is never far away: `now` moves only when
    one fires.
    """

    saga: Saga
    now: int
    rows: Mapping[str, Row]
    network: tuple[Message, ...] = ()
    emitted: tuple[str, ...] = ()
    mishaps: int
    acts: int


def first(definition: Definition, *, mishaps: int, acts: int) -> World:
    """Before the saga's first event."""
    saga = begin(definition, id="checked", input=None, labels={}, now=START)
    return World(saga=saga, now=START, rows={}, mishaps=mishaps, acts=acts)


def happens(
    definition: Definition, world: World, event: Event, now: int = 0
) -> tuple[World, tuple[Effect, ...]]:
    """The world after an event of its saga. Raises: ActRefused."""
    now = max(now, world.now)
    saga, effects = advance(definition, world.saga, event, now)
    sent = tuple(effect for effect in effects if isinstance(effect, Send | Call | Tell))
    emitted = tuple(f"{effect.path} {effect.type}" for effect in effects if isinstance(effect, Publish))
    after = replace(world, saga=saga, now=now, network=world.network + sent, emitted=world.emitted + emitted)
    return after, effects


def identity(world: World) -> object:
    """What makes a world the same as another: not when things happened, nor how often they were tried in vain."""
    saga = world.saga
    return (
        saga.status,
        saga.backwards,
        saga.pivot,
        saga.wants_back != "",
        saga.finishing,
        saga.deadline is not None and world.now >= saga.deadline,
        tuple(sorted((name, len(kept)) for name, kept in saga.signals.items())),
        tuple(sorted(saga.positions.items())),
        tuple(sorted((key, fan.next, fan.open, fan.skip) for key, fan in saga.fans.items())),
        tuple(sorted(_of_step(step) for step in saga.steps.values())),
        tuple(sorted(world.rows.items())),
        tuple(sorted(_of_message(message, saga) for message in world.network)),
        world.emitted,
        world.mishaps,
        world.acts,
    )


def _of_step(step: Step) -> tuple[object, ...]:
    return (
        step.path,
        step.phase,
        step.op,
        step.closes or "",
        step.round,
        step.spent,
        step.did,
        step.child,
        str(step.recorded["outcome"]) if step.recorded is not None else "",
        step.override is not None,
        step.forces is not None,
    )


def _of_message(message: Message, saga: Saga) -> tuple[object, ...]:
    match message:
        case Send():
            # A stale command and the awaited one fail differently: only the latter's answer counts (M3).
            step = saga.steps.get(message.path)
            what: tuple[object, ...] = (
                "send",
                message.path,
                message.op,
                message.round,
                message.closes or "",
                step is not None and step.attempt == message.attempt,
            )
        case Replied():
            # Of its attempt only that matters: whether it is the one that is awaited (M3).
            step = saga.steps.get(message.path)
            current = (
                message.outcome is Outcome.FAILED and step is not None and step.attempt == message.attempt
            )
            what = (
                "reply",
                message.path,
                message.op,
                message.round,
                message.closes or "",
                current,
                message.outcome,
            )
        case Call():
            what = ("call", message.child, message.parent.round)
        case Tell():
            what = ("tell", message.child, message.order, message.parent.round)
        case Reported():
            what = ("report", message.child, message.outcome, message.round)
    return tuple(str(part) for part in what)

"""The machine with only a part of a saga at hand: it asks for what it needs, and comes to the same (`NotLoaded`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Effect
from amends.coordinator.saga.errors import NotLoaded
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.machine import advance
from amends.coordinator.saga.state import Phase, Saga


@dataclass
class Partly:
    """What one event asked for: how often, and how many steps in all."""

    rounds: int = 0
    asked: set[str] = field(default_factory=set)
    all_open: bool = False


def advance_partly(
    definition: Definition, saga: Saga, event: Event, now: int
) -> tuple[Saga, tuple[Effect, ...], Partly]:
    """Advance a saga of which all is known, handing over only the steps that are asked for."""
    asked = Partly()
    part = replace(saga, partial=True, steps={})
    while True:
        try:
            after, effects = advance(definition, part, event, now)
        except NotLoaded as more:
            if not (more.paths - asked.asked or (more.open_too and not part.has_open)):
                raise AssertionError(f"it asks in a circle: {more.paths}") from more
            asked.rounds += 1
            asked.asked |= more.paths
            asked.all_open |= more.open_too
            wanted = {path for path in more.paths if path in saga.steps}
            if more.open_too:
                wanted |= {path for path, step in saga.steps.items() if step.phase is not Phase.SETTLED}
            part = replace(
                part,
                steps={**part.steps, **{path: saga.steps[path] for path in wanted}},
                absent=part.absent | (more.paths - saga.steps.keys()),
                has_open=part.has_open or more.open_too,
            )
            continue
        if after is part:
            return saga, effects, asked
        whole = replace(
            after,
            partial=saga.partial,
            has_open=saga.has_open,
            absent=saga.absent,
            steps={**saga.steps, **after.steps},
        )
        return whole, effects, asked


def same_partly(definition: Definition, saga: Saga, event: Event, now: int) -> Partly:
    """Hold both against each other. Raises: AssertionError if a part comes to something else than the whole."""
    after, effects = advance(definition, saga, event, now)
    part, said, asked = advance_partly(definition, saga, event, now)
    assert part == after, f"a part comes to another state at {event}"
    assert said == effects, f"a part has other effects at {event}"
    return asked

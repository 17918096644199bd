"""One saga of an explored family: its state, its log, its participants, and the promises held at every event."""

from __future__ import annotations

from random import Random

from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Effect, Publish
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.machine import advance
from amends.coordinator.saga.state import Saga
from amends.coordinator.simulating.expecting import order_of
from amends.coordinator.simulating.promises import promise_each_event
from tests.saga.barrier_model import Service
from tests.saga.partly import same_partly


class Life:
    """A saga from its birth on. `effects` is what its participants did, `published` the events it published."""

    def __init__(self, rng: Random, definition: Definition, born: Saga, *, partly: bool) -> None:
        self.rng = rng
        self.definition = definition
        self.order = order_of(definition)
        self.born = self.saga = born
        self.log: list[tuple[Event, int]] = []
        self.effects: list[tuple[str, str]] = []
        self.published: list[Publish] = []
        self.stale: list[tuple[str, int]] = []
        self.finished = False
        self.healed = False
        self.forgetful = False
        self._partly = partly
        self._services: dict[str, Service] = {}

    def service(self, path: str) -> Service:
        """The participant of one step."""
        if path not in self._services:
            external = self.rng.random() < 0.4
            self._services[path] = Service(self.rng, path, external=external, effects=self.effects)
        service = self._services[path]
        service.healed, service.forgetful = self.healed, self.forgetful
        return service

    def do_row(self, path: str) -> str | None:
        """What the barrier's do row of one step says."""
        service = self._services.get(path)
        return service.row.do or None if service is not None else None

    def happens(self, event: Event, now: int) -> tuple[Effect, ...]:
        """One event, and everything that must hold after it. An act that does not fit changes nothing."""
        was = self.saga
        try:
            after, effects = advance(self.definition, was, event, now)
        except ActRefused:
            assert isinstance(event, events.Act)
            return ()
        if self._partly:
            same_partly(self.definition, was, event, now)
        if after is was:
            return effects
        self.saga = after
        self.log.append((event, after.clock))
        self.finished |= isinstance(event, events.Finish)
        promise_each_event(self.definition, self.order, was, after, effects)
        for path, one in after.steps.items():
            if one.due is not None and one is not was.steps.get(path):
                self.stale.append((path, one.attempt))
        self.published += [effect for effect in effects if isinstance(effect, Publish)]
        return effects

    def replay(self) -> None:
        """The log tells everything (invariant 10)."""
        saga = self.born
        for event, at in self.log:
            saga, _ = advance(self.definition, saga, event, at)
        assert saga == self.saga, "10: the log gives another state"
        assert saga.seq == len(self.log), "10: the log has a gap"

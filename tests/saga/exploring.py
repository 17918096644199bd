"""The explorer: one random saga among participants, a network, timers and operators that do their worst. Deterministic.

A run has a bad time first: messages are lost, doubled, reordered; timers fire early on stale news; queues close;
participants die, fail, refuse; operators interfere. Then everything heals and drains, operators end what is stuck,
and every message still under way arrives after all. The promises are checked throughout.
"""

from __future__ import annotations

from random import Random
from typing import Any

from amends.coordinator.language import Saga as Declared
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Event, Replied
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.nodes import (
    UNSAID,
    Sketch,
    chain,
    group,
    pivot,
    result,
    retry,
    sleep,
    step,
    wait,
)
from amends.coordinator.saga.state import Op, Phase, Saga, Status, queue_of
from tests.saga.barrier_model import Service
from tests.saga.promises import dependencies, promise_at_the_end, promise_each_event
from tests.saga.story import HOUR, NOON, SECOND

DRAIN_MAX = 600


def random_definition(rng: Random) -> Definition:
    """Some chains and groups, perhaps a pivot with some steps after it."""
    names = iter(f"s{number}" for number in range(1000))
    done: list[str] = []

    def one(zone: str) -> Sketch:
        name = next(names)
        more: dict[str, Any] = {
            "timeout": rng.choice(["5s", "30s", "2m"]),
            "undo_timeout": rng.choice(["5s", "2m"]),
        }
        if zone == "before":
            more |= rng.choice([{"undo": "u"}, {"undo": "u"}, {"undo": "u"}, {"undo": None}, {"reads": True}])
        if rng.random() < 0.5:
            more["retry"] = retry(limit=rng.randrange(3), first=1)
        if rng.random() < 0.3:
            more["undo_retry"] = retry(limit=rng.randrange(3), first=1)
        args = result(rng.choice(done)).x if done and rng.random() < 0.2 else UNSAID
        return step(name, to=rng.choice(["x", "y"]), args=args, **more)

    def some(zone: str, depth: int) -> Sketch:
        luck = rng.random()
        if luck < 0.06:
            return rng.choice([wait(next(names), timeout="1h"), sleep("10m", name=next(names))])
        if depth == 0 or luck < 0.45:
            return one(zone)
        inner = [some(zone, depth - 1) for _ in range(rng.randint(1, 3))]
        return group(*inner) if luck < 0.8 else chain(*inner)

    nodes = []
    around_a_pivot = rng.random() < 0.3
    for _ in range(1 if around_a_pivot else rng.randint(1, 2)):
        nodes.append(some("before", 0 if around_a_pivot else 2))
        done += _steps(nodes[-1])
    if around_a_pivot or rng.random() < 0.5:
        nodes.append(pivot(one("pivot")))
        done += _steps(nodes[-1])
        nodes += [some("after", 1) for _ in range(rng.randint(0, 2))]
    return Declared("explored", chain(*nodes), version=1, deadline=rng.choice(["1m", "24h"])).definition


def _steps(node: Sketch) -> list[str]:
    parts = str(node.json).split("'kind': 'step', 'name': '")
    return [part.split("'")[0] for part in parts[1:]]


class Run:
    """One saga of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.definition = random_definition(rng)
        self.before = dependencies(self.definition)
        self.now = NOON
        self.born = begin(self.definition, id=f"saga-{seed}", input={"x": 1}, labels={}, now=NOON)
        self.saga: Saga = self.born
        self.effects: list[tuple[str, str]] = []
        self.services = {
            name: Service(rng, name, external=rng.random() < 0.4, effects=self.effects)
            for name, place in self.definition.plan.by_name.items()
            if isinstance(place.node, StepNode)
        }
        self.network: list[Send | Replied] = []
        self.log: list[tuple[Event, int]] = []
        self.stale: list[tuple[str, int]] = []
        self.calm = False
        self.calm_from_the_start = rng.random() < 0.05
        self.harshness = rng.choice([0.1, 0.3, 1.0])

    def explore(self) -> Saga:
        """The whole life of the saga."""
        if self.calm_from_the_start:
            self._heal()
        self.happens(events.Started(held=self._held()))
        for _ in range(self.rng.randint(0, 70)):
            if self.calm or self.saga.status.ended:
                break
            self._misfortune()
        self._heal()
        self._drain()
        for attempt in range(60):
            if self.saga.status is not Status.STUCK:
                break
            self._operate(attempt)
            self._drain()
        assert self.saga.status.ended, f"1: no operator can end it: {self.saga}"
        self._stragglers()
        promise_at_the_end(self.definition, self.saga, self.services, self.effects)
        self._replay()
        return self.saga

    def happens(self, event: Event) -> None:
        """One event, and everything that must hold after it."""
        try:
            after, effects = advance(self.definition, self.saga, event, self.now)
        except ActRefused:
            assert isinstance(event, events.Retry | events.Skip | events.Compensate)
            return
        was, self.saga = self.saga, after
        if after is was:
            return
        self.log.append((event, after.clock))
        promise_each_event(self.definition, self.before, was, after, effects)
        self.saw(was, after)
        for path, one in after.steps.items():
            if one.due is not None and one is not was.steps.get(path):
                self.stale.append((path, one.attempt))
        sends = [effect for effect in effects if isinstance(effect, Send)]
        for send in sends:
            if not self.calm and self.rng.random() < 0.01 * self.harshness:
                self.happens(
                    events.Unsendable(
                        path=send.path, attempt=send.attempt, reason="too large", held=self._held()
                    )
                )
            else:
                self.network.append(send)
        if isinstance(event, Replied):
            again, repeated = advance(self.definition, self.saga, event, self.now)
            assert not sends or again is self.saga, f"6: a repeated reply changed something: {event}"
            assert not repeated

    def saw(self, was: Saga, saga: Saga) -> None:
        """A change, for whoever watches."""

    # A bad time

    def _misfortune(self) -> None:
        luck = self.rng.random()
        if self.saga.status is Status.STUCK and self.rng.random() < 0.1:
            luck = 0.95  # An operator is soon there.
        elif luck >= 0.86 and self.rng.random() >= self.harshness:
            luck *= 0.7  # Mostly the network's and the timers' doing.
        self.now += self.rng.choice([0, 0, 1, SECOND])
        if luck < 0.6 and self.network:
            self._deliver(lost=0.2 * self.harshness, doubled=0.2)
        elif luck < 0.8:
            self._timer()
        elif luck < 0.86:
            self._admit()
        elif luck < 0.9 and self.stale:
            path, attempt = self.rng.choice(self.stale)
            self.happens(events.TimerFired(path=path, attempt=attempt, held=self._held()))
        elif luck < 0.92:
            self._deadline()
        elif luck < 0.96:
            self.happens(self._act())
        elif luck < 0.965:
            self.happens(events.InternalError(reason="boom", held=self._held()))
        elif luck < 0.97:
            for service in self.services.values():
                service.forgetful = True

    def _deliver(self, *, lost: float = 0, doubled: float = 0) -> None:
        position = self.rng.randrange(len(self.network))
        message = self.network[position]
        if self.rng.random() >= doubled:
            self.network[position] = self.network[-1]
            self.network.pop()
        if self.rng.random() < lost:
            return
        if isinstance(message, Send):
            reply = self.services[message.path].answer(message)
            if reply is not None:
                self.network.append(reply)
        else:
            self.happens(
                events.Replied(**{n: getattr(message, n) for n in message.__slots__} | {"held": self._held()})
            )

    def _timer(self) -> bool:
        due = [one for one in self.saga.steps.values() if one.due is not None]
        if not due:
            return False
        one = self.rng.choice(due) if not self.calm else min(due, key=lambda one: one.due or 0)
        assert one.due is not None
        self.now = max(self.now, one.due)
        spent = self.calm or self.rng.random() < 0.8
        excused = 0 if self.calm or self.rng.random() < 0.8 else HOUR
        self.happens(
            events.TimerFired(
                path=one.path, attempt=one.attempt, spent=spent, excused=excused, held=self._held()
            )
        )
        return True

    def _admit(self) -> bool:
        parked = [one.path for one in self.saga.steps.values() if one.phase is Phase.PARKED]
        if parked:
            self.happens(events.Admitted(path=self.rng.choice(parked), held=self._held()))
        return bool(parked)

    def _deadline(self) -> None:
        if self.saga.deadline is not None:
            self.now = max(self.now, self.saga.deadline)
            self.happens(events.DeadlineReached(held=self._held()))

    def _act(self) -> Event:
        stuck = [one.path for one in self.saga.stuck_steps]
        path = self.rng.choice(stuck or sorted(self.saga.steps))
        held = self._held()
        deadline = self.now + HOUR if self.rng.random() < 0.5 else None
        match self.rng.randrange(4):
            case 0:
                return events.Retry(actor="ann", reason="r", held=held, deadline=deadline)
            case 1:
                return events.Retry(actor="ann", reason="r", held=held, path=path)
            case 2:
                return events.Skip(actor="ann", reason="r", held=held, path=path)
            case _:
                return events.Compensate(actor="ann", reason="r", held=held)

    def _held(self) -> frozenset[str]:
        if self.calm or self.rng.random() < 0.7:
            return frozenset()
        queues = {queue_of(to, op) for to in ("x", "y") for op in (Op.DO, Op.UNDO)}
        return frozenset(queue for queue in sorted(queues) if self.rng.random() < 0.4)

    # Better times

    def _heal(self) -> None:
        self.calm = True
        for service in self.services.values():
            service.healed = True

    def _drain(self) -> None:
        """Everything arrives; timers fire only when nothing else is left."""
        for _ in range(DRAIN_MAX):
            if self.saga.status.ended:
                return
            if self.network:
                self._deliver()
            elif self.saga.status is Status.STUCK:
                return
            elif not self._admit():
                waits = any(one.phase is Phase.WAITING for one in self.saga.steps.values())
                assert waits or not self.calm_from_the_start, (
                    "13: a timer is needed though nothing went wrong"
                )
                assert self._timer(), f"1: nothing is due, but it is {self.saga}"
        raise AssertionError(f"1: it does not end: {self.saga}")

    def _operate(self, attempt: int) -> None:
        """Retry first; what does not help is skipped."""
        stuck = [one.path for one in self.saga.stuck_steps]
        deadline = None
        if not self.saga.backwards and self.saga.pivot in ("none", "ahead"):
            deadline = self.now + 24 * HOUR
        if attempt in (0, 1) or not stuck:
            self.happens(events.Retry(actor="ann", reason="r", deadline=deadline))
        else:
            self.happens(events.Skip(actor="ann", reason="r", path=stuck[0]))

    def _stragglers(self) -> None:
        """What is still under way arrives after the end: nothing may come of it."""
        ended, effects = self.saga, len(self.effects)
        while self.network:
            self._deliver()
        assert self.saga is ended
        late = {
            path for _, path in self.effects[effects:] if not self.definition.plan.by_name[path].step.reads
        }
        untold = {path for path in late if not any(_expired(path, one) for one in self.saga.overrides)}
        assert not untold, f"4: after the end of the saga something happened in {untold}"

    def _replay(self) -> None:
        saga = self.born
        for event, at in self.log:
            saga, _ = advance(self.definition, saga, event, at)
        assert saga == self.saga, "10: the log gives another state"
        assert saga.seq == len(self.log), "10: the log has a gap"


def _expired(path: str, override: str) -> bool:
    """Nothing could be promised of what an operator skipped after its participant had forgotten it (B6)."""
    return override.startswith(f"skip {path} ") and "found: expired" in override

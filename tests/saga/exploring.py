"""The explorer: a random family of sagas among participants, a network, timers and operators that do their worst.

Deterministic. A run has a bad time first: messages are lost, doubled, reordered; timers fire early on stale news;
queues close; participants die, fail, refuse; operators interfere. What parent and child tell each other is never
lost, for it is sent until it is received, but it comes late, doubled and in any order. Then everything heals and
drains, operators end what is stuck, and every message still under way arrives after all. The promises are checked
throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from amends.coordinator.saga import events
from amends.coordinator.saga.effects import Call, Effect, Order, Report, ReportOutcome, Send, Tell
from amends.coordinator.saga.events import Event, Replied
from amends.coordinator.saga.machine import begin
from amends.coordinator.saga.state import Decision, Op, Parent, Phase, Saga, Status, queue_of
from amends.coordinator.simulating.authoring import random_family
from amends.coordinator.simulating.promises_kept import Happened, promise_at_the_end, promise_of_children
from tests.saga import meddling
from tests.saga.lives import Life
from tests.saga.story import NOON

DRAIN_MAX = 4_000
OPERATIONS_MAX = 200


@dataclass(frozen=True)
class Letter:
    """A message under way: whose command or reply it is, or whom it is for, and who sent it."""

    saga: str
    message: Send | Replied | Call | Tell | Report
    sender: str = ""


class Run:
    """One family of one seed. `partly`: every event is also decided with a part of its saga at hand."""

    def __init__(self, seed: int, *, partly: bool = False) -> None:
        self.rng = rng = Random(seed)
        self.family = random_family(rng)
        self.now = NOON
        self.partly = partly
        self.network: list[Letter] = []
        self.lives: dict[str, Life] = {}
        self.told_early: dict[str, tuple[Decision, int]] = {}
        self.rejected: set[str] = set()
        self.signals = 0
        self.calm = False
        self.calm_from_the_start = rng.random() < 0.05
        self.harshness = rng.choice([0.1, 0.3, 1.0])
        root = begin(self.family.root, id=f"saga-{seed}", input=self.family.input, labels={}, now=NOON)
        self.root = self.lives[root.id] = Life(rng, self.family.root, root, partly=partly)

    def explore(self) -> Saga:
        """The whole life of the family. The parent, at its end."""
        if self.calm_from_the_start:
            self._heal()
        self.happens(self.root, events.Started(held=self.held()))
        for _ in range(self.rng.randint(0, 120)):
            if self.calm or self._all_ended():
                break
            meddling.misfortune(self)
        self._heal()
        self._drain()
        for attempt in range(OPERATIONS_MAX):
            stuck = [life for life in self.lives.values() if life.saga.status is Status.STUCK]
            if not stuck:
                break
            meddling.end(self, stuck[-1], attempt)  # Children first: that may be all that their parents need.
            self._drain()
        for life in self.lives.values():
            assert life.saga.status.ended, f"1: no operator can end it: {life.saga}"
        self._stragglers()
        for life in self.lives.values():
            rows = {path: row for path in life.saga.steps if (row := life.do_row(path)) is not None}
            promise_at_the_end(life, Happened(life.effects, rows))
            if life.saga.parent is not None:
                promise_of_children(self.lives[life.saga.parent.saga], life)
            life.replay()
        return self.root.saga

    def happens(self, life: Life, event: Event) -> None:
        """One event of one saga; what it wants sent is under way."""
        was = life.saga
        effects = life.happens(event, self.now)
        if life.saga is not was:
            self.saw(was, life.saga)
        for effect in effects:
            self._wanted(life, effect)
        if isinstance(event, Replied | events.Reported) and life.saga is not was:
            saga = life.saga
            life.happens(event, self.now)
            assert life.saga is saga, f"6: a repeated reply changed something: {event}"

    def _wanted(self, life: Life, effect: Effect) -> None:
        match effect:
            case Send() | Call() if not self.calm and self.rng.random() < 0.01 * self.harshness:
                path = effect.path if isinstance(effect, Send) else effect.parent.path
                attempt = life.saga.steps[path].attempt
                self.happens(
                    life, events.Unsendable(path=path, attempt=attempt, reason="too large", held=self.held())
                )
            case Send():
                self.network.append(Letter(life.saga.id, effect))
            case Call() | Tell():
                self.network.append(Letter(effect.child, effect))
            case Report():
                self.network.append(Letter(effect.parent.saga, effect, life.saga.id))
            case _:
                pass

    def saw(self, was: Saga, saga: Saga) -> None:
        """A change, for whoever watches."""

    def held(self) -> frozenset[str]:
        """The queues that are closed at this moment."""
        if self.calm or self.rng.random() < 0.7:
            return frozenset()
        queues = {queue_of(to, op) for to in ("x", "y") for op in (Op.DO, Op.UNDO)}
        return frozenset(queue for queue in sorted(queues) if self.rng.random() < 0.4)

    # The network

    def deliver(self, *, lost: float = 0, doubled: float = 0) -> None:
        """One message arrives, or not, or will once more."""
        position = self.rng.randrange(len(self.network))
        letter = self.network[position]
        if self.rng.random() >= doubled:
            self.network[position] = self.network[-1]
            self.network.pop()
        match letter.message:
            case Send() | Replied() if self.rng.random() < lost:
                pass  # What parent and child tell each other is sent until it is received (O1).
            case Send() as send:
                reply = self.lives[letter.saga].service(send.path).answer(send)
                if reply is not None:
                    self.network.append(Letter(letter.saga, reply))
            case Replied() as reply:
                fields = {name: getattr(reply, name) for name in reply.__slots__}
                self.happens(self.lives[letter.saga], Replied(**{**fields, "held": self.held()}))
            case Call() as call:
                self._called(call)
            case Tell() as tell:
                self._told(tell)
            case Report() as report:
                self.happens(
                    self.lives[letter.saga],
                    events.Reported(
                        path=report.parent.path,
                        child=letter.sender,
                        round=report.parent.round,
                        outcome=report.outcome,
                        result=report.result,
                        reason=report.reason,
                        held=self.held(),
                    ),
                )

    def _called(self, call: Call) -> None:
        life = self.lives.get(call.child)
        if life is not None:
            self.happens(life, events.Called(round=call.parent.round, held=self.held()))
            return
        if call.child in self.rejected or (not self.calm and self.rng.random() < 0.03):
            self.rejected.add(call.child)
            self._report(call.child, call.parent, ReportOutcome.REFUSED)
            return
        decision, number = self.told_early.get(call.child, (Decision.NONE, 0))
        born = begin(
            self.family.called[call.saga],
            id=call.child,
            input=call.input,
            labels={},
            now=self.now,
            parent=replace(call.parent, round=max(call.parent.round, number)),
            decision=decision,
        )
        life = self.lives[call.child] = Life(
            self.rng, self.family.called[call.saga], born, partly=self.partly
        )
        life.healed = self.calm
        self.happens(life, events.Started(held=self.held()))

    def _told(self, tell: Tell) -> None:
        life = self.lives.get(tell.child)
        if life is not None:
            self.happens(life, events.Told(order=tell.order, round=tell.parent.round, held=self.held()))
        elif tell.child in self.rejected:
            self._report(tell.child, tell.parent, ReportOutcome.REFUSED)
        else:
            # It decides the late start (K3); one that is fenced never begins (K5).
            wanted = Decision.SETTLE if tell.order is Order.SETTLE else Decision.COMPENSATE
            decision, number = self.told_early.get(tell.child, (wanted, 0))
            self.told_early[tell.child] = (decision, max(number, tell.parent.round))
            if tell.order is Order.FENCE:
                self._report(tell.child, tell.parent, ReportOutcome.NEVER)

    def _report(self, child: str, parent: Parent, outcome: ReportOutcome) -> None:
        self.network.append(
            Letter(parent.saga, Report(parent=parent, outcome=outcome, reason="not here"), child)
        )

    # Better times

    def _heal(self) -> None:
        self.calm = True
        for life in self.lives.values():
            life.healed = True

    def _drain(self) -> None:
        """Everything arrives; timers fire only when nothing else is left."""
        for _ in range(DRAIN_MAX):
            if self._all_ended():
                return
            if self.network:
                self.deliver()
            elif not (
                meddling.admit(self) or meddling.signal_what_is_waited_for(self) or self._timer_at_last()
            ):
                return
        raise AssertionError(f"1: it does not end: {[life.saga for life in self.lives.values()]}")

    def _timer_at_last(self) -> bool:
        """The next timer fires; False if only operators can go on."""
        moving = [life for life in self.lives.values() if not life.saga.status.ended]
        due = [
            (step.due, life, step)
            for life in moving
            if life.saga.status is not Status.STUCK
            for step in life.saga.steps.values()
            if step.due is not None
        ]
        if not due:
            rests = any(life.saga.status is Status.STUCK for life in moving)
            assert rests, f"1: nothing is due, but it is {[life.saga for life in moving]}"
            return False
        at, life, step = min(due, key=lambda one: one[0])
        assert step.phase is Phase.WAITING or not self.calm_from_the_start, (
            "13: a timer is needed though nothing went wrong"
        )
        self.now = max(self.now, at)
        self.happens(life, events.TimerFired(path=step.path, attempt=step.attempt, held=self.held()))
        return True

    def _all_ended(self) -> bool:
        """Nothing but commands, replies and reports is under way: no child may still be called."""
        ended = all(life.saga.status.ended for life in self.lives.values())
        return ended and not any(isinstance(letter.message, Call | Tell) for letter in self.network)

    def _stragglers(self) -> None:
        """What is still under way arrives after the end: nothing may come of it."""
        ended = {name: (life.saga, len(life.effects)) for name, life in self.lives.items()}
        while self.network:
            self.deliver()
        for name, (saga, effects) in ended.items():
            life = self.lives[name]
            assert life.saga is saga
            late = {path for _, path in life.effects[effects:] if not _reads(life, path)}
            untold = {path for path in late if not any(_expired(path, one) for one in saga.overrides)}
            assert not untold, f"4: after the end of the saga something happened in {untold}"


def _reads(life: Life, path: str) -> bool:
    return life.definition.plan.by_id[life.saga.steps[path].node].step.reads


def _expired(path: str, override: str) -> bool:
    """Nothing could be promised of what an operator settled after its participant had forgotten it (B6)."""
    return f" {path} " in override and "found: expired" in override

"""What happens to a town from outside: clients, signals, operators, and everything that goes wrong."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from amends.coordinator.engine.contract import ActAnswer
from amends.coordinator.engine.intake import ActItem, BrokenItem
from amends.coordinator.saga import events
from amends.coordinator.saga.events import Act
from amends.coordinator.saga.leaves import WaitNode
from amends.coordinator.saga.state import Phase, Pivot, Saga, Status
from amends.coordinator.saga.walk import scope_of
from amends.coordinator.simulating.town import HOUR, MINUTE, NEWER
from amends.outbox import wire

if TYPE_CHECKING:
    from amends.coordinator.simulating.town import Town

_SECOND: Final = 1_000
_DAY: Final = 24 * HOUR


class Clients:
    """Those who want something of the coordinators."""

    def __init__(self, town: Town) -> None:
        self.town = town
        rng = town.rng
        self._wanted = rng.choice([1, 2, 2, 3])
        self._made: list[wire.Start] = []

    @property
    def are_done(self) -> bool:
        """Whether every saga that was to start was asked for."""
        return self._wanted <= 0

    def start(self) -> None:
        """Ask for a saga: a new one, or once more for one that was asked for before."""
        town, rng = self.town, self.town.rng
        again = self._made and (self._wanted <= 0 or rng.random() < 0.3)
        if again:
            start = rng.choice(self._made)
            if start.key is not None and rng.random() < 0.3:
                start = town.shop.start(
                    start.name, start.key, {"x": 2, "n": 0, "list": []}, version=1, sound=True
                )
        else:
            self._wanted -= 1
            start = self._new()
            self._made.append(start)
        town.say("client", lambda: f"starts {start.name} {start.saga[:8]} (key {start.key})")
        if rng.random() < 0.5 and town.coordinators:
            town.shop.ask(rng.choice(town.coordinators), start)
        else:
            town.shop.put(start)

    def _new(self) -> wire.Start:
        town, rng = self.town, self.town.rng
        key = f"key {len(self._made)}" if rng.random() < 0.7 else None
        if rng.random() < 0.1:
            # Comes before its version is registered, or never gets one.
            return town.shop.start("kid", key, town.family.input, version=NEWER, sound=False)
        bad = rng.random() < 0.05
        version = rng.choice([1, None])
        return town.shop.start("root", key, town.family.input, version=version, sound=not bad, malformed=bad)

    def signal(self) -> None:
        """Signal a saga: early, in time, late, for nobody, or once more."""
        town, rng = self.town, self.town.rng
        ids = list(town.shop.asked) + list(town.auditor.lives)
        if not ids:
            return
        saga_id = rng.choice(ids)
        life = town.auditor.lives.get(saga_id)
        definition = life.definition if life is not None else town.family.root
        names = sorted(definition.plan.by_signal)
        if not names:
            return
        scopes = sorted({scope_of(path) for path in life.saga.steps}) if life is not None else []
        name = rng.choice(names) + rng.choice(scopes or [""])
        number = rng.randint(1, town.shop.signals) if town.shop.signals and rng.random() < 0.2 else None
        self._send(saga_id, name, number)

    def signal_what_is_waited_for(self) -> bool:
        """Send one of the signals that are waited for; False if none is."""
        for saga_id, life in self.town.auditor.lives.items():
            if life.saga.status in (Status.STUCK, Status.COMPLETED, Status.COMPENSATED):
                continue
            for step in life.saga.steps.values():
                node = life.definition.plan.by_id[step.node].node
                if isinstance(node, WaitNode) and step.phase is Phase.WAITING:
                    name = node.signal + scope_of(step.path)
                    self._send(saga_id, name, None)
                    return True
        return False

    def _send(self, saga_id: str, name: str, number: int | None) -> None:
        town = self.town
        town.say("client", lambda: f"signals {name} to {saga_id[:8]}")
        if town.rng.random() < 0.5:
            town.shop.ask_signal(town.rng.choice(town.coordinators), saga_id, name, number=number)
        else:
            town.shop.put_signal(saga_id, name, number=number)


class Operators:
    """They interfere at random; in the end they have it over."""

    def __init__(self, town: Town) -> None:
        self.town = town

    def interfere(self) -> None:
        """An act on some saga, whether it fits or not."""
        town, rng = self.town, self.town.rng
        lives = [
            life for life in town.auditor.lives.values() if not life.saga.status.ended and life.saga.steps
        ]
        stuck = [life for life in lives if life.saga.status is Status.STUCK]
        if lives:
            saga = rng.choice(stuck if stuck and rng.random() < 0.7 else lives).saga
            self._do(saga, self._act(saga))

    def end(self, saga: Saga, attempt: int) -> None:
        """Have it over: retry first, then do without, or say what came of it, or end it as it is."""
        stuck = saga.stuck_steps
        deadline = None
        if not saga.backwards and saga.pivot in (Pivot.NONE, Pivot.AHEAD) and "through" not in saga.positions:
            deadline = self.town.now + _DAY
        act: Act
        if attempt % 8 in (0, 1) or not stuck:
            act = events.Retry(actor="ann", reason="r", deadline=deadline)
        elif attempt % 8 in (2, 3, 4, 5):
            act = events.Skip(actor="ann", reason="r", path=stuck[0].path)
        elif attempt % 8 == 6:
            act = events.Force(actor="ann", reason="r", path=stuck[0].path, result={"x": 2})
        else:
            act = events.Finish(actor="ann", reason="r")
        self._do(saga, act)

    def _do(self, saga: Saga, act: Act) -> None:
        answer: Future[ActAnswer] = Future()
        self.town.say("operator", lambda: f"{type(act).__name__.lower()} {saga.id[:8]}")
        self.town.rng.choice(self.town.coordinators).submit(ActItem(saga_id=saga.id, act=act, answer=answer))

    def _act(self, saga: Saga) -> Act:
        rng = self.town.rng
        path = rng.choice([step.path for step in saga.stuck_steps] or sorted(saga.steps))
        deadline = self.town.now + HOUR if rng.random() < 0.5 else None
        due = self.town.now + rng.choice([0, MINUTE, HOUR])
        match rng.randrange(10):
            case 0:
                return events.Retry(actor="ann", reason="r", deadline=deadline)
            case 1:
                return events.Retry(actor="ann", reason="r", path=path)
            case 2:
                return events.Skip(actor="ann", reason="r", path=path)
            case 3:
                return events.Force(actor="ann", reason="r", path=path, result={"x": 3})
            case 4:
                return events.Force(actor="ann", reason="r", path=path, refuse=True)
            case 5:
                return events.Edit(actor="ann", reason="r", path=path, args={"x": 4}, deadline=deadline)
            case 6:
                return events.Finish(actor="ann", reason="r")
            case 7:
                return events.MoveTimer(actor="ann", reason="r", due=due, path=rng.choice([path, None]))
            case 8:
                return events.CancelTimer(actor="ann", reason="r", path=rng.choice([path, None]))
            case _:
                return events.Compensate(actor="ann", reason="r")


class Troubles:
    """What goes wrong outside of any process."""

    def __init__(self, town: Town) -> None:
        self.town = town

    def time_passes(self) -> None:
        """Some time, or much; clocks may jump. Most of those who live tell so in time."""
        town, rng = self.town, self.town.rng
        town.now += rng.choice([_SECOND, 6 * _SECOND, 31 * _SECOND, 31 * _SECOND, 3 * MINUTE])
        if town.mishaps.strikes("hours pass", 0.04):
            town.now += rng.choice([HOUR, HOUR, 3 * HOUR, _DAY])
        if town.mishaps.strikes("days pass", 0.01):
            town.now += 4 * _DAY
        if town.mishaps.strikes("database clock jumps", 0.05):
            town.auditor.clock_jumped = True
            town.skew = rng.choice([-HOUR, -MINUTE, -20 * _SECOND, 20 * _SECOND, MINUTE, HOUR])

    def strike(self) -> None:
        """One thing goes wrong."""
        town, rng = self.town, self.town.rng
        mishaps, broker = town.mishaps, town.broker
        match rng.randrange(9):
            case 0 | 1:
                process = rng.choice(town.processes)
                mishaps.counts["killed"] += 1
                town.say(process.name, lambda: "is killed")
                town.replace(process)
            case 2:
                process = rng.choice(town.processes)
                mishaps.counts["frozen"] += 1
                process.frozen_until = town.now + rng.choice(
                    [_SECOND, 25 * _SECOND, 40 * _SECOND, 10 * MINUTE]
                )
                town.say(process.name, lambda: "freezes")
            case 3:
                mishaps.counts["broker restarted"] += 1
                town.say("broker", lambda: "restarts: every connection is lost")
                broker.break_connections()
            case 4:
                mishaps.counts["broker wiped"] += 1
                town.say("broker", lambda: "is wiped: queues and messages are gone")
                broker.wipe()
            case 5:
                lost = broker.lose_some(rng)
                mishaps.counts["messages lost"] += lost
                town.say("broker", lambda: f"loses {lost} messages")
            case 6:
                self._repeat()
            case 7:
                for participant in town.participants.values():
                    participant.prune()
            case _:
                self._keep_house()

    def _repeat(self) -> None:
        """Messages that wait in a queue are there twice: republished by somebody who did not hear of them."""
        town = self.town
        for queue, waiting in town.broker.queues.items():
            if waiting and town.rng.random() < 0.5:
                waiting += town.rng.choices(waiting, k=min(3, len(waiting)))
                town.mishaps.counts["repeated"] += 1
                town.say("broker", lambda queue=queue: f"delivers messages of {queue} twice")  # type: ignore[misc]

    def _keep_house(self) -> None:
        """Pruning, a new version, an event that cannot be processed (E2)."""
        town, rng = self.town, self.town.rng
        luck = rng.random()
        if luck < 0.5:
            coordinator = rng.choice(town.coordinators)
            town.do(coordinator, coordinator.prune)
        elif luck < 0.9:
            town.register_newer()
        else:
            moving = [life.saga.id for life in town.auditor.lives.values() if not life.saga.status.ended]
            if moving:
                town.mishaps.counts["quarantined"] += 1
                item = BrokenItem(saga_id=rng.choice(moving), reason="internal error: boom")
                rng.choice(town.coordinators).submit(item)

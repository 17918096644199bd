"""Everything that takes part in one run: processes, databases, broker, clock, and those who ask for something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from amends.coordinator.language import Saga as Declared
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.json import canonical
from amends.coordinator.saga.nodes import chain, step
from amends.coordinator.simulating.auditing import Auditor
from amends.coordinator.simulating.authoring import random_family
from amends.coordinator.simulating.broker import Broker
from amends.coordinator.simulating.coordinators import BODY_BYTES_MAX, CoordinatorProcess
from amends.coordinator.simulating.endings import FIRST_TICK
from amends.coordinator.simulating.mishaps import Crashed, Mishaps
from amends.coordinator.simulating.participants import Participant, WorkerProcess
from amends.coordinator.simulating.processes import Process
from amends.coordinator.simulating.services import ServiceProcess, Shop
from amends.coordinator.simulating.tables import ScheduleRow, Tables

NOON: Final = 1_700_000_000_000
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
NEWER: Final = 2  # A version that nobody has registered yet when the run begins.

_TICKER = Declared("ticker", chain(step("tick", to="x", undo="untick")), version=1).definition


class Town:
    """One run's world. `say` tells what happens, if anybody listens."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = NOON
        self.skew = 0
        self.listener: Callable[[int, str, str], None] | None = None
        self.mishaps = Mishaps(rng, harshness=rng.choice([0.3, 1.0, 2.0]))
        self.calm_from_the_start = rng.random() < 0.05
        self.family = random_family(rng)
        newer = self.family.called["kid"]
        self._definitions = {one.name: one for one in (self.family.root, *self.family.called.values())}
        self._definitions["ticker"] = _TICKER
        self._newer = Definition.from_json({**newer.to_json(), "version": NEWER})
        self.window = rng.choice([1, 2, 2_000, 2_000])
        self.breaker_failures = rng.choice([2, 5, 1_000])
        self.body_bytes_max = rng.choice([BODY_BYTES_MAX] * 6 + [420])
        self.newer_version = NEWER
        self.pace = rng.choice([0.01, 0.04])
        self._names = 0
        self.broker = Broker(lambda: self.now)
        self.tables = Tables(lambda: self.now + self.skew, self.broker.has_taken)
        self.auditor = Auditor(self.definition)
        self.participants = {name: Participant(self, name) for name in ("x", "y")}
        self.shop = Shop(self)
        self._register()
        self.processes: list[Process] = []
        self._makers: dict[str, Callable[[str], Process]] = {}
        self._populate()

    def _register(self) -> None:
        missing = self.rng.choice(["kid", "other"]) if self.rng.random() < 0.1 else None
        for definition in self._definitions.values():
            if definition.name == missing:
                continue  # Who calls it hears of it in an hour.
            self.tables.active[definition.name] = definition.version
            self.tables.bodies[definition.name, definition.version] = ""
        if self.rng.random() < 0.2:
            policy = self.rng.choice(["once", "skip", "all"])
            self.tables.schedules[1] = ScheduleRow(1, "tick", "*/5 * * * *", "ticker", policy, FIRST_TICK)

    def _populate(self) -> None:
        for number in range(self.rng.randint(1, 3)):
            self._makers[f"coordinator {number + 1}"] = lambda name: CoordinatorProcess(self, name)
        for one in self.participants.values():
            for number in range(self.rng.randint(1, 2)):
                name = f"worker {number + 1} of {one.name}"
                self._makers[name] = lambda name, one=one: WorkerProcess(self, name, one)  # type: ignore[misc]
        self._makers["shop"] = lambda name: ServiceProcess(self, name)
        self.processes = [make(name) for name, make in self._makers.items()]

    # What processes ask

    def next_name(self) -> int:
        """A number that nobody had: for owners, tokens, calls."""
        self._names += 1
        return self._names

    def definition(self, name: str, version: int) -> Definition:
        """A definition of this run."""
        return self._newer if (name, version) == ("kid", NEWER) else self._definitions[name]

    def known_definitions(self) -> Iterator[Definition]:
        """What a coordinator that starts finds registered."""
        yield from (one for one in self._definitions.values() if one.name in self.tables.active)
        if ("kid", NEWER) in self.tables.bodies:
            yield self._newer

    def register_newer(self) -> None:
        """The version that some starts wait for is registered now."""
        self.tables.bodies["kid", NEWER] = canonical(self._newer.to_json())

    @property
    def coordinators(self) -> list[CoordinatorProcess]:
        """Those who live."""
        return [one for one in self.processes if isinstance(one, CoordinatorProcess)]

    def say(self, who: str, what: Callable[[], str]) -> None:
        """Something happens; it is put into words only if somebody listens."""
        if self.listener is not None:
            self.listener(self.now, who, what())

    # What happens to processes

    def act(self, process: Process) -> None:
        """Let one process make a move; it may die of it."""
        self.do(process, process.turn)

    def do(self, process: Process, move: Callable[[], object]) -> None:
        """Let it make this move; it may die of it."""
        try:
            move()
        except Crashed as crash:
            why = str(crash)
            self.say(process.name, lambda: f"dies: {why}")
            self.replace(process)

    def replace(self, process: Process) -> None:
        """A process dies; its successor starts with nothing in memory."""
        process.die()
        position = self.processes.index(process)
        self.processes[position] = self._makers[process.name](process.name)

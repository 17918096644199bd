"""Real participants whose handlers leave effects that can be counted, and act per saga as a test tells them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, select

from amends.outbox.ports import Broker
from amends.outbox.wire import Op
from amends.participants import Ctx, Participant, Refused
from amends.participants.metrics import ParticipantMetrics
from amends.participants.worker.worker import Worker
from tests.participants.shop import effects, metadata, record
from tests.waiting import DEADLINE_S

Act = Callable[[Ctx], object]


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a handler."""

    command: str
    saga: str
    op: Op
    round: int
    attempt: int
    certain: bool
    result: Any


class Service:
    """One participant on its own database. `commands` names each command's undo, or None.

    A handler leaves its effect first, then does what the test told for this saga and command: what is refused must
    take its effect back.
    """

    external = False

    def __init__(self, name: str, commands: Mapping[str, str | None], database: Engine) -> None:
        self.name = name
        self.database = database
        self.participant = Participant(name)
        self._acts: dict[tuple[str, str], list[Act]] = defaultdict(list)
        self._calls: list[Call] = []
        self._lock = Lock()
        metadata.create_all(database)
        for command, undo in commands.items():
            self._register(command, undo)

    def worker(self, broker: Broker, prefix: str, **settings: Any) -> Worker:
        """A worker, not started."""
        given: dict[str, Any] = {
            "database": self.database,
            "grace_s": 5,
            "metrics": ParticipantMetrics(CollectorRegistry()),
        }
        return self.participant.worker(broker=broker, prefix=prefix, **{**given, **settings})

    def on(self, saga: str, command: str, *acts: Act) -> None:
        """What this saga's runs of the command do, one after another; those after the last do nothing special."""
        self._acts[saga, command] += acts

    def calls(self, saga: str, command: str | None = None) -> list[Call]:
        """This saga's runs so far."""
        with self._lock:
            return [one for one in self._calls if one.saga == saga and command in (None, one.command)]

    def effects(self, saga: str) -> list[str]:
        """This saga's effects that are there, in the order in which they happened."""
        query = select(effects.c.kind).where(effects.c.saga == saga).order_by(effects.c.id)
        with self.database.connect() as connection:
            return list(connection.scalars(query))

    def leave_effect(self, command: str, ctx: Ctx) -> None:
        """What the handler is there for."""
        record(ctx.connection, command, ctx.saga)

    def _register(self, command: str, undo: str | None) -> None:
        @self.participant.command(name=command, external=self.external)
        def do(cmd: Any, ctx: Ctx) -> Any:
            return self._run(command, ctx)

        if undo is not None:

            @do.undo(name=undo)
            def back(cmd: Any, result: Any, ctx: Ctx) -> None:
                self._run(undo, ctx, result)

    def _run(self, command: str, ctx: Ctx, result: object = None) -> object:
        call = Call(command, ctx.saga, ctx.op, ctx.round, ctx.attempt, ctx.certain, result)
        with self._lock:
            self._calls.append(call)
            acts = self._acts[ctx.saga, command]
            act = acts.pop(0) if acts else None
        self.leave_effect(command, ctx)
        return act(ctx) if act is not None else {"by": command}


class ExternalService(Service):
    """A participant whose effects are with somebody else: it only knows what that one says."""

    external = True

    def __init__(self, name: str, commands: Mapping[str, str | None], database: Engine) -> None:
        self.outside = Outside()
        super().__init__(name, commands, database)

    def leave_effect(self, command: str, ctx: Ctx) -> None:
        """Ask the other side; an undo voids the key of the call it undoes."""
        if ctx.op is Op.UNDO:
            self.outside.void(ctx.do_idempotency_key)
        else:
            self.outside.ask(ctx.idempotency_key)


class Outside:
    """A provider that keeps what it did by idempotency key. It is no part of ours: it has no barrier."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.voided: set[str] = set()
        self.declines: set[str] = set()
        self._lock = Lock()

    def ask(self, key: str) -> None:
        """Do it, once per key. Raises: Refused, if it says no."""
        with self._lock:
            if key in self.voided:
                raise Refused("this key is void")
            if key in self.declines:
                raise Refused("declined")
            self.done.add(key)

    def void(self, key: str) -> None:
        """Undo whatever was done under this key, and do nothing under it any more."""
        with self._lock:
            self.voided.add(key)
            self.done.discard(key)


def refuse(reason: str = "no", *, certain: bool = True) -> Act:
    """A business no."""

    def act(ctx: Ctx) -> object:
        raise Refused(reason, certain=certain)

    return act


def break_off(ctx: Ctx) -> object:
    """The line to the other side breaks before its answer comes."""
    raise ConnectionError("the line broke")


class Pause:
    """A handler that stays in the middle of its work until it is told to go on."""

    def __init__(self) -> None:
        self._there = Event()
        self._go = Event()

    def __call__(self, ctx: Ctx) -> object:
        self._there.set()
        assert self._go.wait(DEADLINE_S), "nobody let the handler go on"
        return {"by": "a patient one"}

    def wait(self) -> None:
        """Until the handler is there."""
        assert self._there.wait(DEADLINE_S), "the handler was not called"

    def go_on(self) -> None:
        """Let it go on."""
        self._go.set()

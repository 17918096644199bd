"""A real coordinator in a test: its engine on its PostgreSQL, an in-process broker, participants beside it.

    amends_coordinator.register(place_order)
    amends_coordinator.serve(payments, database=session)
    amends_coordinator.script("inventory", reserve=done({"parcel": 7}))

    order = amends_coordinator.start(place_order, Order(...))
    amends_clock.advance("15m")
    assert order.status == "completed"

Nothing runs by itself: the engine's turns are taken in the test's thread, until nothing is left to do, and its
database's clock stands still until it is moved. So nothing is slept for, and a test goes the same way each time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Engine

from amends.coordinator.engine.contract import ActVerdict, SignalVerdict, Verdict
from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.engine.kin import OWN_SERVICE
from amends.coordinator.engine.rows import read_saga, read_step
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.sql import LOAD_STEPS, LOCK_SAGAS
from amends.coordinator.engine.stepping import AT_ONCE, Stepping
from amends.coordinator.language import Saga
from amends.coordinator.saga.events import Act, Compensate, Finish, Force, Retry, Skip
from amends.coordinator.saga.state import Saga as State
from amends.db.tables import coordinator as tables
from amends.outbox.drivers.memory import MemoryBroker
from amends.outbox.message import new_message_id
from amends.outbox.observer import Unobserved
from amends.outbox.ports import receipts_queue
from amends.outbox.receipts import Receipts
from amends.outbox.storage import OwnerRules
from amends.outbox.store import OutboxStore
from amends.outbox.sweep import Sweep, SweepLimits
from amends.participants.participant import Participant
from amends.participants.payloads import encode
from amends.participants.starts import make_start
from amends.testing.answers import Answer
from amends.testing.beside import Beside
from amends.testing.clock import DatabaseClock
from amends.testing.errors import NotServed
from amends.testing.happenings import length_of, plain
from amends.testing.workplaces import Database

PREFIX: Final = "amends"
TURNS_MAX: Final = 10_000
_ACTOR: Final = "test"

# When something is due next, ms since 1970. A stuck saga waits for nothing.
NEXT_MOMENT: Final = """
    SELECT ceil(extract(epoch FROM min(at)) * 1000)::bigint FROM (
        SELECT greatest(due_at, leased_until) AS at FROM amends.timer
        JOIN amends.saga ON saga.id = timer.saga_id AND saga.status <> 'stuck'
        UNION ALL SELECT due_at FROM amends.outbox WHERE owner IS NULL AND parked_at IS NULL
        UNION ALL SELECT probe_until FROM amends.breaker WHERE state = 'open'
        UNION ALL SELECT next_due FROM amends.schedule WHERE paused_at IS NULL
    ) AS moments WHERE at > now()
"""


class StartedSaga:
    """A saga of the coordinator's; what it tells is read from the database at that moment."""

    def __init__(self, coordinator: CoordinatorBench, id_: str) -> None:
        self.id = id_
        self._coordinator = coordinator

    @property
    def state(self) -> State:
        """The saga as it is stored, with its steps."""
        return self._coordinator.state(self.id)

    @property
    def status(self) -> str:
        """running, compensating, completed, compensated or stuck."""
        return self.state.status.value

    @property
    def result(self) -> Any:
        """What it came to."""
        return self.state.result

    @property
    def stuck(self) -> dict[str, str]:
        """The steps that need an operator, and why."""
        return {step.path: step.error for step in self.state.stuck_steps}

    def signal(self, name: str, payload: Any = None) -> str:
        """Send it a signal; what the coordinator says of it: accepted, duplicate, ..."""
        return self._coordinator.signal(self.id, name, payload)

    def retry(self, path: str | None = None) -> None:
        """An operator's act (A3). Raises: NotServed if it does not fit, as all acts do."""
        self._coordinator.act(self.id, Retry(actor=_ACTOR, reason="test", path=path))

    def skip(self, path: str) -> None:
        """An operator's act (A1)."""
        self._coordinator.act(self.id, Skip(actor=_ACTOR, reason="test", path=path))

    def force(self, path: str, result: Any = None, *, refuse: bool = False) -> None:
        """An operator's act (A1, A2)."""
        forced = Force(actor=_ACTOR, reason="test", path=path, refuse=refuse, result=plain(result))
        self._coordinator.act(self.id, forced)

    def compensate(self) -> None:
        """An operator's act (A3)."""
        self._coordinator.act(self.id, Compensate(actor=_ACTOR, reason="test"))

    def finish(self) -> None:
        """An operator's act (A4)."""
        self._coordinator.act(self.id, Finish(actor=_ACTOR, reason="test"))

    def __repr__(self) -> str:
        return f"<saga {self.id}: {self.status}>"


class CoordinatorClock:
    """The clock of a coordinator's database; it stands still until it is moved."""

    def __init__(self, coordinator: CoordinatorBench) -> None:
        self._coordinator = coordinator

    @property
    def now(self) -> datetime:
        """What it shows."""
        return self._coordinator.now

    def advance(self, length: str | float) -> None:
        """Let `"15m"`, or so many seconds, pass: whatever is due on the way happens at its time, in its order."""
        self._coordinator.advance(length)


class CoordinatorBench:
    """A coordinator whose turns are taken here."""

    def __init__(self, database: Engine, now_ms: int) -> None:
        """`database` is its own, new one; `now_ms` is what its clock begins with. Raises: StoreUnavailable."""
        self.database = database
        self._hand = DatabaseClock(database, now_ms)
        self.clock = CoordinatorClock(self)
        self.broker = MemoryBroker(f"amends-testing-{uuid4().hex[:8]}")
        coordinator = Coordinator(database, self.broker, prefix=PREFIX, settings=EngineSettings(**AT_ONCE))
        self.catalog = coordinator.catalog
        self._beside = Beside(self.broker, PREFIX)
        self._engine = Stepping(coordinator)
        self._sweep, self._receipts = _relay(database, self.broker)

    def register(self, *sagas: Saga) -> None:
        """Register definitions and make them the active ones. Raises: InvalidDefinition."""
        for saga in sagas:
            self.catalog.register(saga.definition, actor=_ACTOR)
            self._beside.expect(saga.definition.participants)

    def serve(self, *participants: Participant, database: Database) -> None:
        """Let these participants obey, with their own handlers and barrier, on an engine, connection or session."""
        for participant in participants:
            self._beside.serve(participant, database)

    def script(self, participant: str, **answers: Answer | Callable[[Any], Answer]) -> None:
        """Let another service answer its commands, by their names: always so, or what a function of the args gives.

        A command that is not named is answered `done()`; `silence()` never answers. Undo and fence follow the barrier's
        rules.
        """
        self._beside.script(participant, answers)

    def carry(self, database: Database) -> None:
        """Take what stands in this outbox to the coordinator, as the relay of a service that starts sagas does."""
        self._beside.carry(database)

    def start(
        self,
        saga: Saga | str,
        input: Any = None,  # noqa: A002 - The word of the language.
        *,
        key: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> StartedSaga:
        """Start a saga, and let everything happen that follows now.

        Raises: InvalidInput; NotServed if the coordinator does not accept it.
        """
        start = make_start(saga, input, key, labels)
        answer = self._engine.coordinator.submit_start(start, actor=_ACTOR)
        self.run()
        told = answer.result(0)
        if told.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            raise NotServed(
                f"saga {start.name!r} is not started: {told.verdict}: {told.reason or 'register it first'}"
            )
        return StartedSaga(self, told.saga_id)

    def saga(self, id: str) -> StartedSaga:  # noqa: A002 - What it is called everywhere else.
        """A saga that was started elsewhere: by `client.start` in a transaction, by a schedule, as a child."""
        return StartedSaga(self, id)

    def run(self) -> None:
        """Let everything happen that is due now, until nothing is left to do.

        Raises: HandlerEndedTransaction of a participant's handler; NotServed if there is no end of it.
        """
        quiet = 0
        for _ in range(TURNS_MAX):
            # What was confirmed in one round is written down in the next.
            quiet = 0 if self._round() else quiet + 1
            if quiet == 2:
                return
        raise NotServed(f"no end within {TURNS_MAX} turns: does a handler start what starts it?")

    def advance(self, length: str | float) -> None:
        """Let so much time pass: whatever is due on the way happens at its time, in its order."""
        passing = length_of(length)
        until = self._hand.now_ms + passing
        self.run()
        while (moment := self._next_moment()) is not None and moment <= until:
            self._move(moment - self._hand.now_ms)
            self.run()
        self._move(until - self._hand.now_ms)
        self.run()

    def signal(self, saga: str, name: str, payload: Any = None) -> str:
        """Send a signal, and let everything happen that follows. Raises: NotServed if the saga never waits for it."""
        answer = self._engine.coordinator.submit_signal(
            saga, name, encode(payload), message_id=new_message_id()
        )
        self.run()
        told = answer.result(0)
        if told.verdict is SignalVerdict.UNKNOWN_SIGNAL:
            raise NotServed(f"saga {saga} never waits for {name!r}: {told.reason}")
        return told.verdict.value

    def act(self, saga: str, act: Act) -> None:
        """An operator's act, and everything that follows. Raises: NotServed if it does not fit."""
        answer = self._engine.coordinator.submit_act(saga, act)
        self.run()
        told = answer.result(0)
        if told.verdict is not ActVerdict.APPLIED:
            raise NotServed(f"{type(act).__name__.lower()} of {saga}: {told.verdict}: {told.reason}")

    def state(self, saga: str) -> State:
        """A saga as it is stored. Raises: NotServed if there is none."""
        with self.database.connect() as connection:
            rows = connection.exec_driver_sql(LOCK_SAGAS, {"ids": [saga]}).all()
            if not rows:
                raise NotServed(f"there is no saga {saga}")
            header, _ = read_saga(rows[0])
            steps = map(read_step, connection.exec_driver_sql(LOAD_STEPS, {"ids": [saga]}).all())
            return header.with_steps({step.path: step for _, step in steps})

    @property
    def now(self) -> datetime:
        """What its clock shows."""
        return datetime.fromtimestamp(self._hand.now_ms / 1000, UTC)

    def close(self) -> None:
        """Let go of everything."""
        self._engine.close()
        self.broker.close()

    def _round(self) -> int:
        """Everybody's turn, once; how much happened."""
        engine = self._engine
        engine.keep()
        engine.schedule()
        engine.tick()
        engine.receive()
        happened = engine.decide_all()
        engine.publish()
        engine.settle()
        self._sweep.turn()
        self._receipts.turn(0)
        return happened + self._beside.turn()

    def _move(self, milliseconds: int) -> None:
        if milliseconds > 0:
            self._hand.move(milliseconds)
            self._beside.advance(milliseconds)
            self._engine.beat()  # It lived all the time.

    def _next_moment(self) -> int | None:
        with self.database.connect() as connection:
            moment: int | None = connection.exec_driver_sql(NEXT_MOMENT).scalar_one()
        return moment


def _relay(database: Engine, broker: MemoryBroker) -> tuple[Sweep, Receipts]:
    """What carries messages between parents and children."""
    store = OutboxStore(tables.outbox, tables.owner)
    sweep = Sweep(
        database,
        broker,
        store,
        limits=SweepLimits(poll_s=1e-6, poll_first_s=1e-6, owners_every_s=1e-6),
        rules=OwnerRules(),
        observer=Unobserved(),
        receipts_to=receipts_queue(PREFIX, OWN_SERVICE),
        on_late_confirm=None,
    )
    receipts = Receipts(database, broker, store, prefix=PREFIX, service=OWN_SERVICE, observer=Unobserved())
    sweep.turn()  # The first only finds the broker.
    return sweep, receipts

"""A coordinator, its participants and the network between them, in one process; and one saga's trip through them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final
from uuid import uuid4, uuid5

from sqlalchemy import Engine, text

from amends.coordinator import Saga
from amends.coordinator.engine.contract import ActAnswer
from amends.coordinator.saga.events import Compensate, Finish, Retry, Skip
from amends.coordinator.saga.identity import CHILD_IDS
from amends.outbox import wire
from amends.outbox.ports import Broker
from amends.participants.worker.worker import Worker
from tests.engine.world import World
from tests.interleavings.network import Held, Network
from tests.interleavings.services import Act, Call, ExternalService, Outside, Service
from tests.waiting import DEADLINE_S, eventually

DAY_MS: Final = 86_400_000


class Town:
    """A running coordinator and workers. Broker, databases and workers are real; what is between them, a Network."""

    def __init__(self, database: Engine, broker: Broker, prefix: str, **settings: Any) -> None:
        self.network = Network(broker)
        self.prefix = prefix
        # Silence is what these tests make: breakers have tests of their own.
        self.world = World(
            database, self.network, prefix, **{"breaker_failures": 1_000, "timer_poll_s": 0.05, **settings}
        )
        self.services: dict[str, Service] = {}
        self._ends = ExitStack()
        self._ends.callback(self.network.close)
        self._ends.callback(self.world.close)

    def start(self) -> Town:
        """Start the coordinator."""
        self.world.start()
        return self

    def add(self, service: Service, **settings: Any) -> Worker:
        """Start a worker of a service; of a service that is there already, one more."""
        self.services[service.name] = service
        worker = service.worker(self.network, self.prefix, **settings)
        worker.start()
        self._ends.callback(worker.stop)
        return worker

    def close(self) -> None:
        """Stop the workers, then the coordinator."""
        self._ends.close()

    def trip(self, saga: Saga, key: str | None = None) -> Trip:
        """A saga that is known by its key already, but not started."""
        self.world.register(saga)
        return Trip(self, saga.name, key or uuid4().hex)


def carrier(town: Town) -> Outside:
    """Whom shipping calls."""
    service = town.services["shipping"]
    assert isinstance(service, ExternalService)
    return service.outside


class Trip:
    """One saga: what is said and done about it, and nothing of any other."""

    def __init__(self, town: Town, name: str, key: str, *, id_: str = "") -> None:
        self._town = town
        self.name = name
        self.key = key
        self.id = id_ or wire.saga_id_of(name, key)

    def child(self, path: str, number: int = 0) -> Trip:
        """The saga that a call of this one starts, known before it is called (K1)."""
        return Trip(self._town, "", "", id_=str(uuid5(CHILD_IDS, f"{self.id}\n{path}\n{number}")))

    def start(self, input_: object = None) -> Trip:
        """Start it through a door."""
        answer = self._town.world.start_saga(self.name, {} if input_ is None else input_, key=self.key)
        assert answer.verdict == "accepted", answer
        return self

    def on(self, service: str, command: str, *acts: Act) -> None:
        """What this saga's runs of a command do."""
        self._town.services[service].on(self.id, command, *acts)

    def hold(self, kind: str, *, most: int | None = None, **wanted: object) -> Held:
        """Keep back this saga's messages of a kind."""
        return self._town.network.hold(kind, most=most, saga=self.id, **wanted)

    def sent(self, kind: str, **wanted: object) -> list[Any]:
        """What was said about this saga."""
        return self._town.network.sent(kind, saga=self.id, **wanted)

    def repeat(self, kind: str, **changes: object) -> None:
        """Send every message of a kind about this saga once more."""
        self._town.network.send(self._town.network.messages(kind, saga=self.id, **changes))

    def replies(self, count: int, **wanted: object) -> list[wire.Reply]:
        """The participants' answers, once there are so many."""
        eventually(lambda: len(self.sent("reply", **wanted)) >= count, what=f"{count} replies {wanted}")
        found: list[wire.Reply] = self.sent("reply", **wanted)
        return found

    def calls(self, service: str, command: str | None = None) -> list[Call]:
        """The runs of a service's handlers for this saga."""
        return self._town.services[service].calls(self.id, command)

    def effects(self, service: str) -> list[str]:
        """What a service has done for this saga, and not rolled back."""
        return self._town.services[service].effects(self.id)

    def becomes(self, status: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait for this status."""
        with suppress(AssertionError):
            self._town.world.wait_for(self.id, status, deadline_s)
            return
        raise AssertionError(f"not {status} after {deadline_s:g} s: {self.told()}")

    def stuck_at(self) -> Mapping[str, str]:
        """Once it is stuck: step to reason."""
        self.becomes("stuck")
        steps = self._value("SELECT stuck_steps FROM amends.saga WHERE id = :id")
        return {one["path"]: one["reason"] for one in steps}

    def compensate(self) -> ActAnswer:
        """An operator's act."""
        return self._act(Compensate(actor="ann", reason="test"))

    def retry(self, deadline: int | None = None) -> ActAnswer:
        """An operator's act."""
        return self._act(Retry(actor="ann", reason="test", deadline=deadline))

    def skip(self, path: str) -> ActAnswer:
        """An operator's act."""
        return self._act(Skip(actor="ann", reason="test", path=path))

    def finish(self) -> ActAnswer:
        """An operator's act."""
        return self._act(Finish(actor="ann", reason="test"))

    def grows_older(self, days: float) -> None:
        """So many days pass for this saga, and for its participants' memory of it."""
        self._change("UPDATE amends.saga SET started_ms = started_ms - :ms WHERE id = :id", ms=days * DAY_MS)

    def deadline_passes(self) -> None:
        """Its deadline is now."""
        self._change(
            "UPDATE amends.saga SET deadline_ms = clock_ms WHERE id = :id",
            "UPDATE amends.timer SET due_at = now() WHERE saga_id = :id AND path = ''",
        )

    def overrides(self) -> list[str]:
        """What operators overrode, as the saga lists it."""
        return list(self._town.world.state(self.id).overrides)

    def replays(self) -> bool:
        """Whether the log gives the stored state (invariant 10)."""
        return self._town.world.replayed(self.id) == self._town.world.state(self.id)

    def told(self) -> object:
        """The saga and its log, for a failing test's message."""
        row = self._town.world.row("SELECT status, error FROM amends.saga WHERE id = :id", id=self.id)
        with self._town.world.database.connect() as connection:
            log = text("SELECT event::text FROM amends.saga_log WHERE saga_id = :id ORDER BY seq")
            return row, list(connection.scalars(log, {"id": self.id}))

    def _act(self, act: Compensate | Finish | Retry | Skip) -> ActAnswer:
        answer = self._town.world.act(self.id, act)
        assert answer.verdict == "applied", answer
        return answer

    def _change(self, *statements: str, **values: object) -> None:
        with self._town.world.database.begin() as connection:
            for sql in statements:
                assert connection.execute(text(sql), {"id": self.id, **values}).rowcount == 1, sql

    def _value(self, sql: str) -> Any:
        return self._town.world.value(sql, id=self.id)

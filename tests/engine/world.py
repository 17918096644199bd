"""One coordinator and its scripted participants, with short ways to start sagas and look at them."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import Engine, text

from amends.coordinator import Saga
from amends.coordinator.engine.contract import ActAnswer, StartAnswer
from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.engine.journal import decode_event
from amends.coordinator.engine.rows import read_saga, read_step
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.sql import LOAD_STEPS, LOCK_SAGAS
from amends.coordinator.saga.events import Act, Started
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Saga as State
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import Broker, coordinator_queue
from tests.engine.scripted import Script, Scripted
from tests.waiting import DEADLINE_S, eventually

# Everything that waits, waits briefly; what a test wants longer it says.
BRISK = {
    "timer_poll_s": 0.02,
    "schedule_poll_s": 0.02,
    "refresh_s": 0.1,
    "probe_first_s": 0.3,
    "probe_longest_s": 1.0,
}


class World:
    """A coordinator under test."""

    def __init__(self, database: Engine, broker: Broker, prefix: str, **settings: Any) -> None:
        self.database = database
        self.broker = broker
        self.prefix = prefix
        self.coordinator = Coordinator(
            database, broker, prefix=prefix, settings=EngineSettings(**{**BRISK, **settings})
        )
        self.participants: dict[str, Scripted] = {}
        self._anybody = Scripted(broker, prefix, "anybody")

    def start(self) -> World:
        """Start the coordinator."""
        self.coordinator.start()
        return self

    def close(self) -> None:
        """Stop participants and coordinator."""
        for participant in self.participants.values():
            participant.stop()
        self._anybody.stop()
        self.coordinator.stop()

    def participant(self, name: str, script: Script | None = None) -> Scripted:
        """A scripted participant, already consuming."""
        scripted = Scripted(self.broker, self.prefix, name, script).start()
        self.participants[name] = scripted
        return scripted

    def register(self, saga: Saga) -> None:
        """Register a definition and make it the active one."""
        self.coordinator.catalog.register(saga.definition, actor="test")

    def start_saga(self, name: str, input_: object = None, **fields: Any) -> StartAnswer:
        """Start through a door."""
        return self.coordinator.submit_start(start(name, input_, **fields), actor="test").result(DEADLINE_S)

    def act(self, saga_id: str, act: Act) -> ActAnswer:
        """An operator's act."""
        return self.coordinator.submit_act(saga_id, act).result(DEADLINE_S)

    def send_start(self, body: wire.Start, row: int = 1, receipts: str | None = None) -> Message:
        """Publish a start message as an outbox would."""
        headers = {wire.HEADER_ROW: str(row), wire.HEADER_RECEIPT_TO: receipts} if receipts else {}
        message = Message(
            routing_key=coordinator_queue(self.prefix),
            type=wire.START,
            body=wire.encode(body),
            headers=headers,
        )
        self.publish(message)
        return message

    def publish(self, *messages: Message) -> None:
        """Publish any messages."""
        self._anybody.publish(*messages)

    def row(self, sql: str, **parameters: object) -> Any:
        """The first row of a query."""
        with self.database.connect() as connection:
            return connection.execute(text(sql), parameters).first()

    def value(self, sql: str, **parameters: object) -> Any:
        """One value."""
        row = self.row(sql, **parameters)
        return row[0] if row is not None else None

    def status(self, saga_id: str) -> str | None:
        """A saga's status."""
        return self.value("SELECT status FROM amends.saga WHERE id = :id", id=saga_id)

    def wait_for(self, saga_id: str, status: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a saga has this status."""
        eventually(lambda: self.status(saga_id) == status, deadline_s, what=f"{saga_id} to be {status}")

    def state(self, saga_id: str) -> State:
        """A saga as stored, with its steps."""
        with self.database.connect() as connection:
            rows = connection.exec_driver_sql(LOCK_SAGAS, {"ids": [saga_id]}).all()
            saga, _ = read_saga(rows[0])
            rows = connection.exec_driver_sql(LOAD_STEPS, {"ids": [saga_id]}).all()
            steps = {step.path: step for _, step in map(read_step, rows)}
        return saga.with_steps(steps)

    def replayed(self, saga_id: str) -> State:
        """A saga as its log gives it (invariant 10)."""
        stored = self.state(saga_id)
        definition = self.coordinator.catalog.get(stored.name, stored.version)
        assert definition is not None
        with self.database.connect() as connection:
            entries = connection.execute(
                text("SELECT seq, at_ms, event::text FROM amends.saga_log WHERE saga_id = :id ORDER BY seq"),
                {"id": saga_id},
            ).all()
        assert [entry[0] for entry in entries] == list(range(1, len(entries) + 1)), "the log has a gap"
        first = decode_event(json.loads(entries[0][2]))
        assert isinstance(first, Started)
        saga = begin(
            definition,
            id=saga_id,
            input=stored.input,
            labels=stored.labels,
            now=stored.started,
            parent=first.parent,
            decision=first.decision,
        )
        for _, at, event in entries:
            saga, _ = advance(definition, saga, decode_event(json.loads(event)), at)
        return saga

    def drained(self) -> bool:
        """Nothing is left to be sent."""
        return self.value("SELECT count(*) FROM amends.outbox WHERE parked_at IS NULL") == 0


def seen_two_hours_ago(world: World) -> None:
    """The one start of an unknown version, once it has been seen, has been so for longer than it may be (S2)."""
    age = text("UPDATE amends.unknown_start SET first_seen = first_seen - interval '2 hours'")

    def aged() -> bool:
        with world.database.begin() as connection:
            return connection.execute(age).rowcount == 1

    eventually(aged, what="a start of an unknown version to be seen")


def start(name: str, input_: object = None, key: str | None = None, **fields: Any) -> wire.Start:
    """The body of a start."""
    return wire.Start(
        saga=wire.saga_id_of(name, key) if key is not None else str(uuid4()),
        name=name,
        input=msgspec.Raw(msgspec.json.encode(input_)),
        key=key,
        sent_at=fields.pop("sent_at", int(time.time() * 1000)),
        **fields,
    )

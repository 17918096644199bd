"""A service that emits and hears of events, in a test: its database, its broker, its workers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, select

from amends.db.engines import transaction
from amends.db.tables.participant import barrier, outbox
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, Outgoing, dead_letter_queue, event_queue, finished_queue
from amends.participants import Participant, emit
from amends.participants.metrics import ParticipantMetrics
from amends.participants.worker.worker import Worker
from tests.outbox.driving import confirmed
from tests.waiting import eventually


@dataclass
class World:
    """One database, one broker, one prefix."""

    engine: Engine
    broker: Broker
    prefix: str
    workers: list[Worker] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    dead: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._metrics = ParticipantMetrics(self.registry)
        self._dead = self.broker.consumer([dead_letter_queue(self.prefix)], prefetch=100)

    def start(self, participant: Participant, **settings: Any) -> Worker:
        """A worker of this participant; its queues are there when this returns."""
        given: dict[str, Any] = {
            "database": self.engine,
            "broker": self.broker,
            "prefix": self.prefix,
            "grace_s": 5,
            "metrics": self._metrics,
            "threads": 1,
            "undo_threads": 1,
        }
        worker = participant.worker(**{**given, **settings})
        self.workers.append(worker)
        worker.start()
        queues = [event_queue(self.prefix, participant.name, one.name) for one in participant.subscriptions]
        if participant.finishers:
            queues.append(finished_queue(self.prefix, participant.name))

        def consumed() -> bool:
            found = self.broker.look(queues, timeout_s=5)
            return all(state is not None and state.consumers > 0 for state in found.values())

        eventually(consumed, what="the subscribers' queues to be consumed")
        return worker

    def emit(self, type_: str, data: Any = None, **more: Any) -> str:
        """An event in a transaction of its own."""
        with transaction(self.engine) as connection:
            return emit(connection, type_, data, **{"source": "/test", "prefix": self.prefix, **more})

    def publish(self, message: Message) -> None:
        """What somebody else sends, straight to the broker."""
        publisher = self.broker.publisher()
        if self.broker.confirms_when_consumed:
            publisher.publish([Outgoing(1, message)])
            return
        confirmed(publisher, [message])
        publisher.close()

    def heard(self, subscriber: str) -> list[Any]:
        """The rows that say that this subscriber heard of an event."""
        query = select(barrier).where(barrier.c.path == f"on:{subscriber}")
        with transaction(self.engine) as connection:
            return list(connection.execute(query).all())

    def waiting(self) -> list[Any]:
        """What stands in the outbox."""
        with transaction(self.engine) as connection:
            return list(connection.execute(select(outbox)).all())

    def counted(self, subscriber: str, became: str) -> float:
        """The metric of this subscriber and outcome, over all participants."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "amends_participant_events_total"
            and sample.labels["subscriber"] == subscriber
            and sample.labels["outcome"] == became
        )

    def dead_letters(self, count: int) -> list[Delivery]:
        """So many dead letters, in all."""

        def come() -> bool:
            arrived = self._dead.receive(0.1)
            self._dead.ack([one.tag for one in arrived])
            self.dead += arrived
            return len(self.dead) >= count

        eventually(come, what=f"{count} dead letters")
        assert len(self.dead) == count
        return self.dead

    def close(self) -> None:
        """Stop every worker."""
        for worker in self.workers:
            worker.stop()
        self._dead.close()


def reason_of(letter: Delivery) -> str:
    """Why it was dead-lettered."""
    return str(letter.headers["amends-reason"])


def body_of(delivery: Delivery) -> dict[str, Any]:
    """Its JSON."""
    return dict(json.loads(delivery.body))

"""Who works beside the coordinator of a test: participants with their handlers, scripted ones, outboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from amends.outbox import wire
from amends.outbox.drivers.memory import MemoryBroker
from amends.outbox.message import Message
from amends.outbox.ports import Consumer, Delivery, Outgoing, Topology, command_queue, coordinator_queue
from amends.outbox.wire import Command
from amends.participants.participant import Participant
from amends.testing.answers import SILENCE, Answer
from amends.testing.bench import end_leases
from amends.testing.crash_services import Scripted
from amends.testing.service import Service
from amends.testing.workplaces import Database, workplace

Script = Mapping[str, "Answer | Callable[[Any], Answer]"]


class Beside:
    """They take their turns when the coordinator's run says so."""

    def __init__(self, broker: MemoryBroker, prefix: str) -> None:
        self._broker = broker
        self._prefix = prefix
        self._publisher = broker.publisher()
        self._tokens = count(1)
        self._consumers: dict[str, Consumer] = {}
        self._services: dict[str, tuple[Service, Database]] = {}
        self._scripts: dict[str, _ScriptedService] = {}
        self._outboxes: list[Service] = []
        broker.declare(Topology(frozenset({coordinator_queue(prefix)})))

    def expect(self, participants: Iterable[str]) -> None:
        """Their commands have queues, though nobody may be there yet."""
        names = [
            command_queue(self._prefix, name, undo=undo) for name in participants for undo in (True, False)
        ]
        self._broker.declare(Topology(frozenset(names)))

    def serve(self, participant: Participant, database: Database) -> None:
        """Real handlers."""
        service = Service(participant, workplace(database), prefix=self._prefix)
        self._services[participant.name] = (service, database)
        self._scripts.pop(participant.name, None)
        self._outboxes.append(service)
        self._consume(participant.name)

    def script(self, participant: str, answers: Script) -> None:
        """Answers only."""
        standing = self._scripts.setdefault(participant, _ScriptedService())
        standing.answers.update(answers)
        self._consume(participant)

    def carry(self, database: Database) -> None:
        """The outbox of a service that is no participant here."""
        self._outboxes.append(Service(Participant("anybody"), workplace(database), prefix=self._prefix))

    def advance(self, milliseconds: int) -> None:
        """Time passes for the leases of external calls."""
        for place in {id(service.place): service.place for service, _ in self._services.values()}.values():
            with place.transaction() as connection:
                end_leases(connection, milliseconds)

    def turn(self) -> int:
        """Obey what has come, carry what stands in the outboxes; how many messages there were."""
        moved = 0
        for name, consumer in self._consumers.items():
            for delivery in consumer.receive(0):
                self._publish(self._obeyed(name, delivery))
                consumer.ack([delivery.tag])
                moved += 1
        for service in self._outboxes:
            carried = service.take_outbox()
            self._publish(carried)
            moved += len(carried)
        self._publisher.settled(0)
        return moved

    def _obeyed(self, name: str, delivery: Delivery) -> Sequence[Message]:
        if name in self._services:
            service, _ = self._services[name]
            service.take(delivery)
            return service.answers()
        command = wire.decode(delivery.type, delivery.body)
        if not isinstance(command, Command):
            return ()
        reply = self._scripts[name].obey(name, command)
        if reply is None:
            return ()
        return [
            Message(
                routing_key=delivery.reply_to,
                type=wire.REPLY,
                body=wire.encode(reply),
                correlation_id=command.saga,
            )
        ]

    def _consume(self, participant: str) -> None:
        if participant not in self._consumers:
            queues = [command_queue(self._prefix, participant, undo=undo) for undo in (True, False)]
            self._consumers[participant] = self._broker.consumer(queues, prefetch=1_000)

    def _publish(self, messages: Sequence[Message]) -> None:
        self._publisher.publish([Outgoing(next(self._tokens), message) for message in messages])


class _ScriptedService:
    """Answers commands by their names; what it did for each saga follows the barrier's rules."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[Any], Answer]] = {}
        self._sagas: dict[str, Scripted] = {}

    def obey(self, name: str, command: Command) -> wire.Reply | None:
        """The reply; None stays silent."""
        said = self.answers.get(command.command)
        if said is not None:
            answer = said if isinstance(said, Answer) else said(msgspec.json.decode(command.args))
            if answer.outcome == SILENCE:
                return None
        else:
            answer = None
        did = self._sagas.setdefault(command.saga, Scripted({}, ()))
        return did.obey(name, command, answer)

"""A participant for thousands of commands: it answers whatever has arrived at once, and keeps next to nothing.

So what a test's process holds while an `each` is under way is what the coordinator holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Event, Thread

from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Outgoing, command_queue, coordinator_queue
from tests.engine.scripted import reply

ITEMS_MAX = 10_000

Answer = Callable[[wire.Command], wire.Reply]


class Crowd:
    """Answers `done`, unless `answer` says otherwise. `standing` has a 1 for each item done and not undone."""

    def __init__(self, broker: Broker, prefix: str, name: str, answer: Answer | None = None) -> None:
        self._broker = broker
        self._prefix = prefix
        self._name = name
        self._answer = answer or (lambda command: reply(command, name))
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=f"crowd-{name}", daemon=True)
        self.counts: Counter[str] = Counter()
        self.standing = bytearray(ITEMS_MAX)
        self.most = 0  # the most commands that were there at once, unanswered
        self._thread.start()

    def stop(self) -> None:
        """Leave."""
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        queues = [command_queue(self._prefix, self._name, undo=undo) for undo in (False, True)]
        consumer = self._broker.consumer(queues, prefetch=1_000)
        publisher = self._broker.publisher()
        while not self._stopping.is_set():
            deliveries = consumer.receive(0.1)
            commands = [wire.decode(one.type, one.body) for one in deliveries]
            self.most = max(self.most, len(commands))
            answers = [self._take(one) for one in commands if isinstance(one, wire.Command)]
            publisher.publish([Outgoing(number, self._message(one)) for number, one in enumerate(answers)])
            consumer.ack([one.tag for one in deliveries])
            publisher.settled(0)
        consumer.close()
        publisher.close()

    def _take(self, command: wire.Command) -> wire.Reply:
        self.counts[command.op] += 1
        answer = self._answer(command)
        if answer.outcome is wire.Outcome.DONE:
            self.standing[int(command.path.rpartition("/")[2])] = command.op is wire.Op.DO
        return answer

    def _message(self, answer: wire.Reply) -> Message:
        return Message(
            routing_key=coordinator_queue(self._prefix),
            type=wire.REPLY,
            body=wire.encode(answer),
            correlation_id=answer.saga,
        )

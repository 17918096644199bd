"""Messages that cannot be obeyed, on a real command queue: dead-lettered or answered; the worker goes on."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, command_queue
from amends.outbox.wire import Outcome
from amends.participants import Participant
from amends.participants.worker.inbound import DELIVERIES_MAX, Undeliverable, read_inbound
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import FakeCoordinator, command

GOOD = wire.encode(command("work", 1))


def replaced(**fields: Any) -> bytes:
    """The body of a good command with some fields changed; None takes one out."""
    body = {**msgspec.json.decode(GOOD), **fields}
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


BAD: dict[str, tuple[str, bytes]] = {
    "no JSON": (wire.COMMAND, b"\xff\xfe not json"),
    "empty": (wire.COMMAND, b""),
    "another JSON": (wire.COMMAND, b"[1, 2, 3]"),
    "a field missing": (wire.COMMAND, replaced(attempt=None)),
    "a field of the wrong type": (wire.COMMAND, replaced(round="first")),
    "an unknown op": (wire.COMMAND, replaced(op="explode")),
    "a saga that is no UUID": (wire.COMMAND, replaced(saga="saga-1")),
    "an empty path": (wire.COMMAND, replaced(path="")),
    "a long path": (wire.COMMAND, replaced(path="x" * 301)),
    "a path that no database takes": (wire.COMMAND, replaced(path="a\0b")),
    "a round that no database takes": (wire.COMMAND, replaced(round=2**31)),
    "nested without end": (
        wire.COMMAND,
        replaced(args=1)[:-1] + b',"more":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ),
    "an unknown type": ("amends.gossip", GOOD),
    "no type": ("", GOOD),
    "a reply": (wire.REPLY, GOOD),
}


def one() -> Participant:
    """Its only command is `work`."""
    participant = Participant("one")

    @participant.command
    def work(cmd: int) -> int:
        return cmd

    return participant


def publish(coordinator: FakeCoordinator, queue: str, type_: str, body: bytes) -> None:
    """Put any message on a command queue."""
    coordinator.publish(Message(routing_key=queue, type=type_, body=body))


@pytest.mark.parametrize("undo", [False, True])
def test_what_cannot_be_attributed_is_dead_lettered_and_the_worker_goes_on(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, prefix: str, undo: bool
) -> None:
    coordinator = coordinator_of("one")
    start_worker(one(), threads=1, undo_threads=1)
    queue = command_queue(prefix, "one", undo=undo)

    for type_, body in BAD.values():
        publish(coordinator, queue, type_, body)
    answered = coordinator.ask(command("work", 7))
    dead = [coordinator.await_dead() for _ in BAD]

    assert (answered.outcome, bytes(answered.result)) == (Outcome.DONE, b"7")
    assert {letter.headers["amends-queue"] for letter in dead} == {queue}
    assert all(letter.headers["amends-reason"] for letter in dead)
    assert sorted(letter.body for letter in dead) == sorted(body[:65_536] for _, body in BAD.values())


def delivery(body: bytes = GOOD, **fields: Any) -> Delivery:
    """A delivery as a driver makes it."""
    return Delivery(
        **{"tag": 1, "queue": "q", "body": body, "type": wire.COMMAND, "size_bytes": len(body), **fields}
    )


@pytest.mark.parametrize("encoding", ["gzip", "application/x-gzip", "zlib", "bzip2", "deflate"])
def test_a_compressed_message_is_refused_by_its_header(encoding: str) -> None:
    with pytest.raises(Undeliverable, match="content encoding"):
        read_inbound(delivery(zlib.compress(GOOD), content_encoding=encoding), participant="one", prefix="p")


@pytest.mark.parametrize("encoding", ["", "utf-8", "UTF-8", "identity"])
def test_a_plain_message_is_read(encoding: str) -> None:
    read = read_inbound(delivery(content_encoding=encoding), participant="one", prefix="p")

    assert read.command.command == "work"
    assert read.reply_to == "p.coordinator"


def test_an_oversized_message_is_refused_before_it_is_read() -> None:
    with pytest.raises(Undeliverable, match="over the limit"):
        read_inbound(delivery(b"x" * 1_100_000), participant="one", prefix="p")


def test_an_oversized_message_is_dead_lettered_in_part(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, prefix: str
) -> None:
    coordinator = coordinator_of("one")
    start_worker(one())

    publish(coordinator, command_queue(prefix, "one", undo=False), wire.COMMAND, b"x" * 3_000_000)

    assert coordinator.await_dead().body == b"x" * 65_536


def test_a_command_that_came_too_often_is_answered_for_its_sagas_policy_and_set_aside(
    broker: Broker, start_worker: StartWorker, coordinator_of: CoordinatorOf, prefix: str
) -> None:
    """What kills its worker each time comes again. Seen to fail without the check of DELIVERIES_MAX in `obey`."""
    coordinator = coordinator_of("one")
    sent = coordinator.send(command("work", 1))
    deliver_in_vain(broker, command_queue(prefix, "one", undo=False), DELIVERIES_MAX + 1)

    start_worker(one())
    reply = coordinator.await_reply(lambda one: one.saga == sent.saga)

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, True)
    assert "may kill the worker" in reply.reason
    assert wire.decode(wire.COMMAND, coordinator.await_dead().body) == sent


def deliver_in_vain(broker: Broker, queue: str, times: int) -> None:
    """Take the one message of a queue and hand it back, as a worker that dies does."""
    consumer = broker.consumer([queue], prefetch=1)
    seen = 0
    while seen < times:
        for one_delivery in consumer.receive(1):
            seen += 1
            consumer.requeue([one_delivery.tag])
    consumer.close()

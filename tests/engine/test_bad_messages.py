"""What cannot be read is dead-lettered; what cannot be processed is quarantined; neither delays the others (E2)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from kombu import Connection, Producer

from amends.coordinator import Saga, arg, chain, step
from amends.coordinator.engine.lives import Advancing
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, coordinator_queue, dead_letter_queue
from tests.engine.scripted import reply
from tests.engine.test_starts import Receipts
from tests.engine.world import World, start
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund"), version=1)


def letters(world: World, count: int) -> list[Delivery]:
    consumer = world.broker.consumer([dead_letter_queue(world.prefix)], prefetch=100)
    got: list[Delivery] = []
    eventually(lambda: got.extend(consumer.receive(0.05)) or len(got) >= count, what=f"{count} dead letters")
    consumer.ack([one.tag for one in got])
    consumer.close()
    return got


def good_start() -> bytes:
    return wire.encode(start("pay", {}))


BAD = {
    "no JSON": (wire.REPLY, b"\xff\xfe{"),
    "an input that is no UTF-8": (
        wire.START,
        wire.encode(start("pay", "x")).replace(b'"x"', b'"\xed\xa0\x80"'),
    ),
    "truncated": (wire.START, good_start()[:-5]),
    "unknown type": ("shop.greeting", b"{}"),
    "no type": ("", b"{}"),
    "a wrong type of field": (wire.START, good_start().replace(b'"name":"pay"', b'"name":17')),
    "a saga id that is none": (wire.START, b'{"saga":"x","name":"pay","input":{},"sent_at":1}'),
    "an id that its key does not give": (
        wire.START,
        wire.encode(wire.Start(saga=str(uuid4()), name="pay", input=wire.NULL, key="k", sent_at=1)),
    ),
    "nested a hundred thousand deep": (
        wire.REPLY,
        b'{"saga":"x","result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
    "a receipt, which is not for the coordinator": (
        wire.RECEIPT,
        wire.encode(wire.Receipt(message_id="m", row=1)),
    ),
    "too large": (wire.REPLY, b'{"x":"' + b"a" * 1_200_000 + b'"}'),
}


@pytest.mark.parametrize("what", BAD)
def test_a_message_that_cannot_be_read_is_dead_lettered_and_delays_nothing(world: World, what: str) -> None:
    world.participant("payments")
    world.register(PAY)
    type_, body = BAD[what]

    world.publish(
        Message(routing_key=coordinator_queue(world.prefix), type=type_, body=body, message_id="bad")
    )
    answer = world.start_saga("pay", {})

    world.wait_for(answer.saga_id, "completed")
    letter = letters(world, 1)[0]
    assert letter.headers["amends-reason"]
    assert letter.headers["amends-queue"] == coordinator_queue(world.prefix)
    assert letter.message_id == "bad"
    assert body.startswith(letter.body)


def test_a_compressed_message_is_refused_by_its_header(
    rabbit: RabbitServer, broker: Broker, prefix: str, make_world: Callable[..., World]
) -> None:
    """It is never unpacked: 306 KB of it may be 300 MiB. Guard: PLAIN_ENCODINGS in reading.read."""
    world = make_world(broker, prefix).start()
    world.participant("payments")
    world.register(PAY)
    with Connection(rabbit.url) as connection:
        Producer(connection.channel()).publish(
            zlib.compress(b"a" * 10_000_000),
            routing_key=coordinator_queue(prefix),
            type=wire.REPLY,
            content_type="application/json",
            content_encoding="gzip",
        )
    answer = world.start_saga("pay", {})

    world.wait_for(answer.saga_id, "completed")
    assert letters(world, 1)[0].headers["amends-reason"]


def test_a_malformed_start_is_receipted_so_that_it_does_not_come_for_ever(world: World) -> None:
    """O1: quarantined messages are receipted too."""
    receipts = Receipts(world)
    headers = {wire.HEADER_ROW: "5", wire.HEADER_RECEIPT_TO: receipts.queue}

    world.publish(
        Message(routing_key=coordinator_queue(world.prefix), type=wire.START, body=b"{", headers=headers)
    )

    assert [(one.row, one.note) for one in receipts.wait(1)] == [(5, "quarantined")]


def test_a_reply_to_nobody_changes_nothing(world: World) -> None:
    payments = world.participant("payments")
    world.register(PAY)
    answer = world.start_saga("pay", {})
    command = payments.wait_for("do", "charge")
    world.wait_for(answer.saga_id, "completed")
    before = world.state(answer.saga_id)

    for strange in (
        msgspec.structs.replace(command, saga=str(uuid4())),
        msgspec.structs.replace(command, path="nowhere"),
        msgspec.structs.replace(command, round=9),
        msgspec.structs.replace(command, op=wire.Op.CONFIRM),
    ):
        payments.send(reply(strange, "payments", "refused", reason="no"))
    world.wait_for(world.start_saga("pay", {}).saga_id, "completed")

    assert world.state(answer.saga_id) == before


def test_an_event_that_fails_alone_three_times_is_quarantined_and_its_saga_stuck(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E2: the others of its batch go on. A fault of our own is made by hand: the machine raises for one saga."""
    world.register(PAY)
    payments = world.participant("payments", lambda command: None)
    sagas = [world.start_saga("pay", {}).saga_id for _ in range(5)]
    eventually(lambda: len(payments.received) == 5)
    cursed = sagas[2]
    apply = Advancing.apply

    def cursed_apply(self: Advancing, live: Any, event: Any) -> bool:
        if live.now.id == cursed and type(event).__name__ == "Replied":
            raise RuntimeError("a fault of our own")
        return apply(self, live, event)

    monkeypatch.setattr(Advancing, "apply", cursed_apply)
    payments.send(*[reply(command, "payments") for command in payments.received])

    for one in sagas:
        world.wait_for(one, "stuck" if one == cursed else "completed")
    assert "a fault of our own" in world.value("SELECT error FROM amends.quarantine")
    assert "internal error" in world.value(
        "SELECT stuck_steps->0->>'reason' FROM amends.saga WHERE id = :i", i=cursed
    )
    assert world.replayed(cursed) == world.state(cursed)


def test_an_event_that_cannot_even_be_quarantined_ends_no_thread(world: World) -> None:
    """Guard: the `except Exception` in Decider._quarantine. RabbitMQ's driver lets no NUL in; this broker does."""
    world.participant("payments")
    world.register(PAY)

    world.publish(Message(routing_key=coordinator_queue(world.prefix), type="a\0b", body=b"{}"))
    answer = world.start_saga("pay", {})

    world.wait_for(answer.saga_id, "completed")
    eventually(lambda: world.start_saga("pay", {}).verdict == "accepted")
    assert world.coordinator.status().running


def test_a_command_that_is_too_large_compensates(make_world: Callable[..., World]) -> None:
    """O5: the machine hears of it in the same transaction; nothing oversized is stored."""
    world = make_world(body_bytes_max=5_000).start()
    inventory = world.participant("inventory")
    payments = world.participant("payments")
    world.register(
        Saga(
            "bulky",
            chain(
                step("reserve", to="inventory", undo="release", args={}),
                step("charge", to="payments", undo="refund", args=arg.bulk),
            ),
            version=1,
        )
    )

    answer = world.start_saga("bulky", {"bulk": "x" * 6_000})

    world.wait_for(answer.saga_id, "compensated")
    assert [one.command for one in inventory.received] == ["reserve", "release"]
    assert payments.received == []
    assert "bytes" in world.value("SELECT error FROM amends.saga")

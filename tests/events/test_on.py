"""`@participant.on` on both brokers and databases: what reaches a handler, and how often."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import text

from amends.db.engines import transaction
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import event_queue, events_exchange
from amends.participants import EventCtx, EventType, Failed, Participant, Refused, emit
from amends.participants.barrier.pruning import prune
from tests.events.world import World, body_of, reason_of
from tests.outbox.driving import received
from tests.participants.shop import Effect, count, record
from tests.waiting import eventually


class User(Struct):
    """Somebody new."""

    id: int
    name: str = ""


def event(id_: str, type_: str = "user.created", **more: object) -> wire.DomainEvent:
    """An event as another service might send it."""
    fields = {"specversion": "1.0", "source": "/elsewhere", "data": msgspec.Raw(b'{"id": 7}')}
    return wire.DomainEvent(id=id_, type=type_, **{**fields, **more})  # type: ignore[arg-type]


def sent(world: World, one: wire.DomainEvent) -> Message:
    """Its message."""
    return Message(
        exchange=events_exchange(world.prefix), routing_key=one.type, type=one.type, body=wire.encode(one)
    )


def test_an_event_reaches_each_subscriber_by_its_type(world: World) -> None:
    mail = Participant("mail")
    seen: list[tuple[str, object, str]] = []

    @mail.on("user.created")
    def welcome(user: User, ctx: EventCtx) -> None:
        record(ctx.connection, "welcome", ctx.id)
        seen.append(("welcome", user, ctx.type))

    @mail.on("user.*")
    async def audit(data: Any, ctx: EventCtx) -> None:
        ctx.session.add(Effect(kind="audit", saga=ctx.id))
        seen.append(("audit", data, ctx.type))

    @mail.on("order.#", "#.deleted")
    def others(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "others", ctx.id)

    world.start(mail)
    created = world.emit(EventType("user.created", User), User(7, "Ada"))
    deleted = world.emit("user.deleted", {"id": 7})
    world.emit("stock.counted")
    placed = world.emit("order.placed.abroad")

    eventually(lambda: count(world.engine, "audit") == 2 and count(world.engine, "others") == 2)
    eventually(lambda: count(world.engine, "welcome") == 1)
    assert count(world.engine, "welcome", created) == 1
    assert count(world.engine, "others", deleted) == count(world.engine, "others", placed) == 1
    assert ("welcome", User(7, "Ada"), "user.created") in seen
    assert ("audit", {"id": 7}, "user.deleted") in seen
    eventually(lambda: world.waiting() == [], what="the outbox to drain")


def test_a_copy_of_an_event_is_heard_once(world: World) -> None:
    """The barrier row is its guard: with another key for each delivery both copies have an effect."""
    shop = Participant("shop")

    @shop.on("user.created")
    def greet(user: User, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", ctx.id)

    world.start(shop)
    for _ in range(3):
        world.publish(sent(world, event("e-1")))
    world.publish(sent(world, event("e-2")))
    world.publish(sent(world, event("e-1", source="/yet/elsewhere")))

    eventually(lambda: world.counted("greet", "repeated") == 2 and world.counted("greet", "done") == 3)
    assert count(world.engine, "greet", "e-1") == 2
    assert count(world.engine, "greet", "e-2") == 1
    assert {(row.op, row.outcome) for row in world.heard("greet")} == {("do", "done")}


def test_a_handler_that_fails_is_tried_again_and_leaves_nothing_meanwhile(world: World) -> None:
    shop = Participant("shop")
    tries: list[int] = []

    @shop.on("user.created")
    def greet(user: User, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", ctx.id)
        tries.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ConnectionError("the mail server is down")

    world.start(shop)
    failing = world.emit("user.created", User(1))
    eventually(lambda: world.counted("greet", "retried") == 1)
    assert count(world.engine, "greet") == 0
    assert world.heard("greet") == []

    eventually(lambda: count(world.engine, "greet", failing) == 1)
    assert tries == [1, 2]
    eventually(lambda: world.waiting() == [], what="the outbox to drain")


def test_a_poison_event_is_dead_lettered_and_the_others_go_on(world: World) -> None:
    shop = Participant("shop")

    @shop.on("user.*", attempts=2)
    def greet(user: User, ctx: EventCtx) -> None:
        if user.id == 13:
            raise ZeroDivisionError("unlucky")
        record(ctx.connection, "greet", ctx.id)

    world.start(shop)
    poison = world.emit("user.created", User(13))
    unfit = world.emit("user.created", {"id": "seven"})
    fine = [world.emit("user.created", User(number)) for number in range(5)]

    eventually(lambda: all(count(world.engine, "greet", one) == 1 for one in fine))
    letters = {body_of(one)["id"]: one for one in world.dead_letters(2)}
    assert reason_of(letters[poison]) == "failed 2 times, at last: ZeroDivisionError: unlucky"
    assert reason_of(letters[unfit]).startswith("invalid_data: id: expected `int`")
    assert letters[poison].headers["amends-queue"] == event_queue(world.prefix, "shop", "greet")
    assert world.counted("greet", "dead_lettered") == 2


def test_what_is_not_the_handlers_fault_does_not_use_its_attempts_up(world: World) -> None:
    shop = Participant("shop")
    calls: list[int] = []

    @shop.on("user.created", attempts=1)
    def greet(user: User, ctx: EventCtx) -> None:
        calls.append(ctx.attempt)
        if len(calls) < 3:
            raise Failed("not yet", spent=False)
        record(ctx.connection, "greet", ctx.id)

    world.start(shop)
    told = world.emit("user.created", User(1))

    eventually(lambda: count(world.engine, "greet", told) == 1)
    assert calls == [1, 1, 1]


def test_a_refused_event_is_remembered_and_leaves_nothing_else(world: World) -> None:
    shop = Participant("shop")

    @shop.on("user.created")
    def greet(user: User, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", ctx.id)
        raise Refused("no mail to robots")

    world.start(shop)
    world.publish(sent(world, event("robot")))
    world.publish(sent(world, event("robot")))

    eventually(lambda: world.counted("greet", "repeated") == 1)
    (row,) = world.heard("greet")
    assert (row.outcome, row.reason) == ("refused", "no mail to robots")
    assert count(world.engine, "greet") == 0
    assert world.counted("greet", "refused") == 1


@pytest.mark.parametrize(
    ("newer", "became"),
    [("retry", "retried"), ("dead-letter", "dead_lettered"), ("refuse", "refused"), ("handle", "done")],
)
def test_an_event_newer_than_the_handler_takes_is_treated_as_stated(
    rabbit_world: World, newer: str, became: str
) -> None:
    world, shop = rabbit_world, Participant("shop")

    @shop.on("user.created", version=">=2,<4", newer=newer)  # type: ignore[arg-type]
    def greet(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", f"v{ctx.version}")

    world.start(shop)
    for version in (1, 2, 3, 4):
        world.emit("user.created", version=version)

    eventually(lambda: world.counted("greet", became) >= (3 if became == "done" else 1))
    eventually(lambda: count(world.engine, "greet", "v3") == 1)
    assert world.counted("greet", "passed_over") == 1
    assert (count(world.engine, "greet", "v1"), count(world.engine, "greet", "v2")) == (0, 1)
    assert count(world.engine, "greet", "v4") == (1 if newer == "handle" else 0)
    if newer == "dead-letter":
        assert "version 4 is newer" in reason_of(world.dead_letters(1)[0])


def test_a_handler_may_emit_in_its_transaction(world: World) -> None:
    shop = Participant("shop")

    @shop.on("user.created")
    def greet(user: User, ctx: EventCtx) -> None:
        ctx.emit("mail.wanted", {"to": user.id}, subject=ctx.id)
        if ctx.attempt == 1:
            raise RuntimeError("after it was emitted")

    @shop.on("mail.wanted")
    def send(data: dict[str, int], ctx: EventCtx) -> None:
        assert ctx.source == f"/{world.prefix}/shop"
        record(ctx.connection, "send", ctx.subject, data["to"])

    world.start(shop)
    created = world.emit("user.created", User(9))

    eventually(lambda: count(world.engine, "send", created) == 1)
    eventually(lambda: world.waiting() == [], what="the outbox to drain")
    assert count(world.engine, "send") == 1


def test_a_slow_subscriber_delays_no_other(rabbit_world: World) -> None:
    world, shop = rabbit_world, Participant("shop")
    held, holding = threading.Event(), threading.Event()

    @shop.on("user.created")
    def slow(data: Any) -> None:
        holding.set()
        held.wait(30)

    @shop.on("user.created")
    def quick(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "quick", ctx.id)

    world.start(shop)
    try:
        world.emit("user.created")
        assert holding.wait(30)
        told = world.emit("user.created")
        eventually(lambda: count(world.engine, "quick", told) == 1)
    finally:
        held.set()


def test_events_of_a_key_leave_in_order_and_say_so(rabbit_world: World) -> None:
    world, shop = rabbit_world, Participant("shop")
    rows: list[tuple[str, int | None, int]] = []

    @shop.on("user.renamed")
    def follow(number: int, ctx: EventCtx) -> None:
        rows.append((ctx.key, ctx.row, number))

    world.start(shop)
    with transaction(world.engine) as connection:
        for number in range(30):
            emit(connection, "user.renamed", number, source="/users", key="user-7", prefix=world.prefix)

    eventually(lambda: len(rows) == 30)
    assert [number for _, _, number in rows] == list(range(30))
    assert {key for key, _, _ in rows} == {"user-7"}
    numbers = [row for _, row, _ in rows]
    assert None not in numbers
    assert numbers == sorted(numbers, key=lambda row: row or 0)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no json", "no CloudEvent in structured mode"),
        (b'{"specversion": "1.0", "id": "1"}', "missing required field"),
        (b'{"specversion": "2.0", "id": "1", "source": "/a", "type": "t"}', "'2.0' are not known"),
        (b'{"specversion": "1.0", "id": "", "source": "/a", "type": "t"}', "has an id"),
        (
            b'{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data_base64": "AA=="}',
            "data_base64",
        ),
        (b'{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "time": "yesterday"}', "RFC 3339"),
        (
            b'{"specversion": "1.0", "id": "1", "source": "/a", "type": "user.x", "time": "2001-01-01T00:00:00Z"}',
            "expired",
        ),
        (b"[" * 100_000, "no CloudEvent"),
        (b"\xff\xfe", "no CloudEvent"),
    ],
)
def test_what_is_no_event_is_dead_lettered(rabbit_world: World, body: bytes, why: str) -> None:
    world, shop = rabbit_world, Participant("shop")

    @shop.on("user.*")
    def greet(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", ctx.id)

    world.start(shop)
    world.publish(
        Message(exchange=events_exchange(world.prefix), routing_key="user.x", type="user.x", body=body)
    )

    (letter,) = world.dead_letters(1)
    assert why in reason_of(letter)
    assert letter.body == body
    assert count(world.engine, "greet") == 0


def test_a_type_that_no_handler_knows_waits_for_a_newer_process(rabbit_world: World) -> None:
    """A queue keeps the bindings of every process that ever declared it; an older one must not drop what is new."""
    world, older, newer = rabbit_world, Participant("shop"), Participant("shop")

    @older.on("user.created")
    def greet(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "old", ctx.id)

    @newer.on("user.created", "user.deleted", name="greet")
    def greet_more(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "new", ctx.id)

    world.start(newer).stop()
    worker = world.start(older)
    deleted = world.emit("user.deleted")
    eventually(lambda: world.counted("greet", "retried") >= 1)
    worker.stop()
    world.start(newer)

    eventually(lambda: count(world.engine, "new", deleted) == 1)


def test_an_event_that_keeps_coming_back_is_put_off(rabbit_world: World) -> None:
    """It may be what kills the worker: the count of its deliveries is the guard."""
    world, shop = rabbit_world, Participant("shop")

    @shop.on("user.created")
    def greet(data: Any, ctx: EventCtx) -> None:
        record(ctx.connection, "greet", ctx.id, ctx.attempt)

    world.start(shop).stop()
    told = world.emit("user.created")
    relay = Participant("shop").worker(database=world.engine, broker=world.broker, prefix=world.prefix)
    relay.start()
    queue = event_queue(world.prefix, "shop", "greet")
    consumer = world.broker.consumer([queue], prefetch=10)
    for _ in range(3):
        (one,) = received(consumer, 1)
        consumer.requeue([one.tag])
    consumer.close()
    relay.stop()
    world.start(shop)

    eventually(lambda: count(world.engine, "greet", told) == 1)
    assert world.counted("greet", "retried") == 1


def test_rows_of_events_are_pruned_as_others_are(rabbit_world: World) -> None:
    world, shop = rabbit_world, Participant("shop")

    @shop.on("user.created")
    def greet(data: Any) -> None: ...

    world.start(shop)
    world.emit("user.created")
    eventually(lambda: len(world.heard("greet")) == 1)
    with transaction(world.engine) as connection:
        assert prune(connection) == 0
        connection.execute(text("UPDATE amends_barrier SET at = now() - interval '31 days'"))
    with transaction(world.engine) as connection:
        assert prune(connection) == 1

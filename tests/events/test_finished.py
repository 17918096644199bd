"""`@participant.finished`: who started a saga hears of its end, once, whatever dies or is lost meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import Engine, text

from amends.coordinator import Saga, arg, chain, result, step
from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.engine.settings import EngineSettings
from amends.db.engines import transaction
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Broker, coordinator_queue, finished_queue
from amends.participants import (
    Client,
    FinishedCtx,
    FinishedSaga,
    InvalidHandler,
    InvalidInput,
    Participant,
    Refused,
)
from tests.events.world import World, reason_of
from tests.outbox.driving import received
from tests.participants.shop import count, metadata, record
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.rabbit import PrivateRabbit

pack = Saga(
    "pack", chain(step("box", to="packing", undo=None, args={"n": arg.n})), version=1, result=result("box")
)
twice = Saga(
    "twice",
    chain(step("box", to="packing", undo=None, args={"n": arg.n})),
    version=1,
    result={"one": result("box"), "other": result("box")},
)


class Boxed(Struct):
    """A handler's own idea of what it wants to know."""

    saga: str
    status: str
    result: dict[str, int] | None = None


def packing() -> Participant:
    """Packs what is not negative."""
    participant = Participant("packing")

    @participant.command
    def box(cmd: dict[str, int]) -> dict[str, Any]:
        if cmd["n"] < 0:
            raise Refused("nothing to pack")
        return {"box": cmd["n"]} if cmd["n"] < 1_000 else {"box": "x" * cmd["n"]}

    return participant


def shop() -> Participant:
    """Starts packing, and hears of its end."""
    participant = Participant("shop")

    @participant.finished("pack")
    def packed(end: FinishedSaga, ctx: FinishedCtx) -> None:
        record(ctx.connection, end.status, end.saga)
        record(ctx.connection, end.reason[:40] or f"result {end.result}"[:40], end.saga)

    return participant


class Town:
    """A coordinator, a packing service and a shop, on one broker."""

    def __init__(self, engine: Engine, world: World, broker: Broker) -> None:
        self.world = world
        self.engine = engine
        self.client = Client("shop", prefix=world.prefix)
        self._broker = broker
        self._stack = ExitStack()

    def run_coordinator(self, **settings: Any) -> Coordinator:
        """Until the end, or until it is stopped."""
        given = {"unknown_version_s": 0.1, "again_s": 0.2, **settings}
        coordinator = Coordinator(
            self.engine, self._broker, prefix=self.world.prefix, settings=EngineSettings(**given)
        )
        for saga in (pack, twice):
            coordinator.catalog.register(saga.definition, actor="test")
        coordinator.start()
        self._stack.callback(coordinator.stop)
        return coordinator

    def start(self, n: int, name: str | Saga = pack, **more: Any) -> str:
        """A start in a transaction of the shop's."""
        with transaction(self.world.engine) as connection:
            return self.client.start(connection, name, {"n": n}, **{"finished": True, **more})

    def run(self, participant: Participant) -> None:
        """A worker of the packing service; the shop's are started by `world.start`."""
        worker = participant.worker(
            database=self.world.engine,
            broker=self._broker,
            prefix=self.world.prefix,
            service=participant.name,
        )
        worker.start()
        self._stack.callback(worker.stop)

    def told(self) -> int:
        """How many pieces of news the coordinator still keeps."""
        query = text("SELECT count(*) FROM amends.outbox WHERE type = 'amends.finished'")
        with transaction(self.engine) as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def town(rabbit_world: World, coordinator_database: Engine) -> Iterator[Town]:
    made = Town(coordinator_database, rabbit_world, rabbit_world.broker)
    yield made
    made.close()


def test_who_started_a_saga_hears_of_its_end_with_status_result_and_reason(town: Town) -> None:
    world = town.world
    town.run_coordinator()
    town.run(packing())
    world.start(shop())

    completed, compensated = town.start(7), town.start(-1)
    unasked = town.start(8, finished=False)

    eventually(lambda: count(world.engine, "completed") == 1 and count(world.engine, "compensated") == 1)
    assert count(world.engine, "result {'box': 7}", completed) == 1
    (reason,) = (one for one in _kinds(world.engine) if "nothing to pack" in one)
    assert count(world.engine, reason, compensated) == 1
    eventually(lambda: town.told() == 0, what="the receipts")
    assert count(world.engine, "completed", unasked) == 0


def _kinds(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return [row.kind for row in connection.execute(text("SELECT kind FROM effects"))]


def test_a_rejected_start_is_told_of_too(town: Town) -> None:
    world, teller = town.world, Participant("shop")

    @teller.finished()
    def any_end(end: FinishedSaga, ctx: FinishedCtx) -> None:
        record(ctx.connection, f"{end.name} {end.status}", end.saga)

    town.run_coordinator()
    world.start(teller)
    unknown = town.start(1, "never-heard-of")

    eventually(lambda: count(world.engine, "never-heard-of rejected", unknown) == 1)
    eventually(lambda: town.told() == 0, what="the receipts")
    eventually(lambda: world.waiting() == [], what="the start's receipt")


def test_copies_of_the_news_have_one_effect_and_are_receipted_each(town: Town) -> None:
    """The barrier row is the guard; a receipt may be lost, and is asked for again."""
    world = town.world
    town.run_coordinator()
    town.run(packing())
    saga = town.start(3, finished="spy")
    queue = finished_queue(world.prefix, "spy")
    spy = world.broker.consumer([queue], prefetch=1)
    (news,) = received(spy, 1)
    spy.close()
    receipts = world.broker.consumer([f"{world.prefix}.test.receipts"], prefetch=9)
    receipts.receive(0)
    world.start(shop())
    for row in (1, 2, 3):
        copy = Message(
            routing_key=finished_queue(world.prefix, "shop"),
            type=wire.FINISHED,
            body=news.body,
            message_id=news.message_id,
            headers={wire.HEADER_ROW: str(row), wire.HEADER_RECEIPT_TO: f"{world.prefix}.test.receipts"},
        )
        world.publish(copy)

    answers = [wire.decode(one.type, one.body) for one in received(receipts, 3)]
    receipts.close()
    assert {(one.row, one.message_id) for one in answers if isinstance(one, wire.Receipt)} == {
        (row, news.message_id) for row in (1, 2, 3)
    }
    assert count(world.engine, "completed", saga) == 1


def test_a_handler_that_fails_hears_again_and_the_coordinator_need_not_keep_it(town: Town) -> None:
    world, teller = town.world, Participant("shop")

    @teller.finished("pack")
    def packed(end: Boxed, ctx: FinishedCtx) -> None:
        if ctx.attempt == 1:
            raise ConnectionError("not now")
        record(ctx.connection, f"{end.status} {end.result}", end.saga)

    town.run_coordinator()
    town.run(packing())
    world.start(teller)
    saga = town.start(5)

    eventually(lambda: world.counted("packed", "retried") == 1)
    eventually(lambda: town.told() == 0, what="the receipt of what was put off")
    eventually(lambda: count(world.engine, "completed {'box': 5}", saga) == 1)


def test_a_result_too_large_for_the_news_is_left_out_and_said_to_be(town: Town) -> None:
    world, teller = town.world, Participant("shop")

    @teller.finished("twice")
    def packed(end: FinishedSaga, ctx: FinishedCtx) -> None:
        record(ctx.connection, f"{end.status} {end.result} {end.resultmissing}"[:40], end.saga)

    town.run_coordinator(body_bytes_max=30_000)
    town.run(packing())
    world.start(teller)
    saga = town.start(16_000, twice)

    eventually(lambda: _kinds(world.engine) and town.told() == 0)
    assert _kinds(world.engine) == ["completed None the result makes 32,238 b"]
    assert saga


def test_the_news_waits_for_a_service_that_is_down_and_for_a_broker_that_lost_everything(
    private_rabbit: PrivateRabbit, participant_database: Engine, coordinator_database: Engine
) -> None:
    """Invariant 16: the coordinator keeps it until the receipt, and sends it again (O1)."""
    metadata.create_all(participant_database)
    broker = open_broker(private_rabbit.url)
    world = World(participant_database, broker, "wiped")
    town = Town(coordinator_database, world, broker)
    try:
        town.run_coordinator()
        town.run(packing())
        saga = town.start(2)
        relay = Participant("shop").worker(
            database=world.engine, broker=broker, prefix="wiped", service="shop"
        )
        relay.start()
        eventually(lambda: town.told() == 1, what="the saga to end")
        eventually(
            lambda: (
                (state := broker.look(["wiped.shop.finished"], timeout_s=5)["wiped.shop.finished"])
                and state.ready == 1
            ),
            what="the news to wait in the queue that the coordinator declared",
        )
        relay.stop()
        private_rabbit.wipe()
        assert town.told() == 1

        world.start(shop())

        eventually(lambda: count(world.engine, "completed", saga) == 1, what="the news")
        eventually(lambda: town.told() == 0, what="the receipt")
        assert count(world.engine, "completed") == 1
    finally:
        world.close()
        town.close()
        broker.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda body: b"nonsense", "no amends.finished"),
        (lambda body: body.replace(b"completed", b"exploded"), "no amends.finished"),
        (lambda body: body.replace(b'"saga":"', b'"saga":"x'), "are UUIDs"),
    ],
)
def test_news_that_cannot_be_read_are_dead_lettered(
    rabbit_world: World, change: Callable[[bytes], bytes], why: str
) -> None:
    world = rabbit_world
    told = wire.Finished(
        id="9bd92e5d-3d35-5127-808d-6ab24f5d13b0",
        saga="5e5a08e7-a31d-5c74-b52f-73c7dd5d0a48",
        name="pack",
        version=1,
        status="completed",
        started_at=1,
        ended_at=2,
    )
    world.start(shop())
    queue = finished_queue(world.prefix, "shop")
    world.publish(Message(routing_key=queue, type=wire.FINISHED, body=change(wire.encode(told))))

    (letter,) = world.dead_letters(1)
    assert why in reason_of(letter)


def test_a_start_says_who_is_told_only_if_somebody_listens() -> None:
    listening, deaf = Participant("shop"), Participant("deaf")
    listening.finished("pack", name="end")(lambda ctx: None)

    def told(client: Client, saga: str, finished: bool | str | None = None) -> str | None:
        return client._told(saga, finished)

    assert told(Client("front"), "pack") is None
    assert told(Client("front"), "pack", finished=True) == "front"
    assert told(Client("front"), "pack", finished="back") == "back"
    assert told(Client("front", participant=listening), "pack") == "shop"
    assert told(Client("front", participant=listening), "pack", finished=False) is None
    assert told(Client("front", participant=listening), "other") is None
    assert told(Client("front", participant=deaf), "pack") is None


def test_what_cannot_be_told_is_refused_at_once(participant_database: Engine) -> None:
    teller = Participant("shop")
    teller.finished("pack", name="one")(lambda ctx: None)
    with pytest.raises(InvalidHandler, match="hears of the end of pack already"):
        teller.finished("pack", name="two")(lambda ctx: None)
    with pytest.raises(InvalidHandler, match="attempts must be at least 1"):
        teller.finished("other", name="two", attempts=0)(lambda ctx: None)
    with transaction(participant_database) as connection, pytest.raises(InvalidInput, match="no participant"):
        Client("shop").start(connection, "pack", {}, finished="a.b")


def test_a_start_that_names_no_possible_participant_is_rejected(town: Town) -> None:
    """A foreign start may say anything: it becomes no queue's name."""
    world = town.world
    town.run_coordinator()
    start = wire.Start(
        saga="5e5a08e7-a31d-4c74-b52f-73c7dd5d0a48",
        name="pack",
        input=msgspec.Raw(b'{"n": 1}'),
        sent_at=0,
        finished="a.b/c",
    )
    world.publish(
        Message(routing_key=coordinator_queue(world.prefix), type=wire.START, body=wire.encode(start))
    )

    def status() -> str | None:
        with transaction(town.engine) as connection:
            found: str | None = connection.execute(
                text("SELECT status || ': ' || error FROM amends.saga")
            ).scalar()
            return found

    eventually(lambda: status() == "rejected: finished: no participant can have this name")
    assert town.told() == 0

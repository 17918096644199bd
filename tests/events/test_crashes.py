"""`kill -9` around each durable step of an event, and the broker wiped: one effect, and nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine

from amends.db.guarded import Guarded
from amends.demo.config import child_environment
from amends.outbox.broker import open_broker
from amends.participants import EventCtx, Participant
from tests.events.world import World
from tests.participants.shop import count, metadata, record
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.rabbit import PrivateRabbit, RabbitServer

ROOT = Path(__file__).parents[2]
POINTS = (
    "participant.received",
    "participant.barrier.after",
    "participant.handler.after",
    "participant.commit.before",
    "participant.commit.after",
    "relay.publish.after",
    "participant.ack.before",
    "participant.ack.after",
)


def program(world: World, rabbit: RabbitServer, log: Path, **environment: str) -> Guarded:
    """`amends participant` in a process of its own, started."""
    process = Guarded(
        [sys.executable, "-m", "amends.db.cli", "participant", "tests.events.programs:listener"],
        directory=ROOT,
        log=log,
        env=child_environment(
            AMENDS_DATABASE_URL=world.engine.url.render_as_string(hide_password=False),
            AMENDS_BROKER_URL=rabbit.url,
            AMENDS_PREFIX=world.prefix,
            AMENDS_LOG_FORMAT="json",
            **environment,
        ),
    )
    process.start()
    return process


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_any_point_has_every_effect_once(
    rabbit_world: World, rabbit: RabbitServer, tmp_path: Path, point: str
) -> None:
    """The barrier row in the handler's transaction is the guard, and the acknowledgement after the commit."""
    from tests.events.programs import listener

    world = rabbit_world
    world.start(listener).stop()
    ids = [world.emit("user.created", number) for number in range(3)]
    dies = program(world, rabbit, tmp_path / "dies.log", AMENDS_CRASH_AT=point)
    eventually(lambda: not dies.alive(), what=f"the worker to die at {point}")
    dies.close()

    world.start(listener)

    eventually(lambda: count(world.engine, "end") == 3, what="every effect")
    eventually(lambda: world.waiting() == [], what="the outbox to drain")
    assert [count(world.engine, "note", one) for one in ids] == [1, 1, 1]
    assert [count(world.engine, "end", one) for one in ids] == [1, 1, 1]


def test_a_broker_that_loses_all_its_queues_loses_no_event_that_was_put_off(
    private_rabbit: PrivateRabbit, participant_database: Engine
) -> None:
    """It waits in the outbox, where the handler's failure put it; queue and binding are declared anew."""
    metadata.create_all(participant_database)
    broker = open_broker(private_rabbit.url)
    world, shop = World(participant_database, broker, "wiped"), Participant("shop")
    up = {"mail server": False}

    @shop.on("user.created", attempts=100)
    def greet(data: Any, ctx: EventCtx) -> None:
        if not up["mail server"]:
            raise ConnectionError("the mail server is down")
        record(ctx.connection, "greet", ctx.id)

    try:
        world.start(shop)
        told = world.emit("user.created")
        eventually(lambda: world.counted("greet", "retried") >= 1)
        private_rabbit.wipe()
        up["mail server"] = True

        eventually(lambda: count(world.engine, "greet", told) == 1)
        later = world.emit("user.created")
        eventually(lambda: count(world.engine, "greet", later) == 1)
    finally:
        world.close()
        broker.close()

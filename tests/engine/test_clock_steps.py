"""The database's clock is put forward and back while sagas run, as after a failover to a server that is behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, retry, step, wait
from amends.outbox import wire
from amends.outbox.broker import open_broker
from tests.engine.clocks import SteppedClock, stepped_clock
from tests.engine.world import World
from tests.waiting import DEADLINE_S, eventually

HOUR_S = 3_600
PAY = Saga(
    "pay",
    chain(
        step(
            "charge", to="payments", undo="refund", timeout="1m", retry=retry(first="100ms", longest="100ms")
        ),
        wait("approved"),
        step("notify", to="payments", undo=None),
    ),
    version=1,
    deadline="24h",
)


@pytest.fixture
def clock(coordinator_database: Engine) -> Iterator[SteppedClock]:
    """A clock that can be set."""
    with stepped_clock(coordinator_database) as stepped:
        yield stepped


@pytest.fixture
def world(clock: SteppedClock) -> Iterator[World]:
    """A coordinator that lives by that clock."""
    name = f"t{uuid4().hex[:8]}"
    running = World(clock.database, open_broker(f"memory://{name}"), name).start()
    yield running
    running.close()


def moments(world: World, saga: str) -> list[int]:
    """When each event of a saga happened, as its log has it."""
    with world.database.connect() as connection:
        sql = "SELECT at_ms FROM amends.saga_log WHERE saga_id = %s ORDER BY seq"
        return list(connection.exec_driver_sql(sql, (saga,)).scalars())


def test_no_step_of_the_clock_undoes_anything_or_runs_backwards_in_a_log(
    world: World, clock: SteppedClock
) -> None:
    """Time is the database's, and never before the saga's last event; answers are taken from any attempt (M1).

    Guard: `max(now, saga.clock)` in machine.advance.
    """
    payments = world.participant("payments", lambda command: None)
    world.register(PAY)

    def first(saga: str, path: str) -> wire.Command | None:
        return next((one for one in payments.commands("do", path) if one.saga == saga), None)

    # Ahead when they begin, and when their first commands have been silent for too long.
    clock.step(2 * HOUR_S)
    sagas = [world.start_saga("pay", {}).saga_id for _ in range(5)]
    clock.step(3 * HOUR_S)
    eventually(lambda: len(payments.commands("do", "charge")) >= 10, what="each to be asked again")
    # Back, further than they began: replies and a signal come before anything in their logs.
    clock.step(0)
    for saga in sagas:
        payments.answer(eventually(partial(first, saga, "charge")))
        world.coordinator.submit_signal(saga, "approved", b"1", message_id="m").result(DEADLINE_S)
        payments.answer(eventually(partial(first, saga, "notify")))

    for saga in sagas:
        world.wait_for(saga, "completed")
        at = moments(world, saga)
        assert at == sorted(at)
        assert world.replayed(saga) == world.state(saga)
    assert payments.commands("undo") == []


def test_a_clock_ahead_by_more_than_a_deadline_turns_back_once_and_for_all(
    world: World, clock: SteppedClock
) -> None:
    """Whoever reads it cannot know better; what is decided stands when the clock is put back."""
    payments = world.participant("payments", lambda command: None)
    world.register(PAY)
    saga = world.start_saga("pay", {}).saga_id
    payments.wait_for("do", "charge")

    clock.step(25 * HOUR_S)
    undo = payments.wait_for("undo", "charge")
    clock.step(0)
    payments.answer(payments.commands("do", "charge")[0])
    payments.answer(undo)

    world.wait_for(saga, "compensated")
    at = moments(world, saga)
    assert at == sorted(at)
    assert world.replayed(saga) == world.state(saga)

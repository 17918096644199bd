"""Somebody else's lock on one saga's row is not the other sagas' trouble."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, text

from amends.coordinator import Saga, step
from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from tests.engine.world import World
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund", timeout="5m"), version=1)


def test_a_saga_that_somebody_locks_waits_alone(
    coordinator_database: Engine, prefix: str, make_world: Callable[..., World]
) -> None:
    """E2: its event is handed back and comes again. Guard: `_hand_back` in deciding._carry.

    Without it the decider waits for this one row for ever, and the other saga never completes.
    """
    impatient = open_engine(coordinator_database.url, lock_timeout_s=0.2)
    world = World(impatient, open_broker(f"memory://{prefix}"), prefix).start()
    try:
        world.register(PAY)
        payments = world.participant("payments", lambda command: None)
        locked, free = (world.start_saga("pay", {}).saga_id for _ in range(2))
        eventually(lambda: len(payments.received) == 2)
        commands = {command.saga: command for command in payments.received}

        with coordinator_database.begin() as operator:
            operator.execute(text("SELECT 1 FROM amends.saga WHERE id = :id FOR UPDATE"), {"id": locked})
            payments.answer(commands[locked])
            payments.answer(commands[free])
            world.wait_for(free, "completed")

        world.wait_for(locked, "completed")
    finally:
        world.close()
        impatient.dispose()

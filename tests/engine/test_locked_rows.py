"""Somebody else's lock on one saga's row, or what takes the database too long, is not the other sagas' trouble."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, text

from amends.coordinator import Saga, step
from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from tests.engine.scripted import reply
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


OVERSLEEP = """
    CREATE FUNCTION amends.oversleep() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(10); RETURN new; END $$;
    CREATE TRIGGER oversleep BEFORE INSERT ON amends.saga_log FOR EACH ROW
        WHEN (new.event->>'event' = 'Replied') EXECUTE FUNCTION amends.oversleep();
"""


def test_an_event_that_takes_too_long_by_itself_is_put_aside(
    coordinator_database: Engine, prefix: str
) -> None:
    """E2: the next time it takes as long. Guard: 57014 is not in transient._TRANSIENT.

    With it the event is handed back, and comes again, for ever.
    """
    impatient = open_engine(coordinator_database.url, statement_timeout_s=0.5)
    world = World(impatient, open_broker(f"memory://{prefix}"), prefix).start()
    try:
        world.register(PAY)
        payments = world.participant("payments", lambda command: None)
        slow = world.start_saga("pay", {}).saga_id
        (command,) = eventually(lambda: payments.commands("do"))
        with coordinator_database.begin() as operator:
            operator.execute(text(OVERSLEEP))

        payments.send(reply(command, "payments"))

        world.wait_for(slow, "stuck", 20.0)
        assert "statement timeout" in world.value("SELECT error FROM amends.quarantine")
        assert world.replayed(slow) == world.state(slow)
    finally:
        world.close()
        impatient.dispose()

"""A saga in a newer format is left to newer coordinators (E3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest
from sqlalchemy import text

from amends.coordinator import Saga, step
from amends.coordinator.saga.events import Compensate
from amends.coordinator.saga.state import FORMAT
from amends.outbox import wire
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund", timeout="300ms"), version=1)


def rewrite(world: World, saga_id: str, format_: int, head: str) -> str:
    """Store the saga as another release would; gives the head that stood."""
    with world.database.begin() as connection:
        stood = connection.execute(
            text("SELECT head::text FROM amends.saga WHERE id = :id FOR UPDATE"), {"id": saga_id}
        ).scalar_one()
        connection.execute(
            text("UPDATE amends.saga SET format = :format, head = CAST(:head AS json) WHERE id = :id"),
            {"id": saga_id, "format": format_, "head": head},
        )
    return str(stood)


def test_a_saga_in_a_newer_format_is_neither_read_nor_moved_nor_stripped_of_its_timers(
    make_world: Callable[..., World],
) -> None:
    """Guard: `_newer` in batch.py. Its timer is what would bring it to life again."""
    world = make_world(timer_lease_s=0.2, breaker_failures=50).start()
    world.register(PAY)
    commands: list[wire.Command] = []
    payments = world.participant("payments", lambda command: commands.append(command))
    saga_id = world.start_saga("pay", {}).saga_id
    eventually(lambda: bool(commands))
    head = rewrite(world, saga_id, FORMAT + 1, '{"unheard": "of"}')
    before = world.value("SELECT seq FROM amends.saga WHERE id = :id", id=saga_id)
    claimed = "SELECT token::text FROM amends.timer WHERE saga_id = :id AND path = 'charge'"
    first = eventually(lambda: world.value(claimed, id=saga_id), what="its timer to be claimed")

    payments.answer(commands[0])
    eventually(lambda: world.value(claimed, id=saga_id) not in (None, first), what="the next claim")
    with pytest.raises(CancelledError, match="newer"):
        world.act(saga_id, Compensate(actor="ann", reason="test"))

    assert world.value("SELECT seq FROM amends.saga WHERE id = :id", id=saga_id) == before
    assert world.status(saga_id) == "running"
    assert world.value("SELECT count(*) FROM amends.quarantine") == 0

    rewrite(world, saga_id, FORMAT, head)
    payments.send(reply(commands[0], "payments"))
    world.wait_for(saga_id, "completed")

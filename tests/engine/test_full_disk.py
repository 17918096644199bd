"""PostgreSQL has no room for what a batch writes: it is waited for, as for one that is away (E5).

The disk is not really full: a trigger raises what PostgreSQL does then, with its own code.
"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from amends.coordinator import Saga, chain, step
from amends.db.errors import StoreUnavailable
from tests.engine.world import World, start
from tests.waiting import DEADLINE_S, eventually

PAY = Saga(
    "pay",
    chain(step("charge", to="payments", undo="refund"), step("notify", to="payments", undo=None)),
    version=1,
)
DISK = """
    CREATE TABLE public.disk (is_full bool); INSERT INTO public.disk VALUES (false);
    CREATE FUNCTION public.extend() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT is_full FROM public.disk) THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER extend AFTER INSERT ON amends.saga_log DEFERRABLE INITIALLY {when}
        FOR EACH ROW EXECUTE FUNCTION public.extend();
"""


def fill(world: World, *, full: bool) -> None:
    """From now on there is no room, or room again."""
    with world.database.begin() as connection:
        connection.execute(text("UPDATE public.disk SET is_full = :full"), {"full": full})


@pytest.mark.parametrize("when", ["immediate", "deferred"], ids=["at-a-statement", "at-the-commit"])
def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    world: World, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """E5, E2: no event is at fault. Guard: "53" in _AWAY in engines.py, without which all of them are quarantined."""
    payments = world.participant("payments", lambda command: None)
    world.register(PAY)
    with world.database.begin() as connection:
        connection.execute(text(DISK.format(when=when)))
    sagas = [world.start_saga("pay", {}).saga_id for _ in range(5)]
    asked = [payments.wait_for("do", "charge", number) for number in range(1, 6)]

    fill(world, full=True)
    payments.script = None
    for command in asked:
        payments.answer(command)
    told = "database_away" if when == "immediate" else "commit_unknown"
    eventually(lambda: told in caplog.messages, what="the coordinator to say so")
    with pytest.raises(StoreUnavailable):
        world.coordinator.submit_start(start("pay", {}), actor="test").result(DEADLINE_S)
    assert payments.commands("do", "notify") == []
    fill(world, full=False)

    for saga in sagas:
        world.wait_for(saga, "completed")
        assert world.replayed(saga) == world.state(saga)
    world.wait_for(world.start_saga("pay", {}).saga_id, "completed")
    assert "event_quarantined" not in caplog.messages
    assert len({command.saga for command in payments.commands("do", "notify")} & set(sagas)) == len(sagas)

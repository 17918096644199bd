"""What is committed is decided: whatever fails afterwards, no event is processed again (E1, E2)."""

from __future__ import annotations

from sqlalchemy import Engine

from amends.coordinator import Saga, step
from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.observer import NullObserver
from amends.coordinator.saga.events import Edit
from amends.outbox.broker import open_broker
from tests.engine.world import BRISK, World
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund", timeout="5m"), version=1)


class Faulty(NullObserver):
    """An observer that fails, as often as it is told to."""

    def __init__(self) -> None:
        self.failures = 0

    def batch_done(self, size: int, seconds: float) -> None:
        """Fail, if it is to."""
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a fault of the observer")


def test_an_act_is_done_once_though_its_observer_fails(coordinator_database: Engine, prefix: str) -> None:
    """A1. Guard: `except Exception` in deciding._attempt. Without it the Edit is applied, and audited, twice."""
    observer, broker = Faulty(), open_broker(f"memory://{prefix}")
    world = World(coordinator_database, broker, prefix)
    world.coordinator = Coordinator(
        coordinator_database, broker, prefix=prefix, settings=EngineSettings(**BRISK), observer=observer
    )
    world.start()
    try:
        payments = world.participant("payments", lambda command: None)
        world.register(PAY)
        saga = world.start_saga("pay", {}).saga_id
        eventually(lambda: payments.commands("do"))

        observer.failures = 1
        answer = world.act(saga, Edit(path="charge", args={"amount": 2}, actor="ann", reason="a typo"))
        world.start_saga("pay", {})

        assert answer.verdict.value == "applied"
        assert world.state(saga).steps["charge"].round == 2
        assert world.value("SELECT count(*) FROM amends.audit WHERE act = 'edit'") == 1
    finally:
        world.close()

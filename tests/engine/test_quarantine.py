"""What fails alone three times is put aside; whoever waits for it is told all the same (E2, invariants 1, 12, 15).

Faults of our own are made by hand: the engine raises for one saga.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, step
from amends.coordinator.engine.births import Births
from amends.coordinator.engine.kin import Kin
from amends.coordinator.engine.lives import Advancing
from amends.coordinator.engine.starts import Starts
from amends.coordinator.saga.events import Compensate
from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from tests.engine.receipts import Receipts
from tests.engine.scripted import reply
from tests.engine.test_children import BUY, PACK, child_of
from tests.engine.world import World, start
from tests.servers.proxy import COMMIT, Proxy, proxy_to
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund", timeout="5m"), version=1)
PUT_ASIDE = "SELECT count(*) FROM amends.quarantine"
REASON = "SELECT stuck_steps->0->>'reason' FROM amends.saga WHERE id = :id"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a method of the engine raise, so many times, where `which` is true of its arguments."""

    def fail(
        owner: type, method: str, which: Callable[..., bool] = lambda *_: True, times: float = float("inf")
    ) -> None:
        whole = getattr(owner, method)
        left = [times]

        def raising(self: Any, *arguments: Any) -> Any:
            if left[0] > 0 and which(*arguments):
                left[0] -= 1
                raise RuntimeError("a fault of our own")
            return whole(self, *arguments)

        monkeypatch.setattr(owner, method, raising)

    return fail


def test_a_start_that_is_put_aside_is_rejected_and_its_sender_told(
    world: World, failing: Callable[..., None]
) -> None:
    """Guard: `broken` of StartItem in births._embryo. Without it the receipt deletes all that there was of it."""
    world.participant("payments")
    world.register(PAY)
    failing(Starts, "examine", lambda _, item, __: item.start.key == "cursed")
    receipts, body = Receipts(world), start("pay", {"of": 1}, key="cursed")

    world.send_start(body, row=7, receipts=receipts.queue)

    world.wait_for(body.saga, "rejected")
    assert [(one.row, one.note) for one in receipts.wait(1)] == [(7, "quarantined")]
    told = world.value("SELECT error FROM amends.saga WHERE id = :id", id=body.saga)
    assert told == "internal error: RuntimeError: a fault of our own"
    assert world.value(PUT_ASIDE) == 1
    world.wait_for(world.start_saga("pay", {}).saga_id, "completed")


def test_a_call_that_is_put_aside_turns_its_parent_back(world: World, failing: Callable[..., None]) -> None:
    """K4. Guard: the same. Without it the parent waits for ever: nothing watches a call but its child."""
    world.participant("store")
    world.register(PACK)
    world.register(BUY)
    failing(Starts, "examine", lambda _, item, __: item.start.name == "pack")

    parent = world.start_saga("buy").saga_id

    world.wait_for(parent, "compensated")
    assert "internal error" in world.state(parent).cause
    assert world.status(child_of(world, parent)) == "rejected"


def test_a_call_that_cannot_even_be_rejected_by_the_machine_makes_its_parent_stuck(
    world: World, failing: Callable[..., None]
) -> None:
    """Guards: INSERT_SAGAS and the parent of a start in quarantine._by_force."""
    world.register(PACK)
    world.register(BUY)
    failing(Births, "_begin", lambda embryo: embryo.saga.name == "pack")

    parent = world.start_saga("buy").saga_id

    world.wait_for(parent, "stuck")
    assert "internal error" in world.value(REASON, id=parent)
    assert world.status(child_of(world, parent)) == "rejected"


def test_an_order_that_is_put_aside_before_its_child_began_makes_the_parent_stuck(
    world: World, failing: Callable[..., None]
) -> None:
    """K3, K5. Guard: `parent` of BrokenItem. Without it the parent waits for an answer to what nobody has heard."""
    world.register(BUY)
    parent = world.start_saga("buy").saga_id  # Its child's definition is not there yet.
    failing(Kin, "told")

    world.act(parent, Compensate(actor="ann", reason="enough"))

    world.wait_for(parent, "stuck")
    assert "internal error" in world.value(REASON, id=parent)


def test_a_child_that_is_stuck_by_force_says_so_to_its_parent(
    world: World, failing: Callable[..., None]
) -> None:
    """K4. Guard: RETURNING in STICK_SAGA. Without it only the child's row says that somebody is needed."""
    store = world.participant("store", lambda command: None)
    world.register(PACK)
    world.register(BUY)
    parent = world.start_saga("buy").saga_id
    (command,) = eventually(lambda: store.commands("do"))
    failing(Advancing, "apply", lambda live, _: live.now.id == command.saga)

    store.send(reply(command, "store"))

    world.wait_for(command.saga, "stuck")
    world.wait_for(parent, "stuck")
    assert "internal error" in world.value(REASON, id=parent)


@pytest.fixture
def cut_world(coordinator_database: Engine, prefix: str) -> Iterator[tuple[World, Proxy]]:
    """A coordinator that reaches its database by a proxy; what the gate knows is its own memory only."""
    with proxy_to(coordinator_database.url.render_as_string(hide_password=False)) as (proxy, url):
        engine = open_engine(url)
        broker = open_broker(f"memory://{prefix}")
        proxied = World(engine, broker, prefix, refresh_s=600.0, retry_first_s=0.01, window=1).start()
        proxied.database = coordinator_database  # The test itself looks straight at it.
        try:
            yield proxied, proxy
        finally:
            proxied.close()
            engine.dispose()


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did-not"])
def test_putting_aside_with_a_commit_of_unknown_outcome_is_not_done_twice(
    cut_world: tuple[World, Proxy], failing: Callable[..., None], happened: bool
) -> None:
    """O3. Guard: `raise` for StoreUnavailable in quarantine: without it a second transaction follows the first."""
    world, proxy = cut_world
    payments = world.participant("payments", lambda command: None)
    world.register(PAY)
    saga = world.start_saga("pay", {}).saga_id
    (command,) = eventually(lambda: payments.commands("do"))
    failing(Advancing, "apply", lambda _, event: type(event).__name__ == "Replied", times=3)
    proxy.cut(COMMIT, after=b"amends.quarantine", forward=happened)

    payments.send(reply(command, "payments"))

    # It comes again, and is healthy by then: a stuck saga records it, and has no step that it would settle.
    world.wait_for(saga, "stuck" if happened else "completed")
    eventually(world.drained)
    assert world.value(PUT_ASIDE) == int(happened)
    assert world.replayed(saga) == world.state(saga)


def test_a_transaction_that_fails_before_it_decides_takes_nothing_back(
    cut_world: tuple[World, Proxy],
) -> None:
    """E4: the window stays full. Guard: `_committed` in deciding. Without it the batch before is taken back again."""
    world, proxy = cut_world
    payments = world.participant("payments", lambda command: None)
    world.register(PAY)
    world.start_saga("pay", {})
    eventually(lambda: payments.commands("do"))
    parked = start("pay", {})

    proxy.cut(b"clock_timestamp", forward=False)  # The first that a batch asks.
    world.send_start(parked)
    world.wait_for(parked.saga, "running")

    assert [step.phase.value for step in world.state(parked.saga).steps.values()] == ["parked"]

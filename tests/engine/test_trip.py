"""One saga's trip through the engine: forwards, backwards, and what its rows say afterwards."""

from __future__ import annotations

from amends.coordinator import Saga, arg, chain, group, pivot, result, retry, step
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually

ORDER = Saga(
    "place-order",
    chain(
        step("reserve", to="inventory", undo="release", args={"sku": arg.sku}),
        group(
            step(
                "charge", to="payments", undo="refund", args={"amount": arg.amount}, retry=retry(first="50ms")
            ),
            step("score", to="fraud", reads=True),
        ),
        pivot(step("dispatch", to="shipping", args={"stock": result("reserve")})),
        step("confirm", to="mail"),
    ),
    version=1,
)
INPUT = {"sku": "tea", "amount": 300}


def everybody(world: World) -> None:
    for name in ("inventory", "payments", "fraud", "shipping", "mail"):
        world.participant(name)


def test_a_saga_completes_in_dependency_order(world: World) -> None:
    everybody(world)
    world.participants["inventory"].script = lambda command: reply(command, "inventory", result={"shelf": 7})
    world.register(ORDER)

    answer = world.start_saga("place-order", INPUT)

    world.wait_for(answer.saga_id, "completed")
    dispatch = world.participants["shipping"].commands("do", "dispatch")[0]
    assert bytes(dispatch.args) == b'{"stock":{"shelf":7}}'
    assert world.participants["payments"].commands("undo") == []
    eventually(world.drained, what="the outbox to drain")
    assert world.value("SELECT count(*) FROM amends.timer") == 0


def test_a_refused_step_undoes_what_ran_in_reverse_order(world: World) -> None:
    everybody(world)
    world.participants["payments"].script = lambda command: reply(
        command, "payments", "refused", reason="card declined"
    )
    world.register(ORDER)

    answer = world.start_saga("place-order", INPUT)

    world.wait_for(answer.saga_id, "compensated")
    assert [one.command for one in world.participants["inventory"].received] == ["reserve", "release"]
    assert world.participants["payments"].commands("undo") == []
    assert "card declined" in world.value("SELECT error FROM amends.saga WHERE id = :id", id=answer.saga_id)


def test_replaying_the_log_gives_the_stored_state(world: World) -> None:
    everybody(world)
    world.participants["payments"].script = lambda command: (
        reply(command, "payments", "failed", reason="busy", retry_after_s=0.01)
        if command.attempt < 3
        else reply(command, "payments", "refused", reason="no")
    )
    world.register(ORDER)
    answer = world.start_saga("place-order", INPUT)
    world.wait_for(answer.saga_id, "compensated")

    assert world.replayed(answer.saga_id) == world.state(answer.saga_id)


def test_the_same_key_with_the_same_input_is_the_same_saga(world: World) -> None:
    everybody(world)
    world.register(ORDER)

    first = world.start_saga("place-order", INPUT, key="order-1")
    again = world.start_saga("place-order", INPUT, key="order-1")
    other = world.start_saga("place-order", {**INPUT, "amount": 1}, key="order-1")

    assert (first.verdict, again.verdict, other.verdict) == ("accepted", "duplicate", "conflict")
    assert "order-1" in other.reason
    assert world.value("SELECT count(*) FROM amends.saga") == 1

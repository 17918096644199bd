"""What is too large for a message never leaves, and its saga hears of it in the same transaction (O5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amends.coordinator import Saga, arg, call, chain, group, pivot, result, step
from tests.engine.scripted import reply
from tests.engine.test_children import child_of
from tests.engine.world import World
from tests.waiting import eventually

LIMIT = 5_000
BULK = {"bulk": "x" * LIMIT}
CHILDREN = "SELECT count(*) FROM amends.saga WHERE name = 'inner'"
EVENTS = "SELECT string_agg(event->>'event', ' ' ORDER BY seq) FROM amends.saga_log WHERE saga_id = :id"
INNER = Saga("inner", step("box", to="store", undo="unbox", args={}), version=1, result=result("box"))


@pytest.fixture
def narrow(make_world: Callable[..., World]) -> World:
    """A coordinator with little room in its messages."""
    world = make_world(body_bytes_max=LIMIT).start()
    for name in ("store", "bank"):
        world.participant(name)
    world.register(INNER)
    return world


def bulky(world: World) -> None:
    """Let the child's one step answer with more than a report can hold, when its report adds to it."""
    world.participants["store"].script = lambda command: reply(command, "store", result="x" * (LIMIT - 400))
    world.register(
        Saga(
            "inner",
            step("box", to="store", undo="unbox", args={}),
            version=2,
            result=[result("box"), result("box")],
        )
    )


def test_a_command_that_is_too_large_takes_back_its_siblings_before_they_are_sent(narrow: World) -> None:
    """C1: no `do` follows its `undo`. Guard: `_stands` in lives.apply."""
    both = group(
        step("pay", to="bank", undo="refund", args=arg), step("box", to="store", undo="unbox", args={})
    )
    narrow.register(Saga("outer", both, version=1))

    saga = narrow.start_saga("outer", BULK).saga_id
    narrow.wait_for(saga, "compensated")

    assert [one.op.value for one in narrow.participants["store"].received] == ["undo"]
    assert narrow.participants["bank"].received == []
    assert narrow.replayed(saga) == narrow.state(saga)


def test_a_call_that_is_too_large_turns_its_parent_back(narrow: World) -> None:
    """Before the pivot. Guard: `Unsendable` in lives._call."""
    outer = chain(step("pay", to="bank", undo="refund", args={}), call("inner", arg, name="packing"))
    narrow.register(Saga("outer", outer, version=1))

    parent = narrow.start_saga("outer", BULK).saga_id
    narrow.wait_for(parent, "compensated")

    assert [one.command for one in narrow.participants["bank"].received] == ["pay", "refund"]
    assert narrow.value(CHILDREN) == 0
    assert "the call has" in narrow.value("SELECT error FROM amends.saga WHERE id = :id", id=parent)
    assert "Unsendable" in narrow.value(EVENTS, id=parent)
    assert narrow.replayed(parent) == narrow.state(parent)


def test_a_call_after_the_pivot_that_is_too_large_makes_its_parent_stuck(narrow: World) -> None:
    """Guard: the same."""
    outer = chain(pivot(step("pay", to="bank", args={})), call("inner", arg, name="packing"))
    narrow.register(Saga("outer", outer, version=1))

    parent = narrow.start_saga("outer", BULK).saga_id
    narrow.wait_for(parent, "stuck")

    reason = narrow.value("SELECT stuck_steps->0->>'reason' FROM amends.saga WHERE id = :id", id=parent)
    assert "refused after the point of no return: the call has" in reason
    assert "Unsendable" in narrow.value(EVENTS, id=parent)


def test_a_held_child_whose_result_is_too_large_compensates_with_its_parent(narrow: World) -> None:
    """Before the pivot nobody needs an operator. Guard: `_at_once` in lives._report."""
    outer = chain(step("pay", to="bank", undo="refund", args={}), call("inner", name="packing"))
    narrow.register(Saga("outer", outer, version=1))
    bulky(narrow)

    parent = narrow.start_saga("outer", {}).saga_id
    narrow.wait_for(parent, "compensated")

    child = child_of(narrow, parent)
    assert narrow.status(child) == "compensated"
    assert [one.command for one in narrow.participants["store"].received] == ["box", "unbox"]
    assert "its result has" in narrow.value("SELECT error FROM amends.saga WHERE id = :id", id=parent)
    assert narrow.replayed(child) == narrow.state(child)
    eventually(narrow.drained, what="every message to be receipted")


def test_a_child_after_the_pivot_whose_result_is_too_large_is_told_of_to_an_operator(narrow: World) -> None:
    """It is done, and stays so. Guard: `outcome="stuck"` in kin.report."""
    outer = chain(pivot(step("pay", to="bank", args={})), call("inner", name="packing"))
    narrow.register(Saga("outer", outer, version=1))
    bulky(narrow)

    parent = narrow.start_saga("outer", {}).saga_id
    narrow.wait_for(parent, "stuck")

    assert narrow.status(child_of(narrow, parent)) == "completed"
    reason = narrow.value("SELECT stuck_steps->0->>'reason' FROM amends.saga WHERE id = :id", id=parent)
    assert "it is done, but its result has" in reason

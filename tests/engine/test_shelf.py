"""The shelf: what a coordinator wrote last is not read again, unless somebody else has written since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from amends.coordinator import Saga, arg, chain, each, item, step
from amends.coordinator.engine import sql
from amends.coordinator.engine.rows import Birth
from amends.coordinator.engine.shelf import Shelf
from amends.coordinator.saga.events import Outcome, Replied, Started
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Op
from amends.coordinator.saga.state import Saga as State
from amends.outbox import wire
from tests.engine.scripted import Scripted, reply
from tests.engine.world import World
from tests.waiting import eventually

THREE = Saga("shelf-three", chain(*(step(name, to="desk", undo="u") for name in "abc")), version=1)
ITEMS = Saga(
    "shelf-items",
    chain(each(arg, chain(step("x", to="desk", undo="u", args=item), step("y", to="desk", undo="u")))),
    version=1,
)


@contextmanager
def statements(database: Engine) -> Iterator[Counter[str]]:
    """How often sagas were locked, their headers read, their steps read."""
    seen: Counter[str] = Counter()

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        seen["locks"] += statement == sql.LOCK_HEADS
        seen["headers"] += statement == sql.READ_SAGAS
        seen["steps"] += statement == sql.LOAD_SOME_STEPS

    event.listen(database, "after_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(database, "after_cursor_execute", look)


def test_a_saga_in_the_hands_of_one_coordinator_is_never_read(world: World) -> None:
    """Guard: `kept.is_of` in loading.lock, and `put` in deciding._after_commit."""
    world.participant("desk")
    world.register(THREE)

    with statements(world.database) as seen:
        for _ in range(5):
            world.wait_for(world.start_saga("shelf-three", {"text": "x" * 1_000}).saga_id, "completed")

    assert (seen["headers"], seen["steps"]) == (0, 0)
    assert seen["locks"] >= 15


@pytest.mark.parametrize(("saga", "given", "commands"), [(THREE, {}, 3), (ITEMS, [1, 2, 3], 6)])
def test_two_coordinators_may_take_turns_with_one_saga(
    make_world: Callable[..., World], saga: Saga, given: object, commands: int
) -> None:
    """E3. Guard: `seq` in Kept.is_of; without it the first takes the answer to what the other sent for a stray one.

    Each coordinator has a broker of its own, so that the test says who gets which reply.
    """
    one, other = make_world().start(), make_world().start()
    one.register(saga)
    desks = [world.participant("desk", lambda command: None) for world in (other, one)]
    saga_id = one.start_saga(saga.name, given).saga_id

    for turn in range(commands):
        command = eventually(lambda: unanswered(one, desks), what="the next command")
        desks[turn % 2].send(reply(command, "desk"))
        settled = (command.saga, command.path)
        eventually(lambda: settled in answered(one), 20, what=f"the reply to {command.path} to be decided")  # noqa: B023

    one.wait_for(saga_id, "completed")
    assert one.replayed(saga_id) == one.state(saga_id)


def unanswered(world: World, desks: list[Scripted]) -> wire.Command | None:
    """A command that no coordinator has an answer to."""
    done = answered(world)
    sent = [command for desk in desks for command in list(desk.received)]
    return next((one for one in sent if (one.saga, one.path) not in done), None)


def answered(world: World) -> set[tuple[str, str]]:
    """The steps that are settled."""
    with world.database.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT saga_id::text, path FROM amends.step WHERE phase = 'settled'"
        )
        return {(saga, path) for saga, path in rows}


def a_saga(number: int) -> State:
    return begin(THREE.definition, id=str(number), input={}, labels={}, now=1)


def test_the_shelf_keeps_to_its_size_and_lets_the_oldest_go() -> None:
    """Guard: `popitem` in Shelf.put."""
    birth = Birth(key=None, input_hash="", start_message="", input_bytes=1_000)
    shelf = Shelf(40_000)

    for number in range(20):
        shelf.put(THREE.definition, a_saga(number), birth)

    assert shelf.get("0") is None
    assert shelf.get("19") is not None
    assert 0 < len(shelf) < 20
    assert shelf.bytes <= 40_000
    shelf.drop(str(number) for number in range(20))
    assert (len(shelf), shelf.bytes) == (0, 0)


def test_what_is_too_large_is_not_kept() -> None:
    """Guard: the size in Shelf.put; without it one saga would push out all others."""
    shelf = Shelf(40_000)

    shelf.put(
        THREE.definition, a_saga(1), Birth(key=None, input_hash="", start_message="", input_bytes=9_000)
    )

    assert shelf.get("1") is None


def test_of_ten_thousand_items_only_those_under_way_are_kept() -> None:
    """Memory stays flat. Guard: `_is_likely` in Shelf.put."""
    saga, _ = advance(
        ITEMS.definition,
        begin(ITEMS.definition, id="1", input=list(range(10_000)), labels={}, now=1),
        Started(),
        1,
    )
    most = 0
    shelf = Shelf(64 * 1_048_576)
    for number in range(1_000):
        for name in ("x", "y"):
            done = Replied(path=f"{name}/{number}", op=Op.DO, round=1, attempt=1, outcome=Outcome.DONE)
            saga, _ = advance(ITEMS.definition, saga, done, 1)
        shelf.put(ITEMS.definition, saga, Birth(key=None, input_hash="", start_message=""))
        kept = shelf.get("1")
        assert kept is not None
        saga = kept.saga
        most = max(most, len(saga.steps))

    assert most <= 2 * 100
    assert saga.fans["1"].next == 1_100

"""An `each` of ten thousand items: neither what an event costs nor what is held in memory rises with their number."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, event

from amends.coordinator import Saga, arg, chain, each, item, result, step
from amends.coordinator.engine import sql
from amends.outbox import wire
from tests.engine.crowd import Crowd
from tests.engine.scripted import reply
from tests.engine.world import World

MANY = 10_000
REFUSED = 7_000

ALL = Saga(
    "many-items",
    chain(each(arg, step("pack", to="packers", undo="unpack", args=item), at_most=200)),
    version=1,
)


class Read:
    """How many steps the engine has read, and how often headers; what it holds at the begin of every batch.

    `blocks` are the objects that are alive, small ones, in the order of the batches; `heads` the characters that it
    wrote of the header.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.blocks: list[int] = []
        self.heads: list[int] = []
        self.headers = 0
        self.loads = 0

    def look(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        self.rows += cursor.rowcount if statement == sql.LOAD_SOME_STEPS else 0
        self.loads += statement == sql.LOAD_SOME_STEPS
        self.headers += statement == sql.READ_SAGAS
        if statement == sql.NOW_MS:
            self.blocks.append(sys.getallocatedblocks())
        elif statement == sql.UPDATE_SAGAS:
            self.heads.append(sum(map(len, parameters["head"])))

    def is_flat(self) -> None:
        """What is alive and what is written stay what they were after a fifth of the way."""
        for what, most_more in ((self.blocks, 5_000), (self.heads, 500)):
            fifth = len(what) // 5
            assert max(what[fifth:]) <= max(what[fifth // 2 : fifth]) + most_more, what


@contextmanager
def reading(database: Engine) -> Iterator[Read]:
    read = Read()
    event.listen(database, "after_cursor_execute", read.look)
    try:
        yield read
    finally:
        event.remove(database, "after_cursor_execute", read.look)


def events(world: World, saga: str) -> int:
    return int(world.value("SELECT count(*) FROM amends.saga_log WHERE saga_id = :id", id=saga))


RESULTS = Saga(
    "over-results",
    chain(
        each(arg, step("pack", to="packers", undo="unpack", args=item), at_most=20),
        each(result("pack"), step("label", to="packers", undo="peel", args=item), at_most=20),
    ),
    version=1,
)


@pytest.fixture
def packers(world: World) -> Iterator[Crowd]:
    world.register(ALL)
    crowd = Crowd(world.broker, world.prefix, "packers")
    yield crowd
    crowd.stop()


@pytest.mark.timeout(300)
def test_ten_thousand_items_complete_without_their_steps_being_read(world: World, packers: Crowd) -> None:
    """Guards: `put` in deciding._after_commit; without the shelf each event reads its own step, and the input.

    `load = None` in Batch.decide; without it 39,000 objects more are alive: each batch is kept by what it keeps.
    `_is_likely` in Shelf.put; without it every step that is over stays at hand.
    """
    with reading(world.database) as read:
        saga = world.start_saga("many-items", list(range(MANY))).saga_id
        world.wait_for(saga, "completed", 250)

    assert packers.counts == {"do": MANY}
    assert packers.most <= 200
    assert events(world, saga) == MANY + 1
    assert (read.rows, read.headers) == (0, 0)
    read.is_flat()


def test_an_each_over_the_results_of_another_reads_each_result_once(world: World, packers: Crowd) -> None:
    """Guard: `_source` in surroundings; without it every batch reads all results."""
    world.register(RESULTS)
    boxes: list[str] = []

    def pack(command: wire.Command) -> wire.Reply:
        if command.command == "label":
            boxes.append(msgspec.json.decode(command.args))
        return reply(command, "packers", result=command.path)

    packers._answer = pack
    with reading(world.database) as read:
        saga = world.start_saga("over-results", list(range(600))).saga_id
        world.wait_for(saga, "completed", 60)

    assert sorted(boxes) == sorted(f"pack/{number}" for number in range(600))
    assert read.rows <= 3 * 600


@pytest.mark.timeout(300)
def test_a_refused_item_gives_back_all_that_ran(world: World, packers: Crowd) -> None:
    """Done when 5 of the language. Guard: `_ahead` in loading; without it every undo costs a statement of its own."""
    packers._answer = lambda command: (
        reply(command, "packers", "refused", reason="out of boxes")
        if (command.path, command.op) == (f"pack/{REFUSED}", wire.Op.DO)
        else reply(command, "packers")
    )
    with reading(world.database) as read:
        saga = world.start_saga("many-items", list(range(MANY))).saga_id
        world.wait_for(saga, "compensated", 250)

    assert not any(packers.standing)
    ran = packers.counts["do"] - 1
    assert packers.counts["undo"] == ran
    assert REFUSED <= ran <= REFUSED + 200
    assert read.rows <= 1.2 * ran
    assert read.loads <= ran / 10
    read.is_flat()

"""`each` on the engine: at most so many at a time, nested, in chunks, results in input order, both ways."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, arg, chain, each, item, outer, result, step
from amends.coordinator.engine.contract import ActVerdict
from amends.coordinator.saga.events import Retry
from amends.outbox import wire
from tests.engine.scripted import Scripted, reply
from tests.engine.world import World
from tests.waiting import eventually


def echo(name: str) -> Callable[[wire.Command], wire.Reply]:
    """Answers with what it was told."""
    return lambda command: reply(command, name, result=json.loads(bytes(command.args)))


def test_results_are_in_the_order_of_the_items(world: World) -> None:
    stock: Scripted = world.participant("stock", lambda command: None)
    sums = world.participant("sums")
    world.register(
        Saga(
            "each-order",
            chain(
                each(arg.lines, step("reserve", to="stock", undo="release", args=item)),
                step("total", to="sums", undo=None, args=result("reserve")),
            ),
            version=1,
        )
    )

    saga = world.start_saga("each-order", {"lines": ["a", "b", "c"]}).saga_id
    for path in ("reserve/2", "reserve/0", "reserve/1"):
        command = stock.wait_for("do", path)
        stock.answer(command, result=json.loads(bytes(command.args)) + "!")

    world.wait_for(saga, "completed")
    assert json.loads(bytes(sums.commands("do")[0].args)) == ["a!", "b!", "c!"]
    assert world.replayed(saga) == world.state(saga)


def test_no_more_than_so_many_are_under_way(world: World) -> None:
    stock = world.participant("stock", lambda command: None)
    world.register(
        Saga("each-few", chain(each(arg, step("r", to="stock", undo="u", args=item), at_most=2)), version=1)
    )

    saga = world.start_saga("each-few", [0, 1, 2, 3]).saga_id
    first, second = stock.wait_for("do", "r/0"), stock.wait_for("do", "r/1")
    assert len(world.state(saga).steps) == 2
    stock.answer(first)
    stock.wait_for("do", "r/2")

    assert stock.commands("do", "r/3") == []
    stock.answer(second)
    for path in ("r/2", "r/3"):
        stock.answer(stock.wait_for("do", path))
    world.wait_for(saga, "completed")


def test_items_in_items_and_in_chunks(world: World) -> None:
    desk = world.participant("desk", echo("desk"))
    nested = each(
        arg.rooms,
        chain(
            step("open", to="desk", undo="close", args=item.name),
            each(
                item.seats,
                step("seat", to="desk", undo="unseat", args={"seat": item, "room": outer.name}),
                chunk=2,
            ),
        ),
    )
    world.register(
        Saga("each-nested", chain(nested, step("list", to="desk", args=result("seat"), undo=None)), version=1)
    )
    rooms = [{"name": "red", "seats": [1, 2, 3]}, {"name": "blue", "seats": []}]

    saga = world.start_saga("each-nested", {"rooms": rooms}).saga_id

    world.wait_for(saga, "completed")
    red = [{"seat": [1, 2], "room": "red"}, {"seat": [3], "room": "red"}]
    assert json.loads(bytes(desk.commands("do", "list")[0].args)) == [red, []]
    assert world.replayed(saga) == world.state(saga)


def test_a_refused_item_gives_back_the_others_and_what_was_before_them(world: World) -> None:
    desk = world.participant(
        "desk",
        lambda command: reply(
            command, "desk", "refused" if command.path == "seat/1/1" and command.op == "do" else "done"
        ),
    )
    world.register(
        Saga(
            "each-back",
            each(
                arg,
                chain(
                    step("open", to="desk", undo="close", args=item),
                    each(item, step("seat", to="desk", undo="unseat")),
                ),
                at_most=1,
            ),
            version=1,
        )
    )

    saga = world.start_saga("each-back", [[1, 2], [3, 4], [5]]).saga_id

    world.wait_for(saga, "compensated")
    undone = [one.path for one in desk.commands("undo")]
    assert sorted(undone) == ["open/0", "open/1", "seat/0/0", "seat/0/1", "seat/1/0"]
    assert undone[-1] == "open/0"
    assert undone.index("seat/1/0") < undone.index("open/1") < undone.index("open/0")
    assert world.replayed(saga) == world.state(saga)


def test_items_beyond_the_window_are_parked_and_let_in(make_world: Callable[..., World]) -> None:
    """E4: one event may pass the window by `at_most`; the next ones wait. Guard: `held` in batch._apply."""
    world = make_world(window=3).start()
    stock = world.participant("stock", lambda command: None)
    world.register(
        Saga(
            "each-window", chain(each(arg, step("r", to="stock", undo="u", args=item), at_most=5)), version=1
        )
    )

    saga = world.start_saga("each-window", list(range(12))).saga_id
    eventually(lambda: len(stock.received) == 5, what="the first items to be sent")
    stock.answer(stock.received[0])
    parked = "SELECT count(*) FROM amends.step WHERE saga_id = :id AND phase = 'parked'"
    eventually(lambda: world.value(parked, id=saga) == 1, what="the sixth to be parked")
    for number in range(1, 12):
        eventually(lambda count=number: len(stock.received) > count, what="the next to be let in")
        assert len(stock.received) - number <= 4
        stock.answer(stock.received[number])

    world.wait_for(saga, "completed")


def test_a_coordinator_that_knows_nothing_of_it_goes_on(
    make_world: Callable[..., World], coordinator_database: Engine
) -> None:
    """E3. Guard: `want` in batch._round; a saga that was not all read would be lost without it."""
    first = make_world().start()
    stock = first.participant("stock", lambda command: None)
    first.register(
        Saga(
            "each-moved",
            chain(
                each(arg, step("r", to="stock", undo="u", args=item), at_most=2),
                step("end", to="stock", undo=None, args=result("r")),
            ),
            version=1,
        )
    )
    saga = first.start_saga("each-moved", [10, 11, 12]).saga_id
    stock.wait_for("do", "r/1")
    first.coordinator.stop()

    second = World(coordinator_database, first.broker, first.prefix).start()
    try:
        for number, path in enumerate(("r/0", "r/1", "r/2")):
            stock.answer(stock.wait_for("do", path), result=number)
        end = stock.wait_for("do", "end")
        assert json.loads(bytes(end.args)) == [0, 1, 2]
        stock.answer(end)
        second.wait_for(saga, "completed")
        assert second.replayed(saga) == second.state(saga)
    finally:
        second.close()


@pytest.mark.parametrize("path", ["reserve/x", "reserve/²", "reserve/9"])
def test_an_act_on_an_item_that_is_none_is_refused(world: World, path: str) -> None:
    """While it compensates, which reads ahead. Guard: isascii and isdigit in `_ahead`; without them, quarantine."""
    stock = world.participant("stock", lambda command: None)
    world.register(
        Saga("each-odd", each(arg, step("reserve", to="stock", undo="free", args=item)), version=1)
    )
    saga = world.start_saga("each-odd", [0, 1]).saga_id
    stock.answer(stock.wait_for("do", "reserve/0"))
    stock.answer(stock.wait_for("do", "reserve/1"), "refused", reason="none left")
    stock.wait_for("undo", "reserve/0")

    answer = world.act(saga, Retry(actor="ann", reason="x", path=path))

    assert (answer.verdict, answer.status) == (ActVerdict.REFUSED, "compensating")
    assert f"no step '{path}' has begun" in answer.reason

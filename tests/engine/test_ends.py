"""Sagas that hold locks: who holds one hears of the end, for sure; a saga without locks costs nothing (L1, L4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from amends.coordinator import Saga, chain, pivot, step
from amends.coordinator.engine import posting
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Finish, Started
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import FORMAT, PLAIN, Parent
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import command_queue
from tests.engine.scripted import Scripted, reply
from tests.engine.world import World
from tests.waiting import eventually

LOCKING = Saga(
    "locking",
    chain(
        step("reserve", to="stock", undo="release", timeout="300ms"),
        step("charge", to="bank", undo="refund", timeout="300ms"),
        pivot(step("ship", to="post", timeout="300ms")),
        step("tell", to="mail", timeout="300ms"),
    ),
    version=1,
)


def script(*holders: str, **outcomes: str) -> Callable[[str], Callable[[wire.Command], wire.Reply | None]]:
    """Participants that answer by path and op, `done` if nothing is said; these hold locks, and none answers an end."""

    def of(name: str) -> Callable[[wire.Command], wire.Reply | None]:
        def answer(command: wire.Command) -> wire.Reply | None:
            if command.op is wire.Op.END:
                return None
            outcome = outcomes.get(f"{command.op.value}_{command.path}", "done")
            if outcome == "silent":
                return None
            return reply(command, name, outcome, holds=name in holders and outcome != "refused")

        return answer

    return of


def town(
    world: World, of: Callable[[str], Callable[[wire.Command], wire.Reply | None]]
) -> dict[str, Scripted]:
    world.register(LOCKING)
    return {name: world.participant(name, of(name)) for name in ("stock", "bank", "post", "mail")}


def ends(world: World) -> list[tuple[str, bool]]:
    """The `end` commands in the outbox: to which queue, and whether the row stays until its receipt."""
    with world.database.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT routing_key, needs_receipt, convert_from(body, 'UTF8') AS body FROM amends.outbox ORDER BY id"
        ).all()
    return [(row.routing_key, row.needs_receipt) for row in rows if json.loads(row.body).get("op") == "end"]


def receipt(world: World, queue: str, row: int, message_id: str) -> Message:
    body = wire.encode(wire.Receipt(message_id=message_id, row=row, note="let_go"))
    return Message(routing_key=queue, type=wire.RECEIPT, body=body)


@pytest.mark.parametrize(("outcome", "status"), [("done", "completed"), ("refused", "compensated")])
def test_who_holds_locks_hears_of_the_end_and_nobody_else(world: World, outcome: str, status: str) -> None:
    """Guard: `Draft.end`. Its row stays until the receipt: no timer would send it again (16)."""
    participants = town(world, script("stock", "bank", do_ship=outcome))

    saga_id = world.start_saga("locking", {}).saga_id
    world.wait_for(saga_id, status)

    for name in ("stock", "bank"):
        told = participants[name].wait_for("end", "")
        assert (told.saga, told.name, told.attempt) == (saga_id, "locking", 1)
    assert [participants[name].commands("end") for name in ("post", "mail")] == [[], []]
    eventually(lambda: len(ends(world)) == 2, what="the ends to stay in the outbox")
    queues = [command_queue(world.prefix, name, undo=True) for name in ("stock", "bank")]
    assert sorted(ends(world)) == sorted((queue, True) for queue in queues)
    assert world.replayed(saga_id) == world.state(saga_id)


def test_an_end_goes_with_its_receipt(world: World) -> None:
    participants = town(world, script("stock"))
    saga_id = world.start_saga("locking", {}).saga_id
    participants["stock"].wait_for("end", "")

    (row, message_id) = eventually(
        lambda: world.row("SELECT id, message_id FROM amends.outbox WHERE sent_at IS NOT NULL"),
        what="it to be marked sent",
    )
    world.publish(receipt(world, f"{world.prefix}.receipts._coordinator", row, message_id))

    eventually(world.drained, what="the end to go")
    assert world.status(saga_id) == "completed"


def test_a_saga_that_holds_locks_says_so_while_it_can_turn_back(world: World) -> None:
    """L2: after the pivot a refusal would make it stuck, so it is not told to give way."""
    participants = town(world, script("stock"))

    world.wait_for(world.start_saga("locking", {}).saga_id, "completed")

    told = {
        command.path: (command.holds, command.settled)
        for one in participants.values()
        for command in one.received
        if command.op == "do"
    }
    assert told == {
        "reserve": (False, False),
        "charge": (True, False),
        "ship": (True, False),
        "tell": (False, True),
    }


@pytest.mark.parametrize(
    ("parent_holds", "told"),
    [(True, {"holds": True, "settled": False}), (False, {"holds": False, "settled": True})],
)
def test_a_child_says_what_its_parent_may_still_do(parent_holds: bool, told: dict[str, bool]) -> None:
    """L2, K4: of a child that was called after its parent's pivot a refusal makes the parent stuck, so it waits."""
    child = Saga("child", step("reserve", to="stock", undo="release"), version=1).definition
    parent = Parent(saga=str(uuid4()), path="call", round=1, holds=parent_holds)
    born = begin(child, id=str(uuid4()), input={}, labels={}, now=1, parent=parent)
    saga, effects = advance(child, born, Started(parent=parent), 1)
    (send,) = [one for one in effects if isinstance(one, Send)]

    body = wire.decode(wire.COMMAND, posting.command("p", saga, send).body)

    assert isinstance(body, wire.Command)
    assert {"holds": body.holds, "settled": body.settled} == told


def test_copies_of_an_end_do_not_heap_up_where_nobody_reads() -> None:
    """O1: the row is sent again and again until the receipt; a queue that nobody reads keeps a few minutes of them."""
    assert posting.end("p", str(uuid4()), "stock").expiration_ms == 300_000


def test_its_format_is_newer_from_the_first_lock_on(world: World) -> None:
    """E3: the release before would forget who holds its locks. Others it can still read."""
    town(world, script("bank", do_ship="silent"))
    held = world.start_saga("locking", {}).saga_id
    world.participants["post"].wait_for("do", "ship")
    plain = Saga("plain", step("reserve", to="stock", undo="release"), version=1)
    world.register(plain)
    free = world.start_saga("plain", {}).saga_id
    world.wait_for(free, "completed")

    formats = {
        id_: world.value("SELECT format FROM amends.saga WHERE id = :id", id=id_) for id_ in (held, free)
    }

    assert formats == {held: FORMAT, free: PLAIN}
    assert world.state(held).holders == ("bank",)


def test_a_reply_that_tells_of_locks_after_the_end_is_answered_by_another_end(world: World) -> None:
    """Also of a saga that is known no more. Guard: `posting.end` in `Batch._one`."""
    participants = town(world, script())
    saga_id = world.start_saga("locking", {}).saga_id
    world.wait_for(saga_id, "completed")
    late = participants["stock"].commands("do")[0]
    unknown = wire.saga_id_of("locking", "pruned long ago")

    participants["stock"].send(
        reply(late, "stock", holds=True),
        wire.Reply(
            saga=unknown,
            path="reserve",
            op=wire.Op.DO,
            round=1,
            attempt=1,
            outcome=wire.Outcome.DONE,
            participant="stock",
            holds=True,
        ),
    )

    participants["stock"].wait_for("end", "", count=2)
    assert {one.saga for one in participants["stock"].commands("end")} == {saga_id, unknown}


def test_an_operators_finish_ends_the_saga_and_stuck_does_not(world: World) -> None:
    of = script("stock", do_ship="refused", undo_reserve="refused")
    participants = town(world, of)
    saga_id = world.start_saga("locking", {}).saga_id
    world.wait_for(saga_id, "stuck")

    assert participants["stock"].commands("end") == []
    world.act(saga_id, Finish(actor="ann", reason="counted by hand"))

    participants["stock"].wait_for("end", "")
    world.wait_for(saga_id, "compensated")


def test_a_saga_without_locks_sends_no_end(world: World) -> None:
    participants = town(world, script())

    world.wait_for(world.start_saga("locking", {}).saga_id, "completed")

    eventually(world.drained, what="the outbox to be empty")
    assert all(one.commands("end") == [] for one in participants.values())

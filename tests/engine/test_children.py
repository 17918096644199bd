"""Parents and children on the real engine: calls, orders and reports as messages with receipts (rules K, O1)."""

from __future__ import annotations

from uuid import uuid4

import msgspec
from sqlalchemy import text

from amends.coordinator import Saga, arg, call, chain, pivot, result, step, wait
from amends.coordinator.saga.events import Compensate, Retry
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue
from tests.engine.scripted import reply
from tests.engine.test_starts import Receipts
from tests.engine.world import World
from tests.waiting import eventually

PACK = Saga("pack", step("box", to="store", undo="unbox", args=arg.sku), version=1, result=result("box"))
BUY = Saga(
    "buy",
    chain(
        call("pack", {"sku": "tea"}, name="packing"),
        pivot(step("pay", to="bank", args={"box": result("packing")})),
    ),
    version=1,
)


# How many messages have been written to the outbox so far, also those that are gone.
WRITTEN = "SELECT last_value FROM pg_sequences WHERE schemaname = 'amends' AND sequencename LIKE 'outbox%'"


def child_of(world: World, parent: str) -> str:
    """The newest child of a saga."""
    sql = "SELECT id::text FROM amends.saga WHERE parent_id = :id ORDER BY created_at DESC, id LIMIT 1"
    return str(eventually(lambda: world.value(sql, id=parent), what=f"a child of {parent}"))


def say(world: World, type_: str, body: wire.Body, receipts: Receipts, row: int) -> None:
    """Publish what an outbox would."""
    headers = {wire.HEADER_ROW: str(row), wire.HEADER_RECEIPT_TO: receipts.queue}
    queue = coordinator_queue(world.prefix)
    world.publish(Message(routing_key=queue, type=type_, body=wire.encode(body), headers=headers))


def caller(round_: int = 1, *, parent: str | None = None) -> wire.Caller:
    """A saga that nobody knows, which calls."""
    return wire.Caller(saga=parent or str(uuid4()), path="packing", round=round_, holds=True)


def call_of(child: str, parent: wire.Caller) -> wire.Start:
    """The start of a child."""
    return wire.Start(
        saga=child, name="pack", input=msgspec.Raw(b'{"sku":"tea"}'), sent_at=2**52, parent=parent
    )


def test_a_child_is_called_held_settled_and_its_result_goes_on(world: World) -> None:
    """K1, K2. Guards: `case Call()`, `case Report()` and `case Tell()` in lives, and births.settle."""
    bank, store = world.participant("bank"), world.participant("store")
    store.script = lambda command: reply(command, "store", result="box 7")
    world.register(PACK)
    world.register(BUY)

    parent = world.start_saga("buy", labels={"shop": "north"}).saga_id
    world.wait_for(parent, "completed")
    child = child_of(world, parent)
    world.wait_for(child, "completed")

    (paid,) = bank.commands("do")
    assert msgspec.json.decode(paid.args) == {"box": "box 7"}
    assert world.state(child).labels == {"shop": "north"}
    eventually(world.drained, what="every message to be receipted")
    for saga in (parent, child):
        assert world.replayed(saga) == world.state(saga)


def test_a_child_is_compensated_with_its_parent(world: World) -> None:
    """K2, K3: it was held, and gives back what it did. Guard: `case Tell()` in lives."""
    store = world.participant("store")
    world.participant("bank", lambda command: reply(command, "bank", "refused", reason="no money"))
    world.register(PACK)
    world.register(BUY)

    parent = world.start_saga("buy").saga_id
    world.wait_for(parent, "compensated")

    child = child_of(world, parent)
    assert world.status(child) == "compensated"
    assert [command.op.value for command in store.received] == ["do", "undo"]
    eventually(world.drained, what="every message to be receipted")
    for saga in (parent, child):
        assert world.replayed(saga) == world.state(saga)


def test_a_child_that_cannot_be_accepted_turns_its_parent_back(world: World) -> None:
    """K4: its input does not fit, or it has a pivot too early. Guard: `called_again` in births._begin."""
    inner = Saga(
        "pack", step("box", to="store", undo=None), version=1, input={"type": "object", "required": ["size"]}
    )
    world.participant("store")
    world.register(inner)
    world.register(BUY)
    parent = world.start_saga("buy").saga_id
    world.wait_for(parent, "compensated")
    world.register(Saga("pack", pivot(step("box", to="store")), version=2))
    other = world.start_saga("buy").saga_id
    world.wait_for(other, "compensated")

    assert world.status(child_of(world, parent)) == "rejected"
    assert "size" in world.state(parent).cause
    assert "has a pivot" in world.state(other).cause
    eventually(world.drained, what="every message to be receipted")


def test_an_order_that_overtakes_the_start_decides_it(world: World) -> None:
    """K3, K5: kept in a placeholder, answered `never`; the late child does nothing.

    Guards: `hold` for orders in batch, `decided` in births, `_early` in kin.
    """
    store = world.participant("store")
    world.register(PACK)
    receipts, child, parent = Receipts(world), str(uuid4()), caller()

    say(world, wire.TELL, wire.Tell(saga=child, order="compensate", parent=parent), receipts, 1)
    receipts.wait(1)
    kept = world.status(child)
    world.publish(
        Message(
            routing_key=coordinator_queue(world.prefix),
            type=wire.START,
            body=wire.encode(call_of(child, parent)),
        )
    )
    world.wait_for(child, "compensated")

    assert kept == "placeholder"
    assert store.received == []
    assert world.replayed(child) == world.state(child)


def test_an_order_to_a_pruned_child_changes_nothing(world: World) -> None:
    """K6, S3. Guard: the look at SPENT_IDS in placeholders.hold."""
    world.register(PACK)
    receipts, child = Receipts(world), str(uuid4())
    with world.database.begin() as connection:
        connection.execute(
            text("INSERT INTO amends.spent_id (id, input_hash) VALUES (:id, '')"), {"id": child}
        )

    say(world, wire.TELL, wire.Tell(saga=child, order="compensate", parent=caller()), receipts, 1)
    say(world, wire.START, call_of(child, caller()), receipts, 2)

    assert [one.note for one in receipts.wait(2)] == ["pruned", "spent"]
    assert world.value("SELECT count(*) FROM amends.saga") == 0


def test_an_ended_child_answers_again_though_nothing_changes(world: World) -> None:
    """K3: a later copy is answered from what is stored. Guard: `last_words` in lives.apply for what has ended."""
    world.participant("store", lambda command: reply(command, "store", "refused", reason="sold out"))
    world.register(PACK)
    receipts, child, parent = Receipts(world), str(uuid4()), caller()
    say(world, wire.START, call_of(child, parent), receipts, 1)
    world.wait_for(child, "compensated")
    before = world.value(WRITTEN)

    again = caller(2, parent=parent.saga)
    say(world, wire.START, call_of(child, again), receipts, 2)
    receipts.wait(2)
    say(world, wire.TELL, wire.Tell(saga=child, order="fence", parent=again), receipts, 3)
    receipts.wait(3)

    assert world.value(WRITTEN) == before + 2, "one report for each"


def test_a_child_is_not_pruned_before_its_parent(world: World) -> None:
    """E5. Guard: NOT EXISTS in PRUNE."""
    world.participant("store", lambda command: reply(command, "store", "refused", reason="sold out"))
    world.register(PACK)
    open_ = Saga("open", wait("go"), version=1)
    world.register(open_)
    waits = world.start_saga("open").saga_id
    receipts, child = Receipts(world), str(uuid4())
    say(world, wire.START, call_of(child, caller(parent=waits)), receipts, 1)
    world.wait_for(child, "compensated")
    receipts.wait(1)  # What nobody reads would hold up the coordinator's end.
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE amends.saga SET ended_at = now() - interval '90 days' WHERE ended_at IS NOT NULL")
        )

    kept = world.coordinator._keeping.prune()
    world.act(waits, Compensate(actor="op", reason="enough"))
    pruned = world.coordinator._keeping.prune()

    assert (kept, pruned) == (0, 1)


def test_a_retried_call_after_its_child_ended_makes_another(world: World) -> None:
    """K1: n rises, so that the second child is not the first one's row."""
    outcomes = iter(["refused"])
    world.participant(
        "store", lambda command: reply(command, "store", next(outcomes, "done"), reason="sold out")
    )
    world.participant("bank")
    world.register(PACK)
    world.register(
        Saga(
            "late",
            chain(pivot(step("pay", to="bank")), call("pack", {"sku": "tea"}, name="packing")),
            version=1,
        )
    )
    parent = world.start_saga("late").saga_id
    world.wait_for(parent, "stuck")

    world.act(parent, Retry(actor="op", reason="tea came in"))
    world.wait_for(parent, "completed")

    ended = "SELECT count(*), count(DISTINCT status) FROM amends.saga WHERE parent_id = :id"
    assert tuple(world.row(ended, id=parent)) == (2, 2)
    assert world.replayed(parent) == world.state(parent)


def test_an_operator_is_told_to_act_on_the_parent(world: World) -> None:
    """A5: compensate on a child is refused."""
    world.register(Saga("inner", wait("go"), version=1))
    world.register(Saga("outer", call("inner", name="packing"), version=1))
    parent = world.start_saga("outer").saga_id
    child = child_of(world, parent)

    answer = world.act(child, Compensate(actor="op", reason="enough"))

    assert answer.verdict.value == "refused"
    assert "parent" in answer.reason

"""Key and labels that a definition makes of the input, at every kind of start (rules S1 to S4, K1)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text

from amends.coordinator import Saga, arg, call, chain, result, step, wait
from amends.coordinator.engine.contract import Verdict
from amends.coordinator.engine.lives import Advancing, Live
from amends.coordinator.engine.placeholders import expire
from amends.coordinator.queries import ended_among, find_saga
from amends.coordinator.records import Detail, Pruned
from amends.coordinator.saga.events import Compensate, Event
from amends.coordinator.schedules import standing
from amends.coordinator.schedules.missed import Missed
from amends.coordinator.schedules.records import Wanted
from amends.outbox import wire
from amends.participants.starts import make_start
from tests.engine.receipts import Receipts
from tests.engine.world import World, start
from tests.waiting import eventually

INPUT = {"number": 7, "shop": "north"}
LABELS = {"shop": arg.shop, "number": arg.number}
ORDER = Saga(
    "order",
    step("pay", to="bank", undo="refund"),
    version=1,
    key=arg.number,
    labels=LABELS,
    result=arg.number,
)
ID = wire.saga_id_of("order", "7")
APPROVED = Saga(
    "order",
    chain(wait("approved"), step("pay", to="bank", undo="refund", args=result("approved"))),
    version=1,
    key=arg.number,
)


def stored(world: World, saga_id: str = ID) -> Any:
    return world.row("SELECT status, key, labels FROM amends.saga WHERE id = :id", id=saga_id)


def seen(world: World, saga_id: str) -> Detail | Pruned | None:
    return find_saga(world.database, UUID(saga_id), steps_max=10)


def signal(world: World, saga_id: str, payload: object, message_id: str) -> str:
    body = msgspec.json.encode(payload)
    answer = world.coordinator.submit_signal(saga_id, "approved", body, message_id=message_id)
    return answer.result(10).verdict.value


def test_a_start_without_key_takes_the_definitions(world: World) -> None:
    """S2. Guards: `give_keys` in births, `labels_of` in starts."""
    world.participant("bank")
    world.register(ORDER)

    first = world.start_saga("order", INPUT)
    again = world.start_saga("order", INPUT)
    by_key = world.start_saga("order", INPUT, key="7")
    other = world.start_saga("order", {**INPUT, "shop": "south"})

    assert [one.saga_id for one in (first, again, by_key, other)] == [ID] * 4
    assert [one.verdict.value for one in (first, again, by_key, other)] == [
        "accepted", "duplicate", "duplicate", "conflict"
    ]  # fmt: skip
    assert other.key == "7"
    assert stored(world)[1:] == ("7", {"shop": "north", "number": "7"})


def test_key_and_labels_given_with_a_start_win(world: World) -> None:
    """Guard: the order of the two in `Starts.examine`."""
    world.participant("bank")
    world.register(ORDER)

    given = world.start_saga("order", INPUT, key="mine", labels={"shop": "web", "by": "mia"})

    assert given.saga_id == wire.saga_id_of("order", "mine")
    assert stored(world, given.saga_id)[1:] == ("mine", {"shop": "web", "number": "7", "by": "mia"})


def test_an_input_that_gives_no_key_is_rejected_with_its_place(world: World) -> None:
    """Not started without one. Guard: `key_of` in `Starts.examine`."""
    world.register(ORDER)
    receipts = Receipts(world)

    told = world.start_saga("order", {"shop": "north"})
    world.send_start(start("order", {"shop": "north", "number": None}), receipts=receipts.queue)

    assert (told.verdict, told.field) == (Verdict.REJECTED, "number")
    assert "the key, made of arg.number: arg.number is not there" in told.reason
    assert receipts.wait(1)[0].note == "rejected"
    assert "it is null" in world.value("SELECT error FROM amends.saga")


def test_what_the_client_takes_for_labels_the_engine_takes(world: World) -> None:
    """Twenty long ones beside the definition's. Guards: LABEL_CHARS_MAX in _bad_labels; LABELS_TOGETHER_MAX."""
    world.participant("bank")
    world.register(ORDER)
    labels = {f"{number:02}".ljust(wire.LABEL_CHARS_MAX, "x"): "v" * 255 for number in range(20)}

    body = make_start("order", INPUT, "7", labels)
    told = world.coordinator.submit_start(body, actor="test").result(10)
    more = make_start("order", INPUT, "8", {})
    more = msgspec.structs.replace(more, labels={**labels, "one": "more"})
    refused = world.coordinator.submit_start(more, actor="test").result(10)

    assert told.verdict is Verdict.ACCEPTED
    assert stored(world)[2] == {"shop": "north", "number": "7", **labels}
    assert (refused.verdict, refused.reason) == (Verdict.REJECTED, "labels: 21, over the limit of 20")


def test_a_call_is_not_refused_for_its_parents_labels(world: World) -> None:
    """Every generation adds its own. Guard: `others[:room]` in starts._together. Without it no such call begins."""
    world.participant("bank")
    numbered = {f"own{number}": arg.shop for number in range(20)}
    called = step("pay", to="bank", undo="refund")
    for name, node in (("inner", called), ("middle", call("inner", arg)), ("outer", call("middle", arg))):
        labels = {f"{name}-{label}": made for label, made in numbered.items()}
        world.register(Saga(name, node, version=1, labels=labels))

    outer = world.start_saga("outer", INPUT, labels={f"l{number}": "" for number in range(20)}).saga_id

    world.wait_for(outer, "completed")
    with world.database.connect() as connection:
        rows = connection.execute(text("SELECT name, labels FROM amends.saga")).all()
    for name, labels in rows:
        assert len(labels) == 40
        assert sum(label.startswith(name) for label in labels) == 20, "its own come first"


def test_an_id_that_was_promised_stands_for_the_saga(world: World) -> None:
    """A start by name alone: its sender knows another id. Guards: `point` in births, `STANDS_FOR` in queries."""
    world.participant("bank")
    world.register(ORDER)
    receipts = Receipts(world)
    one, two, three = start("order", INPUT), start("order", INPUT), start("order", {**INPUT, "shop": "south"})

    sent = world.send_start(one, row=1, receipts=receipts.queue)
    world.send_start(two, row=2, receipts=receipts.queue)
    world.send_start(three, row=3, receipts=receipts.queue)
    receipts.wait(3)
    world.publish(sent)
    notes = [note.note for note in receipts.wait(4)]

    assert notes == ["accepted", "duplicate", "conflict", "duplicate"]
    assert world.value("SELECT count(*) FROM amends.saga WHERE status <> 'placeholder'") == 1
    world.wait_for(ID, "completed")
    found = [seen(world, body.saga) for body in (one, two, three)]
    assert [detail.header.id for detail in found if isinstance(detail, Detail)] == [ID] * 3
    assert ended_among(world.database, [one.saga, ID, str(uuid4())]) == {one.saga, ID}
    refused = world.act(one.saga, Compensate(actor="mia", reason="why not"))
    assert f"stands for saga {ID}" in refused.reason


def test_a_start_that_comes_again_is_the_same_saga_whatever_its_definition_is_by_then(world: World) -> None:
    """An accepted start is one saga. Guards: `_hold` and `stands_for` in promised.give_keys."""
    world.participant("bank")
    receipts = Receipts(world)
    keyless = Saga("order", ORDER_STEP, version=1)
    by_shop = Saga("order", ORDER_STEP, version=3, key=arg.shop)
    world.register(keyless)
    before = start("order", INPUT)
    world.send_start(before, receipts=receipts.queue)
    receipts.wait(1)
    world.register(Saga("order", ORDER_STEP, version=2, key=arg.number))
    after = start("order", INPUT)
    world.send_start(before, receipts=receipts.queue)
    world.send_start(after, receipts=receipts.queue)
    receipts.wait(3)
    world.register(by_shop)

    world.send_start(before, receipts=receipts.queue)
    world.send_start(after, receipts=receipts.queue)

    notes = [one.note for one in receipts.wait(5)]
    assert notes == ["accepted", "duplicate", "accepted", "duplicate", "duplicate"]
    assert world.value("SELECT count(*) FROM amends.saga WHERE status <> 'placeholder'") == 2
    assert stored(world, before.saga)[1] is None


ORDER_STEP = step("pay", to="bank", undo="refund")


def test_signals_for_a_promised_id_reach_the_saga_early_and_late(world: World) -> None:
    """S1. Guards: `pass_on` in births.settle for early ones, in signalling for late ones."""
    bank = world.participant("bank")
    world.register(APPROVED)
    early, late = start("order", INPUT), start("order", {"number": 8, "shop": "north"})

    assert signal(world, early.saga, {"by": "mia"}, "m-1") == "kept"
    world.send_start(early)
    world.send_start(late)
    eventually(lambda: isinstance(seen(world, late.saga), Detail), what="the start to be taken")
    assert signal(world, late.saga, {"by": "leo"}, "m-2") == "kept"
    assert signal(world, late.saga, {"by": "leo"}, "m-2") == "kept"

    world.wait_for(ID, "completed")
    world.wait_for(wire.saga_id_of("order", "8"), "completed")
    assert sorted(bytes(one.args) for one in bank.received) == [b'{"by":"leo"}', b'{"by":"mia"}']
    eventually(world.drained, what="the signals passed on to be receipted")


def test_many_starts_by_name_at_once_at_two_coordinators_are_one_saga(
    make_world: Callable[..., World],
) -> None:
    """Invariant 12. Guard: the id that follows from the key, and ON CONFLICT."""
    one = make_world().start()
    make_world(one.broker, one.prefix).start()
    one.participant("bank")
    one.register(ORDER)
    bodies = [start("order", INPUT) for _ in range(24)]
    receipts = Receipts(one)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: one.send_start(body, receipts=receipts.queue), bodies))

    notes = [note.note for note in receipts.wait(24)]
    assert (notes.count("accepted"), notes.count("duplicate")) == (1, 23)
    one.wait_for(ID, "completed")
    assert one.value("SELECT count(*) FROM amends.saga WHERE status <> 'placeholder'") == 1


def test_what_stands_for_a_saga_stays_as_long_as_that(world: World) -> None:
    """Guards: NOT EXISTS in EXPIRE, RENEW, `stands_for` in what EXPIRE counts."""
    world.participant("bank")
    world.register(ORDER)
    receipts = Receipts(world)
    for body in (start("order", INPUT), start("order", INPUT)):
        world.send_start(body, receipts=receipts.queue)
    receipts.wait(2)
    world.wait_for(ID, "completed")
    old = "UPDATE amends.saga SET created_at = created_at - interval '8 days' WHERE status = 'placeholder'"
    young = "SELECT count(*) FROM amends.saga WHERE status = 'placeholder' AND created_at > now() - interval '1 h'"

    with world.database.begin() as connection:
        connection.execute(text(old))
        # One at a time: the other waits for its turn, and is not taken for one that nobody wants.
        assert expire(connection, age_s=7 * 86_400, rows_max=1) == 0
    assert world.value(young) == 1
    with world.database.begin() as connection:
        assert expire(connection, age_s=7 * 86_400, rows_max=1) == 0
    assert world.value(young) == 2

    with world.database.begin() as connection:
        connection.execute(text(old))
        connection.execute(text("DELETE FROM amends.saga WHERE id = :id"), {"id": ID})
        assert expire(connection, age_s=7 * 86_400, rows_max=10) == 0, "nobody has lost anything"
    assert isinstance(seen(world, body.saga), Pruned)


@pytest.mark.parametrize("pruned", [False, True], ids=["standing", "pruned"])
def test_a_late_copy_is_no_second_saga_though_its_definition_makes_no_key_by_then(
    world: World, pruned: bool
) -> None:
    """S3, K6. Guards: `over` in EXPIRE; `stands_for` in births._grow. Without them it begins once more."""
    world.participant("bank")
    world.register(ORDER)
    receipts, body = Receipts(world), start("order", INPUT)
    message = world.send_start(body, receipts=receipts.queue)
    world.wait_for(ID, "completed")
    if pruned:
        with world.database.begin() as connection:
            connection.execute(text("UPDATE amends.saga SET ended_at = ended_at - interval '90 days'"))
        assert world.coordinator._keeping.prune() == 1
        with world.database.begin() as connection:
            connection.execute(text("UPDATE amends.saga SET created_at = created_at - interval '8 days'"))
            assert expire(connection, age_s=7 * 86_400, rows_max=10) == 0
    world.register(Saga("order", ORDER_STEP, version=2))

    world.publish(message)

    assert [one.note for one in receipts.wait(2)] == ["accepted", "spent" if pruned else "duplicate"]
    assert world.value("SELECT count(*) FROM amends.saga WHERE status <> 'placeholder'") == int(not pruned)


def test_a_child_takes_the_labels_but_its_id_is_its_parents_to_make(world: World) -> None:
    """K1: two calls with one input are two children. Guard: `takes_key`."""
    world.participant("bank")
    world.register(ORDER)
    both = chain(call("order", arg, name="one"), call("order", arg, name="two"))
    world.register(Saga("twice", both, version=1))

    parent = world.start_saga("twice", INPUT, labels={"by": "mia"})

    world.wait_for(parent.saga_id, "completed")
    with world.database.connect() as connection:
        rows = connection.execute(text("SELECT key, labels FROM amends.saga WHERE name = 'order'")).all()
    assert [tuple(row) for row in rows] == [(None, {"shop": "north", "number": "7", "by": "mia"})] * 2


def test_a_schedules_runs_take_the_labels_and_are_one_saga_each(world: World) -> None:
    """S4: with the same input each time, the key would let it fire once and never again. Guard: `takes_key`."""
    world.participant("bank")
    world.register(ORDER)
    wanted = Wanted(
        name="nightly", cron="0 3 * * *", timezone="UTC", saga="order", version=None, input=INPUT,
        labels={"by": "clock"}, missed=Missed.ALL,
    )  # fmt: skip
    standing.add(world.database, world.coordinator.catalog, wanted, actor="mia")
    with world.database.begin() as connection:
        connection.execute(text("UPDATE amends.schedule SET next_due = next_due - interval '2 days'"))

    eventually(lambda: world.value("SELECT fired_runs FROM amends.schedule") == 2, what="both runs")

    with world.database.connect() as connection:
        rows = connection.execute(text("SELECT key, labels FROM amends.saga")).all()
    assert {(row.key, row.labels["number"], row.labels["by"]) for row in rows} == {(None, "7", "clock")}


def test_an_input_that_gives_no_label_is_told_when_its_schedule_is_added(world: World) -> None:
    world.register(ORDER)
    wanted = Wanted(
        name="nightly", cron="0 3 * * *", timezone="UTC", saga="order", version=None,
        input={"number": 7, "shop": ["north"]}, labels={}, missed=Missed.ALL,
    )  # fmt: skip

    told = standing.add(world.database, world.coordinator.catalog, wanted, actor="mia")

    assert isinstance(told, standing.Unstartable)
    assert "label 'shop', made of arg.shop: it is a list" in told.refusal.reason


def test_a_start_in_a_batch_that_runs_again_is_examined_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may fail after a start was given its key. Guard: `item.promised` put back in promised.give_keys."""
    world.participant("bank")
    world.register(ORDER)
    apply, failing = Advancing.apply, iter([True])

    def apply_second_time(self: Advancing, live: Live, event: Event) -> bool:
        if next(failing, False):
            raise RuntimeError("the first batch fails")
        return apply(self, live, event)

    monkeypatch.setattr(Advancing, "apply", apply_second_time)
    body = start("order", INPUT)
    world.send_start(body)

    world.wait_for(ID, "completed")
    assert isinstance(seen(world, body.saga), Detail)

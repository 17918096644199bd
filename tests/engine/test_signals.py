"""Signals on the real engine: early, in time, twice, too late, and racing their saga's start (rules S1, S3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import Engine, text

from amends.coordinator import Saga, arg, chain, each, group, pivot, result, retry, step, wait
from amends.coordinator.engine.contract import SignalAnswer, SignalVerdict, Verdict
from amends.coordinator.engine.placeholders import expire
from amends.coordinator.gauges import read_gauges
from amends.coordinator.queries import page_of_sagas
from amends.coordinator.records import SagaFilter
from amends.coordinator.saga.bounds import SIGNALS_MAX
from amends.coordinator.saga.events import Retry
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue
from tests.engine.scripted import reply
from tests.engine.test_starts import Receipts
from tests.engine.world import World, start
from tests.waiting import eventually

APPROVE = Saga(
    "approve", chain(wait("approved"), step("pay", to="bank", undo=None, args=result("approved"))), version=1
)
GO_FIRST, GO_SECOND = wait("first", signal="go"), wait("second", signal="go")
TWICE = Saga("twice", chain(GO_FIRST, GO_SECOND), version=1)


def signal(
    world: World, saga_id: str, name: str = "approved", payload: object = None, id_: str = "m-1"
) -> SignalAnswer:
    """Through a door."""
    body = msgspec.json.encode(payload)
    return world.coordinator.submit_signal(saga_id, name, body, message_id=id_).result(10)


def send_signal(world: World, saga_id: str, name: str, payload: object, receipts: str, row: int = 1) -> None:
    """As an outbox would."""
    world.publish(signal_message(world, saga_id, name, payload, receipts, row))


def signal_message(
    world: World, saga_id: str, name: str, payload: object, receipts: str, row: int
) -> Message:
    """What an outbox sends, always with the same message id for the same row."""
    body = wire.Signal(saga=saga_id, name=name, payload=msgspec.Raw(msgspec.json.encode(payload)))
    headers = {wire.HEADER_ROW: str(row), wire.HEADER_RECEIPT_TO: receipts}
    return Message(
        routing_key=coordinator_queue(world.prefix),
        type=wire.SIGNAL,
        body=wire.encode(body),
        headers=headers,
        message_id=f"m-{row}",
    )


def test_a_signal_before_its_saga_is_kept_and_taken(world: World) -> None:
    """S1: the start turns the placeholder into its saga. Guards: `hold` in batch, `grown` in births."""
    bank = world.participant("bank")
    world.register(APPROVE)
    body = start("approve", key="a-1")

    early = signal(world, body.saga, payload={"by": "chief"})
    begun = world.start_saga("approve", key="a-1")

    assert (early.verdict, early.status) == (SignalVerdict.KEPT, None)
    assert begun.verdict is Verdict.ACCEPTED
    world.wait_for(body.saga, "completed")
    assert [msgspec.json.decode(command.args) for command in bank.commands()] == [{"by": "chief"}]
    assert world.replayed(body.saga) == world.state(body.saga)


def test_a_signal_by_message_is_receipted_kept_and_taken(world: World) -> None:
    """O1, S1: from an outbox, before and after the start. Guard: `receipts.append` in signalling.take."""
    world.participant("bank")
    world.register(TWICE)
    receipts = Receipts(world)
    body = start("twice")

    send_signal(world, body.saga, "go", 1, receipts.queue, row=1)
    receipts.wait(1)
    world.send_start(body, row=2, receipts=receipts.queue)
    receipts.wait(2)
    send_signal(world, body.saga, "go", 1, receipts.queue, row=1)
    receipts.wait(3)
    send_signal(world, body.saga, "never-heard-of", 1, receipts.queue, row=3)
    notes = [(one.row, one.note) for one in receipts.wait(4)]

    assert notes == [(1, "kept"), (2, "accepted"), (1, "duplicate"), (3, "unknown_signal")]
    assert world.status(body.saga) == "running"


def test_a_late_copy_of_a_signal_is_not_taken_by_a_second_wait(world: World) -> None:
    """S1: copies are known by their id. Guards: `step.took` in signals._is_copy; TOOK for what has ended."""
    world.register(TWICE)
    saga = world.start_saga("twice").saga_id

    first = signal(world, saga, "go", 1, id_="one")
    copy = signal(world, saga, "go", 1, id_="one")
    state = world.state(saga)
    second = signal(world, saga, "go", 2, id_="two")

    verdicts = [one.verdict for one in (first, copy, second)]
    assert verdicts == [SignalVerdict.ACCEPTED, SignalVerdict.DUPLICATE, SignalVerdict.ACCEPTED]
    assert state.steps["second"].phase.value == "waiting"
    assert [world.state(saga).steps[name].result for name in ("first", "second")] == [1, 2]
    assert second.status == "completed"
    assert signal(world, saga, "go", 2, id_="two").verdict is SignalVerdict.DUPLICATE, "also after the end"
    assert signal(world, saga, "go", 3, id_="three").verdict is SignalVerdict.ENDED


def test_a_copy_that_came_early_twice_is_one_signal(world: World) -> None:
    """S1: also before the start. Guard: the `any(...)` in signalling._to_nobody."""
    world.register(TWICE)
    body = start("twice", key="k")

    kept = [signal(world, body.saga, "go", n, id_="one").verdict for n in (1, 2)]
    world.start_saga("twice", key="k")

    assert kept == [SignalVerdict.KEPT, SignalVerdict.DUPLICATE]
    assert world.state(body.saga).steps["second"].phase.value == "waiting"


def test_a_signal_after_pruning_makes_no_row(world: World) -> None:
    """S3: a pruned id takes none. Guard: the look at SPENT_IDS in placeholders.hold."""
    world.register(TWICE)
    receipts = Receipts(world)
    body = start("twice", key="old")
    with world.database.begin() as connection:
        connection.execute(
            text("INSERT INTO amends.spent_id (id, input_hash) VALUES (:id, '')"), {"id": body.saga}
        )

    by_door = signal(world, body.saga, "go")
    send_signal(world, body.saga, "go", 1, receipts.queue)
    notes = [one.note for one in receipts.wait(1)]

    assert by_door.verdict is SignalVerdict.PRUNED
    assert notes == ["pruned"]
    assert world.value("SELECT count(*) FROM amends.saga") == 0
    assert world.start_saga("twice", key="old").verdict is Verdict.SPENT


def test_an_unknown_signal_names_the_waits(world: World) -> None:
    """Guard: the look at `by_signal` in signalling._to_saga."""
    world.register(APPROVE)
    saga = world.start_saga("approve").saga_id

    answer = signal(world, saga, "aproved")

    assert answer.verdict is SignalVerdict.UNKNOWN_SIGNAL
    assert answer.reason.endswith("it waits for: approved")


def test_a_signal_that_no_wait_can_ever_take_is_told(world: World) -> None:
    """Without `_may_come` in saga.signals it is accepted, and never taken."""
    world.register(Saga("items", chain(each([1, 2], wait("ok")), wait("done")), version=1))
    saga = world.start_saga("items").saga_id

    answers = [signal(world, saga, name) for name in ("ok", "ok/2", "done/0", "ok/1")]

    assert [one.verdict for one in answers] == [SignalVerdict.UNKNOWN_SIGNAL] * 3 + [SignalVerdict.ACCEPTED]
    assert answers[0].reason.endswith(
        "does not wait for 'ok'; it waits for: done, ok/N; N is the number of an item, from 0"
    )


def test_a_rejected_start_leaves_what_came_early_to_the_one_that_takes_its_place(world: World) -> None:
    """S1, S2: what came before it, and after it; rejected twice.

    Guards: `_keeping` in signalling.grown, `_to_rejected` in signalling, `kept_by` in births._replace.
    """
    sized = {"type": "object", "required": ["size"]}
    world.register(Saga("twice", chain(GO_FIRST, GO_SECOND), version=1, input=sized))
    receipts = Receipts(world)
    send_signal(world, wire.saga_id_of("twice", "k"), "go", 1, receipts.queue, row=1)
    for row in (2, 3):
        world.send_start(start("twice", {}, key="k"), row=row, receipts=receipts.queue)
    receipts.wait(3)
    send_signal(world, wire.saga_id_of("twice", "k"), "go", 2, receipts.queue, row=4)
    send_signal(world, wire.saga_id_of("twice", "k"), "go", 1, receipts.queue, row=1)
    receipts.wait(5)

    good = start("twice", {"size": 3}, key="k")
    world.send_start(good, row=5, receipts=receipts.queue)
    world.wait_for(good.saga, "completed")

    notes = [one.note for one in receipts.wait(6)]
    assert notes == ["kept", "rejected", "rejected", "kept", "duplicate", "accepted"]
    assert [world.state(good.saga).steps[name].result for name in ("first", "second")] == [1, 2]
    assert world.replayed(good.saga) == world.state(good.saga)


def test_an_each_of_more_waits_than_can_be_kept_completes(world: World) -> None:
    """S1, O1: what is kept is bounded, not what is taken; what exceeds it has no receipt, and comes again.

    Guards: TAKEN in signals._hearing; `waits` in signalling.take.
    """
    many = SIGNALS_MAX + 20
    world.register(Saga("many", each(arg, wait("go")), version=1))
    receipts, body = Receipts(world), start("many", list(range(many)))
    messages = [
        signal_message(world, body.saga, f"go/{number}", number, receipts.queue, number)
        for number in range(many)
    ]

    world.publish(*messages)
    early = receipts.wait(SIGNALS_MAX)
    assert {one.note for one in early} == {"kept"}
    world.send_start(body, row=many, receipts=receipts.queue)
    receipts.wait(SIGNALS_MAX + 1)
    world.publish(*messages[-25:])
    world.wait_for(body.saga, "completed")

    notes = [one.note for one in receipts.wait(SIGNALS_MAX + 26)]
    assert notes[SIGNALS_MAX + 1 :] == ["duplicate"] * 5 + ["accepted"] * 20
    assert signal(world, body.saga, "go/3", 3, id_="m-3").verdict is SignalVerdict.DUPLICATE
    assert world.replayed(body.saga) == world.state(body.saga)


def test_a_start_that_cannot_be_accepted_leaves_what_came_early(world: World) -> None:
    """S1: the placeholder stands until a start is accepted. Guard: `if embryo is None: return` in births._grow."""
    world.participant("bank")
    body = start("approve", key="k")
    signal(world, body.saga)

    too_soon = world.start_saga("approve", key="k")
    world.register(APPROVE)
    begun = world.start_saga("approve", key="k")

    assert too_soon.verdict is Verdict.UNKNOWN_DEFINITION
    assert begun.verdict is Verdict.ACCEPTED
    world.wait_for(body.saga, "completed")


def test_signals_for_one_saga_are_bounded(world: World) -> None:
    """Guard: `_too_much`, asked before the signal is kept."""
    world.register(TWICE)
    body = start("twice", key="k")
    big = "x" * 65_000

    verdicts = [signal(world, body.saga, "go", big, id_=str(number)).verdict for number in range(18)]
    world.start_saga("twice", key="k")

    assert verdicts == [SignalVerdict.KEPT] * 16 + [SignalVerdict.TOO_MANY] * 2
    assert world.status(body.saga) == "completed"


@pytest.mark.parametrize(
    ("name", "payload", "id_", "field"),
    [
        ("", b"1", "m", "name"),
        ("a b", b"1", "m", "name"),
        ("go/x", b"1", "m", "name"),
        ("go", b"1", "", "id"),
        ("go", b"1", "m" * 65, "id"),
        ("go", b'"' + b"x" * 70_000 + b'"', "m", "payload"),
        ("go", b"{", "m", "payload"),
        ("go", b"[" * 70 + b"]" * 70, "m", "payload"),
    ],
)
def test_what_cannot_be_a_signal_is_told_by_its_field(
    world: World, name: str, payload: bytes, id_: str, field: str
) -> None:
    with pytest.raises(MalformedMessage, match=f"^{field}: "):
        world.coordinator.submit_signal(str(uuid4()), name, payload, message_id=id_)


def test_signals_while_stuck_are_kept(world: World) -> None:
    """S1, C3: and taken when the saga moves again. Guard: `wait_on` where a stuck saga is left."""
    outcomes = iter(["failed", "failed"])
    world.participant("shipping")
    world.participant("mail", lambda command: reply(command, "mail", next(outcomes, "done")))
    once = retry(first="10ms", factor=1, longest="10ms", limit=1)
    world.register(
        Saga(
            "ship",
            chain(
                pivot(step("ship", to="shipping")), group(step("tell", to="mail", retry=once), wait("seen"))
            ),
            version=1,
        )
    )
    saga = world.start_saga("ship").saga_id
    world.wait_for(saga, "stuck")

    answer = signal(world, saga, "seen", "yes")
    assert (answer.verdict, answer.status) == (SignalVerdict.ACCEPTED, "stuck")
    while world.status(saga) != "completed":
        world.act(saga, Retry(actor="op", reason="smtp is back"))
        eventually(lambda: world.status(saga) in ("completed", "stuck"), what="the retry to be over")

    assert world.state(saga).steps["seen"].result == "yes"
    assert world.replayed(saga) == world.state(saga)


def test_a_placeholder_is_no_saga(world: World) -> None:
    """S1: not listed, not counted. Guards: `status <> 'placeholder'` in queries and gauges."""
    signal(world, str(uuid4()), "go")

    assert page_of_sagas(world.database, SagaFilter(), None, 10) == []
    assert read_gauges(world.database).live_sagas == {}


def test_a_placeholder_nobody_started_expires(world: World) -> None:
    """S1: after 7 days. Guard: the age in EXPIRE."""
    old, young = str(uuid4()), str(uuid4())
    for id_ in (old, young):
        signal(world, id_, "go")
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE amends.saga SET created_at = now() - interval '8 days' WHERE id = :id"), {"id": old}
        )
        expired = expire(connection, age_s=7 * 86_400, rows_max=10)

    assert expired == 1
    assert world.value("SELECT id::text FROM amends.saga") == young


@contextmanager
def nobody_commits(database: Engine) -> Iterator[None]:
    """While this is open, whoever has just inserted a saga or a placeholder waits before its commit."""
    with database.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE amends.spent_id IN ACCESS EXCLUSIVE MODE")
        yield


def waiting(world: World) -> int:
    """How many transactions wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(world.value(sql))


@pytest.mark.parametrize("first", ["signal", "start"])
def test_a_start_and_a_signal_that_race_meet(make_world: Callable[..., World], first: str) -> None:
    """S1: each in its own transaction, neither committed when the other begins; both commit, and nothing is lost.

    Guards: the signal's row (HOLD) and the start's (INSERT_SAGAS) have the same key; `grown` in births.
    """
    one = make_world().start()
    other = make_world(one.broker, one.prefix).start()
    one.participant("bank")
    one.register(APPROVE)
    body = start("approve", key=first)

    with nobody_commits(one.database):
        if first == "signal":
            signalled = one.coordinator.submit_signal(body.saga, "approved", b"1", message_id="m")
            eventually(lambda: waiting(one) == 1, what="the signal to have its row")
            started = other.coordinator.submit_start(body, actor="test")
        else:
            started = one.coordinator.submit_start(body, actor="test")
            eventually(lambda: waiting(one) == 1, what="the start to have its row")
            signalled = other.coordinator.submit_signal(body.saga, "approved", b"1", message_id="m")
        eventually(lambda: waiting(one) == 2, what="the other to wait for it")

    assert started.result(10).verdict is Verdict.ACCEPTED
    assert signalled.result(10).verdict is (
        SignalVerdict.KEPT if first == "signal" else SignalVerdict.ACCEPTED
    )
    one.wait_for(body.saga, "completed")
    assert one.value("SELECT count(*) FROM amends.saga") == 1

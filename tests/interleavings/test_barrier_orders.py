"""Commands that come late, twice, or in the wrong order to a real participant from a real coordinator (B1 to B3)."""

from __future__ import annotations

import pytest
from msgspec import structs
from sqlalchemy import text

from amends.coordinator import Saga, chain, pivot, retry, step
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import command_queue
from amends.outbox.wire import Op
from tests.interleavings.services import Pause, refuse
from tests.interleavings.town import Town, Trip
from tests.waiting import eventually

BRISK = retry(first="50ms", factor=1)
ONCE_MORE = retry(first="50ms", limit=1)
HOLD_ROWS = text("SELECT 1 FROM amends_barrier WHERE saga_id = CAST(:saga AS uuid) FOR UPDATE")
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
# Everything here is on PostgreSQL and on SQLite.
BOTH = pytest.mark.parametrize("service", ["payments", "inventory"])


def pay(service: str) -> Saga:
    """One step that can be undone, and waits long for its answer."""
    return Saga(f"pay-{service}", step("charge", to=service, undo="refund", timeout="60s"), version=1)


def pay_then_fail(service: str) -> Saga:
    """Its second step is refused; the undo of its first is not waited for long."""
    return Saga(
        f"pay-then-fail-{service}",
        chain(
            step("charge", to=service, undo="refund", undo_timeout="300ms", undo_retry=BRISK),
            step("notify", to=service, undo=None),
        ),
        version=1,
    )


@BOTH
def test_an_undo_after_a_stored_refusal_has_nothing_to_undo(town: Town, service: str) -> None:
    """B2. The refusal's reply is lost, so the coordinator must ask for the undo (C1).

    Guard: the last line of judge.py: judge_undo.
    """
    trip = town.trip(pay(service))
    trip.on(service, "charge", refuse())
    lost = trip.hold("reply", op=Op.DO)
    trip.start()
    lost.wait()

    trip.compensate()

    trip.becomes("compensated")
    assert [one.outcome for one in trip.sent("reply", op=Op.UNDO)] == ["nothing"]
    assert trip.calls(service, "refund") == []
    trip.repeat("command", op=Op.DO)
    assert [one.outcome for one in trip.replies(2, op=Op.DO)] == ["refused", "refused"]
    assert trip.effects(service) == []
    assert trip.replays()


@BOTH
def test_an_undo_that_comes_again_and_again_undoes_once(town: Town, service: str) -> None:
    """B2, invariant 6: two attempts and a copy of each, all at once.

    Guard: `if own is not None` in judge.py: judge_undo.
    """
    trip = town.trip(pay_then_fail(service))
    trip.on(service, "notify", refuse())
    undos = trip.hold("command", op=Op.UNDO, most=2)
    trip.start()
    undos.wait(2)

    undos.release(copies=2)

    trip.becomes("compensated")
    assert {one.outcome for one in trip.replies(4, op=Op.UNDO)} == {"done"}
    assert trip.effects(service) == ["charge", "refund"]
    assert len(trip.calls(service, "refund")) == 1
    assert trip.replays()


@BOTH
def test_an_undo_that_overtakes_its_do_keeps_it_from_ever_running(town: Town, service: str) -> None:
    """B2: the tombstone; invariants 4 and 5. Guard: `_claim(..., Op.DO, Stand.NEVER)` in barrier.py: Barrier.undo."""
    trip = town.trip(pay(service))
    do = trip.hold("command", op=Op.DO)
    trip.start()
    do.wait()
    trip.compensate()
    trip.becomes("compensated")

    do.open()

    assert [one.outcome for one in trip.replies(1, op=Op.DO)] == ["refused"]
    assert trip.calls(service) == []
    assert trip.effects(service) == []
    assert trip.replays()


@BOTH
def test_a_retry_that_arrives_after_its_step_was_fenced_runs_no_more(town: Town, service: str) -> None:
    """B3: a fence makes a standing refusal final; a higher round (A3) cannot run it, however late it comes.

    Guards: `finalize` in barrier.py: Barrier.fence, and `row.final` in judge.py: judge_do.
    """
    saga = Saga(
        f"late-retry-{service}",
        chain(
            pivot(step("charge", to=service)),
            step("notify", to=service, timeout="1s", retry=ONCE_MORE),
        ),
        version=1,
    )
    trip = town.trip(saga)
    trip.on(service, "notify", refuse("not now"))
    retried = trip.hold("command", path="notify", op=Op.DO, round=2)
    trip.start()
    assert "not now" in trip.stuck_at()["notify"]
    trip.retry()
    retried.wait()
    assert "no answer" in trip.stuck_at()["notify"]
    trip.skip("notify")
    trip.becomes("completed")

    retried.open()

    late = trip.replies(2, path="notify", op=Op.DO, round=2)
    assert {one.outcome for one in late} == {"refused"}
    assert len(trip.calls(service, "notify")) == 1
    assert trip.effects(service) == ["charge"]
    assert trip.overrides() == ["skip notify by ann: test (found: refused)"]
    assert trip.replays()


def test_an_old_undo_that_arrives_after_it_was_skipped_changes_nothing(town: Town) -> None:
    """A1: the closing fence takes the undo's place before the saga goes on without it.

    Guard: `_claim(connection, command, op, Stand.NEVER)` in barrier.py: Barrier._close.
    """
    saga = Saga(
        "skipped-undo",
        chain(
            step("charge", to="payments", undo="refund", undo_timeout="300ms", undo_retry=ONCE_MORE),
            step("notify", to="payments", undo=None),
        ),
        version=1,
    )
    trip = town.trip(saga)
    trip.on("payments", "notify", refuse())
    undo = trip.hold("command", op=Op.UNDO)
    trip.start()
    undo.wait()
    assert "no answer" in trip.stuck_at()["charge"]
    trip.skip("charge")
    trip.becomes("compensated")

    undo.open()

    assert {one.outcome for one in trip.replies(2, op=Op.UNDO)} == {"never"}
    assert trip.effects("payments") == ["charge"]
    assert trip.overrides() == ["skip charge by ann: test (found: never)"]
    assert trip.replays()


def test_an_undo_beside_a_do_of_a_higher_round_waits_for_it_and_undoes_it(town: Town) -> None:
    """B1, B2: both at once on a standing refusal, the `do` first. Guard: FOR UPDATE in sql_postgresql.py: LOCK."""
    trip = town.trip(pay("payments"))
    running = Pause()
    trip.on("payments", "charge", refuse(), running)
    lost = trip.hold("reply", op=Op.DO, round=1)
    trip.start()
    lost.wait()
    send_in_a_higher_round(town, trip)
    running.wait()

    trip.compensate()
    await_lock(town)
    running.go_on()

    trip.becomes("compensated")
    assert [one.outcome for one in trip.replies(1, op=Op.DO, round=2)] == ["done"]
    assert trip.effects("payments") == ["charge", "refund"]


def test_a_do_of_a_higher_round_beside_an_undo_waits_for_it_and_is_refused(town: Town) -> None:
    """B1: both at once on a standing refusal, the undo first.

    Guard: the undo row is read after the claim, in barrier.py: Barrier._judge_do.
    """
    trip = town.trip(pay("payments"))
    trip.on("payments", "charge", refuse())
    lost = trip.hold("reply", op=Op.DO, round=1)
    trip.start()
    lost.wait()

    with town.services["payments"].database.begin() as in_the_way:
        in_the_way.execute(HOLD_ROWS, {"saga": trip.id})
        trip.compensate()
        await_lock(town)
        send_in_a_higher_round(town, trip)
        await_lock(town, waiting=2)

    trip.becomes("compensated")
    assert [one.outcome for one in trip.replies(1, op=Op.DO, round=2)] == ["refused"]
    assert [one.outcome for one in trip.sent("reply", op=Op.UNDO)] == ["nothing"]
    assert len(trip.calls("payments", "charge")) == 1
    assert trip.effects("payments") == []


def send_in_a_higher_round(town: Town, trip: Trip) -> None:
    """The saga's `do` again, as an operator's retry sends it. No act of today does so before the pivot."""
    [do] = town.network.sent("command", saga=trip.id, op=Op.DO)
    retried = structs.replace(do, round=2, attempt=2)
    town.network.send(
        [
            Message(
                routing_key=command_queue(town.prefix, "payments", undo=False),
                type=wire.COMMAND,
                body=wire.encode(retried),
            )
        ]
    )


def await_lock(town: Town, waiting: int = 1) -> None:
    """Until so many commands wait for another one's row."""

    def waits() -> bool:
        with town.services["payments"].database.connect() as connection:
            return int(connection.scalar(WAITING) or 0) >= waiting

    eventually(waits, what=f"{waiting} commands to wait for a lock")

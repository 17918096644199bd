"""The embedded coordinator as a fixture: real engine and database, participants beside it, time in the test's hand."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from amends.coordinator import Saga, arg, call, chain, each, item, pivot, step, wait
from amends.db.engines import transaction
from amends.participants import Client, Ctx, Failed, Participant
from amends.participants.errors import InvalidInput
from amends.testing import NotServed, done, failed, refused, silence
from amends.testing.coordinator import CoordinatorBench, CoordinatorClock
from examples.order.payments import payments
from examples.order.saga import Order, place_order
from tests.testkit import shop

ORDER = Order(sku="tea", card="4711", cents=500, address="Main Street 1")

book = Saga(
    "book",
    chain(
        each(arg.lines, step("reserve", to="inventory", undo="release", args=item)),
        wait("approved", timeout="1h"),
        call("pack", {"lines": arg.lines}),
        pivot(step("dispatch", to="shipping")),
    ),
    version=1,
    deadline="1d",
)
pack = Saga("pack", chain(step("box", to="packing", undo="unbox")), version=1)


@pytest.fixture
def database(sqlite_database: Engine) -> Engine:
    """A service's database."""
    with transaction(sqlite_database) as connection:
        shop.furnish(connection)
    return sqlite_database


@pytest.fixture
def session(database: Engine) -> Iterator[Session]:
    """The project's own: rolled back after the test."""
    with database.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()


@pytest.fixture
def coordinator(amends_coordinator: CoordinatorBench) -> CoordinatorBench:
    """With the order's saga and the services that are not ours."""
    amends_coordinator.register(place_order)
    amends_coordinator.script("inventory", reserve=done({"parcel": 7}))
    amends_coordinator.script("shipping")
    return amends_coordinator


def left(session: Session) -> int:
    """What is on the card."""
    return shop.cents(session.connection(), "4711")


def test_an_order_goes_through_real_handlers_in_the_project_s_session(
    coordinator: CoordinatorBench, session: Session
) -> None:
    coordinator.serve(payments, database=session)

    order = coordinator.start(place_order, ORDER, key="order-1")

    assert order.status == "completed"
    assert left(session) == 500
    assert coordinator.start(place_order, ORDER, key="order-1").id == order.id
    assert left(session) == 500


def test_a_refusal_gives_back_what_was_taken(coordinator: CoordinatorBench, session: Session) -> None:
    coordinator.serve(payments, database=session)
    coordinator.script("shipping", dispatch=refused("no carrier"))

    order = coordinator.start(place_order, ORDER)

    assert order.status == "compensated"
    assert left(session) == 1000


def test_a_quarter_of_an_hour_passes_in_milliseconds(
    coordinator: CoordinatorBench, amends_clock: CoordinatorClock
) -> None:
    """Every timeout on the way: the silent step was asked again and again, and then its undo was owed (M4)."""
    asked: list[Any] = []

    def reserve(args: Any) -> Any:
        asked.append(args)
        return silence()

    coordinator.script("inventory", reserve=reserve)
    order = coordinator.start(place_order, ORDER)
    began, at = monotonic(), amends_clock.now
    assert order.status == "running"

    amends_clock.advance("14m")
    assert order.status == "running"
    tries = len(asked)
    amends_clock.advance("1m")

    assert order.status == "compensated"
    assert 8 < tries < 20
    assert (amends_clock.now - at).total_seconds() == 900
    assert monotonic() - began < 60


def test_a_failed_handler_is_asked_again_when_it_said(
    coordinator: CoordinatorBench, amends_clock: CoordinatorClock, database: Engine
) -> None:
    flaky = Participant("payments")
    tries: list[int] = []

    @flaky.command
    def charge(cmd: dict[str, Any], ctx: Ctx) -> str:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise Failed("busy", retry_after_s=60)
        return "at last"

    coordinator.serve(flaky, database=database)
    order = coordinator.start(place_order, ORDER)
    amends_clock.advance("59s")
    assert len(tries) == 1
    amends_clock.advance("61s")

    assert len(tries) == 3
    assert order.status == "completed"
    assert order.state.steps["charge"].result == "at last"


def test_signals_children_items_and_operators(
    amends_coordinator: CoordinatorBench, amends_clock: Any
) -> None:
    amends_coordinator.register(pack, book)
    for name in ("inventory", "packing", "shipping"):
        amends_coordinator.script(name)
    booking = amends_coordinator.start(book, {"lines": ["a", "b"]})
    assert booking.status == "running"

    assert booking.signal("approved", {"by": "chief"}) == "accepted"

    assert booking.status == "completed"
    late = amends_coordinator.start(book, {"lines": []})
    amends_clock.advance("1h")
    assert late.status == "compensated"
    with pytest.raises(NotServed, match="never waits for 'aproved'"):
        amends_coordinator.start(book, {"lines": []}).signal("aproved")

    amends_coordinator.script("shipping", dispatch=refused("no carrier"))
    amends_coordinator.script("packing", unbox=refused("sealed"))
    stuck = amends_coordinator.start(book, {"lines": []})
    stuck.signal("approved")
    amends_clock.advance("5m")
    assert stuck.status == "stuck"
    assert "sealed" in stuck.stuck["pack"]


def test_an_operator_moves_what_is_stuck(
    coordinator: CoordinatorBench, amends_clock: CoordinatorClock
) -> None:
    coordinator.script("payments", charge=refused("declined"))
    coordinator.script("inventory", release=refused("sold"))
    order = coordinator.start(place_order, ORDER)
    amends_clock.advance("2m")
    assert order.status == "stuck"
    assert "sold" in order.stuck["reserve"]

    coordinator.script("inventory", release=done())
    order.retry()

    assert order.status == "compensated"
    with pytest.raises(NotServed, match="has ended"):
        order.compensate()


def test_a_start_in_a_service_s_transaction_is_carried(
    coordinator: CoordinatorBench, session: Session
) -> None:
    coordinator.serve(payments, database=session)
    id_ = Client(service="shop").start(session, place_order, ORDER, key="order-2")

    coordinator.run()

    assert coordinator.saga(id_).status == "completed"
    assert left(session) == 500


def test_nobody_who_is_missing_is_waited_for(coordinator: CoordinatorBench) -> None:
    order = coordinator.start(place_order, ORDER)

    assert order.status == "running"
    assert order.state.steps["charge"].phase == "awaiting"


def test_what_is_not_accepted_is_told(amends_coordinator: CoordinatorBench) -> None:
    with pytest.raises(NotServed, match="unknown_definition"):
        amends_coordinator.start("nothing")
    amends_coordinator.register(place_order)
    with pytest.raises(InvalidInput, match=r"input\.card: missing"):
        amends_coordinator.start(place_order, {"sku": "tea"})


def test_each_test_has_a_database_of_its_own(amends_coordinator: CoordinatorBench) -> None:
    with amends_coordinator.database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM amends.saga")).scalar_one() == 0
        assert connection.execute(text("SELECT now()")).scalar_one() == amends_coordinator.now


@pytest.mark.parametrize("number", [1, 2])
def test_a_failure_scripted_by_a_function(
    coordinator: CoordinatorBench, amends_clock: Any, number: int
) -> None:
    answers = [failed("busy"), done("ok")]
    coordinator.script("payments", charge=lambda args: answers.pop(0))
    order = coordinator.start(place_order, ORDER)

    amends_clock.advance("2s")

    assert order.status == "completed"

"""`crash_everywhere` lets right handlers pass and finds each planted mistake, by the shortest run that shows it."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from amends.coordinator import Saga, arg, chain, group, pivot, step
from amends.db.engines import transaction
from amends.participants import Ctx, Failed, Participant, Refused
from amends.testing import CrashFound, NotServed, crash_everywhere, done, refused
from examples.order.payments import payments
from examples.order.saga import Order, place_order
from tests.testkit import shop

ORDER = Order(sku="tea", card="4711", cents=500, address="Main Street 1")

# One step of the author's, another's beside it, and a point of no return.
pay = Saga(
    "pay",
    chain(
        group(
            step("charge", to="bank", undo="refund", args={"cents": arg.cents}),
            step("reserve", to="inventory", undo="release"),
        ),
        pivot(step("dispatch", to="shipping")),
    ),
    version=1,
)


def furnished(engine: Engine) -> Engine:
    """With accounts, and a log that is nobody's business."""
    with transaction(engine) as connection:
        shop.furnish(connection)
        connection.exec_driver_sql("CREATE TABLE journal (id integer PRIMARY KEY, told varchar(50))")
    return engine


@pytest.fixture
def database(sqlite_database: Engine) -> Engine:
    """A service's database."""
    return furnished(sqlite_database)


def take(connection: Any, cents: int) -> None:
    """From the card."""
    shop.give(connection, "4711", -cents)


class Bank:
    """The author's service, with places to plant a mistake in."""

    def __init__(
        self,
        charge: Callable[[dict[str, int], Ctx], Any] = lambda cmd, ctx: take(ctx.connection, cmd["cents"]),
        refund: Callable[[dict[str, int], Ctx], Any] = lambda cmd, ctx: take(ctx.connection, -cmd["cents"]),
        *,
        external: bool = False,
    ) -> None:
        self.participant = Participant("bank")

        @self.participant.command(name="charge", external=external)
        def do(cmd: dict[str, int], ctx: Ctx) -> None:
            charge(cmd, ctx)

        @do.undo(name="refund")
        def undo(cmd: dict[str, int], result: None, ctx: Ctx) -> None:
            refund(cmd, ctx)


def found(database: Any, bank: Bank, **more: Any) -> CrashFound:
    """What is found."""
    with pytest.raises(CrashFound) as caught:
        crash_everywhere(pay, {"cents": 500}, participants=[bank.participant], database=database, **more)
    return caught.value


def test_right_handlers_stand_everything(database: Engine) -> None:
    survived = crash_everywhere(
        place_order, ORDER, participants=[payments], database=database, answers={"reserve": done({"box": 7})}
    )

    assert survived.completed > 20
    assert survived.compensated > 100
    assert survived.runs == survived.completed + survived.compensated
    with database.connect() as connection:
        assert shop.cents(connection, "4711") == 1000


def test_also_on_postgresql_and_inside_the_project_s_own_session(participant_database: Engine) -> None:
    furnished(participant_database)

    with Session(participant_database) as session:
        one = session.get_one(shop.Account, "4711")
        one.cents = 800
        crash_everywhere(pay, {"cents": 500}, participants=[Bank().participant], database=session)
        assert one.cents == 800
        session.rollback()


def test_a_refusal_of_anybody_compensates(database: Engine) -> None:
    survived = crash_everywhere(
        pay,
        {"cents": 500},
        participants=[Bank().participant],
        database=database,
        answers={"dispatch": refused("no carrier")},
    )

    assert survived.completed == 0


def test_it_is_the_same_each_time(database: Engine) -> None:
    def runs() -> int:
        return crash_everywhere(
            pay, {"cents": 1}, participants=[Bank().participant], database=database, runs_max=40
        ).runs

    assert runs() == runs() == 40


def test_an_undo_that_is_not_the_inverse_is_found_without_any_fault(database: Engine) -> None:
    error = found(database, Bank(refund=lambda cmd, ctx: take(ctx.connection, -cmd["cents"] + 1)))

    assert "compensated, but not as before: table 'account' holds (card='4711', cents=999)" in error.problem
    assert "an operator turns the saga back" in error.run
    assert "again" not in str(error)


def test_a_handler_that_commits_is_found(database: Engine) -> None:
    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        take(ctx.connection, cmd["cents"])
        ctx.connection.commit()

    assert "ended the transaction" in found(database, Bank(charge)).problem


def test_a_handler_that_writes_by_a_connection_of_its_own_is_found(participant_database: Engine) -> None:
    """Guard: the comparison of what stands after the rollback."""
    furnished(participant_database)

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        with participant_database.begin() as connection:
            connection.execute(text("INSERT INTO journal VALUES (1, 'early') ON CONFLICT DO NOTHING"))
        take(ctx.connection, cmd["cents"])

    error = found(participant_database, Bank(charge))

    assert "wrote outside of its transaction" in error.problem
    assert "journal" in error.problem


def test_state_that_is_kept_in_memory_from_do_to_undo_is_found(database: Engine) -> None:
    """Guard: the memory that a process loses."""
    taken: dict[str, int] = {}

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        taken[ctx.saga] = cmd["cents"]
        take(ctx.connection, cmd["cents"])

    def refund(cmd: dict[str, int], ctx: Ctx) -> None:
        take(ctx.connection, -taken[ctx.saga])

    error = found(database, Bank(charge, refund))

    assert "raised KeyError" in error.problem


def test_memory_that_says_it_was_done_when_it_was_rolled_back_is_found(database: Engine) -> None:
    """Guard: an attempt that fails is rolled back, and its process lives on."""
    seen: set[str] = set()
    busy = [True]

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        if ctx.saga in seen:
            return
        seen.add(ctx.saga)
        take(ctx.connection, cmd["cents"])
        if busy.pop() if busy else False:
            raise Failed("busy")

    def correct(outcome: Any) -> None:
        wanted = 500 if outcome.status == "completed" else 1000
        assert shop.cents(outcome.connection, "4711") == wanted

    error = found(database, Bank(charge), check=correct)

    assert "the check says AssertionError" in error.problem


def test_a_handler_that_calls_outside_without_saying_so_is_found(database: Engine) -> None:
    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", 9))

    error = found(database, Bank(charge))

    assert "the handler for do 'charge' calls outside (socket.connect" in error.problem
    assert "external=True" in error.problem


class Provider:
    """A stand-in for a payment provider, in memory."""

    def __init__(self) -> None:
        self.charged: dict[str, int] = {}


def test_a_stand_in_for_something_outside_outlives_a_crash(database: Engine) -> None:
    provider = Provider()

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        provider.charged[ctx.idempotency_key] = cmd["cents"]

    def refund(cmd: dict[str, int], ctx: Ctx) -> None:
        provider.charged.pop(ctx.do_idempotency_key, None)

    error = found(database, Bank(charge, refund), outside=[provider])
    assert "changes Provider" in error.problem

    def balanced(outcome: Any) -> None:
        assert len(provider.charged) == (outcome.status == "completed")

    saga = Saga(
        "void",
        chain(
            step("charge", to="bank", undo="refund", args={"cents": arg.cents}), pivot(step("go", to="other"))
        ),
        version=1,
    )
    bank = Bank(charge, refund, external=True)
    survived = crash_everywhere(
        saga,
        {"cents": 5},
        participants=[bank.participant],
        database=database,
        outside=[provider],
        check=balanced,
    )
    assert survived.completed > 20


def test_a_call_outside_without_its_key_is_found(database: Engine) -> None:
    """Guard: the crash after the call, before its outcome is stored."""
    provider = Provider()

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        provider.charged[str(len(provider.charged))] = cmd["cents"]

    def once(outcome: Any) -> None:
        assert outcome.status == "compensated" or len(provider.charged) == 1, provider.charged

    error = found(
        database, Bank(charge, lambda cmd, ctx: None, external=True), outside=[provider], check=once
    )

    assert any("dies after the handler, before the commit" in line for line in error.run)


def test_an_effect_that_is_not_guarded_by_the_barrier_is_found(database: Engine) -> None:
    """Something else is written to at once, which no rollback takes back; the author's check looks at it."""
    ledger = sqlite3.connect(":memory:", isolation_level=None)
    ledger.execute("CREATE TABLE entry (saga text)")

    def charge(cmd: dict[str, int], ctx: Ctx) -> None:
        ledger.execute("INSERT INTO entry VALUES (?)", (ctx.saga,))

    def once(outcome: Any) -> None:
        (entries,) = ledger.execute("SELECT count(*) FROM entry").fetchone()
        ledger.execute("DELETE FROM entry")
        assert entries <= 1, f"{entries} entries"

    error = found(database, Bank(charge, lambda cmd, ctx: None), check=once)

    assert "2 entries" in error.problem
    ledger.close()


def test_what_an_undo_leaves_on_purpose_can_be_said(database: Engine) -> None:
    def refund(cmd: dict[str, int], ctx: Ctx) -> None:
        take(ctx.connection, -cmd["cents"])
        ctx.connection.execute(text("INSERT INTO journal (told) VALUES ('refunded')"))

    assert "journal" in found(database, Bank(refund=refund)).problem
    everything = {"participants": [Bank(refund=refund).participant], "database": database, "runs_max": 60}
    crash_everywhere(pay, {"cents": 500}, ignoring=["journal"], **everything)
    crash_everywhere(pay, {"cents": 500}, restores=False, **everything)


def test_an_undo_that_refuses_is_found(database: Engine) -> None:
    def refund(cmd: dict[str, int], ctx: Ctx) -> None:
        raise Refused("too late")

    assert "stuck (charge: its undo was refused: too late)" in found(database, Bank(refund=refund)).problem


def test_what_cannot_be_run_is_told(database: Engine) -> None:
    with pytest.raises(NotServed, match="bank has no do 'charge'"):
        crash_everywhere(pay, {"cents": 1}, participants=[Participant("bank")], database=database)
    with pytest.raises(NotServed, match="answers for dispach"):
        crash_everywhere(
            pay,
            {"cents": 1},
            participants=[Bank().participant],
            database=database,
            answers={"dispach": done()},
        )
    with pytest.raises(NotServed, match="say where"):
        crash_everywhere(pay, {"cents": 1}, participants=[Bank().participant])

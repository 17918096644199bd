"""Handlers run with their barrier: on an engine, and inside the project's own transaction, which stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.orm import Session

from amends.db.engines import open_engine, transaction
from amends.db.participant import create
from amends.participants import Ctx, HandlerEndedTransaction, Participant
from amends.testing import (
    NotServed,
    ParticipantBench,
    WrongAnswer,
    done,
    expired,
    failed,
    never,
    nothing,
    refused,
)
from amends.testing.workplaces import Database
from tests.testkit import shop
from tests.testkit.shop import Charge, Charged, charge, hasty, look, refund

FIVE = Charge(card="4711", cents=500)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, sqlite_database: Engine, participant_database: Engine) -> Engine:
    """A service's database, with its tables and ours."""
    engine = sqlite_database if request.param == "sqlite" else participant_database
    with transaction(engine) as connection:
        shop.furnish(connection)
    return engine


@pytest.fixture(params=["engine", "connection", "session"])
def place(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Database]:
    """As a project gives it: an engine, or what its rollback fixture has opened."""
    if request.param == "engine":
        yield engine
        return
    with engine.connect() as connection, connection.begin() as outer:
        if request.param == "connection":
            yield connection
        else:
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                yield session
        outer.rollback()
    with engine.connect() as connection:
        assert shop.cents(connection, "4711") == 1000, "the project's rollback takes all back"
        assert connection.exec_driver_sql("SELECT count(*) FROM amends_barrier").scalar_one() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM amends_outbox").scalar_one() == 0


def left(place: Database) -> int:
    """What is on the card."""
    if isinstance(place, Engine):
        with place.connect() as connection:
            return shop.cents(connection, "4711")
    assert isinstance(place, Connection | Session)
    return shop.cents(place if isinstance(place, Connection) else place.connection(), "4711")


def test_a_command_that_comes_twice_has_one_effect_and_one_answer(place: Database) -> None:
    bench = ParticipantBench(place)

    first = bench.send(charge, FIVE)

    assert first == done(Charged(left=500))
    assert first.result == Charged(left=500)
    assert bench.redeliver(first) == first
    assert bench.again(first) == first
    assert left(place) == 500
    assert [message.type for message in bench.sent] == ["charged"]


def test_an_undo_gives_back_once_and_closes_the_step(place: Database) -> None:
    bench = ParticipantBench(place)
    first = bench.send(charge, FIVE)

    assert bench.undo(first) == done()
    assert bench.undo(first) == done()
    assert left(place) == 1000
    assert bench.redeliver(first).outcome == "refused"
    assert bench.confirm(first).outcome == "refused"
    assert left(place) == 1000


def test_an_undo_that_comes_first_lets_nothing_happen(place: Database) -> None:
    bench = ParticipantBench(place)
    late = bench.command(charge, FIVE)

    assert bench.undo(late) == nothing()
    assert bench.send(late).outcome == "refused"
    assert left(place) == 1000


def test_fence_and_confirm_answer_what_stands(place: Database) -> None:
    bench = ParticipantBench(place)
    first = bench.send(charge, FIVE)

    assert bench.confirm(first) == done()
    assert bench.fence(first) == done(Charged(left=500))
    never_sent = bench.command(charge, FIVE)
    assert bench.fence(never_sent) == never()
    assert bench.send(never_sent) == refused("fenced: it may never run")


def test_refusals_failures_and_bad_payloads_are_answered_as_a_worker_does(place: Database) -> None:
    bench = ParticipantBench(place)

    declined = bench.send(charge, Charge(card="4711", cents=5000))
    assert declined == refused("card declined")
    assert bench.redeliver(declined) == declined
    assert bench.send(charge, Charge(card="void", cents=1)) == failed("card is busy", retry_after_s=5)
    assert bench.send(charge, {"card": "4711"}) == refused("invalid_args: cents: missing")
    assert bench.send(charge, FIVE, age="60d") == expired()
    assert left(place) == 1000


def test_a_handler_that_ends_the_transaction_fails_the_test(place: Database) -> None:
    """Guard: TransactionGuard on what the bench works on."""
    with pytest.raises(HandlerEndedTransaction, match=r"connection\.commit"):
        ParticipantBench(place).send(hasty, FIVE)


def test_what_the_project_reads_after_it_is_what_the_handler_wrote(engine: Engine) -> None:
    with Session(engine) as session:
        one = session.get_one(shop.Account, "4711")
        one.cents = 700  # Not flushed yet: the handler sees it all the same.

        ParticipantBench(session).send(charge, FIVE)

        assert one.cents == 200
        session.rollback()
        assert one.cents == 1000


def test_an_async_handler_runs_in_a_test_with_and_without_a_loop(place: Database) -> None:
    bench = ParticipantBench(place)

    async def beside() -> None:
        assert bench.send(look, FIVE) == done(1000)

    asyncio.run(beside())
    assert bench.send(look, FIVE) == done(1000)


def test_an_async_handler_has_its_session_in_the_same_transaction(place: Database) -> None:
    counter = Participant("counter")

    @counter.command
    async def count(cmd: Charge, ctx: Ctx) -> int:
        one = await ctx.asession.get_one(shop.Account, cmd.card)
        one.cents -= cmd.cents
        return one.cents

    bench = ParticipantBench(place)

    async def beside() -> None:
        first = bench.send(count, FIVE)
        assert bench.redeliver(first) == first == done(500)

    asyncio.run(beside())
    assert left(place) == 500


def test_a_call_outside_is_made_again_under_its_key_once_its_lease_is_over(engine: Engine) -> None:
    bank: dict[str, int] = {}
    gateway = Participant("gateway")

    @gateway.command(external=True)
    def pay(cmd: Charge, ctx: Ctx) -> str:
        bank[ctx.idempotency_key] = cmd.cents
        return "paid"

    bench = ParticipantBench(engine)
    command = bench.command(pay, FIVE)

    bench.crash(command, at="participant.handler.after")
    assert list(bank.values()) == [500]
    assert bench.send(command).outcome == "failed"  # It may still be under way.
    bench.advance("5m")
    assert bench.send(command) == done("paid")
    assert list(bank.values()) == [500]


@pytest.mark.parametrize(
    ("at", "stands"),
    [
        ("participant.handler.after", 1000),
        ("participant.commit.before", 1000),
        ("participant.commit.after", 500),
    ],
)
def test_a_command_whose_worker_dies_comes_again(place: Database, at: str, stands: int) -> None:
    """Guard: the savepoint, or transaction, around each command."""
    bench = ParticipantBench(place)
    command = bench.command(charge, FIVE)

    bench.crash(command, at=at)

    assert left(place) == stands
    assert bench.send(command) == done(Charged(left=500))
    assert left(place) == 500


def test_a_crash_at_a_point_that_is_not_passed_is_told(engine: Engine) -> None:
    bench = ParticipantBench(engine)

    with pytest.raises(NotServed, match=r"passes participant\.received.*not participant\.intent"):
        bench.crash(bench.command(charge, FIVE), at="participant.intent.after")
    with pytest.raises(ValueError, match="no crash point"):
        bench.crash(bench.command(charge, FIVE), at="somewhere")


def test_the_fixtures_need_no_server_and_no_setting_up(amends_participant: ParticipantBench) -> None:
    greeter = Participant("greeter")

    @greeter.command
    def greet(cmd: str, ctx: Ctx) -> str:
        return f"hello {cmd}"

    assert amends_participant.send(greet, "you") == done("hello you")


def test_what_cannot_be_run_is_told_with_its_mend(engine: Engine) -> None:
    bench = ParticipantBench(engine)

    with pytest.raises(NotServed, match="refund is no command: decorate it"):
        bench.send(refund, FIVE)  # type: ignore[arg-type]
    with pytest.raises(NotServed, match=r"look has 0 handlers for undo"):
        bench.undo(bench.command(look, FIVE))
    with pytest.raises(WrongAnswer, match="answers no command"):
        bench.redeliver(done())
    with pytest.raises(NotServed, match="Engine, a URL, or an open Connection or Session"):
        ParticipantBench(object()).send(charge, FIVE)  # type: ignore[arg-type]
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(NotServed, match="autocommit"),
    ):
        ParticipantBench(connection).send(charge, FIVE)


def test_a_project_s_own_sqlite_engine_is_joined(tmp_path) -> None:
    path = tmp_path / "own.sqlite"
    create(open_engine(f"sqlite:///{path}"))
    own = create_engine(f"sqlite:///{path}")
    with own.begin() as connection:
        shop.furnish(connection)
    with Session(own) as session:
        session.get_one(shop.Account, "4711").cents = 900

        assert ParticipantBench(session).send(charge, FIVE) == done(Charged(left=400))

        session.rollback()
    with own.connect() as connection:
        assert shop.cents(connection, "4711") == 1000
    own.dispose()

"""The worker's transaction under bad handlers and under contention, on real servers (B1, B4, B7)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from amends.db.engines import transaction
from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant, ParticipantError, Refused
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.shop import Effect, count, record
from tests.waiting import DEADLINE_S


@pytest.fixture
def worker_database(server_database: Engine) -> Engine:
    """PostgreSQL and MariaDB in turn."""
    return server_database


ENDINGS: dict[str, Callable[[Ctx], Any]] = {
    "connection.commit": lambda ctx: ctx.connection.commit(),
    "connection.rollback": lambda ctx: ctx.connection.rollback(),
    "session.commit": lambda ctx: ctx.session.commit(),
    "session.rollback": lambda ctx: ctx.session.rollback(),
    "session.begin": lambda ctx: ctx.session.begin().__exit__(None, None, None),
    "textual commit": lambda ctx: ctx.connection.exec_driver_sql("COMMIT"),
    "textual rollback": lambda ctx: ctx.connection.exec_driver_sql("ROLLBACK"),
}


def ending(how: Callable[[Ctx], Any], *, swallow: bool = False) -> Participant:
    """A participant whose handler ends the transaction."""
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        record(ctx.connection, "ended", ctx.saga)
        try:
            how(ctx)
        except ParticipantError:
            if not swallow:
                raise
        return "fine"

    return participant


@pytest.mark.parametrize("name", ENDINGS)
def test_a_handler_that_ends_the_transaction_is_never_done(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, name: str
) -> None:
    """B4. Seen to fail without the listeners of TransactionGuard, and for textual ones without the savepoint."""
    coordinator = coordinator_of("one")
    start_worker(ending(ENDINGS[name]))

    first = coordinator.ask(sent := command("work", {}))
    second = coordinator.ask(again(sent, attempt=2))

    assert (first.outcome, first.spent) == (Outcome.FAILED, True)
    assert "ended the worker's transaction" in first.reason
    assert second.outcome is Outcome.FAILED


@pytest.mark.parametrize("name", ["connection.commit", "session.commit", "session.rollback"])
def test_swallowing_the_error_does_not_help_it(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf, name: str
) -> None:
    coordinator = coordinator_of("one")
    start_worker(ending(ENDINGS[name], swallow=True))

    reply = coordinator.ask(sent := command("work", {}))

    assert reply.outcome is Outcome.FAILED
    assert count(worker_database, "ended", sent.saga) == 0


def test_a_handler_may_use_savepoints_of_its_own(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        with ctx.connection.begin_nested():
            record(ctx.connection, "kept", ctx.saga)
        undone = ctx.connection.begin_nested()
        record(ctx.connection, "undone", ctx.saga)
        undone.rollback()
        with ctx.session.begin_nested():
            ctx.session.execute(text("SELECT 1"))

    start_worker(participant)

    reply = coordinator.ask(sent := command("work", {}))

    assert reply.outcome is Outcome.DONE
    assert count(worker_database, "kept", sent.saga) == 1
    assert count(worker_database, "undone", sent.saga) == 0


def test_a_flush_that_fails_may_be_answered_with_a_refusal(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """Seen to fail with a session that joins the transaction itself: its failing flush would end it."""
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        ctx.session.execute(
            text("INSERT INTO effects (kind, saga, amount) VALUES ('first', :saga, 0)"), {"saga": ctx.saga}
        )
        try:
            ctx.session.add(Effect(kind="orm"))
            ctx.session.flush()
        except IntegrityError:
            raise Refused("taken") from None

    start_worker(participant)

    reply = coordinator.ask(sent := command("work", {}))

    assert (reply.outcome, reply.reason) == (Outcome.REFUSED, "taken")
    assert count(worker_database, "first", sent.saga) == 0


def test_a_handler_that_swallows_a_database_error_is_not_done(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """On PostgreSQL, where it aborts the transaction; elsewhere only the statement is undone."""
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        try:
            ctx.connection.exec_driver_sql("SELECT 1 / 0")
        except DBAPIError:
            return "fine"
        return "odd"

    start_worker(participant, database=module_postgresql)

    reply = coordinator.ask(command("work", {}))

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, True)
    assert "transaction is aborted" in reply.reason


def test_a_lock_that_is_not_given_in_time_is_an_unspent_failure(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        ctx.connection.exec_driver_sql("UPDATE effects SET amount = 1 WHERE kind = 'held'")

    start_worker(participant, lock_timeout_s=0.1)
    with transaction(worker_database) as connection:
        record(connection, "held", "nobody")

    with transaction(worker_database) as connection:
        connection.exec_driver_sql("UPDATE effects SET amount = 1 WHERE kind = 'held'")
        reply = coordinator.ask(command("work", {}))

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, False)


def test_two_commands_that_deadlock_are_both_done(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """B7: 40P01, 1213 of MariaDB, is retried. Seen to fail with `_TRIES = 1`."""
    coordinator = coordinator_of("one")
    participant = Participant("one")
    with transaction(worker_database) as connection:
        record(connection, "row", "a")
        record(connection, "row", "b")
    meet = threading.Barrier(2)
    first_run = threading.local()

    @participant.command
    def work(cmd: str, ctx: Ctx) -> None:
        lock(ctx, cmd)
        if not getattr(first_run, "over", False):
            first_run.over = True
            meet.wait(DEADLINE_S)
        lock(ctx, "b" if cmd == "a" else "a")

    def lock(ctx: Ctx, saga: str) -> None:
        ctx.connection.execute(
            text("UPDATE effects SET amount = amount + 1 WHERE saga = :saga"), {"saga": saga}
        )

    start_worker(participant, lock_timeout_s=20)

    for one in ("a", "b"):
        coordinator.send(command("work", one))
    replies = [coordinator.await_reply(lambda reply: True) for _ in range(2)]

    assert [reply.outcome for reply in replies] == [Outcome.DONE, Outcome.DONE]
    with worker_database.connect() as connection:
        query = text("SELECT sum(amount) FROM effects WHERE saga IN ('a', 'b')")
        assert connection.scalar(query) == 4


@pytest.mark.parametrize("level", ["REPEATABLE READ", "AUTOCOMMIT"])
def test_a_service_engine_of_another_isolation_level_is_used_at_read_committed(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf, level: str
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        record(ctx.connection, "isolated", ctx.saga)
        if cmd:
            raise Refused("no")
        asked = (
            "SELECT @@tx_isolation"
            if ctx.connection.dialect.name == "mysql"
            else "SHOW transaction_isolation"
        )
        return str(ctx.connection.exec_driver_sql(asked).scalar_one()).lower().replace("-", " ")

    engine = create_engine(worker_database.url, isolation_level=level)  # type: ignore[call-overload]
    worker = start_worker(participant, database=engine)

    done = coordinator.ask(command("work", {}))
    refused = coordinator.ask(sent := command("work", {"not": "this"}))
    worker.stop()
    engine.dispose()

    assert bytes(done.result) == b'"read committed"'
    assert refused.outcome is Outcome.REFUSED
    assert count(worker_database, "isolated", sent.saga) == 0


def test_a_second_delivery_beside_a_slow_handler_is_an_unspent_failure(
    worker_database: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")
    running, release = threading.Event(), threading.Event()

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        record(ctx.connection, "slow", ctx.saga)
        running.set()
        assert release.wait(DEADLINE_S)

    start_worker(participant, lock_timeout_s=0.1)
    slow = coordinator.send(command("work", {}))
    assert running.wait(DEADLINE_S)

    try:
        waited = coordinator.ask(again(slow, attempt=2))
    finally:
        release.set()
    done = coordinator.await_reply(lambda reply: reply.attempt == 1)

    assert (waited.outcome, waited.spent) == (Outcome.FAILED, False)
    assert done.outcome is Outcome.DONE
    assert count(worker_database, "slow", slow.saga) == 1

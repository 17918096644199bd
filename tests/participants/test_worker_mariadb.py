"""A participant whose database is MariaDB: its sessions, its ways to end a transaction, deaths on both sides."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from amends.db.engines import open_engine, transaction
from amends.db.errors import UnsupportedDatabase
from amends.db.guarded import Guarded
from amends.db.mysql import require_skip_locked
from amends.db.participant import create
from amends.db.tables.participant import outbox
from amends.demo.config import child_environment
from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.shop import count, metadata, record
from tests.servers.mariadb import PrivateMaria
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

ROOT = Path(__file__).parents[2]
POINTS = (
    "participant.handler.after",
    "participant.commit.before",
    "participant.commit.after",
    "participant.ack.before",
)


@pytest.fixture
def worker_database(module_mariadb: Engine) -> Engine:
    """MariaDB alone."""
    return module_mariadb


def test_a_service_engine_keeps_its_own_sessions(
    module_mariadb: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """Isolation and lock timeout belong to a session. Guard: `own_pool`; without it the service's would be changed."""
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> list[object]:
        asked = "SELECT @@tx_isolation, @@innodb_lock_wait_timeout, @@autocommit"
        return list(ctx.connection.exec_driver_sql(asked).one())

    url = make_url(module_mariadb.url).set(drivername="mariadb+pymysql")
    engine = create_engine(url, pool_size=1, max_overflow=0)
    before = connections(module_mariadb)
    worker = start_worker(participant, database=engine)

    reply = coordinator.ask(command("work", {}))
    with engine.connect() as connection:
        theirs = connection.exec_driver_sql("SELECT @@tx_isolation, @@innodb_lock_wait_timeout").one()
    worker.stop()
    engine.dispose()

    assert bytes(reply.result) == b'["READ-COMMITTED",1,0]'
    assert tuple(theirs) == ("REPEATABLE-READ", 50)
    eventually(lambda: connections(module_mariadb) <= before, what="every connection to be closed")


def connections(engine: Engine) -> int:
    asked = "SELECT count(*) FROM information_schema.processlist WHERE db = database()"
    with transaction(engine) as connection:
        return int(connection.exec_driver_sql(asked).scalar_one())


def test_a_statement_that_commits_by_itself_ends_the_transaction(
    module_mariadb: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """B4: CREATE TABLE commits there. Guard: NO_SAVEPOINT in `ended_by_handler`."""
    coordinator = coordinator_of("one")
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        record(ctx.connection, "created", ctx.saga)
        ctx.connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS made_by_a_handler (id int)")

    start_worker(participant)

    first = coordinator.ask(sent := command("work", {}))
    second = coordinator.ask(again(sent, attempt=2))

    assert (first.outcome, first.spent) == (Outcome.FAILED, True)
    assert "ended the worker's transaction" in first.reason
    assert second.outcome is Outcome.FAILED  # In doubt: what it did stands.
    assert count(module_mariadb, "created", sent.saga) == 1


def test_a_deadlock_that_a_handler_swallows_is_never_done(
    module_mariadb: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """MariaDB rolls all of the transaction back, and the driver begins another as if nothing had been."""
    coordinator = coordinator_of("one")
    participant = Participant("one")
    with transaction(module_mariadb) as connection:
        connection.exec_driver_sql("CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL) ENGINE=InnoDB")
        connection.exec_driver_sql("INSERT INTO pair VALUES (1, 0), (2, 0)")
    held, release = threading.Event(), threading.Event()

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        record(ctx.connection, "deadlocked", ctx.saga)
        ctx.connection.exec_driver_sql("UPDATE pair SET n = n + 1 WHERE id = 1")
        held.set()
        assert release.wait(DEADLINE_S)
        try:
            ctx.connection.exec_driver_sql("UPDATE pair SET n = n + 1 WHERE id = 2")
        except DBAPIError as error:
            return type(error).__name__
        return "no deadlock"

    def cross() -> None:
        with transaction(module_mariadb) as connection:
            # The one with more rows changed lives.
            connection.exec_driver_sql("INSERT INTO pair SELECT seq + 10, 0 FROM seq_1_to_200")
            connection.exec_driver_sql("UPDATE pair SET n = n + 1 WHERE id = 2")
            release.set()
            connection.exec_driver_sql("UPDATE pair SET n = n + 1 WHERE id = 1")

    start_worker(participant, lock_timeout_s=20)
    coordinator.send(sent := command("work", {}))
    assert held.wait(DEADLINE_S)
    cross()
    reply = coordinator.await_reply(lambda reply: True)

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, True)
    assert count(module_mariadb, "deadlocked", sent.saga) == 0


@pytest.fixture
def private_engine(private_mariadb: PrivateMaria) -> Iterator[Engine]:
    """A database whose server this test may kill."""
    engine = open_engine(private_mariadb.url)
    with transaction(engine) as connection:
        connection.execute(text("CREATE DATABASE service"))
    engine.dispose()
    engine = open_engine(make_url(private_mariadb.url).set(database="service"))
    create(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_while_the_server_is_away_commands_wait_and_are_done_once(
    private_mariadb: PrivateMaria,
    private_engine: Engine,
    start_worker: StartWorker,
    coordinator_of: CoordinatorOf,
) -> None:
    """B8; O6: an id is not used again after a crash, though no row is left that has it."""
    coordinator = coordinator_of("one")
    participant = Participant("one")
    handling, go_on = threading.Event(), threading.Event()

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        record(ctx.connection, "work", ctx.saga)
        handling.set()
        assert go_on.wait(DEADLINE_S)

    worker = start_worker(participant, database=private_engine)
    go_on.set()
    coordinator.ask(command("work", {}))
    eventually(lambda: left(private_engine) == 0, what="the reply's row to go")
    highest = next_id(private_engine)
    handling.clear()
    go_on.clear()

    sent = [coordinator.send(command("work", {}))]
    assert handling.wait(DEADLINE_S)
    private_mariadb.kill()
    sent += [coordinator.send(command("work", {})) for _ in range(5)]
    go_on.set()
    private_mariadb.start()
    replies = [coordinator.await_reply(lambda reply: reply.outcome is Outcome.DONE) for _ in sent]
    worker.stop()

    assert {reply.saga for reply in replies} == {one.saga for one in sent}
    assert [count(private_engine, "work", one.saga) for one in sent] == [1] * len(sent)
    assert next_id(private_engine) > highest


def left(engine: Engine) -> int:
    with transaction(engine) as connection:
        return len(connection.execute(outbox.select()).all())


def next_id(engine: Engine) -> int:
    """The id a row gets that is then rolled back."""
    with engine.connect() as connection:
        new = outbox.insert().values(message_id="m", routing_key="q", type="t", body=b"")
        key = connection.execute(new).inserted_primary_key
        connection.rollback()
    assert key is not None
    return int(key[0])


def test_a_worker_that_is_killed_at_any_point_leaves_one_effect_and_answers(
    module_mariadb: Engine, coordinator_of: CoordinatorOf, rabbit: RabbitServer, prefix: str, tmp_path: Path
) -> None:
    """`kill -9` before and after each durable step. Guard: the barrier's row in the effect's transaction."""
    coordinator = coordinator_of("counter")
    sent = []
    for point in POINTS:
        program = started(module_mariadb, rabbit, prefix, tmp_path / point, point)
        try:
            sent.append(coordinator.send(command("count_up", 0)))
            eventually(lambda program=program: not program.alive(), what=f"its death at {point}")
        finally:
            program.close()
    last = started(module_mariadb, rabbit, prefix, tmp_path / "last")
    try:
        waited = {one.saga for one in sent}
        while waited:
            waited.discard(coordinator.await_reply(lambda reply: reply.outcome is Outcome.DONE).saga)
        eventually(lambda: left(module_mariadb) == 0, what="the outbox to be empty")
    finally:
        last.close()

    assert [count(module_mariadb, "count", one.saga) for one in sent] == [1] * len(POINTS)


def started(engine: Engine, rabbit: RabbitServer, prefix: str, log: Path, crash_at: str = "") -> Guarded:
    program = Guarded(
        [sys.executable, "-m", "amends.db.cli", "participant", "tests.participants.programs:counter"],
        directory=ROOT,
        log=log,
        env=child_environment(
            AMENDS_DATABASE_URL=engine.url.render_as_string(hide_password=False),
            AMENDS_BROKER_URL=rabbit.url,
            AMENDS_PREFIX=prefix,
            AMENDS_LOG_FORMAT="json",
            **({"AMENDS_CRASH_AT": crash_at} if crash_at else {}),
        ),
    )
    program.start()
    return program


def test_a_server_without_skip_locked_is_refused(module_mariadb: Engine) -> None:
    engine = create_engine(module_mariadb.url)
    with engine.connect():
        pass
    # SQLAlchemy 2.0 keeps the version of a MariaDB apart, 2.1 derives it.
    vars(engine.dialect).update(server_version_info=(10, 5, 9), _mariadb_normalized_version_info=(10, 5, 9))

    with pytest.raises(
        UnsupportedDatabase, match=r"this MariaDB is version 10\.5\.9; amends needs 10\.6 or newer"
    ):
        require_skip_locked(engine)
    engine.dispose()

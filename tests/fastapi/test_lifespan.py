"""The lifespan in this process: TestClient, Starlette, any ASGI application; composed, nested, misused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.applications import Starlette

from amends.db.engines import open_engine, transaction
from amends.db.errors import InvalidSetting, SchemaOutdated, UnsupportedDatabase
from amends.db.tables.participant import outbox
from amends.outbox import aput
from amends.outbox.message import Message
from amends.outbox.ports import Broker
from amends.outbox.wire import Outcome
from amends.participants import Client, Ctx, Participant
from amends.participants.asyncio import Lifespan, amends_lifespan
from amends.participants.asyncio.databases import plain_url
from tests.fastapi.clients import TestClient
from tests.fastapi.conftest import Notes
from tests.outbox.rows import rows
from tests.participants.coordinator import FakeCoordinator, command
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

LifespanOf = Callable[..., Lifespan]


def one() -> Participant:
    """A participant of one async command."""
    participant = Participant("one")

    @participant.command
    async def work(cmd: int, ctx: Ctx) -> int:
        assert ctx.asession is not None
        return cmd + 1

    return participant


@pytest.fixture
def lifespan_of(participant_database: Engine, rabbit: RabbitServer, prefix: str) -> LifespanOf:
    """A lifespan on the servers of this test."""

    def make(*participants: Participant, **given: Any) -> Lifespan:
        at = {"database": participant_database.url, "broker": rabbit.url, "prefix": prefix}
        return amends_lifespan(*participants, **{**at, **given})

    return make


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("amends")]
    assert left == []


def test_beside_a_test_client_it_obeys_and_tells_when_it_is_ready(
    lifespan_of: LifespanOf, coordinator: FakeCoordinator
) -> None:
    lifespan = lifespan_of(one())
    app = FastAPI(lifespan=lifespan)
    assert lifespan.readiness().waits_for == ("the application's start",)

    for turn in range(2):
        with TestClient(app):
            eventually(lambda: lifespan.readiness().ready, what="readiness")
            reply = coordinator.ask(command("work", turn))
            assert (reply.outcome, bytes(reply.result)) == (Outcome.DONE, b"%d" % (turn + 1))
        assert not lifespan.readiness().ready


def test_without_a_participant_it_relays_what_a_request_has_put(
    lifespan_of: LifespanOf, participant_database: Engine, notes: Notes, prefix: str
) -> None:
    lifespan = lifespan_of(service="shop")
    app = FastAPI(lifespan=lifespan)
    engine = create_async_engine(participant_database.url)

    @app.post("/orders/{number}")
    async def place(number: str) -> str:
        async with AsyncSession(engine) as session, session.begin():
            await aput(
                session, Message(routing_key=f"{prefix}.notes", type="n", body=b"", correlation_id=number)
            )
            return await Client("shop", prefix=prefix).astart(session, "place-order", {}, key=number)

    with TestClient(app) as http:
        saga = http.post("/orders/7").json()
        notes.await_number("7")
        eventually(lambda: lifespan.readiness().ready, what="readiness")
        # It waits for the coordinator's receipt (O1).
        eventually(
            lambda: [row.correlation_id for row in rows(participant_database)] == [saga], what="the start"
        )
        assert http.portal is not None
        http.portal.call(engine.dispose)


def test_the_applications_own_lifespan_is_around_it_and_its_state_is_kept(
    lifespan_of: LifespanOf, coordinator: FakeCoordinator
) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append(f"own begins, ready {lifespan.readiness().ready}, {app.title}")
        yield {"colour": "blue"}
        seen.append(f"own ends, {lifespan.readiness().waits_for[0]}")

    lifespan = lifespan_of(one(), within=own)
    app = FastAPI(lifespan=lifespan, title="shop")

    @app.get("/colour")
    async def colour(request: Request) -> str:
        return str(request.state.colour)

    with TestClient(app) as http:
        assert http.get("/colour").json() == "blue"
        assert coordinator.ask(command("work", 1)).outcome is Outcome.DONE

    assert seen == ["own begins, ready False, shop", "own ends, the application's start"]


def test_it_works_in_starlette_and_inside_another_lifespan(
    lifespan_of: LifespanOf, coordinator: FakeCoordinator
) -> None:
    lifespan = lifespan_of(one())

    @asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[None]:
        async with lifespan(app):
            yield

    with TestClient(Starlette(lifespan=own)):
        assert coordinator.ask(command("work", 1)).outcome is Outcome.DONE


def test_it_works_without_any_framework(lifespan_of: LifespanOf, coordinator: FakeCoordinator) -> None:
    async def service() -> Outcome:
        async with lifespan_of(one())():
            return (await asyncio.to_thread(coordinator.ask, command("work", 1))).outcome

    assert asyncio.run(service()) is Outcome.DONE


def test_it_needs_no_framework_to_be_imported() -> None:
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, amends.participants.asyncio\n"
            "print([name for name in ('fastapi', 'starlette', 'uvicorn', 'httpx', 'kombu', 'opentelemetry',"
            " 'sqlalchemy.ext.asyncio', 'amends.coordinator') if name in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


def test_a_request_that_is_cancelled_in_mid_transaction_leaves_nothing(participant_database: Engine) -> None:
    """By the application's own timeout, or its server's: the session's end rolls back."""
    app = FastAPI()
    engine = create_async_engine(
        participant_database.url.set(drivername="postgresql+asyncpg"), pool_size=1, max_overflow=0
    )
    put = asyncio.Event()

    @app.post("/orders/{number}")
    async def place(number: str, hang: bool) -> None:
        async with AsyncSession(engine) as session, session.begin():
            await Client("shop").astart(session, "place-order", {}, key=number)
            if hang:
                put.set()
                await asyncio.Event().wait()

    async def requests() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
            hanging = asyncio.create_task(http.post("/orders/1", params={"hang": True}))
            await asyncio.wait_for(put.wait(), DEADLINE_S)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging
            # The pool's only connection is free again, and clean.
            (await http.post("/orders/2", params={"hang": False})).raise_for_status()
        await engine.dispose()

    asyncio.run(requests())

    with transaction(participant_database) as connection:
        bodies = connection.scalars(select(outbox.c.body)).all()
    assert [b'"key":"2"' in bytes(body) for body in bodies] == [True]


def test_a_dependency_commits_before_the_answer_only_with_the_functions_scope(
    participant_database: Engine,
) -> None:
    """What docs/fastapi.md warns of: by FastAPI's default a dependency ends after the answer has left."""
    order: list[str] = []

    async def recorded() -> AsyncIterator[None]:
        yield
        order.append("commit")

    app = FastAPI()

    @app.get("/request", dependencies=[Depends(recorded)])
    async def by_default() -> None: ...

    @app.get("/function", dependencies=[Depends(recorded, scope="function")])
    async def by_function() -> None: ...

    async def answers(path: str) -> list[str]:
        order.clear()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                order.append("answer")

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [], "http_version": "1.1", "scheme": "http", "server": ("shop", 80), "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        return list(order)

    assert asyncio.run(answers("/request")) == ["answer", "commit"]
    assert asyncio.run(answers("/function")) == ["commit", "answer"]


def test_tables_that_are_missing_stop_the_start_with_the_command(
    database_url: str, rabbit: RabbitServer
) -> None:
    for lifespan in (
        amends_lifespan(one(), database=database_url, broker=rabbit.url),
        amends_lifespan(service="shop", database=database_url, broker=rabbit.url),
    ):
        with (
            pytest.raises(SchemaOutdated, match="amends migrate --participant"),
            TestClient(FastAPI(lifespan=lifespan)),
        ):
            pytest.fail("it must not serve")
        assert not lifespan.readiness().ready


def test_settings_that_are_missing_or_wrong_are_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AMENDS_DATABASE_URL", "AMENDS_BROKER_URL", "AMENDS_SERVICE"):
        monkeypatch.delenv(variable, raising=False)

    def starts(lifespan: Lifespan) -> None:
        with TestClient(FastAPI(lifespan=lifespan)):
            pytest.fail("it must not serve")

    with pytest.raises(InvalidSetting, match="AMENDS_DATABASE_URL"):
        starts(amends_lifespan(one(), broker="memory://"))
    with pytest.raises(InvalidSetting, match="AMENDS_BROKER_URL"):
        starts(amends_lifespan(one(), database="sqlite:///x.sqlite"))
    with pytest.raises(InvalidSetting, match="oracle"):
        starts(amends_lifespan(one(), database="oracle://host/name", broker="memory://x"))
    with pytest.raises(ValueError, match="service="):
        starts(amends_lifespan(database="sqlite:///x.sqlite", broker="memory://x"))
    with pytest.raises(ValueError, match="threads"):
        amends_lifespan(one(), threads=0)
    with pytest.raises(ValueError, match="processes"):
        amends_lifespan(one(), processes=2)


def test_one_lifespan_runs_once_at_a_time(lifespan_of: LifespanOf) -> None:
    lifespan = lifespan_of(one())

    async def twice() -> None:
        async with lifespan():
            with pytest.raises(RuntimeError, match="runs already"):
                async with lifespan():
                    pytest.fail("it must not begin")
            assert "the application's start" not in lifespan.readiness().waits_for

    asyncio.run(twice())


def test_a_start_that_is_cancelled_leaves_no_thread(lifespan_of: LifespanOf) -> None:
    async def cancelled() -> None:
        async def begin() -> None:
            async with lifespan_of(one())():
                await asyncio.Event().wait()

        for patience_s in (0.0, 0.01, 0.05, 0.2):
            task = asyncio.create_task(begin())
            await asyncio.wait([task], timeout=patience_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgresql+asyncpg://u:p%40@h:1/d", "postgresql+psycopg://u:p%40@h:1/d"),
        ("postgresql+asyncpg://u@h/d?ssl=require", "postgresql+psycopg://u@h/d?sslmode=require"),
        ("postgresql+asyncpg://u@h/d?prepared_statement_cache_size=0", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg://h/d"),
        ("sqlite+aiosqlite:///shop.sqlite", "sqlite:///shop.sqlite"),
        ("mysql+asyncmy://u@h/d", "mysql+pymysql://u@h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_a_worker_reaches_the_same_database_by_its_own_driver(url: str, plain: str) -> None:
    assert plain_url(url) == plain_url(make_url(url)) == plain


def test_an_engine_of_either_kind_tells_its_url() -> None:
    asynchronous: AsyncEngine = create_async_engine("postgresql+asyncpg://u:secret@h/d")
    plain = create_engine("postgresql+psycopg://u:secret@h/d")

    assert plain_url(asynchronous) == plain_url(plain) == "postgresql+psycopg://u:secret@h/d"
    with pytest.raises(UnsupportedDatabase, match="AsyncEngine"):
        plain_url(object())


def test_a_plain_engine_is_used_as_it_is(
    lifespan_of: LifespanOf, coordinator: FakeCoordinator, participant_database: Engine, broker: Broker
) -> None:
    engine = open_engine(participant_database.url, label="the service's own")
    with TestClient(FastAPI(lifespan=lifespan_of(one(), database=engine))):
        assert coordinator.ask(command("work", 1)).outcome is Outcome.DONE
        with transaction(participant_database) as connection:
            names = connection.exec_driver_sql(
                "SELECT DISTINCT application_name FROM pg_stat_activity"
            ).scalars()
            assert "the service's own" in set(names)
    engine.dispose()

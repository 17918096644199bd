"""`outbox.delay`: a Celery task that is sent if its transaction commits, to workers that know nothing of amends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from amends import outbox
from amends.outbox.ports import Broker
from tests.celery.conftest import Told
from tests.celery.working import CeleryWorker
from tests.outbox.relaying import relaying
from tests.waiting import eventually


@pytest.fixture
def database(task_database: Engine) -> Engine:
    return task_database


@pytest.fixture
def prefix(task_prefix: str) -> str:
    return task_prefix


def test_a_task_runs_if_its_transaction_commits_and_only_then(
    database: Engine, project: Any, working: CeleryWorker, told: Told, broker: Broker, prefix: str
) -> None:
    with relaying(database, broker, prefix):
        with Session(database) as session:
            lost = outbox.delay(session, project.note, "rolled back")
            session.rollback()
        with Session(database) as session, session.begin():
            inner = session.begin_nested()
            lost_inside = outbox.delay(session, project.note, "rolled back to a savepoint")
            inner.rollback()
            kept = outbox.delay(session, project.note, 1, "two", three=[3, None])

        ran = told.await_by(kept)

    assert ran["args"] == [1, "two"]
    assert ran["kwargs"] == {"three": [3, None]}
    assert ran["queue"] == f"{prefix}.classic"
    assert ran["root"] == kept
    assert ran["parent"] is None
    # The rolled back ones were put first: they would have run first.
    assert told.by(lost) == told.by(lost_inside) == []


def test_celerys_options_mean_what_they_mean_to_celery(
    database: Engine, project: Any, working: CeleryWorker, told: Told, broker: Broker, prefix: str
) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    with relaying(database, broker, prefix):
        with Session(database) as session, session.begin():
            began = time.time()
            routed = outbox.delay(session, project.routed, "by task_routes")
            by_topic = outbox.delay(session, project.by_topic, word="by a topic exchange")
            dated = outbox.delay(session, project.dated, moment)
            flaky = outbox.delay(session, project.flaky)
            named = outbox.apply_async(
                session, project.note, task_id="my-id", queue=f"{prefix}.quorum", headers={"tenant": "seven"},
                priority=3, link=project.note.s("linked").set(task_id="the-link"),
            )  # fmt: skip
            signed = outbox.delay(session, project.note.s(1).set(queue=f"{prefix}.quorum"), 0)
            later = outbox.apply_async(session, project.note, ("later",), countdown=1.5)
            dead = outbox.apply_async(session, project.note, ("dead",), eta=moment, expires=moment)

        assert told.await_by(routed)["queue"] == f"{prefix}.quorum"
        assert told.await_by(by_topic)["key"] == f"{prefix}.reports.daily"
        assert told.await_by(dated) == {"type": "datetime", "moment": moment.isoformat()}
        assert told.await_by(flaky) == {"retries": 2}
        by_name = told.await_by(named)
        linked = told.await_by("the-link")
        assert told.await_by(signed)["args"] == [0, 1]
        told.await_by(later)
        waited_s = time.time() - began

    assert named == "my-id"
    assert by_name["queue"] == f"{prefix}.quorum"
    assert by_name["headers"]["tenant"] == "seven"
    assert by_name["priority"] == 3
    assert linked["args"] == ["noted", "linked"]
    assert linked["parent"] == "my-id"
    assert waited_s >= 1.5
    assert told.by(dead) == []


def test_what_is_put_before_any_worker_was_there_waits_for_it(
    database: Engine,
    project: Any,
    start_worker: Callable[..., CeleryWorker],
    told: Told,
    broker: Broker,
    prefix: str,
) -> None:
    """Without `mandatory` the broker would drop what no queue takes, also where the exchange is a named one."""
    queues = [f"{prefix}.late", f"{prefix}.late-topic"]
    topic = {"queue": queues[1], "exchange": f"{prefix}.topics", "routing_key": f"{prefix}.late.one"}
    with relaying(database, broker, prefix):
        with Session(database) as session, session.begin():
            task_ids = [
                outbox.apply_async(session, project.note, queue=queues[0]),
                outbox.apply_async(session, project.note, **topic),
            ]

        def tried() -> bool:
            with database.connect() as connection:
                tried = "SELECT count(*) FROM amends_outbox WHERE attempts > 0 AND message_id = ANY(:ids)"
                return bool(connection.execute(text(tried), {"ids": task_ids}).scalar_one() == len(task_ids))

        eventually(tried, what="the broker to take neither")
        start_worker("tests.celery.project", queues)

        for task_id in task_ids:
            told.await_by(task_id)


def test_an_async_session_sends_as_well(
    database: Engine, project: Any, working: CeleryWorker, told: Told, broker: Broker, prefix: str
) -> None:
    async def put() -> tuple[str, str, str]:
        engine = create_async_engine(database.url)
        async with AsyncSession(engine) as session, session.begin():
            first = await outbox.adelay(session, project.note, "async")
            second = await outbox.aapply_async(session, project.note, ["async"], queue=f"{prefix}.quorum")
        async with AsyncSession(engine) as session:
            lost = await outbox.adelay(session, project.note, "rolled back")
        await engine.dispose()
        return lost, first, second

    lost, first, second = asyncio.run(put())
    with relaying(database, broker, prefix):
        assert told.await_by(first)["args"] == ["async"]
        assert told.await_by(second)["queue"] == f"{prefix}.quorum"
    assert told.by(lost) == []


def test_a_task_in_a_task_names_its_parent(
    database: Engine, project: Any, working: CeleryWorker, told: Told, broker: Broker, prefix: str
) -> None:
    with Session(database) as session, session.begin():
        outer = outbox.delay(session, project.outer)
    with relaying(database, broker, prefix):
        inner = told.await_by(outer)["inner"]
        ran = told.await_by(inner)
    assert (ran["root"], ran["parent"]) == (outer, outer)


def test_expiry_is_told_to_broker_and_worker() -> None:
    from celery import Celery

    from amends.outbox.celery import task_message

    app = Celery(broker="pyamqp://nobody@localhost:1//")

    @app.task(expires=60)
    def ping() -> None:
        """Nothing."""

    _, message = task_message(ping)
    _, held = task_message(ping, eta=datetime.now(UTC) + timedelta(seconds=20))

    assert 59_000 < (message.expiration_ms or 0) <= 60_000
    assert message.headers["eta"] is None
    left = datetime.fromisoformat(str(message.headers["expires"])) - datetime.now(UTC)
    assert 59 < left.total_seconds() <= 60
    assert 19 < held.delay_s <= 20
    assert 39_000 < (held.expiration_ms or 0) <= 40_000

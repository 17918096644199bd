"""Celery tasks as steps: obeyed in real Celery workers, behind the barrier of their database."""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select, text

from amends.db.tables.participant import outbox
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker, Delivery, coordinator_queue
from amends.outbox.wire import ANSWER_DURABLE, COMMAND, HEADER_ANSWER, Op, Outcome, encode
from amends.participants.calls.deferring import HEADER_WAITS
from amends.participants.celery import CeleryParticipant
from amends.participants.errors import InvalidHandler
from amends.participants.worker.inbound import read_inbound
from amends.testing import ParticipantBench, done
from tests.celery.conftest import Ledger
from tests.celery.working import CeleryWorker
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


@pytest.fixture(scope="session")
def celery(
    steps: Any, environment: dict[str, str], rabbit: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """A Celery worker with two processes."""
    log = tmp_path_factory.mktemp("celery") / "steps.log"
    worker = CeleryWorker("tests.celery.steps", [steps.NOW], environment=environment, log=log, pool="prefork")
    broker = open_broker(rabbit.url)
    try:
        worker.await_ready(broker)
        yield worker
    finally:
        broker.close()
        worker.kill()


def test_a_task_does_the_work_and_a_later_command_takes_it_back(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, entries: Ledger
) -> None:
    done = coordinator.ask(command("enter", {"number": 4}, path="step"))
    repeated = coordinator.ask(command("enter", {"number": 4}, path="step", saga=done.saga, attempt=2))
    confirmed = coordinator.ask(command("seal", op=Op.CONFIRM, path="step", saga=done.saga))
    undone = coordinator.ask(command("strike", op=Op.UNDO, path="step", saga=done.saga))

    assert (done.outcome, bytes(done.result)) == (Outcome.DONE, b"8")
    assert (repeated.outcome, bytes(repeated.result)) == (Outcome.DONE, b"8")
    assert (confirmed.outcome, undone.outcome) == (Outcome.DONE, Outcome.DONE)
    assert entries.of(done.saga) == ["did", "confirmed 8", "undid 8"]
    did, *others = entries.pids(done.saga)
    assert did != os.getpid()
    assert others == [os.getpid()] * 2


def test_no_thread_waits_while_tasks_run(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, tmp_path: Path
) -> None:
    """With a thread that waited, the two that are held would keep the third command from being obeyed."""
    open_gate = tmp_path / "gate"
    held = [
        coordinator.send(command("enter", {"number": n, "wait_for": f"{open_gate}"}, path=f"held-{n}"))
        for n in (1, 2)
    ]
    eventually(lambda: (tmp_path / "gate.begun").exists(), what="a task to run")

    beside = coordinator.ask(command("at_once", {"number": 3}))
    assert json.loads(bytes(beside.result)) == os.getpid()
    assert [one for one in coordinator.replies if one.op is Op.DO] == []
    open_gate.touch()
    for one in held:
        reply = coordinator.await_reply(lambda reply, one=one: reply.saga == one.saga)
        assert reply.outcome is Outcome.DONE


def test_a_refusal_and_a_failure_leave_no_effect(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, entries: Ledger
) -> None:
    refused = coordinator.ask(command("enter", {"number": 13}))
    first = command("enter", {"number": 14})
    failed = coordinator.ask(first)
    done = coordinator.ask(again(first, attempt=2))
    wrong = coordinator.ask(command("enter", {"number": "four"}))

    assert (refused.outcome, refused.reason, refused.certain) == (Outcome.REFUSED, "unlucky", True)
    assert entries.of(refused.saga) == []
    assert (failed.outcome, failed.spent) == (Outcome.FAILED, True)
    assert "not the first time" in failed.reason
    assert done.outcome is Outcome.DONE
    assert entries.of(first.saga) == ["did"]
    assert wrong.outcome is Outcome.REFUSED
    assert wrong.reason.startswith("invalid_args")


def test_a_soft_time_limit_is_a_failed_attempt(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, entries: Ledger
) -> None:
    reply = coordinator.ask(command("dawdle", {"number": 1}))

    assert reply.outcome is Outcome.FAILED
    assert "SoftTimeLimitExceeded" in reply.reason
    assert entries.of(reply.saga) == []


def test_a_send_that_comes_again_waits_longer_each_time(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, task_database: Engine
) -> None:
    """Guard: HEADER_WAITS is handed over; without it each wait was the first, about a second, without an end."""
    deadline = int(time.time() * 1000) + 6_000
    sent = command("enter", {"number": 15}, deadline=deadline)
    coordinator.send(sent, headers={HEADER_ANSWER: ANSWER_DURABLE})

    def waits() -> list[str]:
        with task_database.connect() as connection:
            rows = connection.execute(
                select(outbox.c.headers).where(outbox.c.correlation_id == sent.saga, outbox.c.type == COMMAND)
            )
            return [json.loads(row.headers).get(HEADER_WAITS, "") for row in rows]

    eventually(lambda: waits() == ["1"], what="the first wait")
    eventually(lambda: waits() == ["2"], what="the second wait")
    # The third would end after the deadline: so it is told.
    reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
    assert (reply.outcome, reply.spent, reply.reason) == (Outcome.FAILED, False, "not now")


def test_an_external_task_has_a_key_of_its_own(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker
) -> None:
    reply = coordinator.ask(command("call_out", {"number": 1}, path="out/3"))

    assert reply.outcome is Outcome.DONE
    assert json.loads(bytes(reply.result)) == f"{reply.saga}/out/3/do"


def test_the_test_kit_runs_a_task_where_it_stands(steps: Any, task_database: Engine, entries: Ledger) -> None:
    bench = ParticipantBench(task_database)

    first = bench.send(steps.enter, steps.Entry(number=4))

    assert first == done(8)
    assert bench.redeliver(first) == first
    assert bench.undo(first) == done()


def test_a_task_expires_with_its_command(steps: Any, prefix: str) -> None:
    """So the queue of a Celery worker that is down holds few of one step (M6)."""
    sent = command("enter", {"number": 1})
    delivery = Delivery(1, "q", encode(sent), type=COMMAND, expiration="5000")

    handed = steps.ledger.find(Op.DO, "enter").hand_over(
        read_inbound(delivery, participant="ledger", prefix=prefix)
    )

    assert 4_000 < (handed.expiration_ms or 0) <= 5_000
    assert handed.headers["expires"] is not None
    assert handed.routing_key == steps.NOW


def test_where_messages_are_sealed_so_is_what_is_handed_over(
    steps: Any, task_database: Engine, broker: Broker, celery: CeleryWorker, prefix: str, entries: Ledger
) -> None:
    """A Celery worker believes nobody else than amends does: nothing unsigned, changed, or meant for another task."""
    coordinator = FakeCoordinator(broker, prefix, "vault")
    worker = steps.vault.worker(database=task_database, broker=broker, prefix=prefix)
    worker.start()
    plain = command("lock_up", {"number": 4})
    came = Delivery(1, "q", encode(plain), type=COMMAND, message_id="m", reply_to=coordinator_queue(prefix))
    inbound = read_inbound(came, participant="vault", prefix=prefix)

    def handed(name: str) -> Any:
        return json.loads(steps.vault.find(Op.DO, name).hand_over(inbound).body)[0][0]

    good = handed("lock_up")
    assert b"lock_up" not in b64decode(good["body"])  # The codec has been at it, too.
    unsigned = {name: value for name, value in good["headers"].items() if name != "amends-signature"}
    for bad, reason in (
        ({**good, "headers": unsigned}, "no signature"),
        ({**good, "reply_to": "elsewhere"}, "the signature does not fit"),
        (handed("take_out"), "signed for another queue"),
    ):
        steps.app.send_task("amends.vault.lock_up", [bad], queue=steps.NOW)
        assert coordinator.await_dead().headers["amends-reason"] == reason
    assert entries.of(plain.saga) == []

    reply = coordinator.ask(plain)
    worker.stop()
    coordinator.close()
    assert reply.outcome is Outcome.DONE
    assert entries.of(plain.saga) == ["did"]


def test_what_is_no_command_fails_and_what_cannot_be_read_is_put_aside(
    coordinator: FakeCoordinator, worker: Any, celery: CeleryWorker, steps: Any, prefix: str
) -> None:
    """Neither goes back to its queue, to come again for ever."""
    steps.app.send_task("amends.ledger.enter", ["junk"], queue=steps.NOW)
    eventually(lambda: "no command: this task is called by" in celery.log, what="the task to fail")

    handing = {"body": "{}", "message_id": "1", "reply_to": "no", "headers": {"amends-prefix": prefix}}
    steps.app.send_task("amends.ledger.enter", [handing], queue=steps.NOW)
    assert "amends.command" in str(coordinator.await_dead().headers["amends-reason"])


def test_the_database_may_be_away(
    coordinator: FakeCoordinator,
    worker: Any,
    celery: CeleryWorker,
    entries: Ledger,
    task_database: Engine,
    postgres: Any,
    tmp_path: Path,
) -> None:
    """Nothing is answered or acknowledged; what was begun comes again."""
    gate = tmp_path / "gate"
    sent = coordinator.send(command("enter", {"number": 5, "wait_for": str(gate)}))
    eventually((tmp_path / "gate.begun").exists, what="the task to run")
    name = task_database.url.database
    admin = open_admin(postgres)
    with admin.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        gate.touch()
        try:
            eventually(lambda: "command_not_answered" in celery.log, what="the task to go back")
        finally:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    admin.dispose()

    reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
    assert reply.outcome is Outcome.DONE
    assert entries.of(sent.saga) == ["did"]


def open_admin(postgres: Any) -> Engine:
    """An engine on the server itself, not on a test's database."""
    from amends.db.engines import open_engine

    return open_engine(postgres.url).execution_options(isolation_level="AUTOCOMMIT")


def test_a_task_that_cannot_work_is_refused_when_it_is_declared(steps: Any) -> None:
    other = CeleryParticipant(f"other-{uuid4().hex[:6]}", steps.app)
    with pytest.raises(InvalidHandler, match="time_limit_s must be at most 1500"):
        other.task(time_limit_s=3_600)
    with pytest.raises(InvalidHandler, match="soft_time_limit_s"):
        other.task(time_limit_s=10, soft_time_limit_s=20)
    with pytest.raises(TypeError, match="retry_policy: no such option"):
        other.task(retry_policy={})
    with pytest.raises(InvalidHandler):
        other.task(lambda too, many, of, them: None)

"""Celery tasks as steps when messages come twice, late, in the wrong order, and processes are killed: B1, B2, M4."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION
from sqlalchemy import Engine

from amends.outbox.ports import Broker
from amends.outbox.wire import ANSWER_DURABLE, HEADER_ANSWER, Op, Outcome
from amends.participants.worker.inbound import DELIVERIES_MAX
from tests.celery.conftest import Ledger
from tests.celery.working import ROOT, CeleryWorker
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

STEPS = "tests.celery.steps"


@pytest.fixture
def late(steps: Any, start_worker: Callable[..., CeleryWorker]) -> Callable[..., CeleryWorker]:
    """Starts a Celery worker for the queue that has none; the queue itself stands from the beginning, and is empty."""
    with steps.app.connection_for_write() as connection:
        queue = steps.app.amqp.queues[steps.LATER](connection.default_channel)
        queue.declare()
        queue.purge()
    return lambda **options: start_worker(STEPS, [steps.LATER], **options)


@pytest.fixture
def handed(steps: Any, late: Any, broker: Broker) -> Callable[[int], None]:
    """Waits until so many tasks wait in that queue."""

    def wait(count: int) -> None:
        def waiting() -> bool:
            state = broker.look([steps.LATER], timeout_s=5)[steps.LATER]
            return state is not None and state.ready == count

        eventually(waiting, what=f"{count} tasks to wait in {steps.LATER}")

    return wait


def test_copies_have_one_effect(
    coordinator: FakeCoordinator,
    worker: Any,
    late: Callable[..., CeleryWorker],
    handed: Callable[[int], None],
    entries: Ledger,
) -> None:
    """The saga's timeout sends again what waits in Celery's queue; two processes take the copies side by side."""
    first = command("enter_later", {"number": 4})
    for attempt in (1, 1, 2, 3):
        coordinator.send(again(first, attempt=attempt))
    handed(4)

    late(pool="prefork")

    replies = [coordinator.await_reply(lambda reply: reply.saga == first.saga) for _ in range(4)]
    # One that meets another at work has not been had in time: transient, unspent, and asked again.
    outcomes = {(reply.outcome, reply.spent) for reply in replies}
    assert (Outcome.DONE, True) in outcomes
    assert outcomes <= {(Outcome.DONE, True), (Outcome.FAILED, False)}
    assert entries.of(first.saga) == ["did"]


def test_an_undo_that_comes_first_keeps_the_task_out(
    coordinator: FakeCoordinator,
    worker: Any,
    late: Callable[..., CeleryWorker],
    handed: Callable[[int], None],
    entries: Ledger,
) -> None:
    """B2: by the row that it leaves, which the task finds in its own transaction."""
    first = command("enter_later", {"number": 4}, path="step")
    coordinator.send(first)
    handed(1)
    undone = coordinator.ask(command("strike_later", op=Op.UNDO, path="step", saga=first.saga))

    celery = late()

    reply = coordinator.await_reply(lambda reply: reply.saga == first.saga and reply.op is Op.DO)
    assert undone.outcome is Outcome.NOTHING
    assert reply.outcome is Outcome.REFUSED
    assert entries.of(first.saga) == []
    # What comes later still is answered without Celery: the participant's worker looks first.
    celery.kill()
    assert coordinator.ask(again(first, attempt=2)).outcome is Outcome.REFUSED


def test_a_task_killed_in_its_middle_comes_again(
    coordinator: FakeCoordinator,
    worker: Any,
    late: Callable[..., CeleryWorker],
    entries: Ledger,
    tmp_path: Path,
) -> None:
    """kill -9 of the Celery worker and its children: with `acks_late` the broker gives the task to another."""
    gate = tmp_path / "gate"
    celery = late(pool="prefork")
    sent = coordinator.send(command("enter_later", {"number": 4, "wait_for": str(gate)}, path="step"))
    eventually((tmp_path / "gate.begun").exists, what="the task to run")

    celery.kill()
    assert entries.of(sent.saga) == []
    gate.touch()
    late()

    reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
    assert reply.outcome is Outcome.DONE
    assert entries.of(sent.saga) == ["did"]
    undone = coordinator.ask(command("strike_later", op=Op.UNDO, path="step", saga=sent.saga))
    assert undone.outcome is Outcome.DONE
    assert entries.of(sent.saga) == ["did", "undid 8"]


def test_a_task_that_was_acknowledged_before_it_ran_is_sent_again_by_the_saga(
    coordinator: FakeCoordinator,
    worker: Any,
    late: Callable[..., CeleryWorker],
    entries: Ledger,
    tmp_path: Path,
) -> None:
    """With `acks_late=False` the kill loses it: silence, and the next attempt (M4)."""
    gate = tmp_path / "gate"
    celery = late(pool="prefork")
    sent = coordinator.send(command("enter_early", {"number": 4, "wait_for": str(gate)}))
    eventually((tmp_path / "gate.begun").exists, what="the task to run")
    celery.kill()
    gate.touch()
    late()

    reply = coordinator.ask(again(sent, attempt=2))

    assert reply.outcome is Outcome.DONE
    assert reply.attempt == 2
    assert entries.of(sent.saga) == ["did"]


def test_a_send_whose_task_kills_its_process_comes_again_but_not_for_ever(
    coordinator: FakeCoordinator,
    worker: Any,
    steps: Any,
    start_worker: Callable[..., CeleryWorker],
    entries: Ledger,
    tmp_path: Path,
) -> None:
    """Guards: `reject_on_worker_lost=True`, without it there is no answer; the quorum queue's count, up to ten."""
    start_worker(STEPS, [steps.COUNTED], pool="prefork")
    send = {"headers": {HEADER_ANSWER: ANSWER_DURABLE}}

    once = command("kill_its_child", {"number": 1, "wait_for": str(tmp_path / "once")})
    coordinator.send(once, **send)
    reply = coordinator.await_reply(lambda reply: reply.saga == once.saga)
    assert (reply.outcome, bytes(reply.result)) == (Outcome.DONE, b"1")
    assert entries.of(once.saga) == ["did"]

    if VERSION < (5, 5):
        return  # Its workers cannot consume from a queue that counts: nothing would end what follows.
    always = command("kill_its_child", {"number": 1_000, "wait_for": str(tmp_path / "always")})
    coordinator.send(always, **send)
    reply = coordinator.await_reply(lambda reply: reply.saga == always.saga, 90)
    assert (reply.outcome, reply.spent) == (Outcome.FAILED, True)
    assert "it may kill the worker" in reply.reason
    assert (tmp_path / "always").stat().st_size == DELIVERIES_MAX + 1
    assert entries.of(always.saga) == []
    coordinator.await_dead()


@pytest.mark.parametrize("point", ["participant.commit.before", "participant.commit.after"])
def test_a_celery_worker_killed_around_its_commit_leaves_one_effect(
    coordinator: FakeCoordinator,
    worker: Any,
    late: Callable[..., CeleryWorker],
    entries: Ledger,
    point: str,
) -> None:
    """B1: effect, barrier row and reply are one transaction; acknowledged is only after it."""
    doomed = late(environment={"AMENDS_CRASH_AT": point})
    sent = coordinator.send(command("enter_later", {"number": 4}))
    eventually(lambda: doomed.process.poll() is not None, what="the Celery worker to be killed")
    assert doomed.process.returncode == -signal.SIGKILL
    assert entries.of(sent.saga) == (["did"] if point.endswith("after") else [])

    late()

    reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
    assert (reply.outcome, bytes(reply.result)) == (Outcome.DONE, b"8")
    assert entries.of(sent.saga) == ["did"]


@pytest.mark.parametrize("point", ["participant.commit.before", "participant.commit.after"])
def test_a_participant_killed_as_it_hands_over_loses_nothing(
    coordinator: FakeCoordinator,
    steps: Any,
    task_database: Engine,
    rabbit: RabbitServer,
    broker: Broker,
    prefix: str,
    late: Callable[..., CeleryWorker],
    entries: Ledger,
    environment: dict[str, str],
    point: str,
    tmp_path: Path,
) -> None:
    """The command is acknowledged after the commit, which holds the call of the task."""
    late()
    url = task_database.url.render_as_string(hide_password=False)
    command_line = [
        sys.executable, "-m", "amends.db.cli", "participant", f"{STEPS}:ledger",
        "--database", url, "--broker", rabbit.url, "--prefix", prefix,
    ]  # fmt: skip
    log = (tmp_path / "participant.log").open("wb")
    sent = coordinator.send(command("enter_later", {"number": 4}))
    doomed = subprocess.run(
        command_line,
        cwd=ROOT,
        env={**os.environ, **environment, "AMENDS_CRASH_AT": point},
        stdout=log,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    log.close()
    assert doomed.returncode == -signal.SIGKILL, (tmp_path / "participant.log").read_text()

    worker = steps.ledger.worker(database=task_database, broker=broker, prefix=prefix)
    worker.start()
    try:
        reply = coordinator.await_reply(lambda reply: reply.saga == sent.saga)
    finally:
        worker.stop()
    assert reply.outcome is Outcome.DONE
    assert entries.of(sent.saga) == ["did"]

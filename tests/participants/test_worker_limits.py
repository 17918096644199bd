"""A handler's limits on real queues: counted, not timed."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from amends.outbox.broker import open_broker
from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant
from amends.participants.metrics import ParticipantMetrics
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import FakeCoordinator, command
from tests.participants.shop import count, record
from tests.waiting import DEADLINE_S, eventually


class Crowd:
    """Counts how many are in at once; those inside wait until they are let go."""

    def __init__(self) -> None:
        self.inside = self.most = self.began = 0
        self.go = threading.Event()
        self._lock = threading.Lock()

    def through(self) -> None:
        """Be one of them."""
        with self._lock:
            self.inside += 1
            self.began += 1
            self.most = max(self.most, self.inside)
        assert self.go.wait(DEADLINE_S)
        with self._lock:
            self.inside -= 1


def replies(coordinator: FakeCoordinator, number: int) -> Counter[Outcome]:
    """The outcomes of so many replies."""
    return Counter(coordinator.await_reply(lambda _: True).outcome for _ in range(number))


def test_no_more_of_a_handler_run_at_once_and_the_others_are_not_held_up(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """Guard: the turnstile; without it all four threads run `slow`, and `quick` waits behind twenty of them."""
    coordinator = coordinator_of("crowded")
    crowd = Crowd()
    crowded = Participant("crowded")

    @crowded.command(concurrency=2)
    def slow(cmd: int) -> None:
        crowd.through()

    @crowded.command
    def quick(cmd: int) -> None: ...

    for number in range(20):
        coordinator.send(command("slow", number))
    for number in range(10):
        coordinator.send(command("quick", number))
    start_worker(crowded, threads=4)

    done = [coordinator.await_reply(lambda reply: reply.path == "quick") for _ in range(10)]
    assert {reply.outcome for reply in done} == {Outcome.DONE}
    assert (crowd.inside, crowd.most) == (2, 2)
    crowd.go.set()
    outcomes = replies(coordinator, 20)
    assert crowd.most == 2
    assert outcomes[Outcome.DONE] == crowd.began
    assert outcomes[Outcome.FAILED] == 20 - crowd.began


def test_who_is_turned_away_is_told_when_to_come_again_and_it_costs_no_attempt(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """M3: `failed`, unspent; what is at hand beyond half of the prefetch does not wait here."""
    coordinator = coordinator_of("limited")
    limited = Participant("limited")
    runs: list[int] = []

    @limited.command(rate="3/h")
    def rare(cmd: int) -> None:
        runs.append(cmd)

    for number in range(30):
        coordinator.send(command("rare", number))
    start_worker(limited, threads=2, prefetch=4)

    got = [coordinator.await_reply(lambda _: True) for _ in range(30)]

    failed = [reply for reply in got if reply.outcome is Outcome.FAILED]
    assert sorted(runs) == [0, 1, 2]
    assert len(failed) == 27
    assert {reply.spent for reply in failed} == {False}
    assert min(reply.retry_after_s or 0 for reply in failed) > 3500
    assert len({reply.retry_after_s for reply in failed}) > 1


def test_args_over_the_handlers_size_are_refused_for_good(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("small")
    small = Participant("small")

    @small.command(payload_bytes_max=20)
    def note(cmd: str, ctx: Ctx) -> None:
        record(ctx.connection, "noted", ctx.saga)

    start_worker(small)
    fits, large = command("note", "x" * 18), command("note", "x" * 19)

    assert coordinator.ask(fits).outcome is Outcome.DONE
    refused, again = coordinator.ask(large), coordinator.ask(large)

    assert refused.outcome is again.outcome is Outcome.REFUSED
    assert refused.reason == "payload_too_large: 21 bytes of args are over the 20 that note takes"
    assert count(module_postgresql, "noted", large.saga) == 0


@pytest.mark.parametrize("limits", [{"soft_time_limit_s": 0.05}, {}])
def test_a_handler_is_told_that_its_time_is_up_where_it_asks(
    module_postgresql: Engine,
    start_worker: StartWorker,
    coordinator_of: CoordinatorOf,
    limits: dict[str, Any],
) -> None:
    """What it did is rolled back, and it is tried again: by its own limit, or by the worker's."""
    coordinator = coordinator_of("patient")
    patient = Participant("patient")

    @patient.command(**limits)
    def work(cmd: int, ctx: Ctx) -> None:
        ctx.check_time()
        record(ctx.connection, "in time", ctx.saga)
        eventually(lambda: ctx.time_left_s < 0, what="its time to be up")
        ctx.check_time()

    start_worker(patient, time_limit_s=60 if limits else 0.05)

    sent = command("work", 1)
    reply = coordinator.ask(sent)

    assert (reply.outcome, reply.spent, reply.reason.partition(":")[0]) == (
        Outcome.FAILED,
        True,
        "soft_time_limit",
    )
    assert count(module_postgresql, "in time", sent.saga) == 0


def test_an_async_handler_is_cancelled_at_its_own_limit(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("endless")
    endless = Participant("endless")

    @endless.command(time_limit_s=0.2)
    async def work(cmd: int) -> None:
        import asyncio

        await asyncio.Event().wait()

    start_worker(endless)

    assert coordinator.ask(command("work", 1)).reason == "TimeoutError"


def test_a_handler_says_how_many_share_a_transaction(module_postgresql: Engine) -> None:
    """B7, each by its own number: six of one in two transactions, the other's each alone, in a batch of eight."""
    broker = open_broker(f"memory://{uuid4().hex}")
    coordinator = FakeCoordinator(broker, "p", "batched")
    batched = Participant("batched")
    transactions: dict[str, list[int]] = {"by_three": [], "alone": []}

    def note(cmd: int, ctx: Ctx) -> None:
        transactions[ctx.path].append(ctx.connection.execute(text("SELECT txid_current()")).scalar_one())

    batched.command(name="by_three", batch=3)(note)
    batched.command(name="alone", batch=1)(note)
    for number in range(6):
        coordinator.send(command("by_three", number))
    for number in range(2):
        coordinator.send(command("alone", number))
    worker = batched.worker(
        database=module_postgresql,
        broker=broker,
        prefix="p",
        metrics=ParticipantMetrics(CollectorRegistry()),
        threads=1,
        batch=8,
        time_limit_s=60,
    )
    worker.start()
    try:
        assert replies(coordinator, 8) == {Outcome.DONE: 8}
    finally:
        worker.stop()
        coordinator.close()

    assert list(Counter(transactions["by_three"]).values()) == [3, 3]
    assert list(Counter(transactions["alone"]).values()) == [1, 1]

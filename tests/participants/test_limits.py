"""What a handler may say of its limits, and what a worker makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from amends.participants import Ctx, Participant
from amends.participants.errors import InvalidHandler
from amends.participants.limits import Rate
from amends.participants.worker.settings import LEASE_MARGIN_S, WorkerSettings

NONSENSE = [
    ({"concurrency": 0}, "concurrency is a whole number from 1, not 0"),
    ({"concurrency": True}, "concurrency is a whole number from 1, not True"),
    ({"batch": 1.5}, "batch is a whole number"),
    ({"payload_bytes_max": -1}, "payload_bytes_max is a whole number"),
    ({"payload_bytes_max": 2**30}, "no message is larger than"),
    ({"rate": "fast"}, "rate is a number from 1 to 100,000 in a second, minute or hour"),
    ({"rate": "0/s"}, "not '0/s'"),
    ({"rate": "5/d"}, "not '5/d'"),
    ({"rate": 5}, "not 5"),
    ({"soft_time_limit_s": 0}, "soft_time_limit_s is a number of seconds above 0"),
    ({"time_limit_s": float("inf")}, "time_limit_s is a number of seconds above 0"),
    ({"time_limit_s": "1m"}, "time_limit_s is a number of seconds above 0, not '1m'"),
    ({"soft_time_limit_s": 5, "time_limit_s": 5}, "soft_time_limit_s 5 must be below time_limit_s 5"),
    ({"external": True, "batch": 2}, "external commands share no transaction"),
    ({"concurrency": 2, "batch": 3}, "a batch of 3 would be more than 2 at once"),
]


@pytest.mark.parametrize(("limits", "told"), NONSENSE)
def test_limits_that_cannot_work_are_refused_where_they_stand(limits: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidHandler, match="command 'work' of one") as refusal:
        Participant("one").command(name="work", **limits)

    assert told in str(refusal.value)


def test_a_handler_keeps_what_it_declares() -> None:
    one = Participant("one")

    @one.command(
        concurrency=3, rate="100/m", soft_time_limit_s=5, time_limit_s=10, batch=2, payload_bytes_max=100
    )
    def work(cmd: int) -> None: ...

    limits = work.handler.limits
    assert (limits.concurrency, limits.rate, limits.batch) == (3, Rate(100, 60.0), 2)
    assert (limits.soft_time_limit_s, limits.time_limit_s, limits.payload_bytes_max) == (5, 10, 100)
    assert one.handlers(work.handler.op) == (work.handler,)


def worker_of(engine: Engine, limits: dict[str, Any], *, is_async: bool = False, **settings: Any) -> None:
    one = Participant("one")

    def work(cmd: int, ctx: Ctx) -> None: ...

    async def later(cmd: int, ctx: Ctx) -> None: ...

    one.command(**limits)(later if is_async else work)
    one.worker(database=engine, broker="pyamqp://localhost:1//", **settings)


def test_a_hard_time_limit_wants_processes_or_an_async_handler(module_sqlite: Engine) -> None:
    """A thread cannot be stopped: who asks for it is told before anything starts."""
    with pytest.raises(
        ValueError, match=r"one\.work has a time_limit_s of 5: a thread cannot be stopped.*processes=2"
    ):
        worker_of(module_sqlite, {"time_limit_s": 5})

    worker_of(module_sqlite, {"time_limit_s": 5}, processes=2)
    worker_of(module_sqlite, {"time_limit_s": 5}, is_async=True)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"time_limit_s": 150}, "4 messages at hand for a thread .* times 150 s"),
        ({"batch": 10}, "10 messages at hand for a thread .* times 60 s"),
        ({"time_limit_s": 149, "rate": "1/s"}, "times 149 s .* plus 5 s must stay under 600 s"),
    ],
)
def test_what_a_handler_asks_for_stays_under_the_brokers_patience(
    module_sqlite: Engine, limits: dict[str, Any], told: str
) -> None:
    """B8, by the handler that takes the longest and the batch that is the largest."""
    with pytest.raises(ValueError, match=told):
        worker_of(module_sqlite, limits, processes=2)


def test_a_lease_has_room_for_the_longest_handler() -> None:
    assert WorkerSettings(time_limit_s=60).lease_s == 60 + LEASE_MARGIN_S

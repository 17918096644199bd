"""The circuit breaker in asyncio: one probe, cancellations, timeouts, decorators, and tenacity's retries around it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tenacity import (
    AsyncRetrying,
    Retrying,
    retry,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_none,
)

from amends.participants import BreakerOpen, BreakerState, CircuitBreaker
from tests.participants.test_breaker import Clock, fail, half_open
from tests.waiting import DEADLINE_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Opens after three failures, for thirty seconds."""
    return CircuitBreaker("bank", failures=3, open_s=30, probe_s=60, clock=clock)


def through_block(
    breaker: CircuitBreaker, call: Callable[[], Awaitable[Any]]
) -> Callable[[], Awaitable[Any]]:
    async def guarded() -> Any:
        async with breaker:
            return await call()

    return guarded


def through_plain_block(
    breaker: CircuitBreaker, call: Callable[[], Awaitable[Any]]
) -> Callable[[], Awaitable[Any]]:
    async def guarded() -> Any:
        with breaker:
            return await call()

    return guarded


def through_decorator(
    breaker: CircuitBreaker, call: Callable[[], Awaitable[Any]]
) -> Callable[[], Awaitable[Any]]:
    @breaker
    async def guarded() -> Any:
        return await call()

    return guarded


def through_call(breaker: CircuitBreaker, call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def inner() -> Any:
        return await call()

    async def guarded() -> Any:
        return await breaker.call(inner)

    return guarded


WAYS = pytest.mark.parametrize("way", [through_block, through_plain_block, through_decorator, through_call])
Way = Callable[[CircuitBreaker, Callable[[], Awaitable[Any]]], Callable[[], Awaitable[Any]]]


@WAYS
def test_of_many_tasks_exactly_one_probes_when_it_is_half_open(
    breaker: CircuitBreaker, clock: Clock, way: Way
) -> None:
    """Seen to fail without the check of `_probing_since` in `_retry_after_s`: all fifty got through."""
    half_open(breaker, clock)

    async def many() -> list[Any]:
        came_back, inside = asyncio.Event(), []

        async def bank() -> str:
            inside.append(1)
            await came_back.wait()
            return "through"

        tasks = [asyncio.create_task(way(breaker, bank)()) for _ in range(50)]
        # Until each of them is inside, or has been turned away.
        while len(inside) + sum(task.done() for task in tasks) < 50:
            await asyncio.sleep(0)
        came_back.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(many())

    assert answers.count("through") == 1
    assert sum(isinstance(answer, BreakerOpen) for answer in answers) == 49
    assert breaker.state is BreakerState.CLOSED


@WAYS
def test_a_probe_whose_task_is_cancelled_lets_the_next_call_probe_at_once(
    breaker: CircuitBreaker, clock: Clock, way: Way
) -> None:
    """Seen to fail without the last branch of `_settle`: nobody got through until `probe_s` had passed."""
    half_open(breaker, clock)

    async def cancelled_then_next() -> str:
        began = asyncio.Event()

        async def hangs() -> None:
            began.set()
            await asyncio.Event().wait()

        async def answers() -> str:
            return "through"

        probe = asyncio.create_task(way(breaker, hangs)())
        await began.wait()
        with pytest.raises(BreakerOpen):
            await way(breaker, answers)()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert breaker.state is BreakerState.HALF_OPEN
        return str(await way(breaker, answers)())

    assert asyncio.run(cancelled_then_next()) == "through"
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_is_cancelled_by_a_task_group_lets_the_next_call_probe(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_open(breaker, clock)

    async def group() -> None:
        began = asyncio.Event()

        async def probe() -> None:
            async with breaker:
                began.set()
                await asyncio.Event().wait()

        async def fails() -> None:
            await began.wait()
            raise ValueError("another task of the group")

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(probe())
                tasks.create_task(fails())

    asyncio.run(group())

    assert (breaker.state, breaker.retry_after_s) == (BreakerState.HALF_OPEN, 0)


@WAYS
def test_a_timeout_inside_counts_and_one_around_it_tells_nothing(
    breaker: CircuitBreaker, clock: Clock, way: Way
) -> None:
    async def inside() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def around() -> None:
        async with asyncio.timeout(0):
            await way(breaker, hangs)()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(around())
    assert breaker.state is BreakerState.CLOSED
    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(way(breaker, inside)())

    assert breaker.state is BreakerState.OPEN


def test_a_probe_that_fails_in_a_task_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)

    async def probe() -> None:
        async with breaker:
            await asyncio.sleep(0)
            raise ConnectionError("still down")

    with pytest.raises(ConnectionError):
        asyncio.run(probe())

    assert (breaker.state, breaker.retry_after_s) == (BreakerState.OPEN, 30)


def test_threads_and_a_loop_share_one_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)
    inside, leave = threading.Event(), threading.Event()

    def probe() -> None:
        with breaker:
            inside.set()
            assert leave.wait(DEADLINE_S)

    async def other() -> None:
        async with breaker:
            pytest.fail("the thread's probe is on its way")

    thread = threading.Thread(target=probe)
    thread.start()
    assert inside.wait(DEADLINE_S)
    with pytest.raises(BreakerOpen):
        asyncio.run(other())
    leave.set()
    thread.join(DEADLINE_S)

    assert breaker.state is BreakerState.CLOSED


class Bank:
    """An object whose calls are async."""

    async def __call__(self) -> None:
        raise ConnectionError("down")

    async def pay(self, _amount: int) -> None:
        raise ConnectionError("down")


@pytest.mark.parametrize("kind", ["object", "partial", "method", "call"])
def test_whatever_is_awaited_counts_when_it_fails_not_when_it_is_called(
    breaker: CircuitBreaker, kind: str
) -> None:
    """Seen to fail for the object without the look at its `__call__`: to make a coroutine never fails."""
    bank = Bank()
    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "object": breaker(bank),
        "partial": breaker(functools.partial(bank.pay, 1)),
        "method": lambda: breaker(bank.pay)(1),
        "call": lambda: breaker.call(bank.pay, 1),
    }

    async def call() -> None:
        await calls[kind]()

    for _ in range(3):
        with pytest.raises(ConnectionError):
            asyncio.run(call())

    assert breaker.state is BreakerState.OPEN


def test_tenacity_around_it_retries_the_connection_and_stops_where_it_opens(breaker: CircuitBreaker) -> None:
    """Each attempt counts, and an open breaker ends the retries instead of being waited for."""
    attempts = []

    @retry(
        retry=retry_if_not_exception_type(BreakerOpen),
        stop=stop_after_attempt(10),
        wait=wait_none(),
        reraise=True,
    )
    @breaker
    def pay() -> None:
        attempts.append(1)
        raise ConnectionError("refused")

    with pytest.raises(BreakerOpen):
        pay()

    assert len(attempts) == 3


def test_tenacity_inside_it_makes_one_call_of_several_attempts(breaker: CircuitBreaker) -> None:
    answers = iter([ConnectionError("reset"), ConnectionError("reset"), "paid"])

    def bank() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    fail(breaker, 2)
    with breaker:
        paid = Retrying(stop=stop_after_attempt(3), wait=wait_none(), reraise=True)(bank)
    fail(breaker, 2)

    assert (paid, breaker.state) == ("paid", BreakerState.CLOSED)


def test_tenacity_retries_async_connections_too(breaker: CircuitBreaker) -> None:
    @breaker
    async def pay() -> None:
        raise ConnectionError("refused")

    async def patient() -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_not_exception_type(BreakerOpen),
            stop=stop_after_attempt(10),
            wait=wait_none(),
            reraise=True,
        ):
            with attempt:
                await pay()

    with pytest.raises(BreakerOpen):
        asyncio.run(patient())

"""The circuit breaker around external calls: plain, async, threaded, forked."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from amends.participants import BreakerOpen, BreakerState, CircuitBreaker, Refused
from tests.waiting import DEADLINE_S


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Opens after three failures, for thirty seconds."""
    return CircuitBreaker("bank", failures=3, open_s=30, probe_s=60, clock=clock)


def fail(breaker: CircuitBreaker, times: int = 1, error: type[Exception] = ConnectionError) -> None:
    """Failing calls."""
    for _ in range(times):
        with pytest.raises(error), breaker:
            raise error("down")


def half_open(breaker: CircuitBreaker, clock: Clock) -> None:
    """Open it, and wait until it lets a probe through."""
    fail(breaker, 3)
    clock.now += 30


def test_it_opens_after_so_many_failures_in_a_row_and_says_when_to_come_again(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    clock.now += 12

    with pytest.raises(BreakerOpen) as caught, breaker:
        pytest.fail("no call gets through")

    assert breaker.state is BreakerState.OPEN
    assert (caught.value.name, caught.value.retry_after_s) == ("bank", 18)


def test_a_success_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    with breaker:
        pass
    fail(breaker, 2)

    assert breaker.state is BreakerState.CLOSED


def test_a_refusal_is_an_answer_and_counts_as_a_success(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    fail(breaker, 1, Refused)
    fail(breaker, 2)

    assert breaker.state is BreakerState.CLOSED


def test_only_the_errors_it_is_told_to_count_open_it(clock: Clock) -> None:
    breaker = CircuitBreaker("bank", failures=1, counts=(ConnectionError,), clock=clock)

    fail(breaker, 5, ValueError)

    assert breaker.state is BreakerState.CLOSED


def test_half_open_it_lets_exactly_one_probe_through(breaker: CircuitBreaker, clock: Clock) -> None:
    """Seen to fail without the check of `_probing_since` in `_retry_after_s`: all ten got through."""
    half_open(breaker, clock)
    inside, through, turned_away = threading.Barrier(10), [], []
    settled = threading.Semaphore(0)

    def call() -> None:
        inside.wait(DEADLINE_S)
        try:
            with breaker:
                through.append(1)
                # Nine others are turned away while this one is on its way.
                for _ in range(9):
                    assert settled.acquire(timeout=DEADLINE_S)
        except BreakerOpen:
            turned_away.append(1)
            settled.release()

    with ThreadPoolExecutor(10) as pool:
        for future in [pool.submit(call) for _ in range(10)]:
            future.result()

    assert (len(through), len(turned_away)) == (1, 9)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)
    assert breaker.state is BreakerState.HALF_OPEN

    fail(breaker)

    assert breaker.state is BreakerState.OPEN
    assert breaker.retry_after_s == 30


def test_a_probe_that_never_comes_back_is_given_up(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)
    lost = breaker.__enter__()
    with pytest.raises(BreakerOpen), breaker:
        pytest.fail("the probe is on its way")
    clock.now += 60

    with breaker:
        pass

    assert lost.state is BreakerState.CLOSED


def test_a_probe_that_is_interrupted_lets_the_next_call_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)

    with pytest.raises(KeyboardInterrupt), breaker:
        raise KeyboardInterrupt

    assert breaker.state is BreakerState.HALF_OPEN
    with breaker:
        pass
    assert breaker.state is BreakerState.CLOSED


def test_a_call_that_began_before_it_opened_says_nothing_about_now(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    """Seen to fail without the era in `_settle`: a late success of old would close it."""
    late = CallInThread(breaker)
    fail(breaker, 3)

    late.end()

    assert breaker.state is BreakerState.OPEN


def test_it_holds_no_lock_during_the_call(breaker: CircuitBreaker) -> None:
    slow = CallInThread(breaker)

    with breaker:
        assert breaker.state is BreakerState.CLOSED

    slow.end()


class CallInThread:
    """A call through a breaker that lasts until `end`."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._inside, self._leave = threading.Event(), threading.Event()
        self._breaker = breaker
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._inside.wait(DEADLINE_S)

    def _run(self) -> None:
        with self._breaker:
            self._inside.set()
            assert self._leave.wait(DEADLINE_S)

    def end(self) -> None:
        self._leave.set()
        self._thread.join(DEADLINE_S)


def test_failures_of_async_functions_count(breaker: CircuitBreaker) -> None:
    @breaker
    async def call() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("down")

    for _ in range(3):
        with pytest.raises(ConnectionError):
            asyncio.run(call())

    with pytest.raises(BreakerOpen):
        asyncio.run(call())


def test_tasks_in_one_loop_do_not_mix_up_their_calls(breaker: CircuitBreaker, clock: Clock) -> None:
    half_open(breaker, clock)

    async def call(turn: asyncio.Event, next_turn: asyncio.Event) -> str:
        try:
            async with breaker:
                next_turn.set()
                await turn.wait()
                return "through"
        except BreakerOpen:
            next_turn.set()
            return "turned away"

    async def both() -> list[str]:
        first, second = asyncio.Event(), asyncio.Event()
        one = asyncio.create_task(call(second, first))
        await first.wait()
        other = asyncio.create_task(call(asyncio.Event(), second))
        return list(await asyncio.gather(one, other))

    assert asyncio.run(both()) == ["through", "turned away"]
    assert breaker.state is BreakerState.CLOSED


def test_a_cancelled_task_does_not_count(breaker: CircuitBreaker) -> None:
    async def call() -> None:
        async with breaker:
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(5):
        asyncio.run(cancelled())

    assert breaker.state is BreakerState.CLOSED


def test_another_open_breaker_inside_counts_for_nothing(breaker: CircuitBreaker, clock: Clock) -> None:
    inner = CircuitBreaker("inner", failures=1, clock=clock)
    fail(inner)

    for _ in range(5):
        with pytest.raises(BreakerOpen), breaker, inner:
            pytest.fail("no call gets through")

    assert breaker.state is BreakerState.CLOSED


def test_breakers_nest(clock: Clock) -> None:
    outer, inner = (
        CircuitBreaker("outer", failures=1, clock=clock),
        CircuitBreaker("inner", failures=1, clock=clock),
    )

    with pytest.raises(ConnectionError), outer, inner:
        raise ConnectionError("down")

    assert (outer.state, inner.state) == (BreakerState.OPEN, BreakerState.OPEN)


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_cannot_be_guarded(breaker: CircuitBreaker, kind: str) -> None:
    def generator() -> object:
        yield 1

    async def async_generator() -> object:  # type: ignore[misc]
        yield 1

    guarded: Callable[..., object] = generator if kind == "generator" else async_generator
    with pytest.raises(TypeError, match="generator"):
        breaker(guarded)


def test_a_child_begins_with_a_closed_breaker_even_if_it_was_forked_while_the_lock_was_held(
    breaker: CircuitBreaker,
) -> None:
    """Seen to fail without the comparison of process ids in `_locked`: the child would wait for ever."""
    fail(breaker, 3)
    breaker._lock.acquire()
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(5)  # It must not wait for a lock that nobody will release.
        try:
            with breaker:
                status = 0
        finally:
            os._exit(status)
    breaker._lock.release()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert breaker.state is BreakerState.OPEN


@pytest.mark.parametrize("numbers", [{"failures": 0}, {"open_s": 0}, {"probe_s": -1}])
def test_numbers_that_cannot_work_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="bank"):
        CircuitBreaker("bank", **numbers)  # type: ignore[arg-type]

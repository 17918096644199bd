"""An exception that a signal handler raises in the event loop, as Celery's soft time limit does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from amends.outbox.wire import Op
from amends.participants import Participant
from amends.participants.worker.calling import Caller


class OverTime(Exception):
    """What the signal handler raises."""


@pytest.fixture
def caller() -> Iterator[Caller]:
    """A caller in a main thread whose SIGALRM raises OverTime."""
    assert threading.current_thread() is threading.main_thread()

    def raise_it(_number: int, _frame: Any) -> None:
        raise OverTime

    before = signal.signal(signal.SIGALRM, raise_it)
    caller = Caller(30.0)
    yield caller
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    caller.close()


def call(caller: Caller, function: Any) -> Any:
    """Let the caller call it as the handler of a command."""
    participant = Participant("one")
    participant.command(name="work")(function)
    handler = participant.find(Op.DO, "work")
    assert handler is not None
    return caller.call(handler, [None])


def test_what_was_interrupted_does_not_go_on_beside_the_next(caller: Caller) -> None:
    """Guard: the runner is closed; without it the first one told "went on" while the second ran."""
    told: list[str] = []

    async def interrupted(_cmd: None) -> None:
        try:
            await asyncio.sleep(0.5)  # The signal comes in the loop's select().
            told.append("went on")
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def next_one(_cmd: None) -> str:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait([*others, asyncio.ensure_future(asyncio.sleep(0))], timeout=5)
        return "done"

    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(OverTime):
        call(caller, interrupted)

    assert told == ["cancelled"]
    assert call(caller, next_one) == "done"
    assert told == ["cancelled"]


def test_what_a_handler_raises_itself_keeps_the_loop(caller: Caller) -> None:
    """What it holds open there, connections for example, serves the next one."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def raises(_cmd: None) -> None:
        loops.append(asyncio.get_running_loop())
        raise OverTime

    async def times_out(_cmd: None) -> None:
        loops.append(asyncio.get_running_loop())
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    for function, error in ((raises, OverTime), (times_out, TimeoutError), (raises, OverTime)):
        with pytest.raises(error):
            call(caller, function)

    assert len(loops) == 3
    assert len(set(loops)) == 1

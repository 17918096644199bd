"""Ten thousand long polls share one ticker: no thread, no connection, no query of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

import pytest

from amends.coordinator.http.waiting import Waiting
from amends.db.errors import StoreUnavailable


class Database:
    """Which sagas have ended, and how often that was asked."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.asked: list[int] = []
        self.away = False

    async def ended_among(self, ids: Collection[str]) -> set[str]:
        self.asked.append(len(ids))
        if self.away:
            raise StoreUnavailable("away")
        return self.ended & set(ids)


def test_ten_thousand_wait_with_no_thread_of_their_own_and_few_queries() -> None:
    database = Database()
    threads = threading.active_count()

    async def wait() -> None:
        waiting = Waiting(database.ended_among)
        polls = [asyncio.create_task(waiting.until_ended(str(number), 60)) for number in range(10_000)]
        while len(waiting) < 10_000:
            await asyncio.sleep(0)
        assert threading.active_count() == threads
        database.ended = {str(number) for number in range(10_000)}
        await asyncio.gather(*polls)
        assert len(waiting) == 0

    asyncio.run(wait())

    assert len(database.asked) < 10


def test_one_ends_and_the_others_go_on_waiting() -> None:
    database = Database()

    async def wait() -> None:
        waiting = Waiting(database.ended_among, tick_s=0.001)
        one, twin, other = (asyncio.create_task(waiting.until_ended(id_, 60)) for id_ in ("a", "a", "b"))
        database.ended = {"a"}
        await asyncio.gather(one, twin)
        assert not other.done()
        assert len(waiting) == 1
        waiting.close()
        await other

    asyncio.run(wait())


def test_time_is_up_and_nothing_is_left_behind() -> None:
    database = Database()

    async def wait() -> None:
        waiting = Waiting(database.ended_among, tick_s=0.001)
        await waiting.until_ended("a", 0.01)
        assert len(waiting) == 0
        asked = len(database.asked)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(database.asked) <= asked + 1, "somebody asks on behalf of nobody"

    asyncio.run(wait())


def test_who_waits_survives_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.coordinator.http.waiting.AWAY_S", 0.01)
    database = Database()

    async def wait() -> None:
        waiting = Waiting(database.ended_among, tick_s=0.001)
        database.away = True
        poll = asyncio.create_task(waiting.until_ended("a", 60))
        while len(database.asked) < 3:
            await asyncio.sleep(0.001)
        assert not poll.done()
        database.ended, database.away = {"a"}, False
        await poll

    asyncio.run(wait())


def test_a_poll_that_hangs_up_is_forgotten() -> None:
    database = Database()

    async def wait() -> None:
        waiting = Waiting(database.ended_among, tick_s=0.001)
        poll = asyncio.create_task(waiting.until_ended("a", 60))
        await asyncio.sleep(0)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        assert len(waiting) == 0

    asyncio.run(wait())


def test_a_closed_door_keeps_nobody_waiting() -> None:
    async def wait() -> None:
        waiting = Waiting(Database().ended_among)
        waiting.close()
        await asyncio.wait_for(waiting.until_ended("a", 60), 1)

    asyncio.run(wait())

"""What every route needs: the engine to ask, the database to read, the broker to look at, who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Request

from amends.coordinator.engine.contract import Engine
from amends.coordinator.errors import NotAccepting
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.checking import Checking
from amends.coordinator.http.looking import Looking
from amends.coordinator.http.reading import Reading
from amends.coordinator.http.waiting import Waiting

T = TypeVar("T")

ANSWER_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorState:
    """One app's surroundings. `scrape` makes the text for Prometheus; it reads the database."""

    engine: Engine
    reading: Reading
    waiting: Waiting
    looking: Looking
    checking: Checking
    scrape: Callable[[], bytes]

    async def answer(self, future: Future[T], timeout_s: float = ANSWER_S) -> T:
        """Await what the engine was asked, without a thread.

        Raises: what the engine raises; NotAccepting if it stopped first; Refusal if it takes too long.
        """
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError:
            message = (
                f"the coordinator has not decided within {timeout_s:g} s; it may still: look, or repeat it"
            )
            raise Refusal(503, "outcome_unknown", message) from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            why = str(error) or "this coordinator is stopping; nothing was stored: try again"
            raise NotAccepting(why) from None


async def _door(request: Request) -> DoorState:
    state: DoorState = request.app.state.door
    return state


Door = Annotated[DoorState, Depends(_door)]

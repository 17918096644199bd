"""The HTTP door: one FastAPI app over a coordinator, its database and its tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine as Database
from starlette.middleware import Middleware

from amends.coordinator import queries
from amends.coordinator.engine.contract import Engine
from amends.coordinator.http import (
    acts,
    audit,
    definitions,
    drawing,
    explaining,
    health,
    outbox,
    participants,
    sagas,
    schedules,
    signals,
    timers,
)
from amends.coordinator.http.access import Access
from amends.coordinator.http.answers import Problem, answer_errors
from amends.coordinator.http.checking import Checking
from amends.coordinator.http.door import DoorState
from amends.coordinator.http.limits import LimitBody, Limits
from amends.coordinator.http.looking import Looking
from amends.coordinator.http.reading import THREADS, Reading
from amends.coordinator.http.tokens import Tokens
from amends.coordinator.http.waiting import Waiting

DESCRIPTION = """
Start sagas, at once or by the clock, look at them, and act on them where they need an operator.

Every error has one shape: `{"error": code, "message": what and the mend, "field": the part at fault or null}`.
Tokens have ordered roles: read, start, apply, operate.
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 503)
}


def build_app(
    coordinator: Engine,
    database: Database,
    tokens: Tokens,
    *,
    scrape: Callable[[], bytes],
    limits: Limits | None = None,
    threads: int = THREADS,
) -> FastAPI:
    """The app. `database` should be an engine of the door's own, with at least `threads` connections.

    `scrape` makes the text of `/metrics`. Without tokens whoever reaches it may do everything: serve it on
    loopback only.
    """
    reading = Reading(database, threads=threads)
    looking = Looking(coordinator)
    checking = Checking()
    waiting = Waiting(lambda ids: reading.run(queries.ended_among, ids))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        waiting.close()
        looking.close()
        checking.close()
        reading.close()

    app = FastAPI(
        title="amends",
        version=version("amends"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        responses=_ERRORS,
        # Who asks is known before a body is read, and a body is within its limits before a model is made of it.
        middleware=[Middleware(Access, tokens=tokens), Middleware(LimitBody, limits=limits or Limits())],
    )
    app.state.door = DoorState(
        engine=coordinator,
        reading=reading,
        waiting=waiting,
        looking=looking,
        checking=checking,
        scrape=scrape,
    )
    answer_errors(app)
    for routes in (
        sagas,
        acts,
        signals,
        explaining,
        drawing,
        timers,
        audit,
        definitions,
        participants,
        schedules,
        outbox,
        health,
    ):
        app.include_router(routes.router)
    return app

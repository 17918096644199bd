"""The example's application with a few things more, for tests to run under uvicorn: `tests.fastapi.served:app`.

SERVED_DRIVER: SQLAlchemy's driver. SERVED_RELAY=no: its outbox is left to others. SERVED_GRACE_S: its worker's grace.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from amends.outbox import aput
from amends.outbox.message import Message
from amends.participants import Ctx, Participant
from amends.participants.asyncio import amends_lifespan

url = make_url(os.environ["AMENDS_DATABASE_URL"]).set(
    drivername=os.environ.get("SERVED_DRIVER", "postgresql+psycopg")
)
engine = create_async_engine(url)
sessions = async_sessionmaker(engine)
scoped = async_scoped_session(sessions, scopefunc=asyncio.current_task)
one = Participant("one")


@one.command
async def work(cmd: str, ctx: Ctx) -> int:
    """Say that it began, and wait for a file `cmd` if one is named; gives the process that did it."""
    if cmd:
        Path(f"{cmd}.began").touch()
        while not Path(cmd).exists():
            await asyncio.sleep(0.02)
    return os.getpid()


lifespan = amends_lifespan(
    one,
    database=engine,
    relay=os.environ.get("SERVED_RELAY") != "no",
    grace_s=float(os.environ.get("SERVED_GRACE_S", "20")),
)
app = FastAPI(lifespan=lifespan)


def note(number: str) -> Message:
    """A message to a queue that the tests read."""
    return Message(
        routing_key=f"{os.environ['AMENDS_PREFIX']}.notes", type="note", body=b"{}", correlation_id=number
    )


@app.post("/sessions/{number}")
async def by_session(number: str, then: str = "") -> int:
    """Put in an AsyncSession; `then` it fails, is killed, or hangs."""
    async with sessions.begin() as session:
        await aput(session, note(number))
        await _then(then)
    if then == "die after":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@app.post("/connections/{number}")
async def by_connection(number: str, then: str = "") -> int:
    """Put on an AsyncConnection."""
    async with engine.begin() as connection:
        assert isinstance(connection, AsyncConnection)
        await aput(connection, note(number))
        await _then(then)
    return os.getpid()


@app.post("/scoped/{number}")
async def by_scoped_session(number: str, then: str = "") -> int:
    """Put in an async_scoped_session."""
    try:
        await aput(scoped, note(number))
        await _then(then)
        await scoped.commit()
    finally:
        await scoped.remove()
    return os.getpid()


async def _then(what: str) -> None:
    if what == "fail":
        raise HTTPException(418, "changed its mind")
    if what == "hang":
        async with asyncio.timeout(0.2):
            await asyncio.Event().wait()
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)


@app.get("/health/ready")
async def ready(response: Response) -> dict[str, Any]:
    """As a health route would ask it."""
    now = lifespan.readiness()
    response.status_code = 200 if now.ready else 503
    return {"waits_for": now.waits_for, "process": os.getpid()}

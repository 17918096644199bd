"""The application: `uvicorn examples.fastapi_shop.app:app`, with AMENDS_DATABASE_URL, AMENDS_BROKER_URL, AMENDS_URL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from amends.participants import WaitTimeout
from amends.participants.asyncio import amends_lifespan
from amends.participants.config import client_from_environment
from examples.fastapi_shop.goods import Base, Order, shop

engine = create_async_engine(os.environ["AMENDS_DATABASE_URL"])
transaction = async_sessionmaker(engine, expire_on_commit=False).begin
client = client_from_environment("shop")


@asynccontextmanager
async def own_lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """What the shop itself does at its start and its end."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


lifespan = amends_lifespan(shop, database=engine, within=own_lifespan)
app = FastAPI(lifespan=lifespan)


class Wanted(BaseModel):
    """An order as it comes in."""

    number: str
    sku: str
    quantity: int
    card: str
    cents: int


@app.post("/orders", status_code=202)
async def place(wanted: Wanted) -> dict[str, str]:
    """Store the order and start its saga: both commit, before the answer leaves, or neither."""
    async with transaction() as session:
        if await session.get(Order, wanted.number) is not None:
            raise HTTPException(409, "there is an order of this number")
        what = wanted.model_dump(exclude={"number"})
        saga = await client.astart(session, "place-order", what, key=wanted.number)
        session.add(Order(number=wanted.number, saga=saga))
    return {"number": wanted.number, "saga": saga}


@app.get("/orders/{number}")
async def outcome(number: str, wait_s: float = 0) -> dict[str, str | None]:
    """What has become of an order; waits for its end up to `wait_s` seconds, without holding up anybody else."""
    async with transaction() as session:
        order = await session.get(Order, number)
    if order is None:
        raise HTTPException(404, "no order of this number")
    try:
        view = await client.await_end(order.saga, wait_s)
    except WaitTimeout:
        return {"status": "under way", "why": None}
    return {"status": view.status, "why": view.error}


@app.get("/health/ready")
async def ready(response: Response) -> dict[str, list[str]]:
    """Whether the worker beside this application works."""
    now = lifespan.readiness()
    response.status_code = 200 if now.ready else 503
    return {"waits_for": list(now.waits_for)}

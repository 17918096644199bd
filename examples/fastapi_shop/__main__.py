"""Runs the example: `python -m examples.fastapi_shop`, in the repository's root.

A coordinator and two copies of the application under uvicorn, each a program of its own, on a real PostgreSQL and a
real RabbitMQ. Orders are placed over HTTP; one is sold out, one card is declined, and one copy is killed on the way.
"""

from __future__ import annotations

import asyncio
import os
import signal

import click
import httpx
from sqlalchemy import create_engine, insert, select

from amends.db import participant as participant_tables
from amends.db.private_postgres import free_port
from examples.fastapi_shop.goods import Base, Item, Payment
from examples.fastapi_shop.programs import Program, uvicorn
from examples.servers import Servers, servers
from examples.verdict import Verdict

STOCK = 50
ORDERS = {
    **{
        f"order-{number}": {"sku": "tea", "quantity": 1, "card": "visa", "cents": 300} for number in range(20)
    },
    "too-many": {"sku": "tea", "quantity": 1_000, "card": "visa", "cents": 1},
    "declined": {"sku": "tea", "quantity": 7, "card": "declined", "cents": 2_100},
}
WANTED = {**dict.fromkeys(ORDERS, "completed"), "too-many": "compensated", "declined": "compensated"}


async def place_and_ask(urls: list[str], killed: Program) -> dict[str, str]:
    """Place every order, half of them at either copy, kill one, and ask the other for what has become of them."""
    async with httpx.AsyncClient(timeout=60) as http:

        async def place(place_at: str, number: str) -> None:
            answer = await http.post(f"{place_at}/orders", json={"number": number, **ORDERS[number]})
            answer.raise_for_status()

        await asyncio.gather(*(place(urls[turn % 2], number) for turn, number in enumerate(ORDERS)))
        click.echo(f"placed {len(ORDERS)} orders at two copies of the application; killing one of them")
        killed.kill()

        async def outcome(number: str) -> str:
            answer = await http.get(f"{urls[0]}/orders/{number}", params={"wait_s": 50})
            return str(answer.raise_for_status().json()["status"])

        return dict(zip(ORDERS, await asyncio.gather(*map(outcome, ORDERS)), strict=True))


def run(at: Servers) -> None:
    """The whole trip, checked."""
    database, verdict = create_engine(at.database()), Verdict()
    participant_tables.create(database)
    Base.metadata.create_all(database)
    with database.begin() as connection:
        connection.execute(insert(Item).values(sku="tea", stock=STOCK))
    door = free_port()
    common = {**os.environ, "AMENDS_BROKER_URL": at.broker_url, "AMENDS_PREFIX": at.prefix}
    of_shop = {
        **common,
        "AMENDS_DATABASE_URL": database.url.render_as_string(hide_password=False),
        "AMENDS_URL": f"http://127.0.0.1:{door}",
    }
    with (
        Program.coordinator(at.database(), common, door, "examples.fastapi_shop.saga:place_order"),
        uvicorn("examples.fastapi_shop.app:app", of_shop) as one,
        uvicorn("examples.fastapi_shop.app:app", of_shop) as other,
    ):
        found = asyncio.run(place_and_ask([one.url, other.url], killed=other))
        verdict.equal("what became of the orders", found, WANTED)
        with database.connect() as connection:
            stock = connection.scalar(select(Item.stock))
            payments = connection.scalars(select(Payment.cents)).all()
        click.echo(f"20 completed, 2 compensated; {stock} of {STOCK} left, {sum(payments)} cents taken")
        verdict.equal("the stock", stock, STOCK - 20)
        verdict.equal("the payments", sorted(payments), [300] * 20)
        # Uvicorn ends as the signal says, once the application has shut down.
        verdict.equal("the copy that is left stops in order", one.stop(), -signal.SIGTERM)
    database.dispose()
    verdict.tell("every order ended as it should, stock and money balance, though one copy was killed")


if __name__ == "__main__":
    with servers() as at:
        run(at)

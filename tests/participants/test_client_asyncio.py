"""The client in asyncio: at a real coordinator's door, and at doors that misbehave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator.http.app import build_app
from amends.coordinator.http.server import HttpServer
from amends.coordinator.http.tokens import Tokens
from amends.db.private_postgres import free_port
from amends.outbox.broker import open_broker
from amends.participants import (
    Client,
    CoordinatorRefused,
    CoordinatorUnavailable,
    StartConflict,
    UnknownSaga,
    WaitTimeout,
)
from tests.doors.house import INPUT, SECRETS, TOKENS, House, order
from tests.engine.world import World
from tests.waiting import DEADLINE_S

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def house(coordinator_database: Engine) -> Iterator[House]:
    """A coordinator with the in-process broker, and its door, which wants tokens."""
    name = f"t{uuid4().hex[:8]}"
    world = World(coordinator_database, open_broker(f"memory://{name}"), name).start()
    world.register(order())
    world.participant("inventory")
    world.participant("payments")
    door = House(world, tokens=TOKENS)
    yield door
    door.close()
    world.close()


@pytest.fixture
def client(house: House) -> Client:
    """A client that may start and read."""
    return Client("shop", prefix=house.world.prefix, url=house.server.url, token=SECRETS["start"], retry_s=5)


def test_what_it_starts_over_http_it_can_look_at_and_wait_for(client: Client) -> None:
    async def service() -> None:
        saga = await client.astart_http("place-order", INPUT, labels={"shop": "north"})
        view = await client.await_end(saga, 20, input=INPUT)
        assert (view.id, view.completed, view.labels) == (saga, True, {"shop": "north"})
        assert (await client.aget(saga)).status == "completed"
        with pytest.raises(StartConflict, match="other input"):
            await client.await_end(saga, 20, input={"sku": "coffee"})

    asyncio.run(service())


def test_its_errors_are_those_of_the_plain_client(client: Client, house: House) -> None:
    async def service() -> None:
        await client.astart_http("place-order", INPUT, key="taken")
        with pytest.raises(StartConflict):
            await client.astart_http("place-order", {**INPUT, "amount": 1}, key="taken")
        with pytest.raises(UnknownSaga):
            await client.aget(str(uuid4()))
        with pytest.raises(UnknownSaga):
            await client.astart_http("no-such-saga", {})
        with pytest.raises(WaitTimeout):
            await client.await_end(str(uuid4()), 0.3)
        ended = await client.astart_http("place-order", INPUT)
        await client.await_end(ended, 20)
        with pytest.raises(CoordinatorRefused):
            await client.asignal_http(ended, "approved")
        stranger = Client("shop", url=house.server.url, token="wrong")
        with pytest.raises(CoordinatorRefused) as caught:
            await stranger.aget(ended)
        assert caught.value.status == 401

    asyncio.run(service())


def test_two_hundred_tasks_wait_at_once_on_no_thread_while_the_loop_goes_on(client: Client) -> None:
    """Seen to fail with the plain client in `asyncio.to_thread`: each wait held one of few threads."""

    async def service() -> tuple[int, int]:
        before = {thread.ident for thread in threading.enumerate()}
        waits = [asyncio.create_task(client.await_end(str(uuid4()), 0.5)) for _ in range(200)]
        beats, made = 0, set[int | None]()
        while not all(wait.done() for wait in waits):
            await asyncio.sleep(0.01)
            beats += 1
            made |= {thread.ident for thread in threading.enumerate() if _of_executor(thread)} - before
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(one, WaitTimeout) for one in ended)
        return beats, len(made)

    beats, threads = asyncio.run(service())

    assert beats > 10
    assert threads == 0


def _of_executor(thread: threading.Thread) -> bool:
    return thread.name.startswith("asyncio_")


def test_a_wait_that_is_cancelled_ends_at_once_and_hangs_up() -> None:
    async def service() -> None:
        hung_up = asyncio.Event()
        asked = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            assert await reader.read() == b""
            hung_up.set()

        async with door(silent) as url:
            wait = asyncio.create_task(Client("shop", url=url).await_end(str(uuid4()), 60))
            await asyncio.wait_for(asked.wait(), DEADLINE_S)
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait
            await asyncio.wait_for(hung_up.wait(), DEADLINE_S)

    asyncio.run(service())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broke off"),
        (b"220 smtp.example.org ESMTP\r\n", "broke off"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", "503: busy"),
    ],
    ids=["nothing", "half", "no http", "busy"],
)
def test_a_door_that_breaks_off_is_told_after_a_while(answer: bytes, told: str) -> None:
    async def service() -> int:
        asked = 0

        async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

        async with door(broken) as url:
            with pytest.raises(CoordinatorUnavailable, match=told):
                await Client("shop", url=url, retry_s=0.3).aget(str(uuid4()))
        return asked

    assert asyncio.run(service()) > 1


def test_an_answer_in_chunks_is_read_whole() -> None:
    """As a proxy in between may send it."""
    body = b'{"id":"1","name":"order","version":1,"status":"completed"}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"

    async def service() -> str:
        async def chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

        async with door(chunked) as url:
            return (await Client("shop", url=url).aget("1")).status

    assert asyncio.run(service()) == "completed"


def test_a_start_that_may_have_begun_is_repeated_only_with_a_key() -> None:
    async def asked(key: str | None) -> int:
        count = 0

        async def lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            await reader.readuntil(b"\r\n\r\n")

        async with door(lost) as url:
            with pytest.raises(CoordinatorUnavailable):
                await Client("shop", url=url, retry_s=0.5).astart_http("order", {}, key=key)
        return count

    assert asyncio.run(asked(None)) == 1
    assert asyncio.run(asked("order-1")) > 1


def test_a_door_that_hangs_is_given_up_after_the_timeout() -> None:
    async def service() -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with door(silent) as url:
            with pytest.raises(CoordinatorUnavailable, match=r"no answer within 0\.2 s"):
                await Client("shop", url=url, timeout_s=0.2, retry_s=0).aget(str(uuid4()))

    asyncio.run(service())


def test_a_keyed_start_is_tried_again_until_the_coordinator_is_there(house: House) -> None:
    app = build_app(house.world.coordinator, house.doors, Tokens.parse(TOKENS), scrape=lambda: b"")
    late = HttpServer(app, host="127.0.0.1", port=free_port())
    client = Client("shop", url=late.url, token=SECRETS["start"], retry_s=30)

    async def service() -> str:
        starting = asyncio.create_task(client.astart_http("place-order", INPUT, key="patient"))
        await asyncio.sleep(0.3)
        assert not starting.done()
        await asyncio.to_thread(late.start)
        saga = await starting
        return (await client.await_end(saga, 20)).status

    try:
        assert asyncio.run(service()) == "completed"
    finally:
        late.stop()


@asynccontextmanager
async def door(answer: Answer) -> AsyncIterator[str]:
    """A server that deals with each connection as it is told; its URL."""

    async def hung_up_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(hung_up_after, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()

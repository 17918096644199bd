"""The client at a real coordinator's door, and a service with everything in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import Engine

from amends.coordinator.http.app import build_app
from amends.coordinator.http.server import HttpServer
from amends.coordinator.http.tokens import Tokens
from amends.coordinator.saga.json import content_hash
from amends.db.engines import transaction
from amends.db.private_postgres import free_port
from amends.outbox.broker import open_broker
from amends.outbox.wire import saga_id_of
from amends.participants import (
    Client,
    CoordinatorRefused,
    CoordinatorUnavailable,
    InvalidInput,
    StartConflict,
    UnknownSaga,
    WaitTimeout,
)
from amends.participants.sagas import input_hash
from tests.doors.house import INPUT, SECRETS, TOKENS, House, order
from tests.engine.world import World
from tests.participants.shop import count, metadata
from tests.participants.test_client import Order, place_order
from tests.participants.test_worker import payments
from tests.servers.proxy import proxy_to


@pytest.fixture
def world(coordinator_database: Engine) -> Iterator[World]:
    """A coordinator with the in-process broker."""
    name = f"t{uuid4().hex[:8]}"
    running = World(coordinator_database, open_broker(f"memory://{name}"), name).start()
    yield running
    running.close()


@pytest.fixture
def house(world: World) -> Iterator[House]:
    """Its door, which wants tokens; it knows the order saga, whose participants are scripted."""
    world.register(order())
    world.participant("inventory")
    world.participant("payments")
    door = House(world, tokens=TOKENS)
    yield door
    door.close()


@pytest.fixture
def client(house: House) -> Client:
    """A client that may start and read."""
    return Client("shop", prefix=house.world.prefix, url=house.server.url, token=SECRETS["start"], retry_s=5)


def test_a_start_over_http_gives_the_id_at_which_it_can_be_waited_for(client: Client) -> None:
    saga = client.start_http("place-order", INPUT, labels={"shop": "north"})

    view = client.wait(saga, 20)

    assert (view.id, view.name, view.status, view.ended, view.completed) == (
        saga, "place-order", "completed", True, True,
    )  # fmt: skip
    assert view.labels == {"shop": "north"}
    assert client.get(saga).status == "completed"


def test_the_same_key_is_the_same_saga_and_other_input_is_told(client: Client) -> None:
    first = client.start_http("place-order", INPUT, key="order-1")
    again = client.start_http("place-order", INPUT, key="order-1")

    with pytest.raises(StartConflict, match="other input") as caught:
        client.start_http("place-order", {"sku": "tea", "amount": 1}, key="order-1")

    assert first == again == caught.value.saga


def test_wait_tells_that_the_key_was_used_with_other_input(client: Client) -> None:
    saga = client.start_http("place-order", INPUT, key="order-1")

    assert client.wait(saga, 20, input=dict(reversed(INPUT.items()))).completed
    with pytest.raises(StartConflict, match="other input"):
        client.wait(saga, 20, input={"sku": "tea", "amount": 1})


def test_what_the_coordinator_does_not_take_is_told_for_what_it_is(client: Client, house: House) -> None:
    with pytest.raises(UnknownSaga, match="place-ordre"):
        client.start_http("place-ordre", INPUT)
    with pytest.raises(InvalidInput, match="amount"):
        client.start_http("place-order", {"sku": "tea"})
    with pytest.raises(UnknownSaga):
        client.get(str(uuid4()))
    with pytest.raises(CoordinatorRefused, match="403"):
        Client("shop", url=house.server.url, token=SECRETS["read"]).start_http("place-order", INPUT)
    with pytest.raises(CoordinatorRefused, match="401"):
        Client("shop", url=house.server.url, token="wrong").get(str(uuid4()))


def test_a_wait_ends_in_time_and_says_how_the_saga_stands(world: World, client: Client) -> None:
    world.participants["inventory"].script = lambda _: None
    saga = client.start_http("place-order", INPUT)

    with pytest.raises(WaitTimeout, match="running") as caught:
        client.wait(saga, 0.5)

    assert (caught.value.saga, caught.value.status) == (saga, "running")


def test_a_saga_whose_start_is_still_on_its_way_is_waited_for(client: Client) -> None:
    waiter = threading.Timer(0.5, lambda: client.start_http("place-order", INPUT, key="late"))
    waiter.start()

    assert client.wait(saga_id_of("place-order", "late"), 20).completed
    waiter.join()


def test_a_keyed_start_is_tried_again_until_the_coordinator_is_there(house: House) -> None:
    app = build_app(house.world.coordinator, house.doors, Tokens.parse(TOKENS), scrape=lambda: b"")
    late = HttpServer(app, host="127.0.0.1", port=free_port())
    client = Client("shop", url=late.url, token=SECRETS["start"], retry_s=20)
    opening = threading.Timer(0.5, late.start)
    opening.start()

    saga = client.start_http("place-order", INPUT, key="patient")

    assert client.wait(saga, 20).completed
    opening.join()
    late.stop()


def test_a_start_whose_answer_is_lost_is_repeated_only_if_it_has_a_key(house: House) -> None:
    """Seen to fail with `repeatable` always true, and with it always false."""
    with proxy_to(house.server.url) as (proxy, url):
        client = Client("shop", url=url, token=SECRETS["start"], retry_s=10)

        proxy.cut(b"POST", forward=True)
        keyed = client.start_http("place-order", INPUT, key="lost")
        proxy.cut(b"POST", forward=True)
        with pytest.raises(CoordinatorUnavailable):
            client.start_http("place-order", INPUT)

    assert keyed == saga_id_of("place-order", "lost")
    started = house.http("read").get("/sagas").json()["sagas"]
    assert sorted(saga["key"] or "" for saga in started) == ["", "lost"]


def test_a_coordinator_that_is_not_there_is_told_after_a_while() -> None:
    client = Client("shop", url=f"http://127.0.0.1:{free_port()}", retry_s=0.3)

    with pytest.raises(CoordinatorUnavailable, match="cannot be reached"):
        client.start_http("place-order", INPUT, key="k")


@pytest.mark.parametrize("url", ["", "coordinator:8080", "ftp://coordinator"])
def test_a_url_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="no URL of a coordinator"):
        Client("shop", url=url)


def test_a_client_without_a_url_says_what_it_lacks() -> None:
    with pytest.raises(InvalidInput, match="url="):
        Client("shop").get(str(uuid4()))


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, "ä\u2028", [1, {"b": 1, "a": 2}], {"z": 1, "a": {"y": None}}]
)
def test_inputs_are_told_apart_as_the_coordinator_does(value: object) -> None:
    assert input_hash(msgspec.json.encode(value)) == content_hash(value)  # type: ignore[arg-type]


def test_a_service_on_sqlite_starts_a_saga_and_takes_part_in_it(
    world: World, sqlite_database: Engine
) -> None:
    """The whole trip: the start in the service's transaction, its relay, coordinator, barrier, reply."""
    metadata.create_all(sqlite_database)
    world.register(place_order)
    worker = payments().worker(database=sqlite_database, broker=world.broker, prefix=world.prefix)
    worker.start()
    door = House(world)
    client = Client("payments", prefix=world.prefix, url=door.server.url)

    with transaction(sqlite_database) as connection:
        sagas = [client.start(connection, place_order, Order("visa", n), key=f"order-{n}") for n in range(5)]
        refused = client.start(connection, place_order, Order("blocked", 1), key="refused")
    done = [client.wait(saga, 30) for saga in sagas]
    compensated = client.wait(refused, 30)
    worker.stop()
    door.close()

    assert [view.status for view in done] == ["completed"] * 5
    assert compensated.status == "compensated"
    assert [count(sqlite_database, "charge", saga) for saga in sagas] == [1] * 5
    assert count(sqlite_database, "charge", refused) == 0

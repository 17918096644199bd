"""Starting sagas in the caller's own transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Engine, delete, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, arg, chain, step
from amends.db.engines import transaction
from amends.db.tables.participant import outbox
from amends.outbox import wire
from amends.outbox.errors import MessageTooLarge
from amends.participants import Client, InvalidInput
from amends.participants.logging import CommandScope, command_scope


class Order(msgspec.Struct, frozen=True):
    card: str
    total: int


place_order = Saga(
    "place-order",
    chain(step("charge", to="payments", undo="refund", args={"card": arg.card, "amount": arg.total})),
    version=3,
    input=Order,
)
client = Client(service="shop", prefix="p")


@pytest.fixture
def emptied(database: Engine) -> Engine:
    """The database, its outbox empty."""
    with transaction(database) as connection:
        connection.execute(delete(outbox))
    return database


def stored(engine: Engine) -> list[Any]:
    """The outbox's rows."""
    with engine.connect() as connection:
        return list(connection.execute(select(outbox).order_by(outbox.c.id)))


def start_in(row: Any) -> wire.Start:
    """What a row's message says."""
    body = wire.decode(row.type, row.body)
    assert isinstance(body, wire.Start)
    return body


def test_a_start_is_a_row_of_the_callers_transaction_that_waits_for_its_receipt(emptied: Engine) -> None:
    with Session(emptied) as session, session.begin():
        saga = client.start(session, place_order, Order("visa", 7), key="order-1", labels={"shop": "north"})

    (row,) = stored(emptied)
    start = start_in(row)
    assert (row.routing_key, row.correlation_id, row.needs_receipt) == ("p.coordinator", saga, True)
    assert (start.saga, start.name, start.version, start.key) == (saga, "place-order", 3, "order-1")
    assert (bytes(start.input), start.labels) == (b'{"card":"visa","total":7}', {"shop": "north"})


def test_what_is_rolled_back_starts_nothing(emptied: Engine) -> None:
    with Session(emptied) as session:
        client.start(session, place_order, Order("visa", 7))
        session.rollback()
    with Session(emptied) as session, session.begin():
        undone = session.begin_nested()
        client.start(session, place_order, Order("visa", 7))
        undone.rollback()

    assert stored(emptied) == []


def test_the_same_key_is_the_same_saga_and_no_key_is_another_each_time(emptied: Engine) -> None:
    with transaction(emptied) as connection:
        keyed = {client.start(connection, place_order, Order("visa", 7), key="order-1") for _ in range(2)}
        other = client.start(connection, "other-saga", {}, key="order-1")
        unkeyed = {client.start(connection, place_order, Order("visa", 7)) for _ in range(2)}

    assert keyed == {wire.saga_id_of("place-order", "order-1")}
    assert len({*keyed, other, *unkeyed}) == 4
    assert all(str(UUID(saga)) == saga for saga in unkeyed)


@pytest.mark.parametrize(
    ("saga", "value", "how", "says"),
    [
        (place_order, {"card": "visa"}, {}, "input.total: missing"),
        (place_order, {"card": "visa", "total": "much"}, {}, "input.total: expected"),
        (place_order, object(), {}, "cannot be written as JSON"),
        (place_order, Order("visa", 7), {"key": ""}, "a key has"),
        (place_order, Order("visa", 7), {"key": 5}, "a key has"),
        (place_order, Order("visa", 7), {"key": "x" * 256}, "a key has"),
        (Order, Order("visa", 7), {}, "a saga is a Saga or"),
        (place_order, Order("visa", 7), {"key": "a\nb"}, "a key has"),
        (place_order, Order("visa", 7), {"labels": {f"l{n}": "" for n in range(21)}}, "21 labels"),
        (place_order, Order("visa", 7), {"labels": {"shop": 7}}, "label 'shop'"),
        (place_order, Order("visa", 7), {"labels": {"": "x"}}, "label ''"),
        ("", {}, {}, "a saga's name"),
        ("x" * 121, {}, {}, "a saga's name"),
    ],
)
def test_a_wrong_start_is_told_before_anything_is_stored(
    emptied: Engine, saga: Any, value: object, how: dict[str, Any], says: str
) -> None:
    with transaction(emptied) as connection, pytest.raises(InvalidInput, match=says):
        client.start(connection, saga, value, **how)

    assert stored(emptied) == []


def test_an_input_too_large_for_a_message_is_told_before_anything_is_stored(emptied: Engine) -> None:
    with transaction(emptied) as connection, pytest.raises(MessageTooLarge):
        client.start(connection, "place-order", "x" * 1_100_000)

    assert stored(emptied) == []


def test_a_saga_that_makes_its_key_gives_the_id_that_follows_from_it(emptied: Engine) -> None:
    """S2. Guard: `key_of` in make_start. The labels are the coordinator's to make."""
    keyed = Saga(
        "place-order", step("charge", to="payments", undo=None), version=1, input=Order, key=arg.card,
        labels={"card": arg.card},
    )  # fmt: skip
    with Session(emptied) as session, session.begin():
        saga = client.start(session, keyed, Order("visa", 7))
        given = client.start(session, keyed, Order("visa", 7), key="mine")

    assert (saga, given) == (wire.saga_id_of("place-order", "visa"), wire.saga_id_of("place-order", "mine"))
    assert [(start_in(row).key, start_in(row).labels) for row in stored(emptied)] == [
        ("visa", {}),
        ("mine", {}),
    ]


def test_an_input_that_gives_no_key_is_told_before_anything_is_stored(emptied: Engine) -> None:
    keyed = Saga("place-order", step("charge", to="payments", undo=None), version=1, key=arg.card)

    with pytest.raises(
        InvalidInput, match=r"saga 'place-order': the key, made of arg\.card: .* is not there"
    ):
        client.start(emptied.connect(), keyed, {})

    assert stored(emptied) == []


def test_a_saga_given_by_name_takes_any_input_and_its_active_version(emptied: Engine) -> None:
    with transaction(emptied) as connection:
        client.start(connection, "place-order", {"any": ["thing"]})

    start = start_in(stored(emptied)[0])
    assert (start.version, bytes(start.input)) == (None, b'{"any":["thing"]}')


def test_it_starts_on_a_plain_driver_connection_too(module_sqlite: Engine) -> None:
    with sqlite3.connect(str(module_sqlite.url.database)) as connection:
        saga = client.start(connection, place_order, Order("visa", 7))

    assert saga in {row.correlation_id for row in stored(module_sqlite)}


def test_it_starts_in_an_async_transaction(module_postgresql: Engine) -> None:
    async def start() -> str:
        engine = create_async_engine(module_postgresql.url)
        async with engine.begin() as connection:
            saga = await client.astart(connection, place_order, Order("visa", 7))
        await engine.dispose()
        return saga

    saga = asyncio.run(start())

    assert saga in {row.correlation_id for row in stored(module_postgresql)}


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_start_carries_the_trace_it_belongs_to(emptied: Engine) -> None:
    other = TRACE.replace("4bf9", "aaaa")

    with transaction(emptied) as connection:
        client.start(connection, "place-order", {}, traceparent=TRACE)
        client.start(connection, "place-order", {})
        with command_scope(CommandScope("saga", "path", "do", 1, TRACE)):
            client.start(connection, "place-order", {})
            client.start(connection, "place-order", {}, traceparent=other)
        with pytest.raises(InvalidInput, match="traceparent"):
            client.start(connection, "place-order", {}, traceparent="garbage")

    traces = [msgspec.json.decode(row.headers).get("traceparent") for row in stored(emptied)]
    assert traces == [TRACE, None, TRACE, other]


def test_a_signal_is_a_row_of_the_callers_transaction_that_waits_for_its_receipt(emptied: Engine) -> None:
    """S1, O1. Guard: `needs_receipt` in Client._signal."""
    saga = wire.saga_id_of("place-order", "order-1")
    with Session(emptied) as session, session.begin():
        client.signal(session, saga, "approved/3", {"by": "chief"}, message_id="a-1")
        client.signal(session, saga, "approved/3")

    named, unnamed = (wire.decode(row.type, row.body) for row in stored(emptied))
    assert isinstance(named, wire.Signal)
    assert isinstance(unnamed, wire.Signal)
    assert [(row.routing_key, row.correlation_id, row.needs_receipt) for row in stored(emptied)] == [
        ("p.coordinator", saga, True)
    ] * 2
    assert (named.saga, named.name, named.id) == (saga, "approved/3", "a-1")
    assert bytes(named.payload) == b'{"by":"chief"}'
    assert unnamed.id, "each has an id of its own"


@pytest.mark.parametrize(
    ("saga", "name", "payload", "message_id", "says"),
    [
        ("order-1", "go", None, None, "a saga's id"),
        (str(UUID(int=1)), "go now", None, None, "a name has"),
        (str(UUID(int=1)), "go", object(), None, "cannot be written as JSON"),
        (str(UUID(int=1)), "go", "x" * 65_536, None, "over the limit of 65,536"),
        (str(UUID(int=1)), "go", None, "", "an id has"),
        (str(UUID(int=1)), "go", None, "x" * 65, "an id has"),
    ],
)
def test_a_wrong_signal_is_told_before_anything_is_stored(
    emptied: Engine, saga: str, name: str, payload: Any, message_id: str | None, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says), transaction(emptied) as connection:
        client.signal(connection, saga, name, payload, message_id=message_id)

    assert stored(emptied) == []

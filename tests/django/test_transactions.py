"""`start` and `put` share the fate of Django's transaction, on each kind of database."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import IntegrityError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase
from sqlalchemy import Engine, text

from amends.db.engines import open_engine
from amends.db.participant import create
from amends.outbox import wire
from amends.outbox.errors import MessageTooLarge, OutboxNotInstalled
from amends.outbox.message import Message
from amends.participants import EventType, InvalidInput
from amends.participants.django import client, emit, put, signal, start
from tests.django.project import databases, entry
from tests.django.shop.models import Order


def message(number: int = 1, **fields: Any) -> Message:
    return Message(routing_key="t.queue", type="test", body=b'{"n": %d}' % number, **fields)


def stored(engine: Engine) -> list[str]:
    """The types of what is committed in the outbox."""
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT type FROM amends_outbox ORDER BY id")).scalars())


def test_a_saga_starts_with_the_transaction_that_tells_of_it(migrated: Engine) -> None:
    with transaction.atomic():
        Order.objects.create(number="1")
        saga = start("place-order", {"order": "1"}, key="1", labels={"shop": "north"})
        if migrated.dialect.name == "postgresql":  # The other would wait for our lock.
            assert stored(migrated) == []

    assert stored(migrated) == [wire.START]
    assert saga == wire.saga_id_of("place-order", "1")
    with migrated.connect() as connection:
        row = connection.execute(text("SELECT routing_key, body, needs_receipt FROM amends_outbox")).one()
    sent = msgspec.json.decode(bytes(row.body), type=wire.Start)
    assert (row.routing_key, sent.saga, sent.labels) == ("amends.coordinator", saga, {"shop": "north"})
    assert row.needs_receipt


def test_events_and_signals_share_its_fate_too(migrated: Engine) -> None:
    """Guard: `joined`. The event says who tells it, as `settings.AMENDS` does."""
    saga = wire.saga_id_of("place-order", "1")
    with transaction.atomic():
        Order.objects.create(number="1")
        event = emit(EventType("order.placed", dict[str, str], version=2), {"number": "1"}, key="order-1")
        signal(saga, "approved", {"by": "mia"})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        emit("order.placed", {"number": "2"})
        signal(saga, "approved")
        raise ZeroDivisionError
    with pytest.raises(TransactionManagementError, match="joins a transaction"):
        emit("order.placed")
    with pytest.raises(InvalidInput, match="data"), transaction.atomic():
        emit(EventType("order.placed", dict[str, str]), {"number": 2})

    assert stored(migrated) == ["order.placed", wire.SIGNAL]
    with migrated.connect() as connection:
        row = connection.execute(
            text("SELECT exchange, body, ordering_key FROM amends_outbox ORDER BY id")
        ).first()
    assert row is not None
    told = msgspec.json.decode(bytes(row.body), type=wire.DomainEvent)
    assert (row.exchange, row.ordering_key) == ("amends.events", "order-1")
    assert (told.id, told.source, told.dataversion) == (event, "/shop", 2)


def test_what_is_rolled_back_never_was(migrated: Engine) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Order.objects.create(number="1")
        start("place-order", {})
        put(message())
        raise ZeroDivisionError

    assert stored(migrated) == []
    assert not Order.objects.exists()


def test_a_block_inside_may_be_rolled_back_by_itself(migrated: Engine) -> None:
    with transaction.atomic():
        put(message(1))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            start("place-order", {})
            raise ZeroDivisionError
        put(message(2, key="order-1", delay_s=2.5, headers={"a": "b"}))

    assert stored(migrated) == ["test", "test"]


def test_outside_of_a_transaction_it_is_refused_and_says_what_to_do(migrated: Engine) -> None:
    """Guard: `get_autocommit` in `joined`. Without it, `put` itself would refuse, in words of SQLAlchemy's."""
    with pytest.raises(TransactionManagementError, match=r"with transaction\.atomic\(\): "):
        put(message())
    with pytest.raises(TransactionManagementError, match="joins a transaction"):
        start("place-order", {})

    assert stored(migrated) == []


def test_with_autocommit_off_the_transaction_is_the_callers(migrated: Engine) -> None:
    transaction.set_autocommit(False)
    try:
        put(message())
        transaction.rollback()
        put(message())
        transaction.commit()
    finally:
        transaction.set_autocommit(True)

    assert stored(migrated) == ["test"]


def test_after_an_error_that_must_be_rolled_back_nothing_is_stored(migrated: Engine) -> None:
    """Guard: `validate_no_broken_transaction`; without it a message would be put that cannot commit."""
    Order.objects.create(number="1")

    with transaction.atomic():
        with pytest.raises(IntegrityError):
            Order.objects.create(number="1")
        with pytest.raises(TransactionManagementError, match="until the end of the 'atomic' block"):
            put(message())

    assert stored(migrated) == []


def test_it_uses_the_alias_it_is_given(migrated: Engine, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    other = open_engine(url)
    create(other)
    first = dict(connections["default"].settings_dict)

    with databases(default=first, other=entry(url)):
        with transaction.atomic(using="other"):
            start("place-order", {}, using="other")
            with pytest.raises(TransactionManagementError, match="database 'default'"):
                put(message())
        with transaction.atomic(), pytest.raises(TransactionManagementError, match="using='other'"):
            put(message(), using="other")

    assert (stored(other), stored(migrated)) == ([wire.START], [])
    other.dispose()


def test_before_migrate_it_names_the_command(engine: Engine) -> None:
    """And the block is left to be rolled back. Guard: `needs_rollback`, without which what else it did would stay."""
    with (
        transaction.atomic(),
        pytest.raises(OutboxNotInstalled, match=r"manage\.py migrate amends --database default"),
    ):
        put(message())

    with transaction.atomic():
        with pytest.raises(OutboxNotInstalled):
            put(message())
        assert connections["default"].needs_rollback


def test_what_is_wrong_with_it_is_told_before_anything_is_stored(migrated: Engine) -> None:
    with transaction.atomic():
        with pytest.raises(InvalidInput, match="printable"):
            start("place-order", {}, key="\n")
        with pytest.raises(MessageTooLarge):
            put(Message(routing_key="q", type="t", body=b"x" * 10_000_000))
        put(message())

    assert stored(migrated) == ["test"]


def test_errors_of_the_database_are_djangos(migrated: Engine) -> None:
    """Guard: `wrap_database_errors`; without it callers would have to catch the driver's."""
    with migrated.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX one_of_each ON amends_outbox (type)"))

    with transaction.atomic():
        put(message(1))
        with pytest.raises(IntegrityError):
            put(message(2))
        assert connections["default"].needs_rollback

    assert stored(migrated) == []


def test_in_a_test_case_of_djangos_it_works_and_leaves_nothing(migrated: Engine) -> None:
    """The transaction of a TestCase never commits: nothing may wait for that. Guard: no on_commit anywhere."""
    seen: list[int] = []

    class OrderTest(TestCase):
        def test_it(self) -> None:
            start("place-order", {"order": "1"}, key="1")
            with transaction.atomic():
                put(message())
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT count(*) FROM amends_outbox")
                seen.append(cursor.fetchone()[0])

    result = unittest.TestResult()
    unittest.TestSuite([OrderTest("test_it")]).run(result)

    assert (result.errors, result.failures) == ([], [])
    assert seen == [2]
    assert stored(migrated) == []


def test_the_client_is_the_one_of_the_settings() -> None:
    assert (client().service, client().prefix) == ("shop", "amends")
    assert client() is client()

"""Handlers that end, or give up, the transaction that Django's ORM works in: never done (B4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from sqlalchemy import Engine

from amends.outbox.wire import Outcome
from amends.participants import Ctx
from tests.django.obeying import at_work, one
from tests.django.shop.models import Order
from tests.participants.coordinator import again, command

ENDINGS: dict[str, Callable[[Ctx], Any]] = {
    "transaction.commit": lambda ctx: transaction.commit(),
    "transaction.rollback": lambda ctx: transaction.rollback(),
    "connection.close": lambda ctx: connection.close(),
    "the driver's commit": lambda ctx: connection.connection.commit(),
    "the driver's rollback": lambda ctx: connection.connection.rollback(),
    "close_all": lambda ctx: connections.close_all(),
    "ctx.connection.commit": lambda ctx: ctx.connection.commit(),
    "textual commit": lambda ctx: connection.cursor().execute("COMMIT"),
    "textual rollback": lambda ctx: connection.cursor().execute("ROLLBACK"),
}


@pytest.mark.parametrize("swallow", [False, True], ids=["", "swallowed"])
@pytest.mark.parametrize("name", ENDINGS)
def test_a_handler_that_ends_the_transaction_is_never_done(
    postgresql: Engine, name: str, swallow: bool
) -> None:
    """B4. Guards: the methods that Loan and LentConnection replace; for textual ones the barrier's savepoint."""

    def work(number: str, ctx: Ctx) -> str:
        try:
            ENDINGS[name](ctx)
        except Exception:
            if not swallow:
                raise
        return "fine"

    with at_work(one(work), postgresql) as service:
        first = service.coordinator.ask(sent := command("work", "1"))

        assert (first.outcome, first.spent) == (Outcome.FAILED, True)
        assert "ended the worker's transaction" in first.reason
        if name != "textual commit":
            assert service.orders == []
            assert service.coordinator.ask(again(sent, attempt=2)).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda number, ctx: transaction.set_autocommit(True), "forbidden when an 'atomic' block"),
        (lambda number, ctx: transaction.atomic(durable=True).__enter__(), "durable atomic block"),
        (lambda number, ctx: transaction.on_commit(lambda: None), "on_commit() has no place in a handler"),
    ],
)
def test_what_cannot_be_kept_in_a_handler_is_refused(
    postgresql: Engine, work: Callable[[str, Ctx], Any], why: str
) -> None:
    """Guards: `in_atomic_block`, the block in `atomic_blocks`, and `on_commit` replaced."""
    with at_work(one(work), postgresql) as service:
        reply = service.ask("work", "1")

        assert reply.outcome is Outcome.FAILED
        assert why in reply.reason
        assert service.orders == []


def swallow_integrity_error(number: str, ctx: Ctx) -> None:
    with pytest.raises(IntegrityError):
        Order.objects.create(number=number)


def swallow_without_savepoint(number: str, ctx: Ctx) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(savepoint=False):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "work",
    [
        swallow_integrity_error,
        swallow_without_savepoint,
        lambda number, ctx: transaction.set_rollback(True),
    ],
)
def test_what_django_would_roll_back_is_not_done(postgresql: Engine, work: Callable[[str, Ctx], Any]) -> None:
    """Guard: `needs_rollback` is looked at when the handler returns."""
    with at_work(one(work), postgresql) as service:
        reply = service.ask("work", "1")

        assert reply.outcome is Outcome.FAILED
        assert service.orders == []

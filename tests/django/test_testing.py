"""The test kit in a Django project: handlers with the ORM, in the transaction that the test has open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import IntegrityError, transaction
from sqlalchemy import Engine, text

from amends.participants import Ctx, Refused
from amends.testing import NotServed, ParticipantBench, done
from amends.testing.django import django_bench
from tests.django.obeying import one
from tests.django.shop.models import Order


class Rollback(Exception):
    """The end of a test's transaction."""


@pytest.fixture
def db(postgresql: Engine) -> Iterator[Engine]:
    """What pytest-django's fixture does: a transaction that is rolled back, and takes everything with it."""
    with pytest.raises(Rollback), transaction.atomic():
        yield postgresql
        raise Rollback
    assert Order.objects.count() == 0
    with postgresql.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM amends_barrier")).scalar_one() == 0


def test_a_handler_with_the_orm_sees_and_is_seen_by_the_test(
    db: Engine, amends_django: ParticipantBench
) -> None:
    """Guard: the second connection object on Django's wire, and that it never commits."""
    Order.objects.create(number="of the test")
    participant = one(lambda cmd, ctx: Order.objects.count())
    bench = amends_django
    work = _command(participant)

    first = bench.send(work, "of the handler")

    assert first == done(2)
    assert bench.redeliver(first) == first
    assert Order.objects.count() == 2
    late = bench.command(work, "late")
    assert bench.fence(late).outcome == "never"
    assert bench.send(late).outcome == "refused"
    assert Order.objects.count() == 2


def test_a_refusal_and_an_error_take_back_what_the_orm_wrote(db: Engine) -> None:
    def work(cmd: str, ctx: Ctx) -> None:
        if cmd == "refused":
            raise Refused("no")
        Order.objects.create(number=cmd)  # Its number is taken.

    bench = django_bench()
    command = _command(one(work))

    assert bench.send(command, "refused").outcome == "refused"
    failed = bench.send(command, "twice")
    assert failed.outcome == "failed"
    assert "UniqueViolation" in failed.reason
    bench.crash(bench.command(_command(one(lambda cmd, ctx: None)), "gone"), at="participant.commit.before")
    assert Order.objects.count() == 0


def test_what_no_handler_may_do_is_refused_here_too(db: Engine) -> None:
    def later(cmd: str, ctx: Ctx) -> None:
        transaction.on_commit(lambda: None)

    def swallows(cmd: str, ctx: Ctx) -> None:
        with suppress(IntegrityError), transaction.atomic(savepoint=False):
            Order.objects.create(number=cmd)

    bench = django_bench()

    assert "no place in a handler" in bench.send(_command(one(later)), "a").reason
    assert "swallowed an error" in bench.send(_command(one(swallows)), "b").reason
    assert Order.objects.count() == 0
    transaction.on_commit(lambda: None)  # In the test itself it is as ever.


def test_outside_of_a_transaction_there_is_nothing_to_join(postgresql: Engine) -> None:
    with pytest.raises(NotServed, match="no transaction is open"):
        django_bench()


def _command(participant):
    """The handler of `one`, as a project has it by its name."""
    from amends.outbox.wire import Op
    from amends.participants.participant import CommandHandler

    handler = participant.find(Op.DO, "work")
    return CommandHandler(participant, handler.function, handler)

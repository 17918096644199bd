"""Handlers that use Django's ORM, in the transaction that a `TestCase` or pytest-django's `db` has open.

    def test_charge(amends_django):
        first = amends_django.send(charge, Charge(...))
        assert amends_django.redeliver(first) == first
        assert Payment.objects.count() == 1

Barrier and handler work on Django's own connection, each command in an `atomic()` of its own; the test's rollback takes
all of it back. PostgreSQL with psycopg 3, as a worker needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
from django.db import Error, connections
from django.db.transaction import TransactionManagementError, atomic
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from amends.participants.context import Ctx
from amends.participants.participant import Participant
from amends.participants.surrounding import surrounded
from amends.testing.bench import ParticipantBench
from amends.testing.errors import NotServed


class Borrowed(psycopg.Connection[Any]):
    """A second psycopg connection object on Django's wire, that never ends what is open there."""

    def __init__(self, pgconn: Any) -> None:
        super().__init__(pgconn)
        # Django's own object numbers the statements that it has prepared on this wire; two would collide.
        self.prepare_threshold = None

    def commit(self) -> None:
        """Nothing: the transaction is Django's."""

    def rollback(self) -> None:
        """Nothing, as well."""

    def close(self) -> None:
        """Nothing, as well."""

    def __del__(self, *_arguments: object) -> None:
        """Nothing: Django closes it."""


class DjangoSavepoints:
    """A workplace in the transaction that is open on a database of Django's."""

    def __init__(self, alias: str) -> None:
        """Raises: NotServed unless it is PostgreSQL by psycopg 3, in a transaction."""
        wrapper: Any = connections[alias]
        if wrapper.vendor != "postgresql" or wrapper.Database.__name__ != "psycopg":
            raise NotServed(
                f"handlers that use the ORM work on PostgreSQL through psycopg 3, "
                f"and DATABASES[{alias!r}] is on {wrapper.vendor}"
            )
        if not wrapper.in_atomic_block:
            raise NotServed("no transaction is open: use pytest-django's `db`, or django.test.TestCase")
        self._alias = alias
        wrapper.ensure_connection()
        driver = Borrowed(wrapper.connection.pgconn)
        with atomic(using=alias):
            self.engine: Engine = create_engine(
                "postgresql+psycopg://", creator=lambda: driver, poolclass=StaticPool
            )
            self.guarded: Connection = self.engine.connect()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """An `atomic()` of Django's, which knows when it is rolled back."""
        with atomic(using=self._alias):
            yield self.guarded


def django_bench(alias: str = "default") -> ParticipantBench:
    """Run handlers in the test's transaction on DATABASES[alias]. Raises: NotServed."""
    return ParticipantBench(DjangoSavepoints(alias), decorate=lambda one: _with_orm(one, alias))


def _with_orm(participant: Participant, alias: str) -> Participant:
    """What the worker's loan of its connection holds handlers to, here on Django's own."""
    wrapper: Any = connections[alias]

    @contextmanager
    def around(_ctx: Ctx) -> Iterator[None]:
        vars(wrapper)["on_commit"] = _refuse_on_commit
        try:
            yield
        except Error as error:
            if isinstance(error.__cause__, psycopg.Error):
                raise DBAPIError(None, None, error.__cause__, hide_parameters=True) from error
            raise
        finally:
            vars(wrapper).pop("on_commit", None)
        if wrapper.needs_rollback:
            raise TransactionManagementError(
                "the handler swallowed an error of its database; put the part that may fail into an atomic() of its own"
            )

    return surrounded(participant, around)


def _refuse_on_commit(*_arguments: object, **_options: object) -> NoReturn:
    raise TransactionManagementError(
        "on_commit() has no place in a handler: put a message with ctx.put(...), or make it a step of the saga"
    )

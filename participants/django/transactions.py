"""Sagas and messages that share the fate of a Django transaction: `with transaction.atomic(): ...`.

They only insert, on Django's own connection: no thread, no broker, nothing after the commit. So they work in a
`TestCase`, whose transaction never commits, and in requests, commands and tasks alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.db import Error, NotSupportedError, connections
from django.db.transaction import TransactionManagementError

from amends.outbox import put as put_message
from amends.outbox.errors import OutboxNotInstalled
from amends.outbox.message import Message
from amends.participants.client import Client
from amends.participants.django.settings import AmendsSettings, amends_settings
from amends.participants.django.tables import VENDORS
from amends.participants.events.emitting import emit as emit_event
from amends.participants.events.types import EventType
from amends.participants.starts import SagaOrName


def client() -> Client:
    """The client that `settings.AMENDS` describes, for what is not part of a transaction: `client().get(saga)`.

    Raises: ImproperlyConfigured.
    """
    return _client(amends_settings())


def start(
    saga: SagaOrName,
    input: Any,  # noqa: A002 - The word of the language.
    *,
    key: str | None = None,
    labels: Mapping[str, str] | None = None,
    traceparent: str | None = None,
    using: str | None = None,
) -> str:
    """Start a saga if, and only if, the current transaction commits; gives its id at once.

    As `amends.participants.Client.start`, in the `atomic()` block of the database `using`, by default
    AMENDS["DATABASE"]. Raises: as that does, and as `joined` does.
    """
    with joined(using) as connection:
        return client().start(connection, saga, input, key=key, labels=labels, traceparent=traceparent)


def put(message: Message, *, using: str | None = None) -> int:
    """Send a message if, and only if, the current transaction commits; gives its row id.

    As `amends.outbox.put`. Raises: MessageTooLarge before anything is stored, and as `joined` does.
    """
    with joined(using) as connection:
        return put_message(connection, message)


def signal(
    saga_id: str, name: str, payload: Any = None, *, message_id: str | None = None, using: str | None = None
) -> None:
    """Give a saga a signal if, and only if, the current transaction commits (S1).

    As `amends.participants.Client.signal`. Raises: as that does, and as `joined` does.
    """
    with joined(using) as connection:
        client().signal(connection, saga_id, name, payload, message_id=message_id)


def emit(
    type: str | EventType,  # noqa: A002 - CloudEvents' word.
    data: Any = None,
    *,
    version: int | None = None,
    key: str | None = None,
    subject: str = "",
    id: str | None = None,  # noqa: A002 - CloudEvents' word.
    traceparent: str | None = None,
    using: str | None = None,
) -> str:
    """Tell the world of an event if, and only if, the current transaction commits; gives its id.

    As `amends.participants.emit`, from `/` and AMENDS["SERVICE"], with the prefix of `settings.AMENDS`. Raises: as that
    does, and as `joined` does.
    """
    chosen = amends_settings()
    with joined(using) as connection:
        return emit_event(
            connection,
            type,
            data,
            source=f"/{chosen.service}",
            version=version,
            key=key,
            subject=subject,
            id=id,
            prefix=chosen.prefix,
            traceparent=traceparent,
        )


@contextmanager
def joined(using: str | None = None) -> Iterator[Any]:
    """The driver's connection, inside the transaction that is open on the database `using`.

    Outside of one Django commits every statement by itself. A single insert would be safe even then; but it would
    stay when what it tells of fails, or the other way round, which is what an outbox is there to prevent, and two
    messages of one ordering key would not be ordered. So that is refused, as `select_for_update` is. With AUTOCOMMIT
    off, transactions are the caller's own, and the message shares their fate.

    Raises: TransactionManagementError outside of a transaction, and in one that must be rolled back;
    NotSupportedError on a database that is neither PostgreSQL nor SQLite; OutboxNotInstalled before `migrate`. Errors
    of the database are Django's; as with `save()`, they leave the block to be rolled back.
    """
    alias = amends_settings().database if using is None else using
    wrapper = connections[alias]
    if wrapper.vendor not in VENDORS:
        raise NotSupportedError(
            f"no outbox on {wrapper.vendor} (database {alias!r}); known: {', '.join(VENDORS)}"
        )
    if wrapper.get_autocommit():
        raise TransactionManagementError(
            f"a message or a saga's start joins a transaction, and none is open on the database {alias!r}; "
            f"put it and what it tells of into one: with transaction.atomic({_argument(alias)}): ..."
        )
    wrapper.validate_thread_sharing()
    wrapper.validate_no_broken_transaction()
    try:
        with wrapper.wrap_database_errors:
            yield wrapper.connection
    except (Error, OutboxNotInstalled) as error:
        if wrapper.in_atomic_block:
            wrapper.needs_rollback = True
        if isinstance(error, OutboxNotInstalled):
            raise OutboxNotInstalled(
                f"the database {alias!r} has no tables of amends, or older ones; "
                f"run: python manage.py migrate amends --database {alias}"
            ) from error
        raise


@lru_cache(maxsize=8)
def _client(configured: AmendsSettings) -> Client:
    return Client(configured.service, prefix=configured.prefix, url=configured.url, token=configured.token)


def _argument(alias: str) -> str:
    return "" if alias == "default" else f"using={alias!r}"

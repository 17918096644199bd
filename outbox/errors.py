"""What can go wrong in the outbox package.

OutboxError
+-- MalformedMessage      a message that cannot be read; dead-letter it
+-- MessageTooLarge       a body over the limit; nothing was stored
+-- BrokerUnavailable     the broker cannot be reached or broke off; try again later
+-- InvalidHeader         a header that AMQP cannot carry; nothing was stored
+-- UnsupportedTask       a Celery task that cannot be sent through an outbox; the message names the mend
+-- UnsupportedSession    `put` was given something that is no session or connection it knows
+-- UnsupportedBroker     a broker URL of a scheme that has no driver
+-- InvalidSigningKeys    keys for signatures that cannot be used; never repeats one
+-- CodecUnavailable      what a codec of bodies needs is away (amends.outbox.sealing); messages wait
+-- InvalidContract       a contract file that cannot be read; says where
+-- OutboxNotInstalled    the outbox table is missing; run the migration
"""

from __future__ import annotations


class OutboxError(Exception):
    """Any error of the outbox package."""


class MalformedMessage(OutboxError):
    """A message that cannot be read."""


class MessageTooLarge(OutboxError):
    """A message's body is over the limit; nothing was stored."""

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{what} has {size_bytes:,} bytes, over the limit of {limit_bytes:,}; "
            f"store the bulk elsewhere and send a reference to it"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class InvalidHeader(OutboxError):
    """A message's header is no JSON, or not what AMQP can carry; nothing was stored."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"header {name[:80]!r}: {problem}")
        self.name = name


class UnsupportedTask(OutboxError):
    """A Celery task that cannot be sent through an outbox; nothing was stored."""


class BrokerUnavailable(OutboxError):
    """The broker cannot be reached, or broke the connection off. What was pending is of unknown outcome."""


class UnsupportedSession(OutboxError):
    """`put` was given something that is no session or connection it knows."""


class UnsupportedBroker(OutboxError):
    """A broker URL of a scheme that has no driver."""


class InvalidSigningKeys(OutboxError):
    """Keys for signatures that cannot be used."""


class InvalidContract(OutboxError):
    """A contract file that cannot be read."""


class OutboxNotInstalled(OutboxError):
    """The outbox table is missing from the database."""

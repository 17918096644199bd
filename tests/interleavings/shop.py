"""A service that starts sagas from its own database: client, outbox table and relay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from amends.db.tables.participant import outbox, owner
from amends.outbox.ports import Broker
from amends.outbox.relay import Relay
from amends.outbox.storage import Resend
from amends.outbox.store import OutboxStore
from amends.participants import Client
from tests.outbox.relaying import QUICK
from tests.outbox.rows import ids
from tests.waiting import eventually

# Sent again soon, so that a test need not wait for ten seconds.
STORE = OutboxStore(outbox, owner, resend=Resend(first_s=0.3, longest_s=0.3))


class Shop:
    """One service and its database; `relaying` it carries its starts away."""

    def __init__(self, database: Engine, broker: Broker, prefix: str, *, url: str | None = None) -> None:
        self.database = database
        self.client = Client("shop", prefix=prefix, url=url)
        self._broker = broker
        self._prefix = prefix

    @contextmanager
    def relaying(self, database: Engine | None = None, **options: Any) -> Iterator[Relay]:
        """Its relay, running; by way of another engine on the same database, if one is given."""
        given: dict[str, Any] = {"store": STORE, "service": "shop", "limits": QUICK}
        relay = Relay(
            database or self.database, self._broker, prefix=self._prefix, label="shop", **{**given, **options}
        )
        relay.start()
        try:
            yield relay
        finally:
            relay.stop()

    def drains(self) -> None:
        """Wait until nothing is left to be sent or receipted."""
        eventually(lambda: ids(self.database) == [], what="the shop's outbox to be empty")

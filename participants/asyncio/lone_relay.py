"""A relay for a service that only starts sagas and puts messages: no worker runs beside it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from amends.db.engines import open_engine
from amends.db.errors import StoreUnavailable
from amends.db.schema import require_schema
from amends.db.tables import participant as tables
from amends.outbox.broker import open_broker
from amends.outbox.observer import OutboxObserver
from amends.outbox.relay import Relay
from amends.outbox.store import OutboxStore

if TYPE_CHECKING:
    from amends.outbox.sealing import Seal

_CONNECTIONS_MAX: Final = 4


class LoneRelay:
    """A relay of a participant's tables, with an engine of its own unless it is given one."""

    def __init__(
        self,
        database: Engine | str,
        broker: str,
        *,
        prefix: str,
        service: str,
        observer: OutboxObserver,
        seal: Seal | None = None,
    ) -> None:
        """No I/O. Raises: UnsupportedDatabase, UnsupportedBroker."""
        self.name = f"relay {service}"
        self._own = isinstance(database, str)
        self._engine = (
            open_engine(database, pool_max=_CONNECTIONS_MAX, label=f"amends {service}")
            if isinstance(database, str)
            else database
        )
        self._broker = open_broker(broker, name=f"amends {service}", seal=seal)
        self._relay = Relay(
            self._engine,
            self._broker,
            store=OutboxStore(tables.outbox, tables.owner),
            prefix=prefix,
            service=service,
            label=f"{self.name} {socket.gethostname()}:{os.getpid()}",
            observer=observer,
        )

    def start(self) -> None:
        """Start its threads. A database that is away is waited for. Raises: SchemaOutdated, naming the command."""
        try:
            require_schema(self._engine, "participant")
        except StoreUnavailable:
            pass  # The relay waits for it, and says so.
        except Exception:
            self.stop()
            raise
        self._relay.start()

    def stop(self) -> None:
        """Hand back what is not confirmed, and end."""
        self._relay.stop()
        self._broker.close()
        if self._own:
            self._engine.dispose()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What it cannot reach, in words; nothing if it works."""
        return self._relay.status().waits_for

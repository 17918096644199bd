"""A relay that waits for the confirm of each message: amends' claims and deletes, kombu's `confirm_publish`."""

from __future__ import annotations

import sys
import time

from kombu.connection import Connection
from sqlalchemy import MetaData

from amends.db.engines import open_engine, transaction
from amends.db.tables.outbox import outbox_table, owner_table
from amends.outbox.store import OutboxStore

BATCH = 500
LEASE_S = 30.0
IDLE_S = 0.1


def main() -> None:
    """Run until killed: DATABASE_URL BROKER_URL."""
    database, broker = sys.argv[1:]
    relay(database, broker)


def relay(database_url: str, broker_url: str) -> None:
    """Claim, publish one by one, delete; again and again."""
    database = open_engine(database_url)
    metadata = MetaData()
    store = OutboxStore(outbox_table("amends_outbox", metadata), owner_table("amends_owner", metadata))
    connection = Connection(broker_url, transport_options={"confirm_publish": True})  # type: ignore[no-untyped-call]
    producer = connection.Producer(auto_declare=False)  # type: ignore[no-untyped-call]
    while True:
        with transaction(database) as claiming:
            rows = store.claim(claiming, BATCH, LEASE_S)
        for row in rows:
            message = row.message
            producer.publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                content_type=message.content_type,
                content_encoding="utf-8",
                mandatory=True,
                delivery_mode=2,
                type=message.type,
                message_id=message.message_id,
                timestamp=int(time.time()),
            )
        if not rows:
            time.sleep(IDLE_S)
            continue
        with transaction(database) as deleting:
            store.delete(deleting, [row.id for row in rows])


if __name__ == "__main__":
    main()

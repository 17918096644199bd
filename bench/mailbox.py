"""A service's outbox table and the quorum queue its messages go to: what a relay carries, and how fast it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import psycopg
from sqlalchemy import Connection, Engine

from amends.db import participant
from amends.db.engines import open_engine
from amends.db.tables.participant import outbox, owner
from amends.outbox.message import Message
from amends.outbox.store import OutboxStore
from bench.bare.broker import connected
from bench.contestants.databases import sqlalchemy_url
from bench.contestants.processes import Processes
from bench.meters import Meter, Reading, per_saga
from bench.servers import Servers

# As large as a command of the benchmark's saga.
BODY: Final = b'{"number": "bench-4711", "lines": "' + b"x" * 300 + b'"}'
INSERTED_AT_ONCE: Final = 500
LOOK_S: Final = 0.02
STALLED_S: Final = 60.0

STORE: Final = OutboxStore(outbox, owner)


class Mailbox:
    """A database with amends' tables for a service, and a queue. Everything is gone at the end of `mailbox`."""

    def __init__(self, servers: Servers, url: str, queue: str, channel: Any) -> None:
        self.url: Final = url
        self.queue: Final = queue
        self._servers = servers
        self._channel = channel
        self.engine: Final[Engine] = open_engine(sqlalchemy_url(url), pool_max=20, statement_timeout_s=0)

    def fill(self, rows: int, writers: int = 1) -> Callable[[], None]:
        """Insert `rows` messages, as one transaction for each writer, taking turns; gives what commits them all."""
        writing = [self.engine.connect() for _ in range(writers)]
        left = rows
        while left:
            for writer in writing:
                some = min(left, INSERTED_AT_ONCE // writers)
                STORE.insert(writer, [self._message() for _ in range(some)])
                left -= some
        return lambda: _commit(writing)

    def _message(self) -> Message:
        return Message(routing_key=self.queue, type="bench.message", body=BODY)

    def arrived(self) -> int:
        """How many messages the queue holds."""
        return int(self._channel.queue_declare(self.queue, passive=True).message_count)

    def run(self, statement: str) -> None:
        """One statement, outside a transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def sent(self) -> bool:
        """Whether no row for the queue is left."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            left = connection.execute(
                "SELECT 1 FROM amends_outbox WHERE routing_key = %s LIMIT 1", (self.queue,)
            )
            return left.fetchone() is None

    def purge(self) -> None:
        """Empty the queue."""
        self._channel.queue_purge(self.queue)

    @contextmanager
    def carrier(self, kind: str) -> Iterator[Carrier]:
        """A process that carries this mailbox, until the block ends: `relay` (amends') or `one_confirm`."""
        with Processes() as processes:
            if kind == "relay":
                env = {
                    "AMENDS_DATABASE_URL": sqlalchemy_url(self.url),
                    "AMENDS_BROKER_URL": self._servers.broker_url,
                    "AMENDS_PREFIX": self.queue,
                }
                processes.start("relay", "amends.db.cli", "relay", env=env)
            else:
                url = sqlalchemy_url(self.url)
                processes.start("relay", "bench.baselines.one_confirm", url, self._servers.broker_url)
            meter = Meter(self._servers, processes.pids)
            try:
                yield Carrier(self, processes, meter)
            finally:
                meter.close()


class Carrier:
    """A relay at work, measured."""

    def __init__(self, mailbox: Mailbox, processes: Processes, meter: Meter) -> None:
        self._mailbox = mailbox
        self._processes = processes
        self._meter = meter

    def until_empty(self, rows: int, writers: int) -> dict[str, float]:
        """Insert so many messages, and carry them until the table is empty: figures as of `_figures`.

        Raises: RuntimeError if the queue then holds another number of messages.
        """
        self._mailbox.fill(1)()
        self._await(lambda: self._mailbox.arrived() == 1 and self._mailbox.sent())
        commit = self._mailbox.fill(rows, writers)
        before, began = self._meter.read(), time.monotonic()
        commit()
        self._await(lambda: self._mailbox.arrived() > rows and self._mailbox.sent())
        figures = _figures(before, self._meter.read(), time.monotonic() - began, rows)
        if self._mailbox.arrived() != rows + 1:
            raise RuntimeError(f"{self._mailbox.arrived()} messages arrived, {rows + 1} were sent")
        return figures

    def stretch(self, skipped: int, messages: int) -> dict[str, float]:
        """Leave the first messages to warm up; what the next ones cost, while more are there to be sent."""
        self._await(lambda: self._mailbox.arrived() >= skipped)
        before, began = self._meter.read(), time.monotonic()
        first = self._mailbox.arrived()
        self._await(lambda: self._mailbox.arrived() >= first + messages)
        carried = self._mailbox.arrived() - first
        return _figures(before, self._meter.read(), time.monotonic() - began, carried)

    def finish(self) -> None:
        """Carry what is left."""
        self._await(self._mailbox.sent)

    def _await(self, there: Callable[[], bool]) -> None:
        moved_at, last = time.monotonic(), -1
        while not there():
            self._processes.check()
            time.sleep(LOOK_S)
            now = self._mailbox.arrived()
            if now != last:
                moved_at, last = time.monotonic(), now
            elif time.monotonic() - moved_at > STALLED_S:
                raise RuntimeError(f"nothing moves any more; {now} messages arrived")


@contextmanager
def mailbox(servers: Servers) -> Iterator[Mailbox]:
    """An empty one."""
    url = servers.create_database("mailbox")
    queue = f"bench-relay-{uuid4().hex[:8]}"
    connection = connected(servers.broker_url)
    try:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        made = Mailbox(servers, url, queue, channel)
        participant.create(made.engine)
        try:
            yield made
        finally:
            made.engine.dispose()
            channel.queue_delete(queue)
    finally:
        connection.close()
        servers.drop_database(url)


def _commit(writing: list[Connection]) -> None:
    for writer in writing:
        writer.commit()
        writer.close()


def _figures(before: Reading, after: Reading, seconds: float, messages: int) -> dict[str, float]:
    """Messages per second; CPU ms by part and in all, and bytes of WAL, per message."""
    costs: Mapping[str, float] = per_saga(before, after, messages)
    return {"per_second": round(messages / seconds, 1), **costs}

"""Celery: a chain of three tasks (bench/peers/celery_app.py), without a result backend or with the database as one.

Its tasks do nothing: there is no database of theirs, and so no effect to be done once. What is set to make it fast: two
workers of one prefork process each, a hundred messages fetched ahead, no events, gossip, heartbeats or remote control,
no ping before a database connection is used, and no publisher confirms, which is Celery's default: a broker that falls
over loses chains.

Prefork is Celery's default pool. `pool="solo"`, a task in the worker's own process, took half to two thirds of its CPU;
but such a worker has no time limits, and neither fetches nor answers while a task runs.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from kombu import Connection
from kombu.transport.native_delayed_delivery import level_name

from bench.contestants.databases import sqlalchemy_url
from bench.contestants.processes import Processes
from bench.order import STEPS
from bench.peers.celery_app import application, placed
from bench.servers import Servers

READY_S = 60.0
STORED = "SELECT count(*) FILTER (WHERE status = 'SUCCESS'), count(*) FROM celery_taskmeta"


class Celery:
    """Running."""

    def __init__(self, processes: Processes, broker: str, database: str, queue: str, ended: Path) -> None:
        self.name = "Celery, database results" if database else "Celery"
        self._processes = processes
        self._database = database
        self._app = application(broker, sqlalchemy_url(database) if database else "", queue)
        self._ended = ended
        self._placed = 0

    def close(self) -> None:
        """Leave the broker."""
        self._app.close()

    @property
    def parts(self) -> Mapping[str, int]:
        return self._processes.pids

    def place(self, numbers: Sequence[str]) -> None:
        with self._app.producer_pool.acquire() as producer:
            for number in numbers:
                placed(self._app, number).apply_async(producer=producer)
        self._placed += len(numbers)

    def turn(self) -> None:
        """The workers run by themselves."""

    def ended(self) -> int:
        self._processes.check()
        return self._ended.stat().st_size

    def findings(self) -> list[str]:
        """As many last tasks ran as chains were placed; with a database, each task's result is in it."""
        found = []
        if self.ended() != self._placed:
            found.append(f"{self.ended()} chains ended instead of {self._placed}")
        if self._database:
            with psycopg.connect(self._database) as connection:
                stored = connection.execute(STORED).fetchone()
            if stored != (len(STEPS) * self._placed, len(STEPS) * self._placed):
                found.append(f"of {len(STEPS) * self._placed} results (successes, all): {stored}")
        return found


@contextmanager
def celery(
    servers: Servers, *, results: bool = False, workers: int = 2, concurrency: int = 1, pool: str = "prefork"
) -> Iterator[Celery]:
    """Running until the block ends. `results`: kept in the database on the same PostgreSQL."""
    queue = f"celery-{uuid4().hex[:8]}"
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="amends-bench-")))
        ended, ready = directory / "ended", directory / "ready"
        ended.touch()
        ready.touch()
        database = ""
        if results:
            database = servers.create_database("results")
            ends.callback(servers.drop_database, database)
        ends.callback(_forget, servers.broker_url, queue)
        processes = ends.enter_context(Processes())
        for number in range(workers):
            processes.start(
                f"worker{number or ''}",
                *("bench.peers.celery_app", servers.broker_url, sqlalchemy_url(database) if database else ""),
                *(queue, os.fspath(ended), os.fspath(ready), pool, str(concurrency)),
            )
        _await_ready(ready, workers, processes)
        running = Celery(processes, servers.broker_url, database, queue, ended)
        ends.callback(running.close)
        yield running


def _await_ready(ready: Path, workers: int, processes: Processes) -> None:
    deadline = time.monotonic() + READY_S
    while ready.stat().st_size < workers:
        processes.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the workers are not ready: {processes.tails()}")
        time.sleep(0.05)


def _forget(broker: str, queue: str) -> None:
    """Delete its queues and exchanges: who runs next shall not pay for them."""
    with Connection(broker) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.exchange_delete(queue)
        for level in range(28):
            channel.queue_delete(level_name(level))
            channel.exchange_delete(level_name(level))
        channel.exchange_delete("celery_delayed_delivery")
